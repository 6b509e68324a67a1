"""The model is told what was heard of a reply that was cut, and loses no answer by it."""

from __future__ import annotations

from agent import events as e
from agent.call.heard_truth import HeardTruth
from agent.call.options import CallOptions
from agent.errors import Fate
from tests.call.calls import Bench, say, talking

OPTIONS = CallOptions(greeting="Greet the caller.", tells_heard=True)
HEARD = '(You were interrupted. Of that answer the caller heard only: "You can park")'


def notes(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.SendNote) if isinstance(command, e.SendNote)]


def interrupted(options: CallOptions = OPTIONS) -> Bench:
    """A reply of 5 s is cut after 1.5 s; the caller has said 0.3 s and goes on for 0.7 s."""
    bench = talking(options=options)
    say(bench, 0.6, "Where can I park?")
    bench.answer(5.0, "You can park right behind the building.", complete=False)
    bench.run(1.2)
    bench.caller_talks(1.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    return bench


def test_the_model_is_told_while_the_caller_is_in_the_middle_of_a_word() -> None:
    bench = interrupted()
    bench.run(0.1)
    assert notes(bench) == []  # its turn is not complete yet
    bench.tell(e.TurnComplete())
    assert notes(bench) == [HEARD]
    bench.run(5.0)
    assert notes(bench) == [HEARD]


def test_not_after_the_words_for_its_answer_may_be_on_the_way() -> None:
    bench = interrupted()
    bench.run(0.9)
    bench.tell(e.TurnComplete())
    bench.run(0.7)
    assert notes(bench) == []
    bench.answer(1.0, "It is free.", complete=False)
    bench.run(1.5)
    assert notes(bench) == []
    bench.tell(e.TurnComplete())
    bench.run(4.0)
    assert notes(bench) == []
    bench.run(1.0)
    assert notes(bench) == [HEARD]  # an idle moment


def test_not_while_a_tool_runs_or_has_just_been_answered() -> None:
    bench = interrupted()
    bench.run(0.9)
    bench.tell(e.TurnComplete())
    bench.answer(1.0, "Let me see.")
    bench.tell(e.ToolCalled("1", "slow", {}))
    bench.tell(e.TurnComplete())
    bench.run(6.0)
    assert notes(bench) == []
    bench.tell(e.ToolFinished("1", "slow", {"result": 1}))
    bench.run(2.0)
    assert notes(bench) == []


def test_a_reply_of_which_nothing_was_heard() -> None:
    bench = talking(options=OPTIONS)
    say(bench, 0.6, "Where can I park?")
    bench.caller_talks(1.0)
    bench.run(0.2)
    bench.answer(5.0, "You can park right behind the building.", complete=False)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(0.1)
    assert notes(bench) == ["(You were interrupted. Of that answer the caller heard nothing.)"]


def test_a_reply_whose_words_have_not_come() -> None:
    bench = talking(options=OPTIONS)
    say(bench, 0.6, "Where can I park?")
    bench.answer(5.0, complete=False)
    bench.run(1.0)
    bench.caller_talks(1.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    assert notes(bench) == [
        "(You were interrupted. Of that answer the caller heard only the beginning.)"
    ]


def test_a_fresh_session_knows_it_from_its_memory() -> None:
    bench = interrupted()
    bench.tell(e.ModelEnded(Fate.FRESH, 1007, "lost"))
    bench.tell(e.ModelReady(0.2))
    bench.run(9.0)
    assert notes(bench) == []


def test_a_resumed_session_is_told_later() -> None:
    bench = talking(options=OPTIONS)
    bench.tell(e.ModelHandle("h1", resumable=True))
    say(bench, 0.6, "Where can I park?")
    bench.answer(5.0, "You can park right behind the building.", complete=False)
    bench.run(1.2)
    bench.caller_talks(2.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, "lost"))
    bench.run(0.3)
    assert notes(bench) == []
    bench.tell(e.ModelReady(0.3))
    bench.run(1.5)
    assert notes(bench) == [HEARD]


def test_a_model_whose_row_allows_no_notes_is_told_nothing() -> None:
    bench = interrupted(CallOptions(greeting="Greet the caller."))
    bench.tell(e.TurnComplete())
    bench.run(9.0)
    assert notes(bench) == []


def test_what_was_not_cut_is_not_told() -> None:
    truth = HeardTruth(tells=True)
    truth.cut(None)
    assert not truth.pending
    assert truth.note(in_word=True, idle=True) == ""
