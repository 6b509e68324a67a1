"""Resumption: handles are snapshots, and the client owes what a snapshot does not know."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.simulator.account import ANSWERED_TWICE, MISSING, Account, Memory, Thread
from agent.simulator.brain import Call
from agent.simulator.ears import Utterance
from agent.simulator.gemini_setup import Conduct
from agent.simulator.handles import VALID_SECONDS
from agent.simulator.records import Ledger, UtteranceCounts
from agent.simulator.script import SCRIPT_FOLDER, SPEECH_FOLDER, Play, ScriptBrain, load, read_clip
from tests.simulator.live_rig import FUNCTION, QUIET, SPEECH, Parrot, Rig, audio_frame, setup_frame

RESUMABLE: dict[str, Any] = {"sessionResumption": {}}
TEXT = {"realtimeInput": {"text": "Greet the caller."}}
CONDUCT = Conduct(setup_seconds=0.5, model_delay_seconds=0.25, speed=8.0)
WORDS = {
    "open": "Hi. What time do you open tomorrow?",
    "park": "And where can I park my car?",
    "cost": "Sorry, is it free on Sundays?",
    "bye": "Great, thank you. Goodbye.",
}


@pytest.fixture(scope="module")
def play() -> Play:
    return load(SCRIPT_FOLDER / "demo.yaml")


def clip(name: str) -> bytes:
    """What the caller says, at the telephone's rate: PCM16."""
    pcm, rate_hz = read_clip(SPEECH_FOLDER / f"caller_{name}.wav")
    assert rate_hz == 8_000
    return pcm


def talking(play: Play, **changes: Any) -> Rig:
    """A session of the demo's script, greeted and idle."""
    rig = Rig(brain=ScriptBrain(play), conduct=msgspec.structs.replace(CONDUCT, **changes)).ready(
        **RESUMABLE
    )
    rig.send(TEXT)
    rig.wait(6)
    return rig


def speak(rig: Rig, name: str, *, quiet: float = 0.7, rate: float = 1.0) -> None:
    """Say something in real time, or faster: a replay."""
    pcm = clip(name) + bytes(int(quiet * 8_000) * 2)
    for at in range(0, len(pcm), 320):
        part = pcm[at : at + 320]
        rig.wait(len(part) / 16_000 / rate)
        rig.send(audio_frame(part, "audio/pcm;rate=8000"))


def content(*texts: str, complete: bool) -> dict[str, Any]:
    turns = [{"role": "user", "parts": [{"text": text}]} for text in texts]
    return {"clientContent": {"turns": turns, "turnComplete": complete}}


def reply_of(play: Play, turn: int) -> bytes:
    said = play.replies[turn][0]
    assert not isinstance(said, Call)
    return said.pcm


# ---------------------------------------------------------------------------- snapshots


def test_a_resumed_session_goes_on_where_the_handle_was_issued(play: Play) -> None:
    first = talking(play)
    speak(first, "open")
    first.wait(6)
    assert first.audio().endswith(reply_of(play, 0))
    second = first.over().resumed()
    speak(second, "park")
    second.wait(12)
    assert second.audio() == reply_of(play, 1)
    assert second.record.resumed_from == 1
    assert not second.violations
    assert second.record.utterances.heard == second.record.utterances.answered == 1


def test_an_older_handle_restores_what_was_known_then_and_no_more(play: Play) -> None:
    first = talking(play)
    before = first.handle()
    speak(first, "open")
    first.wait(6)
    assert first.handle() != before
    stranger = bytes(SPEECH)  # what nobody recognises gets the next turn that was not played
    for handle, turn in ((first.handle(), 1), (before, 0)):
        resumed = first.over().resumed(handle)
        resumed.say(stranger + QUIET)
        resumed.wait(12)
        assert resumed.audio() == reply_of(play, turn)
        resumed.over()


def test_a_handle_may_be_used_again_and_its_snapshot_stays_as_it_was(play: Play) -> None:
    first = talking(play)
    handle = first.handle()
    for _ in range(2):
        resumed = first.over().resumed(handle)
        resumed.say(SPEECH + QUIET)
        resumed.wait(12)
        assert resumed.audio() == reply_of(play, 0)
        resumed.over()


