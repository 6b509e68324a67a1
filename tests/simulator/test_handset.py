"""A phone on a line of PCM: what is heard when, and what is said, with literal times."""

from __future__ import annotations

import numpy as np
import pytest

from agent.simulator.caller import CallAudio
from agent.simulator.handset import Handset
from agent.simulator.phone import Manners, Phone, Utterance
from agent.simulator.report import CallerSpeaks, CallerStops

LOUD = np.tile(np.array([8000, -8000], "<i2"), 80).tobytes()
"""20 ms of 8 kHz."""
QUIET = bytes(320)


def handset(*utterances: Utterance, audio: CallAudio | None = None) -> Handset:
    said, heard = (audio.said, audio.heard) if audio else (None, None)
    return Handset(Phone(utterances, Manners(quiet_s=0.2, patience_s=1.0), said, heard), 100.0)


def test_what_arrives_is_heard_40_ms_later() -> None:
    phone = handset()
    for frame in range(10):
        phone.hear(LOUD, 8000, 100.5 + frame * 0.02)
    phone.listen(101.5)
    (heard,) = phone.ear.attention.heard
    assert (heard.start_s, heard.end_s) == pytest.approx((0.54, 0.74))
    assert phone.ear.underruns == []


def test_a_packet_39_ms_late_leaves_no_hole_and_one_45_ms_late_does() -> None:
    phone = handset()
    phone.hear(LOUD, 8000, 100.0)
    phone.hear(LOUD, 8000, 100.059)
    assert phone.ear.underruns == []
    phone.hear(LOUD, 8000, 100.085)
    (hole,) = phone.ear.underruns
    assert (hole.at_s, hole.gap_ms) == pytest.approx((0.08, 5.0), abs=0.2)


def test_pieces_of_any_length_are_heard_whole() -> None:
    audio = CallAudio()
    phone = handset(audio=audio)
    sound = LOUD * 20
    at = 0
    for size in (1, 2, 3, 317, 640, 641, len(sound)):
        phone.hear(sound[at : at + size], 8000, 100.0)
        at += size
    _, heard = audio.arrays()
    assert len(heard) == 320 + len(sound) // 2
    assert np.abs(heard[320:]).min() > 7000


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_the_mouth_keeps_40_ms_in_hand_at_any_rate(rate: int) -> None:
    phone = handset()
    assert phone.wanted(0.0) == 2
    assert phone.wanted(20.0) == 1
    assert phone.wanted(21.0) == 1
    assert phone.wanted(40.0) == 0
    phone.say(rate, 0.0, 100.0)
    pcm, keys, events = phone.say(rate, 20.0, 100.0)
    assert (len(pcm), keys, events) == (rate // 50 * 2, "", [])


def test_sixteen_kilohertz_come_down_to_the_telephones_eight() -> None:
    audio = CallAudio()
    phone = handset(audio=audio)
    time = np.arange(16_000) / 16_000
    tone = (10_000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes()
    for at in range(0, len(tone), 640):
        phone.hear(tone[at : at + 640], 16_000, 100.0 + at / 32_000)
    _, heard = audio.arrays()
    spectrum = np.abs(np.fft.rfft(heard[320:8000].astype(float)))
    assert np.argmax(spectrum) * 8000 / 7680 == pytest.approx(440, abs=2)


def test_what_is_said_lies_behind_what_the_line_has_in_hand() -> None:
    speech = Utterance("hello", b"\x10\x90" * 160, 0, 320, None, "5")
    phone = handset(speech)
    said: list[tuple[object, str]] = []
    events: list[CallerSpeaks | CallerStops] = []
    for tick in range(60):
        _, keys, news = phone.say(8000, 40.0, 100.0 + tick * 0.02)
        events += news
        said += [(tick * 0.02, keys)] if keys else []
    began, stopped = events
    assert isinstance(began, CallerSpeaks)
    assert began.at_s == pytest.approx(1.0)  # patience
    assert stopped.at_s == pytest.approx(1.04)
    assert said == [(pytest.approx(0.96), "5")]  # 40 ms before it is on the wire
    assert not phone.wants_to_hang_up()


def test_a_line_that_ran_dry_does_not_shift_the_timeline_for_ever() -> None:
    phone = handset(Utterance("hello", b"\x10\x90" * 80, 0, 160))
    for tick in range(10):
        phone.say(8000, 40.0, 100.0 + tick * 0.02)
    phone.say(8000, 0.0, 103.0)
    phone.say(8000, 20.0, 103.0)
    (spoken,) = phone.caller.spoken
    assert spoken.start_s == pytest.approx(3.0)


def test_a_line_that_began_anew_forgets_half_a_sample() -> None:
    audio = CallAudio()
    phone = handset(audio=audio)
    phone.hear(b"\x01", 8000, 100.0)
    phone.restarted()
    phone.hear(QUIET, 8000, 100.0)
    _, heard = audio.arrays()
    assert len(heard) == 320 + 160
