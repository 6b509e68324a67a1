"""How the stand-in for Gemini Live talks: greeting, answering, being interrupted, going wrong."""

from __future__ import annotations

from typing import Any

import pytest

from agent.simulator.brain import Call, Say, speechlike
from agent.simulator.faults import Fault, parse
from agent.simulator.gemini_setup import Conduct
from tests.simulator.live_rig import (
    ANSWER,
    FUNCTION,
    GREETING,
    QUIET,
    SPEECH,
    Parrot,
    Rig,
    audio_frame,
    setup_frame,
)

TEXT = {"realtimeInput": {"text": "Greet the caller."}}
TRANSCRIBED: dict[str, Any] = {"inputAudioTranscription": {}, "outputAudioTranscription": {}}
NEVER = 1e9


def conduct(**changes: Any) -> Conduct:
    return Conduct(**({"setup_seconds": 0.5, "model_delay_seconds": 0.25} | changes))


def tools(behavior: str) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [FUNCTION | {"behavior": behavior}]}]}


def kinds(rig: Rig) -> list[str]:
    """What was sent, without repetitions of one kind in a row."""
    names: list[str] = []
    for sent in rig.sent:
        content = sent.message.get("serverContent", {})
        name = next(iter(content), None) or next(reversed(sent.message))
        if not names or names[-1] != name:
            names.append(name)
    return names


# ---------------------------------------------------------------------------- setup


def test_setup_completes_after_its_time_with_an_empty_object() -> None:
    rig = Rig()
    rig.send(setup_frame())
    rig.wait(0.49)
    assert not rig.raw
    rig.wait(0.02)
    assert rig.raw == [b'{"setupComplete":{}}']
    assert rig.sent[0].at == pytest.approx(100.5)


def test_a_setup_of_no_fixed_time_takes_between_0_3_and_1_8_seconds_repeatably() -> None:
    taken = []
    for seed in [*range(20), 0]:
        rig = Rig(conduct=Conduct(), seed=seed)
        rig.send(setup_frame())
        rig.wait(2)
        taken.append(rig.sent[0].at - 100)
    assert 0.3 <= min(taken) < 0.6
    assert 1.5 < max(taken) <= 1.8
    assert taken[0] == taken[-1]


# ---------------------------------------------------------------------------- a turn


def test_a_greeting_by_text_comes_in_the_order_that_the_field_observed() -> None:
    rig = Rig().ready(outputAudioTranscription={}, sessionResumption={})
    rig.send(TEXT)
    asked = rig.now
    rig.wait(4)
    assert rig.audio() == GREETING.pcm
    assert rig.text("outputTranscription") == GREETING.text
    assert rig.parrot.prompts == ["Greet the caller."]
    order = [name for name in kinds(rig) if name not in ("modelTurn", "outputTranscription")]
    assert order == [
        "sessionResumptionUpdate",
        "usageMetadata",
        "generationComplete",
        "turnComplete",
        "sessionResumptionUpdate",
    ]
    [first, *_] = rig.named("modelTurn")
    assert first.at == pytest.approx(asked + 0.25)
    [done] = rig.named("generationComplete")
    assert done.at == pytest.approx(asked + 0.25 + 2.0 / 4, abs=0.2)
    [over] = rig.named("turnComplete")
    assert over.at == pytest.approx(first.at + 2.0, abs=0.001)  # when it would have been played
    assert over.message["usageMetadata"]["responseTokenCount"] == 50


def test_the_caller_is_answered_after_silence_and_the_models_delay() -> None:
    rig = Rig().ready(**TRANSCRIBED)
    rig.say(SPEECH)
    stopped = rig.now
    rig.say(QUIET)
    rig.wait(4)
    assert rig.text("inputTranscription") == "[speech 1.0 s]"
    assert rig.text("outputTranscription") == ANSWER.text
    assert rig.audio() == ANSWER.pcm
    [first, *_] = rig.named("modelTurn")
    assert first.at == pytest.approx(stopped + 0.5 + 0.25, abs=0.001)
    for heard in rig.named("inputTranscription"):
        assert stopped + 0.5 <= heard.at <= stopped + 1.1


