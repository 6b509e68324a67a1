"""A call on a wide-band line: the same call, with twice the samples, none of them made up."""

from __future__ import annotations

import numpy as np
import pytest

from agent import events as e
from agent.audio.dtmf import dial
from agent.audio.playout import PlayoutOptions
from agent.audio.resample import Downsample24to16
from agent.call.downlink import Downlink
from agent.call.local_voice import LocalVoiceOptions
from agent.call.options import CallOptions
from agent.errors import OwnFault
from agent.events import Pcm8k, Pcm16k, Pcm24k
from tests.call.calls import HELLO, LIMIT, WIDE_VOICE, Bench, say, speech, talking, tone

VOICE = [0.9] * 4


def options() -> CallOptions:
    return CallOptions(
        greeting="Greet the caller.", local_voice=LocalVoiceOptions(barge_in=True), held_within=5.0
    )


def conversation(rate: e.LineRate) -> Bench:
    """A little of everything that looks at samples or counts them."""
    bench = talking(disclosure=True, options=options(), rate=rate)
    say(bench, 0.8, "When are you open?")
    bench.answer(3.0, "From nine to five, on every day but Sunday.")
    bench.run(1.0)
    said = bench.now
    bench.caller_talks(0.6)
    while bench.now < said + 0.6:  # a voice of which the detector is sure, and nobody else
        known = len(bench.log)
        bench.run(0.02)
        for command in [command for _, command in bench.log[known:]]:
            if isinstance(command, e.Detect):
                bench.tell(e.VoiceDetected(command.n, VOICE, 0.1))
    bench.run(3.0)  # it goes on with the interrupted word
    bench.tell(e.TurnComplete())
    bench.tell(e.ToolCalled("t", "send_digits", {}))
    bench.tell(e.ToolFinished("t", "send_digits", {}, e.PressKeys("12")))
    bench.run(1.0)
    bench.answer(2.0, "I have pressed them.", complete=False)
    bench.run(0.6)
    bench.caller_talks(0.5)
    bench.run(0.2)
    bench.tell(e.Interrupted())
    bench.run(0.5)
    bench.tell(e.TurnComplete())
    bench.tell(e.CallerSaid("Thank you."))
    bench.tell(e.LineHeld(on=True))
    bench.run(0.3)
    bench.tell(e.LineHeld(on=False))
    bench.run(0.3)
    bench.disconnect()
    return bench


def shape(command: e.AnyCommand, rate: int) -> tuple[object, ...]:
    """What a command comes to, in seconds where it is sound."""
    match command:
        case e.Play(pcm=pcm) | e.KeepHeard(pcm=pcm):
            assert pcm.rate == rate
            return type(command), pcm.seconds
        case e.SendAudio(pcm=sent):
            return type(command), sent.seconds
        case e.Detect(line=line, own=own):
            assert line.rate == own.rate == rate
            return type(command), line.seconds, own.seconds
        case other:
            return (other,)


@pytest.fixture(scope="module")
def both() -> tuple[Bench, Bench]:
    return conversation(8000), conversation(16000)


def test_the_same_happens_at_the_same_times(both: tuple[Bench, Bench]) -> None:
    narrow, wide = (
        [(at, shape(command, bench.rate)) for at, command in bench.log] for bench in both
    )
    assert wide == narrow
    kinds = {type(command) for _, command in both[1].log}
    assert {e.Play, e.Mark, e.Clear, e.KeepHeard, e.Detect, e.SendAudio} <= kinds


def test_turns_say_the_same_of_what_was_heard_when(both: tuple[Bench, Bench]) -> None:
    narrow, wide = (bench.machine.turns.lines(100.0) for bench in both)
    assert wide == narrow
    assert [line.who for line in wide if line.who != "caller"] == [
        *("pickup", "agent", "agent", "pickup", "agent")
    ]
    for one, other in zip(both[0].machine.turns.all, both[1].machine.turns.all, strict=True):
        assert (2 * one.start, 2 * one.end, 2 * one.cut_at) == (
            other.start,
            other.end,
            other.cut_at,
        )


