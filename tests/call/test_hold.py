"""On hold the model hears silence, nobody asks whether anybody is there, and it comes to an end."""

from __future__ import annotations

from agent import events as e
from agent.call.conduct import hearing
from agent.call.life import Phase
from agent.call.options import CallOptions
from tests.call.calls import Bench, talking


def held(*, for_caller: bool = False) -> Bench:
    bench = talking()
    bench.tell(e.ToolCalled("1", "hold", {}))
    bench.tell(e.ToolFinished("1", "hold", {}, e.HoldCall(60.0, for_caller)))
    bench.run(0.5)
    return bench


def texts(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.SendText) if isinstance(command, e.SendText)]


def own_words(bench: Bench) -> list[str]:
    return [turn.agent for turn in bench.machine.turns.all if turn.own]


def loudest(bench: Bench, since: int) -> int:
    sent = [c.pcm for c in bench.all(e.SendAudio)[since:] if isinstance(c, e.SendAudio)]
    return max(max(memoryview(pcm).cast("h")) for pcm in sent)


def test_the_model_hears_silence_and_nobody_is_asked_for() -> None:
    bench = held()
    since = len(bench.all(e.SendAudio))
    bench.caller_talks(1.0)
    bench.run(18.0)
    assert not own_words(bench)
    bench.run(22.0)
    assert loudest(bench, since) == 0
    assert len(bench.all(e.SendAudio)) - since > 1900  # silence is sent: it keeps the session
    assert bench.is_in(Phase.TALKING)


def test_whoever_is_held_hears_now_and_then_that_it_takes_a_moment() -> None:
    bench = held()
    bench.run(19.0)
    assert own_words(bench) == []
    bench.run(2.0)
    assert own_words(bench) == [bench.machine.own.moment.text]
    bench.run(20.0)
    assert len(own_words(bench)) == 2
    bench.tell(e.ToolCalled("2", "resume", {}))
    bench.tell(e.ToolFinished("2", "resume", {}, e.ResumeCall()))
    bench.answer(40.0, "Here I am.")
    bench.run(30.0)
    assert len(own_words(bench)) == 2


def test_a_caller_who_asked_for_the_hold_is_left_in_peace() -> None:
    bench = held(for_caller=True)
    bench.run(55.0)
    assert own_words(bench) == []


def test_a_hold_that_the_caller_asks_to_go_on_with_is_quiet_from_then_on() -> None:
    bench = held()
    bench.tell(e.ToolCalled("2", "hold", {}))
    bench.tell(e.ToolFinished("2", "hold", {}, e.HoldCall(60.0, for_caller=True)))
    bench.run(55.0)
    assert own_words(bench) == []


def test_the_agent_resumes() -> None:
    bench = held()
    bench.tell(e.ToolCalled("2", "resume", {}))
    bench.tell(e.ToolFinished("2", "resume", {}, e.ResumeCall()))
    since = len(bench.all(e.SendAudio))
    bench.caller_talks(0.5)
    bench.run(0.5)
    assert loudest(bench, since) > 1000
    bench.run(60.0)
    assert not [text for text in texts(bench) if "hold" in text]


def test_a_hold_ends_when_it_has_lasted_long_enough() -> None:
    bench = held()
    bench.run(58.0)
    assert "hold" not in texts(bench)[-1]
    bench.run(2.0)
    assert "The hold is over" in texts(bench)[-1]


def test_a_caller_who_asked_for_it_ends_it_by_speaking() -> None:
    bench = held(for_caller=True)
    bench.caller_talks(0.4)
    bench.run(1.0)
    assert "hold" not in texts(bench)[-1]
    bench.caller_talks(1.0)
    bench.run(1.0)
    assert "The hold is over" in texts(bench)[-1]


def test_a_key_ends_it_too() -> None:
    bench = held()
    bench.tell(e.LineDigit("1"))
    bench.run(1.0)
    assert "pressed: 1" in texts(bench)[-1]
    since = len(bench.all(e.SendAudio))
    bench.caller_talks(0.5)
    bench.run(0.5)
    assert loudest(bench, since) > 1000


def test_a_call_that_ends_is_not_held() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("2", "end_call", {}))
    bench.answer(2.0, "Goodbye.")
    bench.tell(e.ToolFinished("2", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.ToolCalled("1", "hold", {}))
    bench.tell(e.ToolFinished("1", "hold", {}, e.HoldCall(60.0)))
    bench.tell(e.TurnComplete())
    bench.run(3.0)
    assert bench.ended("agent_hung_up")


# ---- the caller's side holds the call


def held_by_the_caller() -> Bench:
    bench = talking(options=CallOptions(greeting="Greet the caller.", held_within=60.0))
    bench.tell(e.LineHeld(on=True))
    return bench


def test_a_call_that_is_held_hears_silence_whatever_the_music() -> None:
    bench = held_by_the_caller()
    since = len(bench.all(e.SendAudio))
    bench.caller_talks(2.0)
    bench.run(40.0)
    assert loudest(bench, since) == 0
    assert len(bench.all(e.SendAudio)) - since > 1900
    assert not any(turn.own for turn in bench.machine.turns.all)
    assert bench.is_in(Phase.TALKING)


def test_what_is_said_into_a_hold_is_heard_after_it() -> None:
    bench = held_by_the_caller()
    played = len(bench.all(e.Play))
    bench.answer(1.0)
    bench.run(30.0)
    assert len(bench.all(e.Play)) == played
    bench.tell(e.LineHeld(on=False))
    bench.run(2.0)
    heard = [c.pcm.seconds for c in bench.all(e.Play)[played:] if isinstance(c, e.Play)]
    assert sum(heard) >= 1.0


def test_a_hold_takes_back_what_the_line_has_not_played() -> None:
    bench = talking()
    bench.answer(3.0)
    bench.run(0.5)
    bench.tell(e.LineHeld(on=True))
    assert len(bench.all(e.Clear)) == 1
    bench.tell(e.LineHeld(on=True))  # told twice
    assert len(bench.all(e.Clear)) == 1


def test_a_caller_who_does_not_come_back_from_hold_is_given_up() -> None:
    bench = held_by_the_caller()
    bench.run(59.0)
    assert bench.is_in(Phase.TALKING)
    bench.run(2.0)
    assert bench.machine.reason == "held_too_long"


def test_a_held_line_that_ends_is_held_no_more() -> None:
    bench = held_by_the_caller()
    bench.tell(e.LineEnded("stopped"))
    assert bench.machine.reason == "caller_hung_up"


def test_nobody_holds_a_call_that_rings() -> None:
    bench = talking()
    bench.tell(e.LineEnded("closed"))  # parked
    bench.tell(e.LineHeld(on=True))
    bench.tell(e.LineStarted(2))
    bench.answer(1.0)
    bench.run(1.5)
    assert bench.all(e.Play)


def test_whoever_holds_the_line_himself_is_not_told_that_it_takes_a_moment() -> None:
    bench = held()
    bench.tell(e.LineHeld(on=True))
    bench.run(40.0)
    assert not any(turn.own for turn in bench.machine.turns.all)


def test_a_hold_ends_a_voice_that_nobody_has_confirmed() -> None:
    bench = talking()
    call = bench.machine._call
    bench.answer(3.0)
    bench.run(0.5)
    hearing.stop(call, 0.0, bench.now)
    bench.tell(e.LineHeld(on=True))
    assert call.local.stop is None
    bench.tell(e.LineHeld(on=False))
    before = len(bench.all(e.Play))
    bench.run(1.0)
    assert len(bench.all(e.Play)) > before
