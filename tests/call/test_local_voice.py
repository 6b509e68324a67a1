"""What our own voice detector is asked, and what a call does with its answers."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.local_voice import Budget, LocalVoiceOptions
from agent.call.options import CallOptions
from tests.call.calls import Bench, say, speech, talking

VOICE = [0.9] * 4
NO_VOICE = [0.1] * 4


def options(**local: object) -> CallOptions:
    return CallOptions(
        greeting="Greet the caller.",
        local_voice=LocalVoiceOptions(**{"barge_in": True, **local}),  # type: ignore[arg-type]
    )


def asked(bench: Bench) -> list[e.Detect]:
    return [command for command in bench.all(e.Detect) if isinstance(command, e.Detect)]


def answering(bench: Bench, words: str = "We are open from nine to five.") -> None:
    """The caller has asked something; the agent's long answer plays."""
    say(bench, 0.8, "When are you open?")
    bench.answer(4.0, words)
    bench.run(1.5)


def hears(bench: Bench, voice: list[float], seconds: float, gap: float = 0.0) -> None:
    """The detector answers each question with this, while the caller speaks for so long."""
    bench.caller_talks(seconds)
    end = bench.now + seconds
    while bench.now < end - 1e-9:
        known = len(bench.log)
        bench.run(0.02)
        questions = [command for _, command in bench.log[known:] if isinstance(command, e.Detect)]
        for question in questions:
            bench.tell(e.VoiceDetected(question.n, voice, gap))


# ---- barge-in


def test_a_voice_over_the_agents_words_stops_them_at_once() -> None:
    bench = talking(options=options())
    answering(bench)
    began = bench.now
    hears(bench, VOICE, 0.2)
    (clear,) = bench.times(e.Clear)
    assert clear - (began - 100.0) <= 0.1
    sent = len(bench.all(e.Play))
    bench.run(0.3)
    assert len(bench.all(e.Play)) == sent  # it waits


def test_the_first_question_tells_of_the_time_before_the_sound_and_the_next_ones_go_on() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, NO_VOICE, 0.3)
    first, *others = asked(bench)
    assert first.fresh
    assert not any(question.fresh for question in others)
    assert first.line.seconds == pytest.approx(0.25)
    assert first.own.seconds == pytest.approx(0.73)
    assert {len(question.line) for question in others} == {len(question.own) for question in others}
    assert any(first.own)  # what the caller heard of us


def test_what_is_confirmed_is_an_interruption_like_any_other() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.4)
    bench.tell(e.CallerActivity(active=True))
    bench.run(1.0)
    assert bench.machine.metrics.barge_ins == 1
    assert bench.machine.metrics.spoken_on == 0
    assert len(bench.all(e.Clear)) == 1
    assert bench.unplayed == 0
    turn = bench.machine.turns.current
    assert turn is not None
    assert turn.cut


def test_while_the_reply_is_generated_words_of_the_callers_only_lengthen_the_stop() -> None:
    bench = talking(options=options())
    say(bench, 0.8, "When are you open?")
    bench.answer(4.0, "We are open", complete=False)
    bench.run(1.5)
    hears(bench, VOICE, 0.4)
    bench.run(0.3)
    bench.tell(e.CallerSaid("Stop"))
    bench.run(0.5)
    assert bench.machine.metrics.spoken_on == 0
    bench.tell(e.Interrupted())
    assert bench.machine.metrics.barge_ins == 1


def test_an_answer_to_the_caller_confirms_that_he_spoke_and_takes_the_place_of_the_old_one() -> (
    None
):
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.6)
    bench.run(0.3)
    bench.answer(1.0, "Of course.")
    bench.run(0.9)
    old, new = bench.machine.turns.all[-2:]
    assert old.cut
    assert old.last_heard is not None
    assert new.first_heard is not None
    assert new.first_heard < old.last_heard + 1.1
    assert bench.machine.metrics.barge_ins == 1


def test_what_nobody_confirms_is_none_and_the_interrupted_word_is_said_again() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.2, gap=0.2)
    stopped = bench.now
    heard = len(bench.heard)
    bench.run(0.6)
    assert bench.unplayed == 0
    bench.run(4.0)
    assert bench.machine.metrics.spoken_on == 1
    assert bench.machine.metrics.barge_ins == 0
    (turn,) = (turn for turn in bench.machine.turns.all if turn.n == 1)
    assert turn.last_heard is not None
    assert turn.last_heard < stopped + 4.5
    assert not turn.cut
    assert len(bench.heard) > heard
    again = (turn.end - turn.start) / 8000 - 4.0
    assert 0.1 < again <= 0.4
    assert bench.machine.metrics.underruns == 0


