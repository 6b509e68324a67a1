"""What of our sound has been played, and what the caller said without holes."""

from __future__ import annotations

import numpy as np
import pytest

from agent.events import LineRate, Pcm8k, Pcm16k
from agent.protocols.sip.sound import Fit, Heard, Spoken

FRAME = bytes(320)


class Ring:
    """A ring that plays 320 bytes at each tick, and flushes at the next one, as the library's does."""

    def __init__(self, room: int = 32_768) -> None:
        self.room = room
        self.held = bytearray()
        self.heard = bytearray()
        self.flushing = False

    def take(self, pcm: bytes) -> int:
        count = min(len(pcm), self.room - len(self.held))
        self.held += pcm[:count]
        return count

    def tick(self) -> None:
        if self.flushing:
            self.held.clear()
            self.flushing = False
        self.heard += self.held[:320]
        del self.held[:320]


def step(spoken: Spoken, ring: Ring) -> list[str]:
    passed = spoken.played(len(ring.held))
    spoken.wrote(ring.take(spoken.due()))
    return passed


def sound(n: int, frames: int = 1) -> bytes:
    return bytes([n]) * 320 * frames


def test_a_mark_is_passed_when_the_sound_before_it_has_been_played() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.play(sound(1, 2))
    spoken.mark("a")
    spoken.play(sound(2))
    spoken.mark("b")
    passed = []
    for _ in range(5):
        passed.append(step(spoken, ring))
        ring.tick()
    assert passed == [[], [], ["a"], ["b"], []]
    assert bytes(ring.heard) == sound(1, 2) + sound(2)


def test_the_ring_matters_until_all_that_was_said_has_been_played() -> None:
    spoken, ring = Spoken(32_000), Ring()
    assert not spoken.pending
    spoken.play(sound(1, 2))
    seen = []
    for _ in range(4):
        step(spoken, ring)
        seen.append(spoken.pending)
        ring.tick()
    assert seen == [True, True, False, False]
    spoken.mark("a")
    assert spoken.pending


def test_it_is_known_how_much_the_ring_has_to_play_before_there_is_anything_to_tell() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.play(sound(1, 3))
    assert spoken.ahead == 0  # it waits for the ring
    step(spoken, ring)
    assert spoken.ahead == len(sound(1, 3))
    spoken.mark("a")
    spoken.play(sound(2, 2))
    step(spoken, ring)
    assert spoken.ahead == len(sound(1, 3))  # the mark's; what is behind it does not matter yet
    ring.tick()
    step(spoken, ring)
    assert spoken.ahead == len(sound(1, 2))
    ring.tick()
    ring.tick()
    assert step(spoken, ring) == ["a"]
    assert spoken.ahead == len(sound(2, 2))


def test_while_a_ring_is_flushed_it_is_asked_each_time() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.play(sound(1, 3))
    step(spoken, ring)
    assert spoken.clear(len(ring.held))
    assert spoken.ahead == 0


def test_a_mark_without_sound_is_passed_at_once() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.mark("a")
    assert step(spoken, ring) == ["a"]


def test_what_is_said_after_a_clear_waits_until_the_ring_is_flushed() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.play(sound(1, 20))
    spoken.mark("gone")
    step(spoken, ring)
    ring.tick()
    assert spoken.clear(len(ring.held))
    ring.flushing = True
    spoken.play(sound(2))
    spoken.mark("next")
    assert step(spoken, ring) == []
    assert len(ring.held) == 19 * 320  # nothing was added to what will be thrown away
    ring.tick()
    step(spoken, ring)
    ring.tick()
    assert step(spoken, ring) == ["next"]
    assert bytes(ring.heard) == sound(1) + sound(2)


def test_a_clear_of_an_empty_ring_needs_no_flush() -> None:
    spoken, ring = Spoken(32_000), Ring()
    spoken.play(sound(1))
    assert not spoken.clear(0)
    assert spoken.due() == b""
    spoken.play(sound(2))
    step(spoken, ring)
    assert bytes(ring.held) == sound(2)


def test_a_full_ring_gets_the_rest_later() -> None:
    spoken, ring = Spoken(32_000), Ring(room=640)
    spoken.play(sound(1, 5))
    spoken.mark("end")
    passed = []
    for _ in range(7):
        passed += step(spoken, ring)
        ring.tick()
    assert passed == ["end"]
    assert bytes(ring.heard) == sound(1, 5)


def test_another_ring_begins_with_what_the_first_had_not_played() -> None:
    spoken, first = Spoken(32_000), Ring()
    spoken.play(sound(1) + sound(2) + sound(3))
    spoken.mark("end")
    step(spoken, first)
    first.tick()
    step(spoken, first)
    spoken.restarted()
    second, passed = Ring(), []
    for _ in range(4):
        passed += step(spoken, second)
        second.tick()
    assert bytes(first.heard + second.heard) == sound(1) + sound(2) + sound(3)
    assert passed == ["end"]


