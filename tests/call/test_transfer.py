"""A caller is put through to a person once he has heard so, and is back in the same conversation where nobody takes it."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.life import Phase
from agent.errors import Fate
from tests.call.calls import BUDGET, TROUBLE, Bench, say, talking

RECEPTION = e.TransferAfterGoodbye("reception", within=40.0)


def transferring(words: str = "I am putting you through.", seconds: float = 1.5) -> Bench:
    """The agent says that it puts the caller through."""
    bench = talking()
    say(bench, 0.6, "A person, please.")
    if words:
        bench.answer(seconds, words, complete=False)
    bench.tell(e.ToolCalled("1", "transfer_call", {"target": "reception"}))
    bench.tell(e.ToolFinished("1", "transfer_call", {"result": "ok"}, RECEPTION))
    return bench


def away() -> Bench:
    """The caller has heard it, and the provider has ended the stream that we closed."""
    bench = transferring()
    bench.tell(e.GenerationComplete())
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    assert bench.is_in(Phase.AWAY)
    bench.disconnect("closed")
    return bench


def asked(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.SendText) if isinstance(command, e.SendText)]


def test_the_caller_leaves_when_he_has_heard_that_he_is_put_through() -> None:
    bench = transferring()
    begin = bench.now
    bench.tell(e.GenerationComplete())
    bench.run(1.4)
    assert not bench.all(e.PutThrough)
    bench.run(0.2)
    bench.tell(e.TurnComplete())
    assert bench.all(e.PutThrough) == [e.PutThrough("reception")]
    assert bench.now - begin == pytest.approx(1.6, abs=0.05)
    kinds = [type(command) for _, command in bench.log]
    assert kinds.index(e.PutThrough) < kinds.index(e.HangUp)
    assert bench.machine.turns.lines(100.0)[-1].heard == "I am putting you through."
    assert bench.ended(None)


def test_a_transfer_without_a_word_waits_three_seconds_for_one() -> None:
    bench = transferring(words="")
    bench.run(2.8)
    assert not bench.all(e.PutThrough)
    bench.run(0.5)
    assert bench.all(e.PutThrough)


def test_the_announcement_may_come_after_the_tool() -> None:
    bench = transferring(words="")
    bench.run(1.0)
    bench.answer(1.5, "One moment, I am putting you through.")
    bench.run(1.3)
    assert not bench.all(e.PutThrough)
    bench.run(0.3)
    bench.tell(e.TurnComplete())
    assert bench.all(e.PutThrough)


def test_a_caller_who_has_more_to_say_stays() -> None:
    bench = transferring(seconds=3.0)
    bench.run(0.5)
    bench.caller_talks(1.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(1.5)
    bench.answer(1.0, "Of course, what else?")
    bench.run(1.2)
    bench.tell(e.TurnComplete())
    bench.run(10.0)
    assert bench.is_in(Phase.TALKING)
    assert not bench.all(e.PutThrough)


def test_an_interrupted_announcement_puts_through_where_nobody_has_more_to_say() -> None:
    bench = transferring(seconds=3.0)
    bench.run(0.5)
    bench.caller_talks(0.4)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(5.0)
    assert bench.all(e.PutThrough) == [e.PutThrough("reception")]


def test_a_caller_who_says_goodbye_instead_is_not_put_through() -> None:
    bench = transferring(seconds=3.0)
    bench.run(0.5)
    bench.caller_talks(1.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.tell(e.ToolCalled("2", "end_call", {}))
    bench.tell(e.ToolFinished("2", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(5.0)
    assert bench.ended("agent_hung_up")
    assert not bench.all(e.PutThrough)


def test_a_model_that_also_ends_the_call_does_not_keep_the_caller_from_the_person() -> None:
    bench = transferring()
    bench.tell(e.ToolCalled("2", "end_call", {}))
    bench.tell(e.ToolFinished("2", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.GenerationComplete())
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    assert bench.all(e.PutThrough)
    assert bench.ended(None)


def test_a_transfer_that_comes_in_the_last_words_is_none() -> None:
    bench = talking()
    bench.answer(1.0, "Goodbye.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.ToolCalled("2", "transfer_call", {}))
    bench.tell(e.ToolFinished("2", "transfer_call", {}, RECEPTION))
    bench.tell(e.GenerationComplete())
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    assert bench.ended("agent_hung_up")


def test_a_line_that_breaks_in_the_announcement_puts_the_caller_through() -> None:
    bench = transferring(seconds=3.0)
    bench.run(0.5)
    bench.disconnect("closed")
    assert bench.all(e.PutThrough) == [e.PutThrough("reception")]
    assert bench.is_in(Phase.AWAY)


def test_a_caller_who_hangs_up_in_the_announcement_has_hung_up() -> None:
    bench = transferring(seconds=3.0)
    bench.run(0.5)
    bench.disconnect("stopped")
    assert bench.ended("caller_hung_up")


def test_nothing_of_ours_happens_while_the_caller_is_away() -> None:
    bench = away()
    before = len(bench.log)
    bench.tell(e.LineEnded("stopped"))
    bench.tell(e.ModelAudio(e.Pcm24k(bytes(4800))))
    bench.run(30.0)
    assert len(bench.log) == before
    assert bench.ended(None)


def test_a_transfer_that_was_taken_ends_the_call_as_transferred() -> None:
    bench = away()
    hang_ups = len(bench.all(e.HangUp))
    bench.run(5.0)
    bench.tell(e.TransferEnded("connected"))
    assert bench.ended("transferred")
    assert bench.all(e.CloseModel)
    assert len(bench.all(e.HangUp)) == hang_ups + 1  # of a stream that is closed; no leg is ended


def test_a_transfer_that_nobody_says_has_failed_was_taken() -> None:
    bench = away()
    bench.run(41.0)
    assert bench.ended("transferred")


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("busy", "the line is busy"),
        ("no_answer", "nobody answered"),
        ("declined", "nobody there took the call"),
        ("failed", "the call could not be connected"),
    ],
)
def test_a_caller_nobody_takes_is_back_in_the_same_conversation(outcome: str, why: str) -> None:
    bench = away()
    bench.run(20.0)
    bench.tell(e.TransferEnded(outcome))  # type: ignore[arg-type]
    assert why in asked(bench)[-1]
    bench.answer(1.0, "I am sorry, nobody is there.")
    bench.run(0.3)
    before = len(bench.all(e.Play))
    bench.connect(2)
    assert len(bench.all(e.Play)) > before  # at once: the words were in hand
    bench.run(1.2)
    bench.tell(e.TurnComplete())
    bench.run(3.0)
    assert bench.is_in(Phase.TALKING)
    assert len(bench.all(e.OpenModel)) == 1  # the same session
    assert bench.machine.turns.lines(100.0)[-1].heard == "I am sorry, nobody is there."
    bench.run(60.0)
    assert not bench.ended("transferred")


def test_a_caller_who_is_not_brought_back_is_given_up() -> None:
    bench = away()
    bench.tell(e.TransferEnded("busy"))
    bench.run(11.0)
    assert bench.ended("line_lost")


def test_what_a_transfer_came_to_is_told_once() -> None:
    bench = away()
    bench.tell(e.TransferEnded("busy"))
    bench.tell(e.TransferEnded("busy"))
    assert len([text for text in asked(bench) if "busy" in text]) == 1


def test_a_model_that_goes_meanwhile_is_replaced_and_says_nothing() -> None:
    bench = away()
    texts = len(asked(bench))
    bench.tell(e.ModelEnded(Fate.RESUME, 1011, "gone"))
    bench.run(0.1)
    assert len(bench.all(e.OpenModel)) == 2
    bench.tell(e.ModelReady(0.2))
    bench.run(1.0)
    assert len(asked(bench)) == texts
    bench.tell(e.TransferEnded("no_answer"))
    assert "nobody answered" in asked(bench)[-1]


def test_a_model_that_goes_in_the_announcement_does_not_stop_it() -> None:
    bench = transferring()
    bench.tell(e.GenerationComplete())
    bench.tell(e.ModelEnded(Fate.RESUME, 1011, "gone"))
    bench.run(2.0)
    assert bench.all(e.PutThrough)


def test_a_caller_who_comes_back_to_no_model_hears_why() -> None:
    bench = away()
    bench.tell(e.ModelEnded(Fate.FATAL, 1008, "quota"))
    assert bench.is_in(Phase.AWAY)
    bench.tell(e.TransferEnded("busy"))
    bench.connect(2)
    bench.run(1.5)
    assert bench.ended("model_lost")
    assert bench.machine.turns.lines(100.0)[-1].heard == TROUBLE.text


def test_a_person_who_takes_the_caller_is_none_of_our_time() -> None:
    bench = transferring(seconds=3.0)
    bench.tell(e.EndPolitely("budget"))
    bench.run(4.0)
    assert bench.all(e.PutThrough)
    bench.tell(e.TransferEnded("connected"))
    assert bench.ended("transferred")


def test_a_call_that_must_end_ends_politely() -> None:
    bench = talking()
    bench.tell(e.EndPolitely("budget"))
    bench.run(1.5)
    assert bench.ended("budget")
    assert bench.machine.turns.lines(100.0)[-1].heard == BUDGET.text


def test_a_provider_that_says_the_call_is_over_is_believed() -> None:
    bench = away()
    bench.tell(e.CallAbandoned("caller_hung_up"))
    assert bench.ended("caller_hung_up")


def test_a_goodbye_that_is_said_before_the_caller_is_back_ends_the_call_once_he_heard_it() -> None:
    bench = away()
    bench.tell(e.TransferEnded("busy"))
    bench.answer(1.0, "Nobody is there. Goodbye.", complete=False)
    bench.tell(e.ToolCalled("2", "end_call", {}))
    bench.tell(e.ToolFinished("2", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.GenerationComplete())
    bench.run(0.5)
    assert bench.ended(None)
    bench.connect(2)
    bench.run(0.9)
    assert bench.ended(None)
    bench.run(0.2)
    bench.tell(e.TurnComplete())
    assert bench.ended("agent_hung_up")
    assert bench.machine.turns.lines(100.0)[-1].heard == "Nobody is there. Goodbye."


def test_what_a_model_out_of_its_mind_wants_while_nobody_is_there_is_bounded() -> None:
    bench = away()
    bench.tell(e.TransferEnded("busy"))
    for n in range(9):
        bench.tell(e.ToolCalled(f"k{n}", "send_digits", {"digits": str(n)}))
        bench.tell(e.ToolFinished(f"k{n}", "send_digits", {}, e.PressKeys(str(n))))
    bench.tell(e.TurnComplete())
    bench.connect(2)
    bench.run(3.0)
    pressed = [line for line in bench.machine.turns.lines(100.0) if line.text == "(keys)"]
    assert sum((line.end or 0.0) - (line.start or 0.0) for line in pressed) == pytest.approx(
        1.6, abs=0.05
    )
