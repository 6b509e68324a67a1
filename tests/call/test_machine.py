"""What caller and agent notice of a call's life."""

from __future__ import annotations

from typing import get_args

import pytest

from agent import events as e
from agent.call.conduct.tools import EFFECTS
from agent.call.life import LIFE, Phase, Signal, Timer
from agent.call.machine import HANDLERS, TIMERS
from agent.call.options import CallOptions
from agent.errors import Fate, OwnFault
from tests.call.calls import Bench, say, talking


def test_every_event_of_the_vocabulary_has_a_handler() -> None:
    assert set(HANDLERS) == set(get_args(e.AnyEvent))


def test_every_deadline_has_a_consequence() -> None:
    assert set(TIMERS) == set(Timer)


def test_every_effect_of_a_tool_is_carried_out() -> None:
    assert set(EFFECTS) == set(get_args(e.Effect))


def test_every_phase_but_the_last_can_end() -> None:
    for phase in Phase:
        if phase is not Phase.ENDED:
            assert LIFE[phase, Signal.GAVE_UP] is Phase.ENDED


def test_the_phone_rings_until_the_first_word_is_in_hand() -> None:
    bench = Bench()
    bench.run(0.5)
    bench.tell(e.ModelReady(0.5))
    assert bench.all(e.SendText) == [e.SendText("Greet the caller.")]
    assert not bench.all(e.Answer)
    bench.answer(1.0)
    assert bench.times(e.Answer) == [0.5]


def test_a_slow_model_does_not_keep_the_phone_ringing() -> None:
    bench = Bench()
    bench.run(3.0)
    assert bench.times(e.Answer) == [2.0]


def test_the_greeting_is_sent_the_moment_the_line_is_there() -> None:
    bench = Bench()
    bench.tell(e.ModelReady(0.1))
    bench.answer(1.0)
    bench.run(0.5)
    assert not bench.all(e.Play)
    bench.connect()
    assert bench.times(e.Play)[0] == 0.5
    assert bench.unplayed == pytest.approx(0.4)


def test_a_call_whose_stream_never_starts_is_given_up() -> None:
    bench = Bench()
    bench.run(28)
    assert bench.ended("no_start")
    assert bench.times(e.Finish) == [27.0]


def test_disclosure_comes_first_and_the_greeting_follows_without_a_gap() -> None:
    bench = talking(disclosure=True)
    spoken = bench.machine.turns.lines(100.0)
    assert [line.who for line in spoken] == ["pickup", "agent"]
    assert spoken[0].end == pytest.approx(spoken[1].start, abs=0.001)
    assert bench.machine.metrics.underruns == 0


def test_nothing_the_caller_says_stops_the_disclosure() -> None:
    bench = Bench(disclosure=True)
    bench.tell(e.ModelReady(0.1))
    bench.answer(1.0, "How can I help?")
    bench.connect()
    bench.run(0.3)
    bench.caller_talks(0.5)
    bench.run(0.2)
    bench.tell(e.Interrupted())
    bench.run(1.8)
    disclosure, greeting = bench.machine.turns.all
    assert disclosure.last_heard is not None and disclosure.first_heard is not None
    assert disclosure.last_heard - disclosure.first_heard == pytest.approx(1.0, abs=0.03)
    assert greeting.cut and greeting.first_heard is None


def test_the_caller_interrupts_while_the_model_generates() -> None:
    bench = talking()
    say(bench, 0.6, "Where can I park?")
    bench.answer(5.0, "You can park right behind the building.", complete=False)
    bench.run(1.2)
    bench.caller_talks(0.5)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    assert bench.unplayed == 0
    assert isinstance(bench.log[-1][1], e.Clear)
    turn = bench.machine.turns.all[-1]
    assert turn.cut
    line = bench.machine.turns.lines(100.0)[-1]
    assert line.estimated and line.heard == "You can park"


def test_late_audio_of_an_interrupted_reply_is_refused() -> None:
    bench = talking()
    say(bench, 0.6, "Where?")
    bench.answer(2.0, complete=False)
    bench.caller_talks(0.5)
    bench.run(0.5)
    bench.tell(e.Interrupted())
    before = len(bench.all(e.Play))
    bench.answer(1.0, complete=False)
    bench.run(0.2)
    assert len(bench.all(e.Play)) == before
    assert bench.machine.metrics.refused_ms == pytest.approx(1000)
    bench.tell(e.TurnComplete())
    bench.answer(1.0)
    assert len(bench.all(e.Play)) > before