def test_who_has_said_a_sentence_may_be_answered_before_the_agent_goes_on() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.9)
    bench.run(1.8)
    assert bench.machine.metrics.spoken_on == 0
    bench.run(0.3)
    assert bench.machine.metrics.spoken_on == 1


def test_who_goes_on_speaking_is_waited_for_but_not_for_ever() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.1)
    bench.caller_talks(8.0)
    bench.run(5.7)
    assert bench.machine.metrics.spoken_on == 0
    bench.run(0.4)
    assert bench.machine.metrics.spoken_on == 1


def test_after_two_stops_that_nobody_confirmed_the_agent_is_stopped_by_the_service_only() -> None:
    bench = talking(options=options())
    answering(bench)
    for _ in range(2):
        hears(bench, VOICE, 0.2)
        bench.run(1.2)
    assert bench.machine.metrics.spoken_on == 2
    bench.answer(3.0)
    bench.run(0.5)
    known = len(asked(bench))
    bench.caller_talks(0.5)
    bench.run(0.5)
    assert len(asked(bench)) == known


def test_no_voice_stops_nobody() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, [], 0.3)  # an echo
    hears(bench, NO_VOICE, 0.1)
    assert not bench.all(e.Clear)
    assert bench.machine.metrics.listened > 0


def test_while_the_detector_is_late_sound_waits_and_what_waits_too_long_is_begun_anew() -> None:
    bench = talking(options=options())
    answering(bench)
    bench.caller_talks(2.0)
    bench.run(0.9)
    assert len(asked(bench)) == 1
    bench.tell(e.VoiceDetected(asked(bench)[0].n, NO_VOICE))
    bench.run(0.05)
    assert asked(bench)[1].line.seconds > 0.7
    bench.run(1.15)
    assert asked(bench)[-1].fresh
    bench.tell(e.VoiceDetected(asked(bench)[1].n, VOICE))  # an answer to what nobody asks any more
    assert not bench.all(e.Clear)


def test_hello_in_the_greetings_first_moment_does_not_stop_it() -> None:
    bench = Bench(options=options())
    bench.tell(e.ModelReady(0.3))
    bench.answer(3.0, "Hello, how can I help?")
    bench.run(0.1)
    bench.connect()
    bench.run(0.1)
    hears(bench, VOICE, 0.4)
    bench.run(1.0)
    assert not bench.all(e.Clear)


def test_a_line_of_our_own_is_not_stopped() -> None:
    bench = Bench(disclosure=True, options=options())
    bench.tell(e.ModelReady(0.3))
    bench.connect()
    bench.run(0.2)
    bench.caller_talks(0.5)
    bench.run(0.5)
    assert not asked(bench)


def test_the_agents_goodbye_is_stopped_for_the_service_to_hear_what_else_there_is() -> None:
    bench = talking(options=options())
    say(bench, 0.8, "That is all.")
    bench.tell(e.ToolCalled("1", "end_call", {}))
    bench.answer(3.0, "Thank you for calling, goodbye.")
    bench.tell(e.ToolFinished("1", "end_call", {}, e.EndAfterGoodbye()))
    bench.run(1.0)
    hears(bench, VOICE, 0.2)
    assert bench.machine.metrics.stopped == 1
    bench.run(5.0)
    bench.tell(e.TurnComplete())
    bench.run(1.5)
    assert bench.ended("agent_hung_up")


def test_a_stop_outlives_a_line_that_comes_back() -> None:
    bench = talking(options=options())
    answering(bench)
    hears(bench, VOICE, 0.2)
    bench.disconnect("lost")
    bench.run(1.5)
    sent = len(bench.all(e.Play))
    bench.connect(2)
    bench.run(1.0)
    assert len(bench.all(e.Play)) > sent


def test_it_is_off_unless_the_options_say_otherwise() -> None:
    bench = talking()
    answering(bench)
    bench.caller_talks(0.5)
    bench.run(0.5)
    assert not asked(bench)


# ---- what it costs


def test_a_tenth_of_the_call_is_listened_to_at_most() -> None:
    bench = talking(options=options(fuse=1000))
    answering(bench)
    bench.answer(6.0)
    hears(bench, [0.1], 6.0)
    assert 0.09 * (bench.now - 100) < bench.machine.metrics.listened
    assert bench.machine.metrics.listened <= 0.1 * (bench.now - 100) + 0.2


def test_what_is_not_used_is_saved_up_to_a_bound() -> None:
    budget = Budget(LocalVoiceOptions(share=0.1, burst=3.0), 1000.0)
    assert budget.allows(2000.0)
    budget.spend(round(3.0 / 0.032))
    assert not budget.allows(2000.0)
    assert budget.allows(2001.0)


