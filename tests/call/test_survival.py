"""What the caller notices when a session ends in the middle of the call: as little as can be."""

from __future__ import annotations

import itertools

import pytest

from agent import events as e
from agent.call.life import Phase
from agent.call.model_leg import STATES, Leg, LegOptions, ModelLeg, Move
from agent.call.options import CallOptions
from agent.call.tool_calls import ToolCalls
from agent.errors import Fate
from tests.call.calls import Bench, say, talking


def sessions(bench: Bench) -> list[e.OpenModel]:
    return [command for command in bench.all(e.OpenModel) if isinstance(command, e.OpenModel)]


def spoken_up(bench: Bench, since: float) -> float:
    """Seconds of sound that went to the model since then."""
    return sum(
        command.pcm.seconds
        for at, command in bench.log
        if at >= since and isinstance(command, e.SendAudio)
    )


def lose(bench: Bench, fate: Fate = Fate.RESUME, code: int | None = 1006) -> None:
    bench.tell(e.ModelEnded(fate, code, "lost"))


def test_a_call_opens_its_session_while_the_phone_rings() -> None:
    assert sessions(Bench()) == [e.OpenModel()]


def test_a_lost_session_is_resumed_at_once_from_its_last_snapshot() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.ModelHandle("", resumable=False))
    begin = bench.now
    lose(bench)
    assert sessions(bench)[-1] == e.OpenModel(handle="h1")
    assert bench.log[-1][0] == begin
    bench.run(0.4)
    bench.tell(e.ModelReady(0.4))
    bench.run(0.3)
    assert bench.is_in(Phase.TALKING)
    assert len(bench.all(e.SendText)) == 1  # the greeting, once
    assert bench.machine.metrics.dropped_up_ms == 0


def test_what_the_caller_says_meanwhile_is_heard_by_the_next_session() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    lose(bench)
    bench.caller_talks(1.0)
    bench.run(1.5)
    bench.tell(e.ModelReady(1.5))
    since = bench.now
    bench.run(1.5)
    assert spoken_up(bench, since) == pytest.approx(3.0, abs=0.05)


def test_an_utterance_in_progress_is_heard_again_from_its_start() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.run(5.0)
    bench.caller_talks(2.0)
    bench.run(1.0)
    lose(bench)
    bench.run(0.5)
    bench.tell(e.ModelReady(0.5))
    since = bench.now
    bench.run(2.0)
    # one second before the loss with its lead-in, half a second meanwhile, two since
    assert spoken_up(bench, since) == pytest.approx(1.0 + 0.3 + 0.5 + 2.0, abs=0.1)


def test_a_stale_handle_costs_the_caller_no_word() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.run(5.0)
    bench.caller_talks(2.0)
    bench.run(1.0)
    lose(bench)
    bench.run(0.3)
    lose(bench, Fate.FRESH, 1008)
    assert sessions(bench)[-1].handle == ""
    bench.run(0.3)
    bench.tell(e.ModelReady(0.3))
    since = bench.now
    bench.run(2.0)
    assert spoken_up(bench, since) == pytest.approx(1.0 + 0.3 + 0.6 + 2.0, abs=0.15)


def test_words_that_are_heard_again_are_written_down_once() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.caller_talks(1.0)
    bench.run(1.2)
    bench.tell(e.CallerSaid("When do"))
    lose(bench)
    bench.run(0.5)
    bench.tell(e.ModelReady(0.5))
    bench.run(1.0)
    bench.tell(e.CallerSaid("When do you open?"))
    bench.answer(1.0, "At eight.")
    lines = [line.text for line in bench.machine.turns.lines(0.0) if line.who == "caller"]
    assert lines == ["When do you open?"]


def test_an_answered_utterance_is_not_heard_again() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    bench.answer(1.0, "At eight.")
    bench.run(1.2)
    bench.tell(e.TurnComplete())
    lose(bench)
    bench.tell(e.ModelReady(0.3))
    since = bench.now
    bench.run(1.0)
    assert spoken_up(bench, since) == pytest.approx(1.0, abs=0.05)


def test_turns_since_the_snapshot_are_told_in_words() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    say(bench, 1.0, "When do you open?")
    bench.answer(1.0, "At eight.")
    bench.run(1.2)
    bench.tell(e.TurnComplete())
    lose(bench)
    assert sessions(bench)[-1] == e.OpenModel("h1", "Caller: When do you open?\nYou: At eight.")


def test_a_session_without_a_snapshot_is_told_the_whole_call() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    lose(bench)
    memory = "You: Hello, how can I help?\nCaller: When do you open?"
    assert sessions(bench)[-1] == e.OpenModel("", memory)


def test_an_answer_that_broke_off_is_given_again() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    say(bench, 1.0, "When do you open?")
    bench.answer(0.5, "We open", complete=False)
    bench.run(0.3)
    lose(bench)
    bench.run(0.4)
    bench.tell(e.ModelReady(0.4))
    since = bench.now
    bench.run(1.0)
    assert spoken_up(bench, since) > 2.0
    assert len(bench.all(e.SendText)) == 1


