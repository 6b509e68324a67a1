"""The reactive caller: what is said when, with literal positions."""

from __future__ import annotations

import numpy as np
import pytest

from agent.simulator.caller import speech_bounds, utterance
from agent.simulator.earpiece import Earpiece
from agent.simulator.phone import SILENCE, Manners, Phone, Utterance
from agent.simulator.report import CallerSpeaks, CallerStops

LOUD = b"\x10\x90"


def clip(name: str, ms: int = 200, interrupt_after_s: float | None = None) -> Utterance:
    return Utterance(name, LOUD * (ms * 4), 0, ms * 8, interrupt_after_s)


class Talk:
    """Runs a phone 20 ms at a time and collects what it says."""

    def __init__(self, *utterances: Utterance, manners: Manners | None = None) -> None:
        self.phone = Phone(utterances, manners or Manners())
        self.ear, self.caller = self.phone.connect(0.0)
        self.events: list[CallerSpeaks | CallerStops] = []
        self.hung_up_s: float | None = None
        self.frames = 0

    def until(self, seconds: float) -> None:
        while self.frames * 0.02 < seconds:
            self.frames += 1
            now = self.frames * 0.02
            self.ear.attention.listen(self.ear.position(now), now)
            position = (self.frames - 1) * 160
            self.caller.frame(position)
            self.events += self.caller.progress(position, now)
            if self.hung_up_s is None and self.caller.wants_to_hang_up(position):
                self.hung_up_s = now

    def agent_says(self, ms: int) -> None:
        self.ear.receive(LOUD * (ms * 4), self.frames * 0.02)

    def began(self) -> list[float]:
        return [round(e.at_s, 2) for e in self.events if isinstance(e, CallerSpeaks)]


def test_the_caller_waits_for_the_greeting_and_then_for_600_ms_of_quiet() -> None:
    talk = Talk(clip("hello"))
    talk.until(3.0)
    assert talk.events == []
    talk.agent_says(1000)
    talk.until(5.0)
    assert talk.began() == [4.6]
    stops = talk.events[-1]
    assert isinstance(stops, CallerStops)
    assert stops.at_s == pytest.approx(4.8)
    (spoken,) = talk.caller.spoken
    assert (spoken.text, spoken.interrupts) == ("hello", False)
    assert (spoken.start_s, spoken.end_s) == pytest.approx((4.6, 4.8))


def test_a_pause_between_two_sentences_is_not_the_end() -> None:
    talk = Talk(clip("hello"))
    talk.agent_says(500)
    talk.until(1.0)
    talk.agent_says(500)
    talk.until(2.0)
    assert talk.began() == []
    talk.until(3.0)
    assert talk.began() == [2.1]


def test_the_next_utterance_waits_for_an_answer() -> None:
    talk = Talk(clip("one"), clip("two"))
    talk.agent_says(500)
    talk.until(4.0)
    assert talk.began() == [1.1]
    talk.agent_says(500)
    talk.until(6.0)
    assert talk.began() == [1.1, 5.1]


def test_an_interruption_comes_1_5_s_into_the_answer() -> None:
    talk = Talk(clip("one"), clip("two", interrupt_after_s=1.5))
    talk.agent_says(2000)  # the greeting is not what is interrupted
    talk.until(4.0)
    assert talk.began() == [2.6]
    talk.agent_says(8000)
    talk.until(8.0)
    assert talk.began() == [2.6, 5.5]
    assert [spoken.interrupts for spoken in talk.caller.spoken] == [False, True]


def test_an_answer_too_short_to_interrupt_is_heard_out() -> None:
    talk = Talk(clip("one", interrupt_after_s=1.5))
    talk.agent_says(1000)
    talk.until(3.0)
    assert talk.began() == [1.6]
    assert not talk.caller.spoken[0].interrupts


def test_with_nobody_speaking_the_caller_goes_on_after_his_patience() -> None:
    talk = Talk(clip("one"), clip("two"), manners=Manners(patience_s=2.0))
    talk.until(6.0)
    assert talk.began() == [2.0, 4.2]


def test_with_everything_said_the_caller_hangs_up_after_a_silence() -> None:
    talk = Talk(clip("one"), manners=Manners(patience_s=1.0, hang_up_after_s=2.0))
    talk.until(2.0)
    talk.agent_says(1000)
    talk.until(9.0)
    assert talk.hung_up_s == pytest.approx(5.0, abs=0.03)
    patient = Talk(manners=Manners(hang_up_after_s=None))
    patient.until(30.0)
    assert patient.hung_up_s is None


def test_a_caller_who_repeats_never_runs_out() -> None:
    talk = Talk(clip("one"), manners=Manners(repeat=True, patience_s=1.0, hang_up_after_s=1.0))
    talk.until(4.0)
    assert talk.began() == [1.0, 2.2, 3.4]
    assert [spoken.n for spoken in talk.caller.spoken] == [1, 2, 3]
    assert talk.hung_up_s is None


def test_a_clip_of_any_length_is_sent_in_whole_frames() -> None:
    odd = Utterance("odd", b"\x10" * 250, 0, 250)
    short = Utterance("short", b"\x20" * 10, 0, 10, None, "1#")
    phone = Phone([odd, short], Manners(patience_s=0.0))
    _, caller = phone.connect(0.0)
    assert caller.frame(0) == b"\x10" * 160
    assert caller.digits(0) == ""
    assert caller.frame(160) == b"\x10" * 90 + b"\xff" * 70
    assert caller.frame(320) == b"\x20" * 10 + b"\xff" * 150
    assert caller.digits(320) == "1#"
    assert [type(event) for event in caller.progress(320, 0.06)] == [CallerSpeaks, CallerStops]
    assert caller.digits(480) == ""
    assert caller.frame(480) == SILENCE


def test_a_second_stream_goes_on_with_the_same_timeline() -> None:
    talk = Talk(clip("one", ms=1000), clip("two"))
    talk.agent_says(400)
    talk.until(1.2)  # in the middle of utterance one
    ear, caller = talk.phone.connect(3.0)
    assert ear is talk.ear
    assert caller is talk.caller
    assert caller.spoken[0].end_s == pytest.approx(2.0)
    talk.frames = 150
    talk.until(4.0)
    assert talk.began() == [1.0]
    talk.agent_says(200)
    talk.until(5.0)
    assert talk.began() == [1.0, 4.8]


def test_a_second_stream_cuts_short_what_was_being_said() -> None:
    talk = Talk(clip("one", ms=1000))
    talk.agent_says(400)
    talk.until(1.2)
    _, caller = talk.phone.connect(1.3)
    assert caller.spoken[0].end_s == pytest.approx(1.3)


def test_speech_begins_and_ends_where_it_is_audible() -> None:
    tone = (np.sin(np.arange(800) * 0.5) * 8000).astype(np.int16)
    silence = np.zeros(400, np.int16)
    pcm = np.concatenate([silence, tone, silence])
    assert speech_bounds(pcm) == (400, 1200)
    assert speech_bounds(silence) == (0, 400)
    assert speech_bounds(silence[:10]) == (0, 10)
    said = utterance(pcm, "beep", interrupt_after_s=1.0, digits="5")
    assert (said.first, said.last, len(said.mulaw)) == (400, 1200, 1600)
    assert (said.text, said.interrupt_after_s, said.digits) == ("beep", 1.0, "5")


def test_the_ear_is_the_callers() -> None:
    assert isinstance(Talk().ear, Earpiece)
