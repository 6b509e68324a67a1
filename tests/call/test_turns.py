"""Whose words are whose."""

from __future__ import annotations

import itertools

import pytest

from agent.call.turns import STATES, Agent, Sign, Turns


def test_the_table_is_total() -> None:
    assert set(STATES) == set(itertools.product(Agent, Sign))


def reply(turns: Turns, now: float, start: int, end: int) -> None:
    turns.reply_audio(now, start).end = end


def test_words_that_come_ahead_of_their_audio_belong_to_it() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.agent_said("We open ")
    turns.caller_said("When?")
    reply(turns, 2.0, 0, 8000)
    turns.agent_said("at eight.")
    (turn,) = turns.all
    assert (turn.caller, turn.agent) == ("When?", "We open at eight.")
    assert (turn.caller_start, turn.caller_end) == (1.0, 1.0)


def test_a_late_transcription_belongs_to_the_turn_that_is_being_answered() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.caller_said("Where can I ")
    reply(turns, 2.0, 0, 8000)
    turns.caller_said("park?")
    assert turns.all[0].caller == "Where can I park?"


def test_what_is_said_over_a_reply_belongs_to_the_next_turn() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.caller_said("Where?")
    reply(turns, 2.0, 0, 80000)
    turns.caller_voiced(3.0)
    turns.caller_said("Sorry,")
    assert turns.all[0].caller == "Where?"
    turns.move(Sign.INTERRUPTED)
    turns.agent_said(" and late words")
    turns.move(Sign.COMPLETE)
    reply(turns, 5.0, 20000, 30000)
    assert turns.all[1].caller == "Sorry,"
    assert turns.all[0].agent == " and late words"


def test_a_reply_from_a_backlog_leaves_the_later_words_to_the_next_one() -> None:
    """The caller has said two things; the model, which hears them late, answers the first."""
    turns = Turns()
    for at in (1.0, 2.0, 3.0, 4.0):
        turns.caller_voiced(at)
    turns.caller_said("Is it open?")
    turns.reply_audio(5.0, 0)
    turns.answers_only_before(2.5)
    turns.saved()
    turns.caller_said(" And")  # its transcription comes in pieces, the first ahead of the answer
    assert turns.speech_since() == 2.5
    assert turns.owes_answer()
    turns.move(Sign.COMPLETE)
    turns.reply_audio(6.0, 100)
    turns.caller_said(" on Sundays?")
    first, second = turns.all
    assert (first.caller, first.caller_start, first.caller_end) == ("Is it open?", 1.0, 2.5)
    assert (second.caller, second.caller_start) == (" And on Sundays?", 2.5)
    assert turns.memory(everything=False) == "Caller: And on Sundays?"


def test_a_reply_that_answers_none_of_what_was_said_has_no_caller() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.caller_voiced(2.0)
    turns.reply_audio(2.1, 0)
    turns.answers_only_before(0.9)
    assert turns.all[0].caller_start is None
    assert turns.speech_since() == 1.0


def test_what_was_said_before_is_answered() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.reply_audio(2.0, 0)
    turns.answers_only_before(1.5)
    assert turns.speech_since() is None


def test_a_reply_that_pauses_for_a_tool_is_one_turn() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.move(Sign.GENERATED)
    reply(turns, 2.0, 8000, 16000)
    assert len(turns.all) == 1


def test_an_agent_that_speaks_again_unasked_has_a_turn_without_a_caller() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.move(Sign.GENERATED)
    turns.move(Sign.COMPLETE)
    reply(turns, 9.0, 8000, 16000)
    assert [turn.caller for turn in turns.all] == ["", ""]


def test_a_lines_own_sentence_takes_no_words_and_no_number() -> None:
    turns = Turns()
    turns.own_line("You are speaking with an automated assistant.", 0, 8000)
    turns.caller_said("Hello?")
    turns.agent_said("Hi.")
    reply(turns, 1.0, 8000, 16000)
    own, greeting = turns.all
    assert (own.n, greeting.n) == (0, 0)
    assert own.agent == "You are speaking with an automated assistant."
    assert (greeting.caller, greeting.agent) == ("Hello?", "Hi.")


