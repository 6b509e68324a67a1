"""What is done about silence, at literal times after it began."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.barge_in import BargeInOptions
from agent.call.conduct.silence import STEPS
from agent.call.dead_air import (
    COUNTED,
    LADDERS,
    Air,
    Cause,
    DeadAir,
    DeadAirOptions,
    Step,
)
from agent.call.life import Phase
from agent.call.options import CallOptions
from agent.call.turns import Agent
from agent.errors import Fate
from tests.call.calls import (
    MOMENT,
    REPEAT,
    THERE,
    TROUBLE,
    UNHEARD,
    Bench,
    say,
    speech,
    talking,
)

OPTIONS = CallOptions(greeting="Greet the caller.")
NUDGE = e.SendText(OPTIONS.dead_air.words)


def asks(bench: Bench, since: float, seconds: float = 1.0, *, sign: bool = True) -> float:
    """The caller says something that is not answered; returns when his last word ended.

    The model tells that it hears somebody, unless it gives no `sign`.
    """
    bench.caller_talks(seconds)
    bench.run(seconds)
    if sign:
        bench.tell(e.CallerActivity(False))
    assert bench.now > since
    return bench.now


def said(bench: Bench, since: float) -> list[tuple[str, float]]:
    """Lines of our own and when their first sound was heard, in seconds after `since`."""
    return [
        (turn.agent, round(turn.first_heard - since, 1))
        for turn in bench.machine.turns.all
        if turn.own and turn.first_heard is not None and turn.first_heard >= since
    ]


def at(bench: Bench, command: e.AnyCommand, since: float) -> list[float]:
    """When it was commanded, in seconds after `since`."""
    return [round(t - since, 1) for t, each in bench.log if each == command and t >= since]


def dead(bench: Bench) -> dict[str, float]:
    """Seconds of dead air by cause, where there was any."""
    bench.tell(e.LineDigit("1"))  # it is counted when something happens
    return {cause: round(s, 1) for cause, s in bench.machine.metrics.dead_air.items() if s}


# ---- the model does not answer


def test_every_step_is_done_by_somebody() -> None:
    assert set(STEPS) == set(Step) - {Step.NOTHING}
    assert set(LADDERS) == set(COUNTED) == set(Cause) - {Cause.CALLER_SILENT}
    for ladder in LADDERS.values():
        assert list(ladder) == sorted(ladder)


def test_a_model_that_does_not_answer_is_nudged_after_four_seconds() -> None:
    bench = talking()
    end = asks(bench, bench.now)
    bench.run(5.0)
    assert at(bench, NUDGE, end) == [4.0]
    bench.answer(1.0, "We open at eight.")
    bench.run(1.0)
    bench.tell(e.TurnComplete())
    bench.run(12.0)
    assert len(bench.all(e.SendText)) == 2  # the greeting and the nudge
    assert len(bench.all(e.OpenModel)) == 1
    assert said(bench, end) == []
    assert dead(bench) == {"model_silent": 5.0}


def test_an_answer_within_three_seconds_is_not_talked_about() -> None:
    bench = talking()
    for _ in range(3):
        end = asks(bench, bench.now)
        bench.run(3.0)
        bench.answer(1.0, "We open at eight.")
        bench.run(1.5)
        bench.tell(e.TurnComplete())
        assert at(bench, NUDGE, end) == []
    assert not any(turn.own for turn in bench.machine.turns.all)


def test_an_answer_within_two_seconds_is_no_dead_air() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.run(1.9)
    bench.answer(1.0, "We open at eight.")
    bench.run(2.0)
    assert dead(bench) == {}
    assert set(bench.machine.metrics.dead_air) == set(COUNTED)


def test_then_it_hears_the_last_words_again() -> None:
    bench = talking()
    end = asks(bench, bench.now, 0.8)
    bench.run(5.9)
    before = bench.now
    bench.run(1.4)  # four times as fast as it was said
    sent = sum(
        command.pcm.seconds
        for t, command in bench.log
        if t > before and isinstance(command, e.SendAudio)
    )
    assert end + 5.9 == pytest.approx(before)
    assert sent == pytest.approx(0.3 + 0.8 + 1.0 + 1.4, abs=0.1)


def test_where_there_are_no_words_it_is_asked_once_more() -> None:
    bench = Bench()
    bench.tell(e.ModelReady(0.1))
    bench.connect()
    began = bench.now
    bench.run(6.5)
    greet = e.SendText("Greet the caller.")
    assert at(bench, greet, began) == [0.0, 4.0, 6.0]
    assert dead(bench) == {"model_silent": 6.5}


def test_then_the_session_is_left_and_the_caller_told() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    end = asks(bench, bench.now)
    bench.run(9.5)
    assert at(bench, e.OpenModel(handle="h1"), end) == [9.0]
    assert said(bench, end) == [(MOMENT.text, 9.0)]


def test_then_the_caller_is_asked_to_say_it_again_and_at_last_let_go() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    end = asks(bench, bench.now)
    bench.run(9.3)
    bench.tell(e.ModelReady(0.3))
    bench.run(20.0)
    assert said(bench, end) == [
        (MOMENT.text, 9.0),
        (REPEAT.text, 9.5 + 4.0),
        (TROUBLE.text, 13.5 + 0.6 + 8.0),
    ]
    assert bench.ended("model_lost")
    assert dead(bench) == {"model_silent": 9.0 + 4.0 + 8.0}  # all but the lines


def test_a_caller_who_asks_again_is_waited_for() -> None:
    bench = talking()
    end = asks(bench, bench.now)
    bench.run(3.0)
    asks(bench, end, 1.0)
    bench.run(3.5)
    assert at(bench, NUDGE, end) == []
    bench.run(1.0)
    assert at(bench, NUDGE, end) == [8.0]
    bench.run(1.0)
    again = asks(bench, end)
    bench.run(1.9)
    assert len(bench.all(e.OpenModel)) == 1
    bench.run(4.0)
    assert at(bench, NUDGE, end) == [8.0]  # the steps go on where they stopped
    assert len(bench.all(e.OpenModel)) == 2
    assert bench.now > again


def test_a_click_waits_for_nobody() -> None:
    bench = talking()
    bench.caller_talks(0.12)
    bench.run(8.0)
    assert bench.all(e.SendText) == [e.SendText("Greet the caller.")]
    assert dead(bench) == {}


def test_a_voice_over_our_own_waits_for_nobody() -> None:
    """It may be its echo, or a "yes" on the side; what stops the agent is another matter."""
    bench = talking()
    bench.answer(3.0, "We open at eight.")
    bench.run(1.0)
    bench.caller_talks(2.1)
    bench.run(3.0)
    bench.tell(e.TurnComplete())
    bench.run(8.0)
    assert at(bench, NUDGE, 0.0) == []


def test_a_caller_who_stopped_the_agent_is_answered() -> None:
    bench = talking()
    bench.answer(5.0, "We open at eight.", complete=False)
    bench.run(1.0)
    bench.caller_talks(0.5)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(0.2)
    end = bench.now
    bench.run(5.0)
    assert at(bench, NUDGE, end) == [4.0]
    assert dead(bench) == {"model_silent": 5.0}


def test_words_that_our_meter_took_for_a_click_are_words() -> None:
    bench = talking()
    bench.caller_talks(0.12)
    bench.run(0.12)
    end = bench.now
    bench.run(1.0)
    bench.tell(e.CallerSaid("Yes."))
    bench.run(4.0)
    assert at(bench, NUDGE, end) == [4.0]


def test_a_session_that_was_asked_to_go_on_is_waited_for_from_then_on() -> None:
    bench = talking()
    say(bench, 0.6, "When do you open?")
    bench.tell(e.ModelEnded(Fate.FRESH, 1007, "lost"))
    bench.run(1.0)
    bench.tell(e.ModelReady(1.0))
    ready = bench.now
    bench.run(4.5)
    assert at(bench, NUDGE, ready) == [4.0]


def test_silence_without_a_session_is_counted_apart() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    asks(bench, bench.now)
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, "lost"))
    bench.run(4.0)
    assert said(bench, 0.0)[0][0] == MOMENT.text
    assert dead(bench) == {"no_session": 2.0}
    bench.tell(e.ModelReady(4.0))
    bench.answer(1.0)
    assert dead(bench) == {"no_session": 2.0}


def test_a_lost_session_that_owes_nothing_is_no_dead_air() -> None:
    bench = talking()
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, "lost"))
    bench.run(1.9)
    bench.tell(e.ModelReady(1.9))
    bench.run(6.0)
    assert dead(bench) == {}
    assert at(bench, NUDGE, 0.0) == []


def test_an_unasked_session_that_is_replaced_in_a_wait_keeps_its_count() -> None:
    watch = DeadAir(DeadAirOptions())
    watch.line_started(0.0)
    watch.caller_spoke()
    watch.session_ready(1.0, asked=True)
    air = Air(0.0, Agent.QUIET, tool=False, session=True)
    assert watch.look(air, 1.0) is Step.NOTHING
    assert watch.look(air, 3.0) is Step.NOTHING
    assert watch.seconds["model_silent"] == 3.0


def test_nobody_is_waited_for_while_the_call_ends() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    assert bench.is_in(Phase.ENDING)
    bench.run(2.9)
    assert at(bench, NUDGE, 0.0) == []
    bench.run(0.5)
    assert bench.ended("agent_hung_up")


def test_nobody_is_waited_for_while_the_stream_is_broken() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.disconnect("lost")
    bench.run(8.0)
    assert at(bench, NUDGE, 0.0) == []
    assert dead(bench) == {}
    bench.connect(leg=2)
    back = bench.now
    bench.run(4.5)
    assert at(bench, NUDGE, back) == [4.0]
    assert dead(bench) == {"model_silent": 4.5}


# ---- turns without a sound


def test_an_empty_turn_is_nudged_at_once() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.run(1.0)
    bench.tell(e.GenerationComplete())
    bench.tell(e.TurnComplete())
    empty = bench.now
    bench.run(2.0)
    assert at(bench, NUDGE, empty) == [0.5]
    assert dead(bench) == {"empty_turn": 3.0}
    bench.tell(e.TurnComplete())  # nor does the nudge help
    again = bench.now
    bench.run(1.0)
    sent = sum(
        command.pcm.seconds
        for t, command in bench.log
        if t > again and isinstance(command, e.SendAudio)
    )
    assert sent > 2.0  # the last words, and the present
    bench.run(2.2)
    assert len(bench.all(e.OpenModel)) == 1
    bench.run(0.5)  # half a second and three
    assert len(bench.all(e.OpenModel)) == 2


def test_a_turn_that_was_interrupted_is_not_empty() -> None:
    bench = talking()
    bench.answer(5.0, complete=False)
    bench.run(1.0)
    bench.caller_talks(1.0)
    bench.run(0.4)
    bench.tell(e.Interrupted())
    bench.run(1.2)  # refusal has ended by itself
    bench.tell(e.TurnComplete())
    bench.run(1.5)
    assert at(bench, NUDGE, 0.0) == []


def test_nor_is_one_that_answers_nobody() -> None:
    bench = talking()
    bench.tell(e.TurnComplete())
    bench.run(5.0)
    assert at(bench, NUDGE, 0.0) == []


# ---- a reply that cannot be heard


def mute(seconds: float) -> e.ModelAudio:
    return e.ModelAudio(e.Pcm24k(round(seconds * 24_000) * 2), audible=False)


def test_a_reply_of_silence_is_no_answer() -> None:
    bench = talking()
    end = asks(bench, bench.now)
    bench.run(0.5)
    bench.tell(mute(6.0))
    bench.tell(e.AgentSaid("We open at eight."))
    bench.tell(e.GenerationComplete())
    bench.run(4.0)
    assert at(bench, NUDGE, end) == [4.0]
    assert at(bench, e.Clear(), end) == [4.0]  # what is said next need not wait for its end
    bench.tell(e.TurnComplete())
    bench.answer(1.0, "We open at eight.")
    bench.run(0.5)
    answer = bench.machine.turns.current
    assert answer is not None and answer.first_heard is not None
    assert answer.first_heard - end == pytest.approx(4.5, abs=0.1)
    (silent,) = (turn for turn in bench.machine.turns.all if turn.cut)
    assert silent.heard() == ""
    assert dead(bench) == {"model_silent": pytest.approx(4.5, abs=0.1)}


def test_a_turn_of_silence_is_an_empty_one() -> None:
    bench = talking()
    end = asks(bench, bench.now)
    bench.run(0.5)
    bench.tell(mute(1.0))
    bench.tell(e.GenerationComplete())
    bench.run(1.0)
    bench.tell(e.TurnComplete())
    bench.run(1.0)
    assert at(bench, NUDGE, end) == [2.0]


def test_silence_at_the_end_of_a_reply_makes_it_no_empty_one() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.answer(1.0, "We open at eight.", complete=False)
    bench.tell(mute(0.5))
    bench.tell(e.GenerationComplete())
    bench.run(1.6)
    end = asks(bench, bench.now, 0.3)
    bench.tell(e.TurnComplete())
    bench.run(3.0)
    assert at(bench, NUDGE, end) == []


# ---- a model that gives no sign


def test_words_of_which_the_model_gives_no_sign_are_heard_by_another_session() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.run(0.1)
    end = asks(bench, bench.now, 1.2, sign=False)
    bench.run(6.0)
    assert said(bench, end) == [(MOMENT.text, 2.5)]  # the caller is told within 3 s ...
    assert at(bench, NUDGE, end) == []
    assert len(bench.all(e.OpenModel)) == 2
    left = bench.times(e.OpenModel)[1] + 100.0 - end
    assert left == pytest.approx(2.5 + 0.5 + 1.5, abs=0.05)  # ... and it is decided by then
    bench.tell(e.ModelReady(0.5))
    again = bench.now
    bench.run(1.5)
    sent = sum(
        command.pcm.seconds
        for t, command in bench.log
        if t >= again and isinstance(command, e.SendAudio)
    )
    assert sent > 1.2 + 1.0
    assert dead(bench) == {"no_sign": 2.5, "no_session": 3.0, "model_silent": 1.5}


def test_a_caller_who_goes_on_meanwhile_is_told_once_more() -> None:
    bench = talking()
    end = asks(bench, bench.now, 1.2, sign=False)
    bench.run(3.5)
    again = asks(bench, bench.now, 1.2, sign=False)
    bench.run(2.5)
    assert said(bench, end) == [(MOMENT.text, 2.5), (MOMENT.text, round(again - end + 1.5, 1))]
    assert len(bench.all(e.OpenModel)) == 2


def test_a_sign_that_comes_late_keeps_the_session() -> None:
    bench = talking()
    end = asks(bench, bench.now, 1.2, sign=False)
    bench.run(3.2)
    bench.tell(e.CallerSaid("When do you open?"))
    bench.run(2.0)
    assert said(bench, end) == [(MOMENT.text, 2.5)]
    assert len(bench.all(e.OpenModel)) == 1
    bench.run(2.0)
    assert at(bench, NUDGE, end) == [7.0]


def test_of_a_short_word_no_sign_is_expected() -> None:
    bench = talking()
    end = asks(bench, bench.now, 0.6, sign=False)
    bench.run(4.5)
    assert said(bench, end) == []
    assert at(bench, NUDGE, end) == [4.0]


# ---- a reply that stalls


def test_a_stall_inside_a_reply_is_filled_once_and_then_left() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    asks(bench, bench.now)
    bench.run(0.5)
    bench.answer(1.0, "We open", complete=False)
    bench.run(1.0)
    end = bench.now
    bench.run(7.0)
    assert said(bench, end) == [(MOMENT.text, 2.5)]
    assert len(bench.all(e.OpenModel)) == 1
    bench.run(1.0)
    assert bench.times(e.OpenModel)[1] == pytest.approx(end + 7.5 - 100.0, abs=0.03)
    assert said(bench, end) == [(MOMENT.text, 2.5)]  # and not twice
    assert dead(bench)["stall"] == pytest.approx(2.5 + 4.5, abs=0.1)
    bench.tell(e.ModelReady(0.5))
    bench.answer(1.0, "We open at eight.")
    bench.run(1.5)
    assert bench.is_in(Phase.TALKING)


@pytest.mark.parametrize("ahead", [0.1, 0.5])
def test_a_voice_that_comes_piece_by_piece_is_sent_at_once_and_its_stall_is_noticed(
    ahead: float,
) -> None:
    """Pieces that go on with a reply are not looked at as a new one is; each is sent as it comes all the same."""
    bench = talking()
    begun = spoken(bench)
    bench.answer(ahead, "We open", complete=False)
    for n in range(100):
        bench.run(0.02)
        commands = bench.tell(e.ModelAudio(speech(0.02)))
        if ahead < 0.3:  # there is room for it: it does not wait for anything else to be due
            assert [type(command) for command in commands if type(command) is not e.Mark] == [
                e.Play
            ]
        there = 0.02 * (n + 1) + ahead
        lead = 0.02 * (n + 1) + 0.36  # what is sent and not yet heard
        assert spoken(bench) - begun >= min(there, lead) - 0.04  # a frame, and the filters' delay
    end = bench.now + ahead
    bench.run(ahead + 4.0)
    ((words, waited),) = said(bench, end)
    assert words == MOMENT.text
    assert waited == pytest.approx(2.5, abs=0.06)


def spoken(bench: Bench) -> float:
    """Seconds of sound that the line was sent."""
    return sum(command.pcm.seconds for command in bench.all(e.Play) if isinstance(command, e.Play))


def test_a_stall_that_is_over_in_time_is_not_talked_about() -> None:
    bench = talking()
    bench.answer(1.0, "We open", complete=False)
    bench.run(3.0)
    bench.answer(1.0, "at eight.")
    bench.run(3.0)
    assert not any(turn.own for turn in bench.machine.turns.all)
    assert dead(bench) == {"stall": 2.0}


def test_half_a_frame_that_waits_for_the_rest_is_no_sound() -> None:
    bench = talking()
    bench.answer(1.013, "We open", complete=False)
    bench.run(1.0)
    end = bench.now
    bench.run(3.2)
    assert said(bench, end) == [(MOMENT.text, 2.5)]


# ---- a tool that takes its time


def test_a_tool_that_takes_its_time_is_talked_about_once() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.run(1.0)
    bench.tell(e.ToolCalled("1", "slow", {}))
    began = bench.now
    bench.run(12.0)
    assert said(bench, began) == [(MOMENT.text, 3.0)]
    assert at(bench, NUDGE, began) == []
    bench.tell(e.ToolFinished("1", "slow", {"result": 1}))
    bench.tell(e.ToolCalled("2", "slow", {"more": 1}))
    began = bench.now
    bench.run(4.0)
    assert said(bench, began) == [(MOMENT.text, 3.0)]
    assert dead(bench)["tool"] == pytest.approx(4.0 + 8.5 + 3.0, abs=0.1)


def test_a_quick_tool_is_not_talked_about() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.tell(e.ToolCalled("1", "quick", {}))
    bench.run(2.5)
    bench.tell(e.ToolFinished("1", "quick", {"result": 1}))
    bench.run(0.4)
    bench.answer(1.0, "Done.")
    bench.run(3.0)
    assert not any(turn.own for turn in bench.machine.turns.all)


def test_a_turn_that_asks_for_a_tool_is_not_empty() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.tell(e.ToolCalled("1", "slow", {}))
    bench.tell(e.TurnComplete())
    began = bench.now
    bench.run(2.0)
    bench.tell(e.ToolFinished("1", "slow", {"result": 1}))
    bench.run(2.0)
    assert said(bench, began) == []
    assert at(bench, NUDGE, began) == []
    bench.tell(e.TurnComplete())  # but the answer to it is
    empty = bench.now
    bench.run(1.0)
    assert at(bench, NUDGE, empty) == [0.5]


def test_a_tool_that_nobody_asked_for_counts_from_its_start() -> None:
    bench = talking()
    bench.run(5.0)
    bench.tell(e.ToolCalled("1", "slow", {}))
    bench.run(2.5)
    bench.tell(e.ToolFinished("1", "slow", {"result": 1}))
    assert dead(bench) == {"tool": 2.5}


def test_a_model_that_is_silent_after_a_tool_is_nudged() -> None:
    bench = talking()
    asks(bench, bench.now)
    bench.tell(e.ToolCalled("1", "quick", {}))
    bench.run(2.0)
    bench.tell(e.ToolFinished("1", "quick", {"result": 1}))
    done = bench.now
    bench.run(4.5)
    assert at(bench, NUDGE, done) == [4.0]


# ---- a silent caller


def test_a_silent_caller_is_asked_twice_and_then_left() -> None:
    bench = talking()
    end = bench.machine.turns.agent_last_heard()
    bench.run(45.0)
    assert said(bench, end) == [
        (THERE.text, 15.0),
        (THERE.text, 15.0 + 0.4 + 10.0),
        (UNHEARD.text, 25.4 + 0.4 + 10.0),
    ]
    assert bench.ended("caller_silent")
    assert dead(bench) == {}


def test_a_caller_who_is_there_after_all_is_asked_anew() -> None:
    bench = talking()
    end = bench.machine.turns.agent_last_heard()
    bench.run(26.0)
    asks(bench, bench.now, 0.5)
    bench.answer(1.0, "Good.")
    bench.run(1.0)
    bench.tell(e.TurnComplete())
    last = bench.now
    bench.run(30.0)
    assert [when for _, when in said(bench, end)][:2] == [15.0, 25.4]
    assert [when for _, when in said(bench, last)] == [15.0, 25.4]
    assert bench.ended(None)


# ---- interruptions that are none


def test_a_phantom_interruption_stops_nothing_that_is_in_hand() -> None:
    bench = talking()
    say(bench, 0.6, "When do you open?")
    bench.answer(3.0, "We open at eight in the morning.", complete=False)
    bench.run(1.5)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    turn = bench.machine.turns.all[-1]
    assert not turn.cut and turn.first_heard is not None and turn.last_heard is not None
    assert turn.last_heard - turn.first_heard == pytest.approx(3.0, abs=0.03)
    assert not bench.all(e.Clear)
    bench.run(1.2)
    assert at(bench, NUDGE, turn.last_heard) == [1.5]  # the rest of it is owed


def test_a_phantom_that_turns_out_to_be_somebody_stops_it_then() -> None:
    bench = talking()
    bench.answer(4.0, "We open at eight in the morning.", complete=False)
    bench.run(1.5)
    bench.tell(e.Interrupted())
    bench.run(0.2)
    assert bench.unplayed > 0
    bench.tell(e.CallerActivity(active=True))
    assert bench.unplayed == 0


def test_a_phantom_after_the_generation_owes_nothing() -> None:
    bench = talking()
    bench.answer(2.0, "We open at eight.")
    bench.run(0.5)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(8.0)
    assert at(bench, NUDGE, 0.0) == []
    assert len(bench.heard) / 16000 == pytest.approx(3.0, abs=0.05)


def greeting(hello_at: float, seconds: float, **options: object) -> Bench:
    """A greeting of three seconds; the callee speaks at some moment of it."""
    bench = Bench(options=CallOptions(greeting="Greet.", **options))  # type: ignore[arg-type]
    bench.tell(e.ModelReady(0.1))
    bench.answer(3.0, "This is Harbour Dental, how can I help you?", complete=False)
    bench.run(0.2)
    bench.connect()
    bench.run(hello_at)
    bench.caller_talks(seconds)
    return bench


def test_a_hello_does_not_stop_the_greeting() -> None:
    bench = greeting(0.4, 0.4)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(0.5)
    bench.tell(e.CallerSaid("Hello?"))
    bench.run(2.5)
    turn = bench.machine.turns.all[0]
    assert not turn.cut and turn.last_heard is not None and turn.first_heard is not None
    assert turn.last_heard - turn.first_heard == pytest.approx(3.0, abs=0.03)
    sent = sum(c.pcm.seconds for c in bench.all(e.SendAudio) if isinstance(c, e.SendAudio))
    assert sent == pytest.approx(0.4 + 0.3 + 0.5 + 2.5, abs=0.05)


def test_but_more_than_a_hello_does() -> None:
    bench = greeting(0.4, 2.0)
    began = bench.now
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    assert bench.unplayed > 0
    bench.run(1.0)
    assert [round(t - began, 1) for t, c in bench.log if isinstance(c, e.Clear)] == [0.7]
    assert bench.machine.turns.all[0].cut
    assert bench.machine.metrics.barge_ins == 1


def test_and_so_does_what_comes_after_the_first_second() -> None:
    bench = greeting(1.2, 0.5)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    assert bench.unplayed == 0


def test_a_second_hello_is_judged_by_itself() -> None:
    bench = greeting(0.4, 0.3)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(1.0)
    bench.caller_talks(0.5)
    bench.run(0.4)
    assert bench.unplayed > 0  # nothing but our own meter says so
    bench.tell(e.CallerSaid("Are you there?"))
    assert bench.unplayed == 0


def test_the_shield_is_a_setting() -> None:
    bench = greeting(0.4, 0.4, barge_in=BargeInOptions(shield=0.0))
    bench.run(0.3)
    bench.tell(e.Interrupted())
    assert bench.unplayed == 0