def test_a_refusal_ends_after_a_second_where_turn_complete_never_comes() -> None:
    bench = talking()
    bench.answer(2.0, complete=False)
    bench.caller_talks(0.5)
    bench.run(0.5)
    bench.tell(e.Interrupted())
    bench.run(1.1)
    before = len(bench.all(e.Play))
    bench.answer(1.0)
    assert len(bench.all(e.Play)) > before


def test_a_reply_that_is_all_generated_is_stopped_by_the_callers_words() -> None:
    """Gemini may never say `interrupted` after `generationComplete`, while most of the reply is still to be played."""
    bench = talking()
    say(bench, 0.6, "Where can I park?")
    bench.answer(5.0, "You can park right behind the building.")
    bench.run(1.5)
    bench.caller_talks(0.5)
    bench.run(0.3)
    assert bench.unplayed > 0
    bench.tell(e.CallerSaid("Sorry,"))
    assert bench.unplayed == 0


def test_or_by_the_models_own_voice_detection() -> None:
    bench = talking()
    bench.answer(5.0)
    bench.run(1.0)
    bench.tell(e.CallerActivity(active=True))
    assert bench.unplayed == 0


def test_a_late_transcription_of_what_is_being_answered_stops_nothing() -> None:
    bench = talking()
    say(bench, 0.6, "Where can I ")
    bench.answer(3.0)
    bench.run(1.0)
    bench.tell(e.CallerSaid("park?"))
    bench.run(0.1)
    assert not bench.all(e.Clear)
    assert bench.machine.turns.all[-1].caller == "Where can I park?"