def test_the_setup_decides_how_long_the_silence_is() -> None:
    detection = {"automaticActivityDetection": {"silenceDurationMs": 800}}
    rig = Rig().ready(realtimeInputConfig=detection)
    rig.say(SPEECH)
    stopped = rig.now
    rig.say(QUIET)
    rig.wait(1)
    assert rig.named("modelTurn")[0].at == pytest.approx(stopped + 0.8 + 0.25, abs=0.001)


def test_without_transcriptions_asked_for_none_are_sent() -> None:
    rig = Rig().ready()
    rig.say(SPEECH + QUIET)
    rig.wait(4)
    assert rig.audio() == ANSWER.pcm
    assert not rig.named("inputTranscription")
    assert not rig.named("outputTranscription")
    assert not rig.named("sessionResumptionUpdate")


def test_one_message_may_have_several_fields() -> None:
    seen = set()
    for seed in range(12):
        rig = Rig(seed=seed).ready(**TRANSCRIBED)
        rig.send(TEXT)
        rig.wait(4)
        assert rig.text("outputTranscription") == GREETING.text
        for sent in rig.sent:
            seen.add((frozenset(sent.message), frozenset(sent.message.get("serverContent", {}))))
    both, only = frozenset({"serverContent", "usageMetadata"}), frozenset({"serverContent"})
    assert (only, frozenset({"modelTurn", "outputTranscription"})) in seen
    assert (both, frozenset({"outputTranscription"})) in seen
    assert (both, frozenset({"turnComplete"})) in seen
    assert (both, frozenset()) in seen


def test_an_older_model_still_takes_media_chunks() -> None:
    rig = Rig().ready("gemini-2.5-flash-native-audio-preview-12-2025")
    for at in range(0, len(SPEECH + QUIET), 3200):
        chunk = audio_frame((SPEECH + QUIET)[at : at + 3200])["realtimeInput"]["audio"]
        rig.send({"realtimeInput": {"mediaChunks": [chunk]}})
    assert rig.record.heard == ["[speech 1.0 s]"]


def test_every_turn_bills_the_whole_context() -> None:
    rig = Rig().ready()
    totals = []
    for _ in range(3):
        rig.send(TEXT)
        rig.wait(4)
        totals.append(rig.named("turnComplete")[-1].message["usageMetadata"]["promptTokenCount"])
    assert totals[0] < totals[1] - 40 < totals[2] - 90


def test_the_end_of_the_stream_ends_the_utterance() -> None:
    rig = Rig().ready()
    rig.say(SPEECH)
    rig.send({"realtimeInput": {"audioStreamEnd": True}})
    ended = rig.now
    rig.wait(1)
    assert rig.named("modelTurn")[0].at == pytest.approx(ended + 0.25)
    rig.send({"realtimeInput": {"audioStreamEnd": True}})
    assert rig.close is None


def test_a_stream_end_before_any_audio_is_no_breach() -> None:
    rig = Rig().ready()
    rig.send({"realtimeInput": {"audioStreamEnd": True}})
    rig.send({"realtimeInput": {"video": {"data": "_9g=", "mimeType": "image/jpeg"}}})
    assert rig.close is None


def test_a_client_may_signal_activity_itself() -> None:
    manual = {"automaticActivityDetection": {"disabled": True}}
    rig = Rig().ready(realtimeInputConfig=manual, **TRANSCRIBED)
    rig.send(TEXT)
    rig.wait(1)
    rig.send({"realtimeInput": {"activityStart": {}}})
    assert rig.named("interrupted")[0].at == rig.now
    rig.say(SPEECH)
    rig.say(QUIET)
    rig.send({"realtimeInput": {"activityEnd": {}}})
    ended = rig.now
    rig.wait(2)
    assert rig.record.heard == ["[speech 2.0 s]"]
    assert [sent.at for sent in rig.named("modelTurn") if sent.at >= ended][0] == ended + 0.25


def test_history_is_taken_in_without_a_reply() -> None:
    rig = Rig().ready(historyConfig={"initialHistoryInClientContent": True})
    turn = {"role": "user", "parts": [{"text": "I am Ann."}]}
    rig.send({"clientContent": {"turns": [turn], "turnComplete": False}})
    rig.send({"clientContent": {"turns": [turn], "turnComplete": True}})
    rig.wait(2)
    assert not rig.sent
    rig.send({"clientContent": {"turns": [turn], "turnComplete": True}})
    rig.wait(2)
    assert rig.parrot.prompts == ["I am Ann."]
    assert rig.audio() == GREETING.pcm