# ---- short words


def short_word(bench: Bench, seconds: float = 0.4) -> None:
    """The caller says a word, and nothing comes of it."""
    bench.caller_talks(seconds)
    bench.run(seconds)


def answer_all(bench: Bench, voice: list[float], seconds: float) -> int:
    """The detector answers whatever it is asked; how often that was."""
    known = len(asked(bench))
    bench.run(seconds)
    count = 0
    while len(asked(bench)) > known + count:
        bench.tell(e.VoiceDetected(asked(bench)[known + count].n, voice))
        count += 1
    return count


def sent_seconds(bench: Bench) -> float:
    return sum(c.pcm.seconds for c in bench.all(e.SendAudio) if isinstance(c, e.SendAudio))


def test_a_short_word_without_an_answer_is_sent_again_with_its_end() -> None:
    bench = talking()
    before, began = sent_seconds(bench), bench.now
    short_word(bench)
    assert answer_all(bench, VOICE, 2.1) == 6  # 0.7 s in pieces of 0.128 s
    bench.run(0.5)
    (ended,) = bench.times(e.EndAudio)
    assert 2.0 < ended - (began - 100.0) - 0.4 < 2.6
    again = sent_seconds(bench) - before - (bench.now - began)
    assert 0.7 < again < 1.1  # the word with what is around it
    assert bench.machine.metrics.rescued == 1
    bench.run(1.0)
    assert len(bench.all(e.EndAudio)) == 1  # once per utterance


@pytest.mark.parametrize(
    "sign",
    [e.CallerSaid("Yes"), e.ModelAudio(speech(0.2)), e.ToolCalled("1", "t", {}), e.AgentSaid("I")],
)
def test_a_word_that_was_understood_is_not_sent_again(sign: e.AnyEvent) -> None:
    bench = talking()
    short_word(bench)
    bench.run(1.0)
    bench.tell(sign)
    bench.run(2.5)
    assert not asked(bench)


def test_an_answer_in_the_last_moment_still_counts() -> None:
    bench = talking()
    short_word(bench)
    bench.run(2.05)
    (question,) = asked(bench)
    bench.tell(e.CallerSaid("Yes"))
    bench.tell(e.VoiceDetected(question.n, VOICE))
    bench.run(1.0)
    assert not bench.all(e.EndAudio)


def test_a_click_or_a_cough_is_no_word() -> None:
    bench = talking()
    short_word(bench)
    answer_all(bench, NO_VOICE, 2.1)
    bench.run(0.5)
    assert not bench.all(e.EndAudio)


@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_only_short_words_are_sent_again(seconds: float) -> None:
    bench = talking()
    short_word(bench, seconds)
    bench.run(2.5)
    assert not asked(bench)


def test_what_lies_over_the_agents_words_may_be_their_echo() -> None:
    bench = talking()
    say(bench, 0.8, "When are you open?")
    bench.answer(2.0, "From nine to five.")
    bench.run(1.0)
    bench.caller_talks(0.4)
    bench.run(1.5)
    bench.tell(e.TurnComplete())
    bench.run(2.0)
    assert not asked(bench)


def test_a_word_said_twice_is_sent_again_once() -> None:
    bench = talking()
    short_word(bench)
    bench.run(1.0)
    short_word(bench)
    answer_all(bench, VOICE, 2.2)
    bench.run(1.0)
    assert len(bench.all(e.EndAudio)) == 1


def test_no_short_word_is_looked_for_where_the_options_say_so() -> None:
    bench = talking(options=options(rescue=False))
    short_word(bench)
    bench.run(3.0)
    assert not asked(bench)


# ---- the end of speech


def test_the_end_of_the_callers_words_is_told_where_that_is_wanted() -> None:
    bench = talking(options=options(end_after=0.2))
    began = bench.now
    bench.caller_talks(1.0)
    bench.run(3.0)
    (ended,) = bench.times(e.EndAudio)
    assert ended - (began - 100.0) == pytest.approx(1.2, abs=0.05)


def test_each_pause_that_is_long_enough_is_an_end() -> None:
    bench = talking(options=options(end_after=0.2))
    for _ in range(2):
        bench.caller_talks(0.5)
        bench.run(0.8)
    assert len(bench.all(e.EndAudio)) == 2


def test_the_agents_echo_has_no_end_that_is_told() -> None:
    bench = talking(options=options(end_after=0.2, barge_in=False))
    bench.answer(1.0, "One moment.")
    bench.run(0.3)
    bench.caller_talks(0.7)
    bench.run(0.8)
    bench.tell(e.TurnComplete())
    bench.run(1.0)
    assert not bench.all(e.EndAudio)
