"""Who picked up: a person is talked to, a machine gets the agent's message once it records, a fax is left alone."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.life import Phase
from agent.call.options import CallOptions
from tests.call.calls import Bench, say, talking

MESSAGE = "Leave this message: call us back."


def called(voicemail: str = MESSAGE) -> Bench:
    return talking(options=CallOptions(greeting="Greet the caller.", voicemail=voicemail))


def texts(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.SendText) if isinstance(command, e.SendText)]


@pytest.mark.parametrize("who", ["human", "unknown"])
def test_a_person_notices_nothing(who: str) -> None:
    bench = called()
    before = list(bench.log)
    bench.tell(e.AnsweredBy(who))  # type: ignore[arg-type]
    assert bench.log == before


def test_a_machine_that_speaks_is_said_nothing() -> None:
    bench = called()
    bench.answer(5.0, "Hello, this is")
    bench.run(0.5)
    bench.tell(e.AnsweredBy("machine_start"))
    assert bench.unplayed == 0
    bench.tell(e.AnsweredBy("machine_start"))
    bench.caller_talks(5.0)
    plays = len(bench.all(e.Play))
    bench.answer(2.0, "What a nice greeting.")
    bench.run(20.0)
    assert len(bench.all(e.Play)) == plays
    assert bench.ended(None)  # `machine_start` alone never hangs up


def test_a_machine_that_records_gets_the_message_and_then_the_call_ends() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_start"))
    bench.run(3.0)
    bench.tell(e.AnsweredBy("machine_end"))
    assert texts(bench)[-1] == MESSAGE
    bench.tell(e.AnsweredBy("machine_end"))
    assert texts(bench).count(MESSAGE) == 1
    bench.run(1.0)
    bench.answer(3.0, "Please call us back.")
    bench.run(0.5)
    bench.caller_talks(1.0)  # the machine's own noises
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    assert bench.ended(None)
    bench.run(1.0)
    assert bench.ended("voicemail")
    assert bench.machine.turns.lines(100.0)[-1].heard == "Please call us back."


def test_a_message_is_not_what_the_agent_was_saying_to_the_machine() -> None:
    bench = called()
    bench.answer(5.0, "Hello, this is", complete=False)
    bench.run(0.5)
    bench.tell(e.AnsweredBy("machine_end"))
    bench.answer(1.0, complete=False)
    bench.tell(e.TurnComplete())
    bench.answer(1.0, "Please call us back.")
    bench.run(1.5)
    bench.tell(e.TurnComplete())
    bench.run(0.1)
    assert bench.ended("voicemail")
    assert bench.machine.turns.lines(100.0)[-1].heard == "Please call us back."


def test_a_message_follows_what_was_heard_to_its_end() -> None:
    bench = called()
    say(bench, 0.4, "Hello?")
    bench.answer(1.0, "Hello, this is your dentist.")
    bench.run(1.5)
    bench.tell(e.AnsweredBy("machine_end"))
    bench.answer(1.0, "Please call us back.")
    bench.tell(e.TurnComplete())
    bench.run(1.5)
    assert [line.heard for line in bench.machine.turns.lines(100.0)][-2:] == [
        "Hello, this is your dentist.",
        "Please call us back.",
    ]


def test_a_machine_that_never_says_that_it_records_gets_the_message() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_start"))
    bench.run(29.0)
    assert MESSAGE not in texts(bench)
    bench.run(1.5)
    assert MESSAGE in texts(bench)


def test_a_model_without_a_message_does_not_keep_the_line_open() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_end"))
    bench.run(9.0)
    assert bench.ended(None)
    bench.run(2.0)
    assert bench.ended("voicemail")


def test_an_agent_without_a_message_hangs_up() -> None:
    bench = called(voicemail="")
    bench.tell(e.AnsweredBy("machine_end"))
    assert bench.ended("voicemail")


def test_a_fax_is_left_alone() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("fax"))
    assert bench.ended("fax")


def test_a_verdict_that_comes_in_the_last_words_changes_nothing() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_start"))
    bench.tell(e.EndPolitely("budget"))
    bench.tell(e.AnsweredBy("fax"))
    bench.run(1.5)
    assert bench.ended("budget")


def test_a_machine_is_put_through_to_nobody() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_start"))
    bench.tell(e.ToolCalled("1", "transfer_call", {}))
    bench.tell(e.ToolFinished("1", "transfer_call", {}, e.TransferAfterGoodbye("reception")))
    bench.run(5.0)
    assert bench.is_in(Phase.TALKING)


def test_a_call_that_ends_leaves_no_message() -> None:
    bench = called()
    bench.tell(e.AnsweredBy("machine_start"))
    bench.run(29.5)
    bench.tell(e.EndPolitely("budget"))
    bench.run(2.0)
    assert MESSAGE not in texts(bench)
    assert bench.ended("budget")