def test_client_content_interrupts_and_is_answered_once_complete() -> None:
    rig = Rig().ready()
    rig.send(TEXT)
    rig.wait(1)
    rig.send({"clientContent": {"turns": [{"parts": [{"text": "Wait."}]}]}})
    assert rig.named("interrupted")
    rig.wait(1)
    assert rig.named("turnComplete")
    replied = len(rig.named("modelTurn"))
    rig.send({"clientContent": {"turnComplete": True}})
    rig.wait(1)
    assert len(rig.named("modelTurn")) > replied
    assert rig.parrot.prompts == ["Greet the caller.", ""]


# ---------------------------------------------------------------------------- barge-in


def test_speech_during_generation_interrupts_at_once() -> None:
    rig = Rig(conduct=conduct(speed=1.0)).ready(sessionResumption={})
    rig.send(TEXT)
    rig.wait(0.5)
    spoke = rig.now
    rig.say(SPEECH)
    [interrupted] = rig.named("interrupted")
    assert interrupted.at == pytest.approx(spoke + 0.06)  # three windows of 20 ms commit speech
    [over] = rig.named("turnComplete")
    assert over.at == pytest.approx(interrupted.at + 0.05)
    assert not rig.named("generationComplete")
    assert max(sent.at for sent in rig.named("modelTurn")) <= interrupted.at
    assert len(rig.audio()) < len(GREETING.pcm)
    assert rig.record.interruptions == 1


@pytest.mark.parametrize("interrupts", ["playback", "generation"])
def test_whether_speech_interrupts_assumed_playback_is_a_choice(interrupts: str) -> None:
    rig = Rig(conduct=conduct(interrupts=interrupts, speed=10)).ready()
    rig.send(TEXT)
    rig.wait(1)  # generated, and not yet played
    assert rig.named("generationComplete")
    assert not rig.named("turnComplete")
    spoke = rig.now
    rig.say(SPEECH)
    if interrupts == "playback":
        assert rig.named("interrupted")[0].at == pytest.approx(spoke + 0.06)
        assert rig.named("turnComplete")[0].at == pytest.approx(spoke + 0.11)
    else:
        assert not rig.named("interrupted")
    rig.say(QUIET)
    rig.wait(5)
    assert len(rig.named("turnComplete")) == 2
    assert rig.audio() == GREETING.pcm + ANSWER.pcm
    order = [name for name in kinds(rig) if name in ("generationComplete", "turnComplete")]
    assert order == ["generationComplete", "turnComplete"] * 2


def test_speech_after_playback_interrupts_nothing() -> None:
    rig = Rig().ready()
    rig.send(TEXT)
    rig.wait(2.3)
    assert rig.named("turnComplete")
    rig.say(SPEECH)
    assert not rig.named("interrupted")