def test_a_cut_marks_what_was_not_heard_and_spares_our_own_lines() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.own_line("Goodbye.", 8000, 16000)
    Turns().cut(0)
    turns.cut(4000)
    assert not turns.all[0].cut
    reply(turns, 2.0, 16000, 24000)
    turns.cut(20000)
    assert turns.all[-1].cut_at == 20000
    turns.cut(18000)
    assert turns.all[-1].cut_at == 20000
    turns.cut(30000)


def test_heard_is_told_in_pieces_that_may_span_turns() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.move(Sign.COMPLETE)
    reply(turns, 2.0, 8000, 16000)
    turns.heard(10.0, 0, 4000, 8000)
    turns.heard(10.5, 4000, 8000, 8000)
    turns.heard(11.5, 12000, 4000, 8000)
    first, second = turns.all
    assert (first.first_heard, first.last_heard) == (10.0, 11.0)
    assert (second.first_heard, second.last_heard) == (11.0, 12.0)


def test_words_that_were_never_answered_stand_at_the_end() -> None:
    turns = Turns()
    turns.caller_voiced(1.0)
    turns.caller_said("Hello? ")
    (line,) = turns.lines(0.5)
    assert (line.who, line.text, line.start) == ("caller", "Hello?", 0.5)
    silent = Turns()
    silent.caller_said("x")
    assert silent.lines(0.0)[0].start is None


def test_sound_without_words_is_a_line_too() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    (line,) = turns.lines(0.0)
    assert (line.who, line.text, line.heard) == ("agent", "", "")
    assert Turns().lines(0.0) == []


def test_a_turn_whose_reply_was_never_sent_has_no_times() -> None:
    turns = Turns()
    reply(turns, 1.0, 100, 100)
    turns.sent(2.0, speech=False, position=0)
    (turn,) = turns.all
    assert turn.first_out is None
    assert turn.latency().latency_ms is None
    assert turns.lines(0.0) == []
    turns.sent(3.0, speech=True, position=200)
    assert turn.first_out == 3.0


def test_silence_since_ever() -> None:
    assert Turns().caller_last_heard() == pytest.approx(-float("inf"))


def test_a_reply_that_was_cut_ends_where_it_was_cut() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 16_000)
    turns.heard(10.0, 0, 4000, 8000)
    turns.move(Sign.INTERRUPTED)
    turns.cut(4800)  # a frame was on its way
    turns.move(Sign.COMPLETE)
    reply(turns, 12.0, 4800, 12_800)
    turns.heard(10.5, 4000, 800, 8000)
    turns.heard(13.0, 4800, 8000, 8000)
    cut, answer = turns.all
    assert (cut.first_heard, cut.last_heard) == (10.0, 10.6)
    assert (answer.first_heard, answer.last_heard) == (13.0, 14.0)


def test_words_that_are_heard_again_move_what_comes_after_them() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.move(Sign.COMPLETE)
    turns.caller_voiced(1.5)
    reply(turns, 2.0, 8000, 24000)
    turns.own_line("One moment.", 24000, 32000)
    turns.again(16000, 1600)
    assert [(turn.start, turn.end) for turn in turns.all] == [
        (0, 8000),
        (8000, 25600),
        (25600, 33600),
    ]


def test_what_was_never_transcribed_is_not_kept_from_the_next_session() -> None:
    turns = Turns()
    turns.caller_voiced(0.5)  # a click
    reply(turns, 1.0, 0, 8000)
    turns.heard(1.0, 0, 8000, 8000)
    turns.move(Sign.COMPLETE)
    for at in (3.0, 3.2, 3.4):
        turns.caller_voiced(at)
    reply(turns, 4.0, 8000, 16000)
    turns.heard(4.0, 8000, 8000, 8000)
    assert turns.memory(everything=True).splitlines() == [
        "You: (the greeting)",
        "Caller: (words of which no transcription came)",
        "You: (words of which no transcription came)",
    ]


def test_the_first_words_may_be_heard_again_too() -> None:
    turns = Turns()
    reply(turns, 1.0, 0, 8000)
    turns.again(4000, 800)
    assert (turns.all[0].start, turns.all[0].end) == (0, 8800)
