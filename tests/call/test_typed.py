"""A caller who writes: written words reach the model at once, stop the agent as spoken ones do, and no session forgets them."""

from __future__ import annotations

from agent import events as e
from agent.call.life import Phase
from agent.errors import Fate
from tests.call.calls import Bench, say, talking

QUESTION = "When do you open?"


def texts(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.SendText) if isinstance(command, e.SendText)]


def greeted() -> Bench:
    bench = talking()
    bench.answer(0.5, "Front desk.")
    bench.tell(e.TurnComplete())
    bench.run(1.0)
    return bench


def test_written_words_are_sent_and_stand_in_the_record() -> None:
    bench = greeted()
    bench.tell(e.CallerTyped(QUESTION))
    assert texts(bench)[-1] == QUESTION
    bench.run(0.7)
    bench.answer(1.0, "At eight.")
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    *_, asked, answered = bench.machine.turns.lines(0.0)
    assert (asked.who, asked.text) == ("caller", QUESTION)
    assert (answered.who, answered.text, answered.cut) == ("agent", "At eight.", False)
    latency = bench.machine.turns.all[-1].latency()
    assert latency.latency_ms is not None
    assert 700 <= latency.latency_ms <= 720
    assert bench.machine.turns.typed == ""


def test_they_stop_a_reply_that_is_being_generated_and_the_rest_of_it_is_refused() -> None:
    bench = greeted()
    say(bench, 0.5, "Tell me everything.")
    bench.run(0.3)
    bench.answer(3.0, "First of all", complete=False)
    bench.run(0.5)
    bench.tell(e.CallerTyped("Stop."))
    assert bench.unplayed == 0
    bench.tell(e.ModelAudio(e.Pcm24k(b"\1\0" * 24000)))
    bench.tell(e.Interrupted())
    bench.run(0.2)
    assert bench.unplayed == 0
    assert bench.machine.metrics.refused_ms == 1000
    bench.tell(e.TurnComplete())
    bench.answer(1.0, "Very well.")
    bench.run(0.3)
    assert bench.unplayed > 0
    assert bench.machine.metrics.barge_ins == 1


def test_they_stop_a_reply_that_is_still_being_heard() -> None:
    bench = greeted()
    bench.answer(3.0, "You can park behind the building.")
    bench.run(0.5)
    bench.tell(e.CallerTyped("Thanks."))
    assert bench.unplayed == 0
    assert bench.machine.turns.all[-1].cut


def test_a_session_that_is_still_to_come_is_told_what_nobody_answered() -> None:
    bench = greeted()
    bench.tell(e.ModelHandle("h", resumable=True))
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    before = len(texts(bench))
    bench.tell(e.CallerTyped(QUESTION))
    bench.tell(e.CallerTyped("Hello?"))
    assert len(texts(bench)) == before
    bench.run(1.0)
    bench.tell(e.ModelReady(0.3))
    assert texts(bench)[before:] == [f"{QUESTION}\nHello?"]


def test_a_model_that_does_not_answer_is_told_again() -> None:
    bench = greeted()
    bench.tell(e.CallerTyped(QUESTION))
    bench.run(4.5)
    assert texts(bench).count(QUESTION) == 2


def test_a_goodbye_that_they_cut_is_none() -> None:
    bench = greeted()
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.answer(2.0, "Goodbye.")
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(0.3)
    assert bench.is_in(Phase.ENDING)
    bench.tell(e.CallerTyped("Wait, one more thing."))
    assert bench.is_in(Phase.TALKING)
    assert texts(bench)[-1] == "Wait, one more thing."


def test_our_own_last_words_stand_and_a_caller_who_is_not_there_writes_nothing() -> None:
    bench = greeted()
    bench.tell(e.EndPolitely("budget"))
    bench.run(0.2)
    bench.tell(e.CallerTyped("Wait!"))
    assert bench.is_in(Phase.ENDING)
    assert "Wait!" not in texts(bench)
    away = greeted()
    away.disconnect("closed")
    away.tell(e.CallerTyped("Is anybody there?"))
    assert "Is anybody there?" not in texts(away)