def test_end_call_hangs_up_when_the_goodbye_was_heard() -> None:
    bench = talking()
    say(bench, 0.6, "Goodbye.")
    bench.answer(1.5, "Goodbye, and see you tomorrow.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    assert bench.all(e.StartTool) == [e.StartTool("1", "end_call", {})]
    bench.tell(e.ToolFinished("1", "end_call", {"result": "ok"}, e.EndAfterGoodbye()))
    assert bench.all(e.SendToolResult)
    begin = bench.now
    bench.tell(e.GenerationComplete())
    bench.run(1.4)
    assert bench.ended(None)
    bench.run(0.2)
    bench.tell(e.TurnComplete())
    assert bench.ended("agent_hung_up")
    assert bench.now - begin == pytest.approx(1.6, abs=0.05)
    assert bench.machine.turns.lines(100.0)[-1].heard == "Goodbye, and see you tomorrow."


def test_a_goodbye_that_comes_after_the_tool_is_heard_too() -> None:
    bench = talking()
    say(bench, 0.6, "Goodbye.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {"result": "ok"}, e.EndAfterGoodbye()))
    bench.run(1.0)
    bench.answer(1.5, "Goodbye.")
    bench.run(1.3)
    assert bench.ended(None)
    bench.run(0.3)
    bench.tell(e.TurnComplete())
    assert bench.ended("agent_hung_up")


def test_a_model_that_ends_the_call_without_a_word_is_waited_for_three_seconds() -> None:
    bench = talking()
    say(bench, 0.6, "Goodbye.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {"result": "ok"}, e.EndAfterGoodbye()))
    bench.run(2.9)
    assert bench.ended(None)
    bench.run(0.3)
    assert bench.ended("agent_hung_up")


def test_a_model_that_is_gone_is_not_waited_for() -> None:
    bench = talking()
    bench.answer(1.0, "Goodbye.", complete=False)
    bench.caller_talks(0.1)  # over it: as far as anybody knows, the model may still answer that
    bench.run(0.1)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.ModelEnded(Fate.RESUME, 1000, ""))
    bench.run(0.8)
    assert bench.ended(None)  # the goodbye is heard to its end
    bench.run(0.2)
    assert bench.ended("agent_hung_up")


def test_turn_complete_that_never_comes_delays_the_hang_up_by_a_second() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.answer(1.0, "Goodbye.")
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(1.9)
    assert bench.ended(None)
    bench.run(0.3)
    assert bench.ended("agent_hung_up")


def test_a_caller_who_has_more_to_say_is_answered() -> None:
    bench = talking()
    say(bench, 0.6, "Goodbye.")
    bench.answer(3.0, "Goodbye, and see you tomorrow.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(0.5)
    bench.caller_talks(1.0)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(1.5)
    assert bench.is_in(Phase.TALKING)
    bench.answer(1.0, "Yes?")
    bench.run(1.2)
    bench.tell(e.TurnComplete())
    bench.run(5.0)
    assert bench.ended(None)


def test_an_interrupted_goodbye_ends_the_call_where_nobody_has_more_to_say() -> None:
    bench = talking()
    bench.answer(3.0, "Goodbye.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(0.5)
    bench.caller_talks(0.4)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.run(5.0)
    assert bench.ended("agent_hung_up")


@pytest.mark.parametrize(
    "effect", [e.EndAfterGoodbye(), e.TransferAfterGoodbye("reception")], ids=["end", "transfer"]
)
def test_a_goodbye_that_was_interrupted_is_none_for_a_caller_whose_stream_breaks_then(
    effect: e.Effect,
) -> None:
    bench = talking()
    bench.answer(3.0, "Goodbye.", complete=False)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, effect))
    bench.run(0.5)
    bench.caller_talks(0.4)
    bench.run(0.3)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    bench.disconnect("lost")
    bench.run(5.0)
    assert bench.is_in(Phase.PARKED)
    bench.connect(2)
    bench.run(5.0)
    bench.answer(1.0, "Yes?")  # he had something to say: the model is asked what it has to answer
    bench.run(3.0)
    assert bench.is_in(Phase.TALKING)
    assert not bench.all(e.PutThrough)


def test_a_lost_mark_does_not_keep_the_line_open_for_ever() -> None:
    bench = talking()
    bench.answer(1.0, "Goodbye.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench._marks.clear()
    bench.tell(e.TurnComplete())
    bench.run(15)
    assert bench.ended("agent_hung_up") or bench.ended("line_lost")


def test_cancelled_tools_are_not_answered() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolsCancelled(["1", "unknown"]))
    assert bench.all(e.CancelTool) == [e.CancelTool("1")]
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    assert not bench.all(e.SendToolResult)
    assert bench.is_in(Phase.TALKING)


def test_the_caller_hangs_up() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("7", "slow", {}))
    bench.disconnect("stopped")
    assert bench.ended("caller_hung_up")
    assert bench.all(e.CloseModel) and bench.all(e.CancelTool) == [e.CancelTool("7")]


def test_nothing_happens_after_the_end() -> None:
    bench = talking()
    bench.disconnect("stopped")
    count = len(bench.log)
    bench.answer(1.0)
    bench.tell(e.LineEnded("closed"))
    bench.tell(e.ModelEnded(Fate.FATAL, 1000, ""))
    bench.run(5.0)
    assert len(bench.log) == count


def test_a_broken_stream_is_waited_for_and_goes_on_where_it_stopped() -> None:
    bench = talking()
    bench.answer(3.0, "We open at eight.")
    bench.run(1.0)
    bench.disconnect("lost")
    assert bench.is_in(Phase.PARKED)
    bench.run(2.0)
    bench.connect(leg=2)
    bench.run(3.0)
    assert bench.is_in(Phase.TALKING)
    assert len(bench.heard) >= 4.0 * 16000 - 2 * 320  # greeting and answer, whole


def test_a_caller_who_is_not_brought_back_is_given_up_after_ten_seconds() -> None:
    bench = talking()
    bench.disconnect("closed")
    bench.run(9.9)
    assert bench.ended(None)
    bench.run(0.2)
    assert bench.ended("line_lost")


def test_streams_that_break_again_and_again_are_not_begun_for_ever() -> None:
    bench = talking()
    for leg in (2, 3, 4):
        bench.disconnect("lost")
        assert bench.is_in(Phase.PARKED)
        bench.run(0.5)
        bench.connect(leg)
        bench.run(2.0)
    bench.disconnect("lost")
    assert bench.ended("line_lost")


def test_streams_that_break_now_and_then_are() -> None:
    bench = talking()
    for leg in range(2, 8):
        bench.disconnect("lost")
        bench.run(0.5)
        bench.connect(leg)
        bench.caller_talks(0.5)
        bench.run(1.0)
        bench.answer(1.0, "Yes.")
        bench.tell(e.TurnComplete())
        bench.run(20.0)
    assert bench.ended(None) and bench.is_in(Phase.TALKING)


def test_marks_that_do_not_come_back_mean_that_the_line_is_lost() -> None:
    bench = talking()
    bench.answer(1.0)
    bench._marks.clear()
    bench._frame_at = None
    bench.run(4.0)
    assert bench.is_in(Phase.PARKED)
    assert bench.all(e.HangUp)


@pytest.mark.parametrize("code", [1007, 1008, 1011, None])
def test_a_model_that_is_lost_for_good_is_told_in_an_honest_sentence(code: int | None) -> None:
    bench = talking()
    bench.tell(e.ModelEnded(Fate.FATAL, code, "gone"))
    bench.run(0.9)
    assert bench.ended(None)
    bench.run(0.3)
    assert bench.ended("model_lost")
    assert bench.machine.turns.lines(100.0)[-1].heard == "I am sorry, I have lost my connection."


def test_what_was_generated_is_heard_before_that_sentence() -> None:
    bench = talking()
    bench.answer(1.0, "We open at eight.", complete=False)
    bench.tell(e.ModelEnded(Fate.FATAL, 1011, "quota"))
    bench.run(2.3)
    assert bench.ended("model_lost")
    assert len(bench.heard) / 16000 == pytest.approx(3.0, abs=0.07)


def test_a_model_that_is_lost_while_it_rings_ends_the_call_unanswered() -> None:
    bench = Bench()
    bench.tell(e.ModelEnded(Fate.FATAL, 1007, "API key not valid."))
    assert bench.ended("model_lost")
    assert not bench.all(e.Answer)


def test_a_model_that_is_lost_after_the_answer_is_told_to_the_caller() -> None:
    bench = Bench()
    bench.run(2.5)
    bench.tell(e.ModelEnded(Fate.FATAL, None, "setup was not answered"))
    bench.connect()
    bench.run(1.5)
    assert bench.ended("model_lost")
    assert len(bench.heard) / 16000 == pytest.approx(1.0, abs=0.03)


def test_a_call_that_lasts_too_long_ends_politely() -> None:
    bench = Bench(options=CallOptions(greeting="Greet.", max_seconds=5.0))
    bench.tell(e.ModelReady(0.1))
    bench.answer(0.5)
    bench.connect()
    bench.run(4.9)
    assert bench.is_in(Phase.TALKING)
    bench.run(1.5)
    assert bench.ended("time_limit")


def test_the_provider_says_that_the_call_is_over() -> None:
    bench = talking()
    bench.tell(e.CallAbandoned("caller_hung_up"))
    assert bench.ended("caller_hung_up")


def test_a_second_start_while_talking_is_our_own_fault() -> None:
    bench = talking()
    with pytest.raises(OwnFault, match="talking was told line_started"):
        bench.machine.handle(e.LineStarted(2), bench.now)


def test_keys_and_notices_change_nothing() -> None:
    bench = talking()
    count = len(bench.log)
    for event in (
        e.LineDigit("5"),
        e.ModelHandle("h", resumable=True),
        e.CallerActivity(active=False),
    ):
        assert not [c for c in bench.tell(event) if not isinstance(c, e.SendAudio | e.KeepHeard)]
    assert len(bench.log) == count


def test_tokens_are_summed_over_turns() -> None:
    bench = talking()
    bench.tell(e.ModelUsage(prompt=10, response=3))
    bench.tell(e.ModelUsage(prompt=20, response=4))
    assert (bench.machine.metrics.prompt_tokens, bench.machine.metrics.response_tokens) == (30, 7)


def test_latency_is_measured_from_the_callers_last_sound_to_his_ear() -> None:
    bench = talking()
    bench.caller_talks(0.6)
    bench.run(0.6 + 0.7)
    bench.tell(e.CallerSaid("Hi."))
    bench.answer(1.0, "We open at eight.")
    bench.run(1.5)
    latency = bench.machine.turns.all[-1].latency()
    assert latency.latency_ms == pytest.approx(700, abs=45)
    assert latency.sent_ms == pytest.approx(0, abs=1)
    assert latency.model_ms == pytest.approx(700, abs=45)
    assert latency.out_ms == pytest.approx(0, abs=6)


def test_two_deadlines_at_once_end_a_call_once() -> None:
    bench = talking(options=CallOptions(greeting="Greet.", max_seconds=60.0))
    bench.disconnect("lost")
    bench.now += 1000
    commands = bench.machine.tick(bench.now)
    assert len([c for c in commands if isinstance(c, e.Finish)]) == 1


def test_the_time_limit_does_not_talk_into_a_goodbye() -> None:
    bench = Bench(options=CallOptions(greeting="Greet.", max_seconds=2.0))
    bench.tell(e.ModelReady(0.1))
    bench.answer(3.0, "Goodbye.")
    bench.connect()
    bench.run(1.0)
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(2.2)
    bench.tell(e.TurnComplete())
    assert bench.ended("agent_hung_up")


def test_the_model_is_not_heard_after_our_own_last_line_has_begun() -> None:
    bench = Bench(options=CallOptions(greeting="Greet.", max_seconds=2.0))
    bench.tell(e.ModelReady(0.1))
    bench.answer(0.5)
    bench.connect()
    bench.run(2.1)
    before = len(bench.machine.turns.all)
    bench.answer(5.0, complete=False)
    assert len(bench.machine.turns.all) == before


def test_while_the_model_generates_only_interrupted_stops_it() -> None:
    bench = talking()
    bench.answer(3.0, complete=False)
    bench.run(0.5)
    bench.tell(e.CallerActivity(active=True))
    assert bench.unplayed > 0


def test_a_turn_that_completes_without_generation_complete_is_heard_to_its_last_frame() -> None:
    bench = talking()
    bench.answer(0.51, complete=False)
    bench.tell(e.TurnComplete())
    bench.tell(e.GenerationComplete())
    bench.tell(e.TurnComplete())
    bench.run(1.0)
    assert len(bench.heard) / 16000 == pytest.approx(1.0 + 0.52, abs=0.021)


def test_a_goodbye_that_outlasts_the_watchdog_is_heard_to_its_end() -> None:
    bench = talking()
    bench.answer(14.0, "A very long goodbye.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(13.5)
    assert bench.ended(None)
    bench.run(0.7)
    bench.tell(e.TurnComplete())
    assert bench.ended("agent_hung_up")


def test_a_model_that_never_stops_generating_does_not_hold_the_line() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.answer(0.5, "Good", complete=False)
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(13.0)
    assert bench.ended("agent_hung_up")


def test_a_tool_that_ends_the_call_while_the_caller_is_away_ends_nothing() -> None:
    bench = talking()
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.disconnect("lost")
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    assert bench.is_in(Phase.PARKED)


def test_a_model_that_is_lost_during_its_goodbye_is_not_apologised_for() -> None:
    bench = talking()
    bench.answer(1.0, "Goodbye.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    bench.run(1.5)
    assert bench.ended("agent_hung_up")
    assert bench.machine.turns.all[-1].own is False


def test_caller_audio_before_the_session_is_ready_is_not_lost() -> None:
    bench = Bench()
    bench.run(2.1)
    bench.connect()
    bench.caller_talks(1.0)
    bench.run(1.5)
    bench.tell(e.ModelReady(3.6))
    bench.run(1.0)
    sent = sum(c.pcm.seconds for c in bench.all(e.SendAudio) if isinstance(c, e.SendAudio))
    assert sent == pytest.approx(2.5, abs=0.03)
    bench.disconnect()
    figures = bench.machine.metrics
    assert figures.dropped_up_ms == 0
    # What had waited for the session, and what came while that was worked off.
    assert figures.delayed_up_ms == pytest.approx(2000, abs=25)
    assert figures.merged_up_ms == pytest.approx(2100, abs=25)


def test_a_phantom_interruption_of_nobody_changes_nothing() -> None:
    bench = talking()
    bench.tell(e.Interrupted())
    assert not bench.all(e.Clear)
    bench.answer(0.5)
    bench.run(0.7)
    assert bench.machine.turns.all[-1].last_heard is not None


@pytest.mark.parametrize(
    ("told", "reason"), [("closed", "line_lost"), ("stopped", "caller_hung_up")]
)
def test_a_line_that_we_gave_up_may_still_tell_of_its_end(told: str, reason: str) -> None:
    bench = talking()
    bench.answer(1.0)
    bench._marks.clear()
    bench._frame_at = None
    bench.run(4.0)
    assert bench.is_in(Phase.PARKED)
    bench.disconnect(told)
    bench.run(11.0)
    assert bench.ended(reason)