def test_a_session_is_asked_to_go_on_where_the_sound_cannot_be_sent_again() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    lose(bench, Fate.FRESH, 1007)
    bench.tell(e.ModelReady(0.4))
    bench.run(0.1)
    assert bench.all(e.SendText)[-1] == e.SendText(CallOptions(greeting="").go_on)
    assert sessions(bench)[-1].handle == ""


def test_a_second_bad_message_within_half_a_minute_ends_the_call_politely() -> None:
    bench = talking()
    lose(bench, Fate.FRESH, 1007)
    bench.tell(e.ModelReady(0.4))
    bench.run(20.0)
    lose(bench, Fate.FRESH, 1007)
    bench.run(1.3)
    assert bench.ended("model_lost")


def test_but_not_a_minute_later() -> None:
    bench = talking()
    lose(bench, Fate.FRESH, 1007)
    bench.tell(e.ModelReady(0.4))
    bench.run(31.0)
    lose(bench, Fate.FRESH, 1007)
    assert bench.is_in(Phase.TALKING)


def test_attempts_back_off_and_share_ten_seconds() -> None:
    bench = talking()
    begin = bench.now
    opened: list[e.OpenModel] = []
    while bench.is_in(Phase.TALKING):
        if len(sessions(bench)) > len(opened):
            opened = sessions(bench)
            lose(bench, Fate.RESUME, None)
        bench.run(0.005)
    # at once, then after 0.5, 1, 2 and 4 s; another 4 s would be too late
    assert len(opened) - 1 == 5
    assert bench.now - begin < 10.1
    bench.run(1.3)
    assert bench.ended("model_lost")


def test_a_session_that_never_gets_ready_is_given_up_after_ten_seconds() -> None:
    bench = talking()
    begin = bench.now
    lose(bench)
    bench.run(9.9)
    assert bench.is_in(Phase.TALKING)
    bench.run(0.2)
    assert bench.is_in(Phase.ENDING)
    assert bench.now - begin < 10.2


def test_a_caller_who_hears_nothing_is_told_that_it_takes_a_moment() -> None:
    bench = talking()
    lose(bench)
    bench.run(2.6)
    assert bench.machine.turns.all[-1].agent == "One moment, please."
    bench.tell(e.ModelReady(2.6))
    bench.run(3.0)
    assert [turn.agent for turn in bench.machine.turns.all].count("One moment, please.") == 1


def test_a_quick_recovery_is_not_talked_about() -> None:
    bench = talking()
    lose(bench)
    bench.run(1.0)
    bench.tell(e.ModelReady(1.0))
    bench.run(3.0)
    assert not any(turn.own for turn in bench.machine.turns.all)


def test_a_refused_setup_is_tried_smaller_three_times_at_most() -> None:
    bench = Bench()
    for _ in range(2):
        bench.tell(e.ModelEnded(Fate.STEP_DOWN, 1007, "Unknown name"))
    assert [each.smaller for each in sessions(bench)] == [False, True, True]
    bench.tell(e.ModelEnded(Fate.STEP_DOWN, 1007, "Unknown name"))
    assert bench.ended("model_lost")


def test_a_greeting_that_was_never_said_is_asked_for_again() -> None:
    bench = Bench()
    bench.tell(e.ModelReady(0.1))
    lose(bench)
    bench.tell(e.ModelReady(0.1))
    assert bench.all(e.SendText) == [e.SendText("Greet the caller.")] * 2


# ---- hops


def test_a_hop_waits_for_a_silent_moment() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.answer(2.0, "We open at eight.")
    bench.tell(e.ModelGoingAway(50.0))
    bench.run(2.1)
    assert len(sessions(bench)) == 1
    bench.tell(e.TurnComplete())
    bench.tell(e.ModelHandle("h2", resumable=True))
    bench.run(0.5)
    assert sessions(bench)[-1] == e.OpenModel("h2")
    assert len(sessions(bench)) == 2


def test_a_hop_does_not_wait_beyond_the_deadline() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.answer(60.0, "A very long story.", complete=False)
    bench.tell(e.ModelGoingAway(10.0))
    bench.run(7.9)
    assert len(sessions(bench)) == 1
    bench.run(0.3)
    assert len(sessions(bench)) == 2


def test_a_hop_comes_before_the_known_end_of_a_connection_by_itself() -> None:
    options = CallOptions(greeting="Greet.", leg=LegOptions(connection=70.0))
    bench = talking(options=options)
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.run(12.0)
    assert len(sessions(bench)) == 2


def test_what_is_still_playing_plays_on_during_a_forced_hop() -> None:
    bench = talking()
    bench.answer(10.0, "A long answer.")
    bench.tell(e.ModelGoingAway(2.5))
    bench.run(3.0)
    assert len(sessions(bench)) == 2
    bench.tell(e.ModelReady(0.5))
    bench.run(8.0)
    assert bench.machine.metrics.underruns == 0
    last = bench.machine.turns.all[-1]
    assert last.first_heard is not None and last.last_heard is not None
    assert last.last_heard - last.first_heard == pytest.approx(10.0, abs=0.1)