def test_the_model_hears_what_came_and_nothing_else(both: tuple[Bench, Bench]) -> None:
    sent = b"".join(c.pcm for c in both[1].all(e.SendAudio) if isinstance(c, e.SendAudio))
    assert sent.replace(WIDE_VOICE, b"").strip(b"\0") == b""
    assert sent.count(WIDE_VOICE) > 50


def test_the_caller_hears_all_that_the_model_said() -> None:
    """Of a tone of 6 kHz an 8 kHz line has nothing."""
    bench = Bench(rate=16000)
    bench.tell(e.ModelReady(0.1))
    bench.tell(e.ModelAudio(Pcm24k(tone(1.0, 24000, hertz=6000))))
    bench.tell(e.GenerationComplete())
    bench.connect()
    bench.run(1.5)
    heard = np.frombuffer(bytes(bench.heard), "<i2")[1600:14400]
    spectrum = np.abs(np.fft.rfft(heard)) * 2 / len(heard)
    assert spectrum[round(6000 * len(heard) / 16000)] == pytest.approx(9000, rel=0.02)


def test_keys_are_tones_at_the_lines_rate(both: tuple[Bench, Bench]) -> None:
    assert bytes(dial("12", Pcm16k)) in bytes(both[1].heard)
    assert bytes(dial("12")) in bytes(both[0].heard)


def test_a_consent_that_was_queued_before_the_line_ends_where_it_ended() -> None:
    told = []
    for rate in (8000, 16000):
        bench = talking(own={"consent": LIMIT}, disclosure=True, rate=rate)
        bench.run(2.0)
        told.append(bench.times(e.KeepSound))
    assert told[0] == told[1] != []


# ---- what is queued before there is a line


def queued(kind: type[e.LinePcm]) -> Downlink:
    downlink = Downlink(PlayoutOptions())
    downlink.say_whole(HELLO.pcm)
    downlink.feed(speech(0.503))
    assert downlink.cut(0.0) == []  # all of that but the sentence of our own
    downlink.feed(Pcm24k(speech(0.3)[:14_402]))
    downlink.feed(Pcm24k(bytes(4802)), audible=False)
    downlink.end_utterance()
    downlink.feed(speech(0.2))
    downlink.line(kind)
    return downlink


def test_every_position_is_twice_what_it_was() -> None:
    narrow, wide = queued(Pcm8k), queued(Pcm16k)
    assert wide.position == 2 * narrow.position
    assert wide.sound_until == 2 * narrow.sound_until
    ours = [heard(narrow), heard(wide)]
    assert ours[0] == ours[1]
    assert 45 < ours[0].count(True) < 60  # frames of a sentence of a second


def heard(downlink: Downlink) -> list[bool]:
    """Frame by frame of two seconds, whether what the caller hears is a sentence of our own."""
    downlink.playout.attach(1.0)
    ours, marks = [], []
    for n in range(100):
        now = 1.0 + 0.02 * n
        marks += [(n + 20, c.name) for c in downlink.due(now) if isinstance(c, e.Mark)]
        while marks and marks[0][0] <= n:
            downlink.playout.mark_played(marks.pop(0)[1], now)
        ours.append(downlink.own_words(now))
    return ours


def test_what_was_queued_is_made_anew_and_not_stretched() -> None:
    downlink = Downlink(PlayoutOptions(lead=2.0))
    downlink.feed(speech(0.5))
    downlink.end_utterance()
    assert downlink.line(Pcm16k) == 2
    downlink.playout.attach(0.0)
    heard = b"".join(c.pcm for c in downlink.due(0.0) if isinstance(c, e.Play))
    assert heard.startswith(Downsample24to16().feed(speech(0.5)))


def test_what_the_queue_does_not_take_is_not_kept_for_another_rate() -> None:
    downlink = Downlink(PlayoutOptions(limit=1.0))
    for _ in range(5):
        downlink.feed(speech(0.4))
    assert downlink.dropped == pytest.approx(1.0)
    assert downlink.line(Pcm16k) == 2
    assert downlink.position == 16_000


def test_a_line_stays_as_it_is() -> None:
    downlink = Downlink(PlayoutOptions())
    assert downlink.line(Pcm8k) == 1
    assert downlink.line(Pcm8k) == 1
    with pytest.raises(OwnFault, match="16000 Hz"):
        downlink.line(Pcm16k)