def test_another_ring_has_nothing_of_what_was_taken_back() -> None:
    spoken, first = Spoken(32_000), Ring()
    spoken.play(sound(1, 3))
    step(spoken, first)
    assert spoken.clear(len(first.held))
    spoken.play(sound(2))
    spoken.mark("end")
    spoken.restarted()
    second = Ring()
    step(spoken, second)
    assert bytes(second.held) == sound(2)
    second.tick()
    assert step(spoken, second) == ["end"]


def test_a_call_that_is_too_far_ahead_is_noticed() -> None:
    spoken = Spoken(640)
    spoken.play(sound(1, 2))
    assert not spoken.overfull
    spoken.play(sound(1))
    assert spoken.overfull


# ---- the caller


def test_frames_are_whole_whatever_is_read() -> None:
    heard = Heard(10.0)
    first = heard.frames(bytes([1]) * 500, 10.01)
    assert first == [Pcm8k(bytes([1]) * 320)]
    assert heard.frames(bytes([1]) * 460, 10.03) == [Pcm8k(bytes([1]) * 320)] * 2


def test_a_caller_who_sends_nothing_is_silent() -> None:
    heard = Heard(10.0)
    heard.frames(FRAME, 10.0)
    frames = 0
    for n in range(1, 101):
        pcm = heard.frames(b"", 10.0 + n / 100)
        assert all(set(frame) == {0} for frame in pcm)
        frames += len(pcm)
        assert n >= 10 or not pcm
    assert 44 <= frames <= 46  # a second, but for the time in which it was not known
    assert heard.frames(FRAME, 11.02) == [Pcm8k(FRAME)]
    assert heard.frames(b"", 11.05) == []


def test_a_caller_of_whom_nothing_comes_is_gone() -> None:
    heard = Heard(10.0)
    heard.frames(FRAME, 20.0)
    assert not heard.dead(34.9)
    assert heard.dead(35.0)
    heard.alive(35.0)  # a report came after all
    assert not heard.dead(49.9)


def test_who_holds_the_call_need_send_nothing() -> None:
    heard = Heard(10.0)
    heard.hold(True, 12.0)
    assert not heard.dead(500.0)
    heard.hold(False, 500.0)
    assert not heard.dead(514.0)
    assert heard.dead(515.0)


def test_the_frames_of_a_wide_band_line_are_20_ms_as_well() -> None:
    heard = Heard(0.0, Pcm16k)
    frames = heard.frames(bytes(640 * 2 + 100), 0.02)
    assert [(type(frame), len(frame)) for frame in frames] == [(Pcm16k, 640)] * 2
    assert heard.frames(b"", 0.13) == [Pcm16k(640)]


# ---- another codec in mid-call


def tone(seconds: float, rate: int) -> bytes:
    times = np.arange(round(seconds * rate)) / rate
    return np.round(9000 * np.sin(2 * np.pi * 1000 * times)).astype("<i2").tobytes()


def level(pcm: bytes, rate: int) -> float:
    """Peak of 1 kHz in there, but for its ends."""
    sound = np.frombuffer(pcm, "<i2")[rate // 10 :][: rate // 10]
    return float(np.abs(np.fft.rfft(sound))[100] * 2 / len(sound))


def test_as_long_as_the_codec_stays_nothing_is_done() -> None:
    fit = Fit(16000)
    fit.streams(0, 0)
    sound = tone(0.02, 16000)
    assert fit.hear(sound) is sound
    assert fit.held(641) == 641
    ring = Ring(room=7)
    assert fit.speak(sound, lambda: 7, ring.take) == 7


@pytest.mark.parametrize(("line", "streams"), [(16000, 8000), (8000, 16000)])
def test_a_line_keeps_its_rate_when_the_codec_changes(line: LineRate, streams: int) -> None:
    fit, spoken, ring = Fit(line), Spoken(2 * 2 * line), Ring(room=960)
    fit.streams(streams, streams)
    sound = tone(0.3, streams)
    heard = b"".join(fit.hear(sound[at : at + 100]) for at in range(0, len(sound), 100))
    assert fit.hear(b"") == b""
    assert len(heard) == 0.3 * 2 * line
    assert level(heard, line) == pytest.approx(9000, rel=0.02)
    spoken.play(tone(0.3, line))
    spoken.mark("end")
    passed: list[str] = []
    while not passed:
        held = fit.held(len(ring.held))
        passed = spoken.played(held)
        if due := spoken.due():
            spoken.wrote(fit.speak(due, lambda: ring.room - len(ring.held), ring.take))
        assert bool(passed) == (len(ring.heard) == 0.3 * 2 * streams)
        ring.tick()
    assert level(bytes(ring.heard), streams) == pytest.approx(9000, rel=0.02)