def test_the_context_that_is_billed_comes_with_the_handle() -> None:
    first = Rig().ready(**RESUMABLE)
    first.send(TEXT)
    first.wait(4)
    second = first.over().resumed()
    second.send(TEXT)
    second.wait(4)
    counts = [
        sent.message["usageMetadata"]["promptTokenCount"] for sent in second.named("usageMetadata")
    ]
    assert counts[0] == 50 + 2 * (len(TEXT["realtimeInput"]["text"]) // 4)


def test_memory_that_is_seeded_by_the_system_instruction_is_accepted() -> None:
    memory = "You are a phone agent. So far the caller said: " + "What time do you open? " * 400
    rig = Rig().ready(systemInstruction={"parts": [{"text": memory}]})
    rig.send(TEXT)
    rig.wait(4)
    assert not rig.violations
    tokens = rig.named("usageMetadata")[0].message["usageMetadata"]["promptTokenCount"]
    assert tokens > len(memory) // 4


def test_no_handle_is_issued_while_the_model_is_about_to_answer() -> None:
    rig = Rig(conduct=CONDUCT).ready(**RESUMABLE)
    rig.send(TEXT)
    rig.wait(0.6)  # all is generated, and the client still plays
    rig.send(content("Go on.", complete=True))
    rig.wait(0.1)
    assert not rig.updates[-1].message["sessionResumptionUpdate"]
    rig.wait(4)
    assert rig.updates[-1].message["sessionResumptionUpdate"]["resumable"]


def test_a_session_is_resumable_again_once_its_tools_were_answered() -> None:
    declared = [{"functionDeclarations": [FUNCTION | {"behavior": "NON_BLOCKING"}]}]
    rig = Rig(brain=Parrot(Call("end_call", {}))).ready(**RESUMABLE, tools=declared)
    rig.say(SPEECH + QUIET)
    rig.wait(9)
    assert not rig.updates[-1].message["sessionResumptionUpdate"]
    answer = {"id": "function-call-1", "name": "end_call", "response": {}}
    rig.send({"toolResponse": {"functionResponses": [answer]}})
    assert rig.updates[-1].message["sessionResumptionUpdate"]["resumable"]


# ---------------------------------------------------------------------------- refusals


def test_a_second_socket_is_refused_while_the_first_or_its_successor_lives() -> None:
    first = Rig().ready(**RESUMABLE)
    handle = first.handle()
    asked = setup_frame(sessionResumption={"handle": handle})
    second = Rig(before=first)
    second.send(asked)
    second.wait(1)
    assert second.close == (1011, "Internal error encountered.")
    third = first.over().resumed(handle)
    fourth = Rig(before=third)
    fourth.send(asked)
    fourth.wait(1)
    assert fourth.close == (1011, "Internal error encountered.")
    assert "session 3 is still connected" in fourth.violations[-1].detail


def test_a_session_that_the_stand_in_closed_may_be_resumed_at_once() -> None:
    first = Rig().ready(**RESUMABLE)
    first.send("{")
    assert first.close is not None
    assert first.resumed().named("setupComplete") == []  # cleared: it is ready


@pytest.mark.parametrize(
    ("seconds", "good"), [(VALID_SECONDS - 1, True), (VALID_SECONDS + 1, False)]
)
def test_a_handle_is_good_for_two_hours_after_the_last_session(seconds: float, good: bool) -> None:
    first = Rig().ready(**RESUMABLE)
    handle = first.over().handle()
    first.now += seconds
    late = Rig(before=first)
    late.send(setup_frame(sessionResumption={"handle": handle}))
    late.wait(1)
    assert (late.close is None) is good
    if not good:
        assert late.close == (1008, "BidiGenerateContent session not found")


# ---------------------------------------------------------------------------- the account


def cut_off(play: Play, *, after: float) -> tuple[Rig, str]:
    """A session that was lost so long after the caller's second question was heard."""
    first = talking(play)
    speak(first, "open")
    first.wait(6)
    handle = first.handle()
    speak(first, "park")
    first.wait(after)
    return first.over(1006), handle


def test_what_was_heard_after_the_handle_may_be_sent_again_as_audio(play: Play) -> None:
    first, handle = cut_off(play, after=0.1)
    second = first.resumed(handle)
    speak(second, "park", rate=4.0)
    second.wait(12)
    assert second.audio() == reply_of(play, 1)
    speak(second, "cost")
    second.wait(6)
    assert second.audio().endswith(reply_of(play, 2))
    assert not second.violations
    counts = second.record.utterances
    assert (counts.heard, counts.heard_again, counts.missing) == (2, 1, 0)


def test_what_is_not_sent_again_is_missing_once_something_new_is_heard(play: Play) -> None:
    first, handle = cut_off(play, after=0.1)
    second = first.resumed(handle)
    speak(second, "cost")
    [violation] = second.violations
    assert violation.rule == MISSING
    assert WORDS["park"] in violation.detail
    assert second.record.utterances.missing == 1
    second.over()
    assert len(second.violations) == 1


@pytest.mark.parametrize(("seconds", "missing"), [(4.0, 1), (1.0, 0)])
def test_what_is_never_sent_again_is_missing_at_the_end(
    play: Play, seconds: float, missing: int
) -> None:
    first, handle = cut_off(play, after=0.1)
    second = first.resumed(handle)
    second.wait(seconds)
    second.over()
    assert [violation.rule for violation in second.violations] == [MISSING] * missing


def test_what_a_short_session_did_not_get_is_still_owed_to_the_next(play: Play) -> None:
    first, handle = cut_off(play, after=0.1)
    second = first.resumed(handle)
    second.wait(0.1)
    third = second.over(1006).resumed(handle)
    speak(third, "cost")
    assert [violation.rule for violation in third.violations] == [MISSING]


def test_an_answer_that_was_cut_off_may_begin_again_and_is_counted(play: Play) -> None:
    first, handle = cut_off(play, after=0.8)
    second = first.resumed(handle)
    speak(second, "park", rate=4.0)
    second.wait(8)
    assert second.audio() == reply_of(play, 1)
    assert not second.violations
    assert second.record.utterances.begun_again == 1


def test_what_was_answered_in_full_is_told_as_text_and_not_answered_again(play: Play) -> None:
    first, handle = cut_off(play, after=4)
    second = first.resumed(handle)
    second.send(content(WORDS["park"], complete=False))
    speak(second, "cost")
    second.wait(6)
    assert second.audio() == reply_of(play, 2)
    assert not second.violations
    assert second.record.utterances.told_again == 1


def test_what_was_answered_in_full_may_be_told_in_the_system_instruction(play: Play) -> None:
    first, handle = cut_off(play, after=4)
    told = f"You are a front desk. What was said meanwhile:\nCaller: {WORDS['park']}\nYou: ..."
    second = first.resumed(handle, systemInstruction={"parts": [{"text": told}]})
    second.say(bytes(SPEECH))
    second.say(SPEECH + QUIET)  # nobody recognises it: the next turn is behind the one told
    second.wait(6)
    assert second.audio() == reply_of(play, 2)
    assert not second.violations
    assert second.record.utterances.told_again == 1


@pytest.mark.parametrize(("answered", "broken"), [(True, []), (False, [MISSING])])
def test_words_that_the_client_got_in_part_are_told_by_that_part(
    answered: bool, broken: list[str]
) -> None:
    """The connection went between two fragments of their transcription; what nobody has answered is owed as audio."""
    thread, counts, violations = Thread(), UtteranceCounts(), list[str]()

    def session() -> Account:
        return Account(thread, Memory(), counts, lambda rule, _: violations.append(rule))

    first = session()
    pcm = clip("park")
    spoken = first.heard(Utterance(pcm, 8_000, len(pcm) / 16_000), WORDS["park"], 3.0, answers=True)
    spoken.sent = "And where"
    if answered:
        first.begun(spoken)
        first.complete(spoken)
    first.ended(None, 4.0, 4.0)
    second = session()
    second.told(["Caller: And where\nYou: Behind the house."], answers=False)
    second.ended(None, 4.0, 9.0)
    assert violations == broken


def test_what_was_answered_in_full_and_is_sent_as_audio_is_answered_twice(play: Play) -> None:
    first, handle = cut_off(play, after=4)
    second = first.resumed(handle)
    speak(second, "park", rate=4.0)
    assert [violation.rule for violation in second.violations] == [ANSWERED_TWICE]
    assert second.record.utterances.answered_twice == 1


def test_what_was_answered_in_full_and_is_asked_as_text_is_answered_twice(play: Play) -> None:
    first, handle = cut_off(play, after=4)
    second = first.resumed(handle)
    second.send(content(WORDS["park"], complete=True))
    second.wait(8)
    assert second.audio() == reply_of(play, 1)
    assert [violation.rule for violation in second.violations] == [ANSWERED_TWICE]


def test_what_was_cut_off_in_its_answer_may_be_asked_again_as_text(play: Play) -> None:
    first, handle = cut_off(play, after=0.8)
    assert first.record.utterances.answered == 2
    second = first.resumed(handle)
    second.send({"realtimeInput": {"text": f"The caller said: {WORDS['park']}"}})
    second.wait(8)
    assert second.audio() == reply_of(play, 1)
    assert not second.violations
    assert second.record.utterances.answered == 0  # it was, in the first session


def test_what_the_handle_knows_and_is_sent_again_at_once_is_answered_twice(play: Play) -> None:
    first = talking(play)
    speak(first, "open")
    first.wait(6)
    second = first.over().resumed()
    speak(second, "open", rate=20.0)
    assert [violation.rule for violation in second.violations] == [ANSWERED_TWICE]


def test_a_caller_may_say_a_thing_twice(play: Play) -> None:
    first = talking(play)
    speak(first, "open")
    first.wait(6)
    second = first.over().resumed()
    second.wait(2)
    speak(second, "open")
    assert not second.violations
    assert second.record.utterances.heard_again == 0


def lost_in_speech(play: Play, seconds: float) -> tuple[Rig, str]:
    """A session that was lost while the caller asked the first question."""
    first = talking(play)
    handle = first.handle()
    pcm = clip("open")[: int(seconds * 16_000)]
    for at in range(0, len(pcm), 320):
        first.wait(0.02)
        first.send(audio_frame(pcm[at : at + 320], "audio/pcm;rate=8000"))
    return first.over(1006), handle


@pytest.mark.parametrize("seconds", [0.7, 1.2, 1.9])
def test_an_utterance_that_was_going_on_comes_again_from_its_start(
    play: Play, seconds: float
) -> None:
    first, handle = lost_in_speech(play, seconds)
    second = first.resumed(handle)
    speak(second, "open", rate=4.0)
    second.wait(6)
    assert second.audio() == reply_of(play, 0)
    assert not second.violations


def test_an_utterance_whose_replay_is_cut_off_as_well_is_owed_once(play: Play) -> None:
    first, handle = lost_in_speech(play, 1.9)
    second = first.resumed(handle)
    pcm = clip("open")[: int(0.9 * 16_000)]
    for at in range(0, len(pcm), 320):
        second.wait(0.005)
        second.send(audio_frame(pcm[at : at + 320], "audio/pcm;rate=8000"))
    third = second.over(1006).resumed(handle)
    speak(third, "open", rate=4.0)
    third.wait(6)
    assert third.audio() == reply_of(play, 0)
    assert not third.over(1000).violations


def test_an_utterance_that_comes_without_its_start_is_missing(play: Play) -> None:
    first, handle = lost_in_speech(play, 1.2)
    second = first.resumed(handle)
    pcm = clip("open")[int(1.2 * 16_000) :] + bytes(16_000)
    for at in range(0, len(pcm), 320):
        second.wait(0.02)
        second.send(audio_frame(pcm[at : at + 320], "audio/pcm;rate=8000"))
    assert [violation.rule for violation in second.violations] == [MISSING]
    assert "what was being said" in second.violations[0].detail


def test_two_utterances_may_come_again_as_one(play: Play) -> None:
    first = talking(play)
    handle = first.handle()
    speak(first, "open")
    first.wait(0.1)
    speak(first, "park")
    second = first.over(1006).resumed(handle)
    speak(second, "open", quiet=0.2, rate=4.0)
    speak(second, "park", rate=4.0)
    assert second.record.utterances.heard == 1
    second.wait(5)
    assert not second.over().violations


def test_a_click_is_not_owed() -> None:
    first = Rig().ready(**RESUMABLE)
    handle = first.handle()
    first.say(SPEECH[: 2 * 1600] + QUIET)  # 100 ms
    assert first.record.utterances.heard == 1
    second = first.over(1006).resumed(handle)
    second.wait(5)
    assert not second.over().violations


# ---------------------------------------------------------------------------- answers and tools


def test_an_answer_that_the_client_writes_over_is_lost() -> None:
    rig = Rig().ready()
    rig.say(SPEECH + QUIET[: 2 * 10_000])  # its end is found, the answer is being made
    rig.send(content("A note.", complete=False))
    rig.wait(6)
    assert rig.record.utterances.answers_lost == 1
    assert rig.record.utterances.answered == 0
    assert not rig.named("modelTurn")


def test_a_note_in_an_idle_moment_loses_nothing() -> None:
    rig = Rig().ready()
    rig.say(SPEECH + QUIET)
    rig.wait(6)
    rig.send(content("A note.", complete=False))
    assert rig.record.utterances.answers_lost == 0
    assert not rig.named("interrupted")


def test_an_older_snapshot_calls_its_tools_again_under_new_ids() -> None:
    declared: dict[str, Any] = {
        "tools": [{"functionDeclarations": [FUNCTION | {"behavior": "BLOCKING"}]}]
    }
    first = Rig(brain=Parrot(Call("end_call", {"why": "bye"}))).ready(**RESUMABLE, **declared)
    handle = first.handle()
    first.say(SPEECH + QUIET)
    first.wait(1)
    second = first.over(1006).resumed(handle, **declared)
    second.say(SPEECH + QUIET)
    second.wait(1)
    [one], [two] = (
        sent.message["toolCall"]["functionCalls"]
        for rig in (first, second)
        for sent in rig.named("toolCall")
    )
    assert (one["name"], one["args"]) == (two["name"], two["args"])
    assert one["id"] != two["id"]
    assert first.record.tools.unanswered == 1
    assert (second.record.tools.issued, second.record.tools.reissued) == (1, 1)
    answer = {"id": one["id"], "name": "end_call", "response": {}}
    second.send({"toolResponse": {"functionResponses": [answer]}})
    assert second.close is not None  # the first session's id is not open here


def test_a_tool_that_is_answered_twice_is_counted_and_refused() -> None:
    declared: dict[str, Any] = {"tools": [{"functionDeclarations": [FUNCTION]}]}
    rig = Rig(brain=Parrot(Call("end_call", {}))).ready(**declared)
    rig.say(SPEECH + QUIET)
    rig.wait(2)
    answer = {"id": "function-call-1", "name": "end_call", "response": {}}
    for _ in range(2):
        rig.send({"toolResponse": {"functionResponses": [answer]}})
    assert rig.rules() == ["tool_id_unknown"]
    tools = rig.record.tools
    assert (tools.issued, tools.answered, tools.answered_twice) == (1, 1, 1)


def test_the_totals_are_those_of_all_sessions() -> None:
    first = Rig().ready(**RESUMABLE)
    first.say(SPEECH + QUIET)
    first.wait(6)
    second = first.over().resumed()
    second.say(SPEECH + QUIET)
    second.wait(6)
    stats = second.ledger.stats()
    assert (stats.opened, stats.resumed, stats.refused, stats.ready) == (2, 1, 0, 2)
    assert (stats.utterances.heard, stats.utterances.answered) == (2, 2)
    assert stats.peak_messages_per_second in (50, 51)  # 20 ms are no whole number in binary
    frame = len(b'{"realtimeInput": {"audio": {"data": "", "mimeType": "audio/pcm;rate=16000"}}}')
    assert stats.peak_bytes_per_second == stats.peak_messages_per_second * (frame + 856)
    assert stats.early_audio_ms == 0


def test_audio_before_the_setup_is_complete_is_measured() -> None:
    rig = Rig()
    rig.send(setup_frame())
    rig.send(audio_frame(bytes(3200)))
    assert rig.rules() == ["input_before_setup_complete"]
    assert rig.ledger.stats().early_audio_ms == 100


def test_frames_long_after_the_close_break_a_rule() -> None:
    rig = Rig().ready()
    rig.send("{")
    rig.wait(0.5)
    rig.send(TEXT)
    assert rig.rules() == ["json"]
    rig.wait(0.6)
    rig.send(TEXT)
    assert rig.rules() == ["json", "frame-after-close"]
    assert rig.record.frames_after_close == 2


def test_setups_that_were_refused_before_are_counted() -> None:
    ledger = Ledger()
    for setup in (b"one", b"two", b"one", b"one"):
        ledger.refused(setup)
    assert ledger.stats().repeated_setups == 2