def test_a_client_may_forbid_interruptions() -> None:
    rig = Rig(conduct=conduct(speed=1.0)).ready(
        realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"}
    )
    rig.send(TEXT)
    rig.wait(0.3)
    rig.say(SPEECH[: len(SPEECH) // 2] + QUIET)
    rig.wait(8)
    assert not rig.named("interrupted")
    assert rig.audio() == GREETING.pcm + ANSWER.pcm  # the answer waited for the greeting


def test_voice_activity_is_told_where_it_is_wanted() -> None:
    rig = Rig(conduct=conduct(voice_activity=True)).ready()
    rig.say(QUIET + SPEECH + QUIET)
    activity = [sent.message["voiceActivity"] for sent in rig.named("voiceActivity")]
    assert activity == [
        {"type": "ACTIVITY_START", "audioOffset": "1.060s"},
        {"type": "ACTIVITY_END", "audioOffset": "2.500s"},
    ]


def test_moments_are_noted_for_measurements() -> None:
    rig = Rig().ready()
    rig.say(QUIET)
    spoke = rig.now + 0.02  # the first chunk of it
    rig.say(SPEECH + QUIET)
    rig.wait(4)
    moments = {moment.what: moment.t for moment in rig.record.moments}
    assert moments["onset"] == pytest.approx(spoke)
    assert moments["speech_start"] == pytest.approx(spoke + 0.04)
    assert moments["speech_end"] == pytest.approx(spoke - 0.02 + 1.5)
    assert moments["first_audio"] == pytest.approx(moments["speech_end"] + 0.25)
    assert rig.record.peak_messages_per_second in (50, 51)
    assert rig.record.longest_chunk_ms == 20
    assert rig.record.audio_in_ms == pytest.approx(3000)
    assert rig.record.audio_out_ms == pytest.approx(3000)


# ---------------------------------------------------------------------------- tools


def result(call_id: str = "function-call-1", **fields: Any) -> dict[str, Any]:
    answer = {"id": call_id, "name": "end_call", "response": {"output": "done"}} | fields
    return {"toolResponse": {"functionResponses": [answer]}}


AFTER = Say(speechlike(1.0), "It is done.")


def called(behavior: str, *after: Say) -> Rig:
    """A rig whose model has just called its tool, after an answer of 3 s."""
    rig = Rig(brain=Parrot(Call("end_call", {"why": "bye"}), after=after)).ready(
        sessionResumption={}, **tools(behavior)
    )
    rig.say(SPEECH + QUIET)
    rig.wait(1.0)
    [call] = rig.named("toolCall")
    function = {"id": "function-call-1", "name": "end_call", "args": {"why": "bye"}}
    assert call.message == {"toolCall": {"functionCalls": [function]}}
    return rig


def test_the_model_waits_for_a_blocking_tool() -> None:
    rig = called("BLOCKING")
    rig.wait(9)
    assert not rig.named("generationComplete")
    rig.send(result())
    rig.wait(0.01)
    assert rig.named("generationComplete")
    assert rig.named("turnComplete")
    assert rig.named("sessionResumptionUpdate")[-1].message["sessionResumptionUpdate"]["newHandle"]


def test_the_model_does_not_wait_for_another_tool_but_cannot_be_resumed_meanwhile() -> None:
    rig = called("NON_BLOCKING")
    rig.wait(9)
    assert rig.named("generationComplete")
    assert rig.named("turnComplete")
    assert rig.named("sessionResumptionUpdate")[-1].message == {"sessionResumptionUpdate": {}}


def test_a_tool_that_was_not_declared_is_not_called() -> None:
    rig = Rig(brain=Parrot(Call("end_call", {}))).ready()
    rig.say(SPEECH + QUIET)
    rig.wait(5)
    assert rig.audio() == ANSWER.pcm
    assert not rig.named("toolCall")


@pytest.mark.parametrize(
    ("scheduling", "interrupts", "speaks"),
    [("SILENT", False, False), ("WHEN_IDLE", False, True), ("INTERRUPT", True, True)],
)
def test_a_result_says_when_the_model_may_speak_about_it(
    scheduling: str, interrupts: bool, speaks: bool
) -> None:
    rig = called("NON_BLOCKING", AFTER)
    rig.send(result(scheduling=scheduling))
    rig.wait(5)
    assert bool(rig.named("interrupted")) is interrupts
    assert rig.audio().endswith(AFTER.pcm) is speaks


def test_a_result_may_come_in_pieces() -> None:
    rig = called("BLOCKING")
    rig.send(result(willContinue=True))
    rig.wait(1)
    assert not rig.named("generationComplete")
    rig.send(result(willContinue=False))
    rig.wait(1)
    assert rig.named("generationComplete")
    assert not rig.violations


# ---------------------------------------------------------------------------- resumption


def test_a_session_is_resumable_when_idle_only() -> None:
    rig = Rig()
    rig.send(setup_frame(sessionResumption={}))
    rig.wait(1)
    rig.send(TEXT)
    rig.wait(4)
    updates = [
        sent.message["sessionResumptionUpdate"] for sent in rig.named("sessionResumptionUpdate")
    ]
    assert [update.get("resumable", False) for update in updates] == [True, False, True]
    assert updates[0]["newHandle"] != updates[2]["newHandle"]
    assert updates[1] == {}


# ---------------------------------------------------------------------------- faults


def faulty(*texts: str, **changes: Any) -> Rig:
    return Rig(conduct=conduct(faults=tuple(map(parse, texts)), **changes))


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ("close=1000@3", 1000, ""),
        ("close=1006@3", 1006, ""),
        ("close=1007@3", 1007, "Request contains an invalid argument."),
        ("close=1008@3", 1008, "The operation was aborted."),
        ("close=1011:Deadline expired@3", 1011, "Deadline expired"),
    ],
)
def test_a_session_closes_when_it_is_told_to(fault: str, code: int, reason: str) -> None:
    rig = faulty(fault).ready()
    rig.until(103.49)
    before = rig.close
    rig.until(103.51)
    assert (before, rig.close) == (None, (code, reason))
    assert not rig.violations
    assert rig.session.due == float("inf")
    assert rig.session.inject(Fault("close", "1000"), rig.now) == []