# ---- what the model was told and has not answered


def keyed() -> Bench:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.LineDigit("5"))
    bench.run(0.7)
    assert texts(bench)[1:] == ["(On the keypad the caller pressed: 5)"]
    return bench


def texts(bench: Bench) -> list[str]:
    return [each.text for each in bench.all(e.SendText) if isinstance(each, e.SendText)]


def test_keys_that_a_lost_session_did_not_answer_are_told_to_the_next_one() -> None:
    bench = keyed()
    lose(bench)
    bench.run(0.3)
    lose(bench)  # nor did this one hear of them
    bench.run(0.6)
    bench.tell(e.ModelReady(0.5))
    bench.run(0.1)
    assert texts(bench)[1:] == ["(On the keypad the caller pressed: 5)"] * 2
    bench.answer(1.0, "That is the surgery.")
    bench.run(1.5)
    bench.tell(e.TurnComplete())
    lose(bench)
    bench.tell(e.ModelReady(0.5))
    bench.run(0.1)
    assert len(texts(bench)) == 3


def test_a_moment_in_which_the_model_has_been_told_something_is_no_silent_one() -> None:
    bench = keyed()
    bench.tell(e.ModelGoingAway(20.0))
    bench.run(1.0)
    assert len(sessions(bench)) == 1
    bench.answer(0.5, "That is the surgery.")
    bench.run(0.6)
    bench.tell(e.TurnComplete())
    bench.tell(e.ModelHandle("h2", resumable=True))
    bench.run(0.5)
    assert [each.handle for each in sessions(bench)] == ["", "h2"]


# ---- tools


def test_a_tool_that_a_resumed_session_asks_for_again_runs_once() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.ToolCalled("1", "book", {"day": "monday", "at": 8}))
    lose(bench)
    bench.tell(e.ModelReady(0.1))
    bench.tell(e.ToolCalled("2", "book", {"at": 8, "day": "monday"}))
    bench.tell(e.ToolFinished("1", "book", {"result": "booked"}))
    assert len(bench.all(e.StartTool)) == 1
    assert bench.all(e.SendToolResult) == [e.SendToolResult("2", "book", {"result": "booked"})]


def test_a_tool_that_was_done_is_not_done_again() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "book", {}))
    bench.tell(e.ToolFinished("1", "book", {"result": "booked"}))
    lose(bench)
    bench.tell(e.ModelReady(0.1))
    bench.tell(e.ToolCalled("2", "book", {}))
    assert len(bench.all(e.StartTool)) == 1
    assert bench.all(e.SendToolResult)[-1] == e.SendToolResult("2", "book", {"result": "booked"})


def test_a_tool_that_finishes_for_nobody_is_not_answered() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "book", {}))
    lose(bench)
    bench.tell(e.ToolFinished("1", "book", {"result": "booked"}))
    bench.tell(e.ModelReady(0.1))
    bench.run(0.1)
    assert not bench.all(e.SendToolResult)


def test_what_the_snapshot_knows_may_be_asked_for_anew() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "time", {}))
    bench.tell(e.ToolFinished("1", "time", {"result": "eight"}))
    bench.tell(e.ModelHandle("h1", resumable=True))
    lose(bench)
    bench.tell(e.ModelReady(0.1))
    bench.tell(e.ToolCalled("2", "time", {}))
    assert len(bench.all(e.StartTool)) == 2


# ---- the leg by itself


def test_an_illegal_move_is_our_own_fault() -> None:
    leg = ModelLeg(LegOptions())
    with pytest.raises(KeyError):
        leg.opened(0.0)
    assert {state for state, _ in STATES} == set(Leg)
    assert {move for _, move in STATES} == set(Move)


def test_from_everywhere_the_leg_can_be_given_up() -> None:
    assert all(STATES[state, Move.GIVE_UP] is Leg.GONE for state in Leg)
    assert not any((Leg.GONE, move) in STATES for move in Move if move is not Move.GIVE_UP)


def test_fates_are_all_planned() -> None:
    from agent.call.model_leg import PLANS

    assert set(PLANS) == set(Fate)
    assert list(itertools.filterfalse(None, PLANS.values())) == [None]


def test_a_leg_that_is_not_ready_hops_nowhere() -> None:
    assert ModelLeg(LegOptions()).hop_due(1000.0, 0.0) is False


def test_an_orphan_is_found_among_others_and_cannot_be_cancelled_by_the_session_that_is_gone() -> (
    None
):
    calls = ToolCalls()
    calls.called(e.ToolCalled("1", "book", {}))
    calls.called(e.ToolCalled("2", "look", {}))
    calls.session_gone()
    assert calls.called(e.ToolCalled("3", "look", {})) == []
    assert calls.cancelled(["1", "9"]) == []
    assert calls.finished(e.ToolFinished("2", "look", {"found": 1})) == (
        True,
        [e.SendToolResult("3", "look", {"found": 1})],
    )
