"""A resumed session that has forgotten the call is found out by its first bill or its first words, and replaced by one that is told."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from agent import events as e
from agent.call.memory import COMPRESSED, LEAST, SHARE, Memory
from agent.call.model_leg import LegOptions
from agent.call.options import CallOptions
from agent.errors import Fate
from tests.call.calls import Bench, say, talking

GREETING = "Hello, this is Harbour Dental. How can I help you today?"


def bill(prompt: int, audio: int | None = None) -> e.ModelUsage:
    by = {} if audio is None else {"TEXT": prompt - audio, "AUDIO": audio}
    return e.ModelUsage(prompt=prompt, response=10, total=prompt + 10, prompt_by=by)


# ---- what shows it


@pytest.mark.parametrize(
    ("before", "after", "forgotten"),
    [
        (bill(3100, 2758), bill(690, 351), True),  # as it was seen
        (bill(3100, 2758), bill(3200, 2858), False),
        (bill(2758), bill(351), True),  # where the modality is not told
        (bill(24_900, 24_000), bill(8_000, 7_000), False),  # compressed meanwhile
        (bill(24_900, 24_000), bill(1_500, 1_000), True),
        (bill(LEAST - 1), bill(20), False),  # too little to tell anything from
        (bill(4_000), bill(0), False),  # that bill has no figure
    ],
)
def test_tokens_that_collapse(before: e.ModelUsage, after: e.ModelUsage, forgotten: bool) -> None:
    memory = Memory()
    memory.billed(before)
    memory.opened(resumed=True)
    assert memory.billed(after) is forgotten


def test_only_the_first_bill_of_a_resumed_session_is_judged() -> None:
    memory = Memory()
    memory.billed(bill(3000))
    memory.opened(resumed=False)
    assert not memory.billed(bill(300))
    memory.billed(bill(3000))
    memory.opened(resumed=True)
    assert not memory.billed(bill(2900))
    assert not memory.billed(bill(300))


@pytest.mark.parametrize(
    ("said", "forgotten"),
    [
        ([GREETING], True),
        (["Hello, this", " is har", "bour dental; how can I hel", "p out?"], True),
        (["Hello, this is Harbour Dental. Goodbye!"], False),
        (["We open at eight. Hello, this is Harbour Dental. How can I help you today?"], False),
        (["Hello, this is Harbour"], False),
    ],
)
def test_a_greeting_in_the_middle_of_a_call(said: list[str], forgotten: bool) -> None:
    memory = Memory()
    memory.opened(resumed=True)
    assert any(memory.said(text, GREETING) for text in said) is forgotten


def test_a_greeting_of_hardly_a_word_tells_nothing() -> None:
    memory = Memory()
    memory.opened(resumed=True)
    assert not memory.said("Yes, hello?", "Yes, hello?")
    memory.opened(resumed=True)
    assert not memory.said("Yes?", "")


@given(st.lists(st.integers(1, 130_000), max_size=8), st.booleans())
def test_a_session_that_keeps_a_quarter_remembers(tokens: list[int], resumed: bool) -> None:
    memory = Memory()
    for before, after in zip(tokens, tokens[1:], strict=False):
        memory.billed(bill(before))
        memory.opened(resumed=resumed)
        forgotten = memory.billed(bill(after))
        assert not (forgotten and (after >= before * SHARE or after >= COMPRESSED * SHARE))
        assert not (forgotten and not resumed)


# ---- what is done about it


def resumed() -> Bench:
    """A call that was greeted, has had one exchange, and has just been resumed."""
    bench = talking()
    bench.machine.turns.all[0].agent = GREETING
    say(bench, 1.0, "When do you open?")
    bench.answer(1.0, "At eight.")
    bench.run(1.3)
    bench.tell(e.TurnComplete())
    bench.tell(bill(900, 600))
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.run(1.0)
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    bench.run(0.4)
    bench.tell(e.ModelReady(0.4))
    bench.tell(e.ModelHandle("h2", resumable=True))
    bench.run(0.5)
    return bench


def opened(bench: Bench) -> list[e.OpenModel]:
    return [each for each in bench.all(e.OpenModel) if isinstance(each, e.OpenModel)]


def told_again(bench: Bench) -> e.OpenModel:
    """The session that was opened because another had forgotten."""
    assert bench.machine.metrics.forgotten == 1
    assert len(opened(bench)) == 3
    assert [each.text for each in bench.all(e.Tell) if isinstance(each, e.Tell)][-1].startswith(
        "the resumed session had forgotten"
    )
    return opened(bench)[-1]


def test_a_bill_before_the_first_word_keeps_the_caller_from_hearing_anything_of_it() -> None:
    bench = resumed()
    say(bench, 1.0, "And on Sundays?")
    heard = len(bench.heard)
    bench.tell(bill(40))
    session = told_again(bench)
    assert session.handle == ""
    assert session.memory.splitlines() == [
        f"You: {GREETING}",
        "Caller: When do you open?",
        "You: At eight.",
        "Caller: And on Sundays?",
    ]
    bench.run(0.5)
    bench.tell(e.ModelReady(0.5))
    since = bench.now
    bench.run(1.5)
    up = [each for at, each in bench.log if at >= since and isinstance(each, e.SendAudio)]
    assert sum(each.pcm.seconds for each in up) > 2.5  # his words come again: they have no answer
    assert len(bench.heard) == heard
    bench.tell(bill(300))  # a fresh session is not judged
    bench.answer(1.0, "We are closed.")
    bench.run(1.5)
    assert len(opened(bench)) == 3
    assert [turn.agent for turn in bench.machine.turns.all][-1] == "We are closed."


def test_a_caller_who_waits_for_the_second_session_too_is_told_that_it_takes_a_moment() -> None:
    bench = resumed()
    say(bench, 1.0, "And on Sundays?")
    bench.tell(bill(40))
    bench.run(3.0)
    assert bench.machine.turns.all[-1].agent == "One moment, please."


def test_a_second_greeting_is_cut_short() -> None:
    bench = resumed()
    say(bench, 1.0, "And on Sundays?")
    bench.tell(e.ModelAudio(e.Pcm24k(bytes(range(1, 251)) * 480), audible=True))
    bench.run(0.4)
    bench.tell(e.AgentSaid(GREETING))
    assert told_again(bench).handle == ""
    assert bench.unplayed == 0
    bench.run(0.5)
    bench.tell(e.ModelReady(0.5))
    since = bench.now
    bench.run(1.5)
    up = [each for at, each in bench.log if at >= since and isinstance(each, e.SendAudio)]
    assert sum(each.pcm.seconds for each in up) > 2.5


def test_a_second_greeting_that_was_generated_whole_is_cut_too_and_the_question_put_in_words() -> (
    None
):
    bench = resumed()
    say(bench, 1.0, "And on Sundays?")
    bench.answer(4.0)
    bench.run(0.4)
    bench.tell(e.AgentSaid(GREETING))
    assert "Caller: And on Sundays?" in told_again(bench).memory
    assert bench.unplayed == 0
    bench.tell(e.ModelReady(0.5))
    bench.run(0.1)
    (last,) = bench.all(e.SendText)[-1:]
    assert last == e.SendText(CallOptions(greeting="").go_on)


def test_a_bill_after_the_answer_costs_the_caller_nothing_of_it() -> None:
    bench = resumed()
    say(bench, 1.0, "And on Sundays?")
    bench.answer(2.0, "We are closed.")
    bench.run(1.0)
    bench.tell(e.TurnComplete())
    bench.tell(bill(40))
    assert told_again(bench).handle == ""
    bench.tell(e.ModelReady(0.5))
    bench.run(2.0)
    turn = bench.machine.turns.all[-1]
    assert not turn.cut
    assert len(bench.all(e.SendText)) == 1  # the greeting: nobody waits for anything


def test_in_the_last_words_nothing_is_done_about_it() -> None:
    bench = resumed()
    bench.answer(2.0, "Goodbye.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(bill(40))
    assert len(opened(bench)) == 2
    assert bench.machine.metrics.forgotten == 0


def test_words_whose_sound_never_came_are_not_the_next_answers() -> None:
    bench = talking(options=CallOptions(greeting="Greet.", leg=LegOptions()))
    say(bench, 1.0, "When do you open?")
    bench.tell(e.AgentSaid("At ei"))
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    bench.tell(e.ModelReady(0.3))
    bench.run(1.0)
    bench.answer(1.0, "At eight.")
    assert bench.machine.turns.all[-1].agent == "At eight."