def test_a_setup_may_be_refused_or_never_answered() -> None:
    refused = faulty("close=1011@setup")
    refused.send(setup_frame())
    assert refused.close == (1011, "Internal error encountered.")
    silent = faulty("no_setup", "late_audio")
    silent.send(setup_frame())
    silent.wait(60)
    assert not silent.sent
    assert silent.close is None


def test_a_frame_may_be_malformed() -> None:
    rig = faulty("malformed@1").ready()
    rig.wait(1)
    assert rig.raw[-1] == b'{"serverContent": {"modelTurn": '


def test_a_reply_may_be_empty_once() -> None:
    rig = faulty("empty_turn").ready()
    rig.send(TEXT)
    rig.wait(1)
    assert [sent.message for sent in rig.sent] == [{"serverContent": {"turnComplete": True}}]
    rig.send(TEXT)
    rig.wait(3)
    assert rig.audio() == GREETING.pcm


def test_audio_may_go_on_after_an_interruption() -> None:
    rig = faulty("late_audio", speed=1.0).ready()
    rig.send(TEXT)
    rig.wait(0.5)
    rig.say(SPEECH)
    [interrupted] = rig.named("interrupted")
    assert "modelTurn" in interrupted.message["serverContent"]
    late = rig.sent[rig.sent.index(interrupted) + 1]
    assert "modelTurn" in late.message["serverContent"]
    assert late.at < rig.named("turnComplete")[0].at


@pytest.mark.parametrize(
    "written",
    [
        TEXT,
        {
            "clientContent": {
                "turns": [{"role": "user", "parts": [{"text": "Greet."}]}],
                "turnComplete": True,
            }
        },
    ],
    ids=["realtimeInput", "clientContent"],
)
def test_a_written_message_may_be_ignored_once(written: dict[str, Any]) -> None:
    rig = faulty("deaf").ready()
    rig.send(written)
    rig.wait(3)
    assert not rig.sent
    rig.send(TEXT)
    rig.wait(3)
    assert rig.audio() == GREETING.pcm


def test_the_stream_may_stall_now_or_in_the_next_reply() -> None:
    rig = faulty("stall=0.3").ready()
    rig.send(TEXT)
    asked = rig.now
    rig.wait(0.7)
    assert rig.named("modelTurn")[0].at == pytest.approx(asked + 0.55)
    rig.session.inject(Fault("stall", "0.3"), rig.now)
    rig.wait(4)
    times = [sent.at for sent in rig.named("modelTurn")]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert max(gaps) == pytest.approx(0.3, abs=0.1)
    assert sorted(gaps)[-2] < 0.1
    assert rig.audio() == GREETING.pcm


def test_an_unknown_fault_is_a_mistake_in_the_test() -> None:
    rig = Rig().ready()
    with pytest.raises(ValueError, match="gremlin"):
        rig.session.inject(Fault("gremlin"), rig.now)


def test_a_fault_of_the_talk_before_there_is_one_does_nothing() -> None:
    rig = Rig()
    assert rig.session.inject(Fault("stall", "1"), rig.now) == []


# ---------------------------------------------------------------------------- bursts and rates


def test_a_backlog_sent_at_once_is_heard_as_it_was_said() -> None:
    rig = Rig().ready(inputAudioTranscription={})
    sound = SPEECH + QUIET
    for at in range(0, len(sound), 3200):  # messages of 100 ms, all at once
        rig.send(audio_frame(sound[at : at + 3200]))
    rig.wait(1)
    assert rig.record.heard == ["[speech 1.0 s]"]
    assert rig.record.longest_chunk_ms == 100


def test_audio_of_another_rate_is_understood() -> None:
    rig = Rig().ready()
    for rate in (8_000, 24_000):
        sound = speechlike(1.0, rate) + bytes(2 * rate)
        for at in range(0, len(sound), rate // 25):
            rig.wait(0.02)
            rig.send(audio_frame(sound[at : at + rate // 25], f"audio/pcm;rate={rate}"))
    assert rig.record.heard == ["[speech 1.0 s]", "[speech 1.0 s]"]
