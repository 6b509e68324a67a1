"""Every rule of the Live API's wire: what breaks it, and what the client is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from agent.simulator.brain import Call
from agent.simulator.gemini_messages import MESSAGES, snake
from agent.simulator.gemini_session import Door
from agent.simulator.gemini_setup import Conduct
from agent.simulator.handles import Handles
from agent.simulator.strict import (
    REFUSED,
    RULES,
    Audio,
    RuleError,
    check_setup,
    found,
    read,
)
from tests.simulator.live_rig import (
    FUNCTION,
    MIME,
    QUIET,
    SPEECH,
    Parrot,
    Rig,
    audio_frame,
    setup_frame,
)

INVALID = "Request contains an invalid argument."
TEXT = {"realtimeInput": {"text": "Hello"}}
THINKS: dict[str, Any] = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}


def generation(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def declares(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [FUNCTION | fields]}]}


def broken(rig: Rig, rule: str, reason: str, code: int = 1007) -> None:
    """The session ended with this close, and the breach is on record with its document."""
    rig.wait(0.2)
    assert rig.rules() == [rule]
    assert rig.violations[0].doc.startswith("https://")
    assert rig.violations[0].detail
    assert rig.close is not None
    assert (rig.close.code, reason in rig.close.reason) == (code, True)
    assert len(rig.close.reason.encode()) <= 123
    assert not rig.named("setupComplete") or rig.record.ready_t


ET = "gemini-3.8-live-extended-thinking"
OLD = "gemini-3.1-flash-live-preview"
UNKNOWN = "Invalid JSON payload received. Unknown name "

SETUPS: list[tuple[str, dict[str, Any], str]] = [
    ("unknown_name", setup_frame(temperature=1), f"{UNKNOWN}\"temperature\" at 'setup': Cannot"),
    (
        "unknown_name",
        setup_frame(**generation(inputAudioTranscription={})),
        f"{UNKNOWN}\"inputAudioTranscription\" at 'setup.generation_config'",
    ),
    ("unknown_name", setup_frame(proactivity={"proactiveAudio": True}), "\"proactivity\" at 'setup'"),
    (
        "unknown_name",
        setup_frame(**declares(parameters={"kind": "OBJECT"})),
        "\"kind\" at 'setup.tools.function_declarations.parameters'",
    ),
    ("unknown_name", {"contextUpdate": {}}, "contextUpdate"),
    ("wrong_type", setup_frame(**generation(temperature="hot")), INVALID),
    ("wrong_type", setup_frame(**generation(maxOutputTokens=1.5)), INVALID),
    ("wrong_type", setup_frame(**generation(seed=True)), INVALID),
    ("wrong_type", setup_frame(tools={}), INVALID),
    ("wrong_type", setup_frame(labels=[]), INVALID),
    ("wrong_type", setup_frame(systemInstruction="Be kind."), INVALID),
    ("wrong_type", setup_frame(**generation(responseModalities=["audio"])), INVALID),
    ("wrong_type", setup_frame(**declares(behavior="ASYNC")), INVALID),
    ("one_spelling", {"setup": {"model": "models/gemini-3.8-live", "systemInstruction": {}, "system_instruction": {}}}, INVALID),
    ("model_name", setup_frame() | {"setup": {"model": "gemini-3.8-live"}}, INVALID),
    ("model_name", {"setup": {}}, INVALID),
    ("one_modality", setup_frame(**generation(responseModalities=["AUDIO", "TEXT"])), INVALID),
    ("text_modality", setup_frame(**generation(responseModalities=["TEXT"])), "combination of response modalities (TEXT)"),
    ("thinking_config", setup_frame(**THINKS), INVALID),
    ("thinking_config", setup_frame(ET, **generation(thinkingConfig={"thinkingLevel": "MINIMAL"})), INVALID),
    ("thinking_one_of", setup_frame(ET, **generation(thinkingConfig={})), INVALID),
    ("thinking_one_of", setup_frame(ET, **generation(thinkingConfig={"thinkingLevel": "LOW", "thinkingBudget": 9})), INVALID),
    ("affective_dialog", setup_frame(**generation(enableAffectiveDialog=True)), INVALID),
    ("tool_kind", setup_frame(tools=[{"codeExecution": {}}]), INVALID),
    ("function_name", setup_frame(**declares(name="end call")), INVALID),
    ("function_name", setup_frame(tools=[{"functionDeclarations": [{}]}]), INVALID),
    ("behavior", setup_frame(OLD, **declares(behavior="BLOCKING")), INVALID),
    ("behavior", setup_frame(ET, **THINKS, **declares(behavior="BLOCKING")), INVALID),
    ("setup_first", TEXT, INVALID),
    ("setup_first", audio_frame(QUIET[:640]), INVALID),
    ("one_message", {}, INVALID),
    ("one_message", setup_frame() | TEXT, INVALID),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "frame", "reason"), SETUPS)
def test_a_setup_that_breaks_a_rule_is_refused_and_never_completes(
    rule: str, frame: dict[str, Any], reason: str
) -> None:
    rig = Rig()
    rig.send(frame)
    rig.wait(0.1)
    assert rig.close is None  # it takes the service a moment
    broken(rig, rule, reason)
    assert not rig.sent


OTHER_CLOSES: list[tuple[str, dict[str, Any], dict[str, Any], str, int]] = [
    ("text_modality_internal", {}, setup_frame(OLD, **generation(responseModalities=["TEXT"])), "Internal error encountered.", 1011),
    ("model_served", {}, setup_frame("gemini-2.0-flash-live-001"), "models/gemini-2.0-flash-live-001 is not found for API version v1beta, or is not supported for bidiGenerateContent.", 1008),
    ("api_key", {"door": Door("v1beta", "")}, setup_frame(), "API key not valid. Please pass a valid API key.", 1007),
    ("api_key", {"conduct": Conduct(bad_key="bad"), "door": Door("v1beta", "bad")}, setup_frame(), "API key not valid.", 1007),
    ("proactivity", {"door": Door("v1alpha", "key")}, setup_frame(proactivity={"proactiveAudio": False}), INVALID, 1007),
    ("handle_stale", {}, setup_frame(sessionResumption={"handle": "old"}), "BidiGenerateContent session not found", 1008),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "where", "frame", "reason", "code"), OTHER_CLOSES)
def test_a_refusal_has_the_close_that_the_field_reports(
    rule: str, where: dict[str, Any], frame: dict[str, Any], reason: str, code: int
) -> None:
    rig = Rig(**where)
    rig.send(frame)
    broken(rig, rule, reason, code)


def chunk(**blob: Any) -> dict[str, Any]:
    return {"realtimeInput": {"audio": {"data": "AAAA", "mimeType": MIME} | blob}}


def result(**fields: Any) -> dict[str, Any]:
    whole = {"id": "function-call-1", "name": "end_call", "response": {"output": "ok"}} | fields
    kept = {name: value for name, value in whole.items() if value is not None}
    return {"toolResponse": {"functionResponses": [kept]}}


INPUTS: list[tuple[str, dict[str, Any] | str | bytes]] = [
    ("text_frame", b'{"realtimeInput": {"text": "Hello"}}'),
    ("json", "{"),
    ("json", "[]"),
    ("json", '{"realtimeInput": "\\ud800"'),
    ("second_setup", setup_frame()),
    ("one_input", {"realtimeInput": {}}),
    ("one_input", {"realtimeInput": {"text": "Hello", "audioStreamEnd": True}}),
    ("wrong_type", {"realtimeInput": []}),
    ("wrong_type", chunk(data=7)),
    ("base64", chunk(data="A")),
    ("base64", chunk(data="AA*A")),
    ("base64", chunk(data="AA=A")),
    ("base64", chunk(data="\u00e4\u00e4\u00e4\u00e4")),
    ("even_bytes", chunk(data="AA==")),
    ("mime", chunk(mimeType="audio/pcm")),
    ("mime", chunk(mimeType="audio/x-mulaw;rate=8000")),
    ("mime", chunk(mimeType="audio/pcm;rate=1")),
    ("mime", {"realtimeInput": {"audio": {"data": "AAAA"}}}),
    ("chunk_length", audio_frame(bytes(32_002))),
    ("manual_activity", {"realtimeInput": {"activityStart": {}}}),
    ("manual_activity", {"realtimeInput": {"activityEnd": {}}}),
    ("wrong_type", {"clientContent": {"turns": {}}}),
    ("tool_id_unknown", result(id="function-call-9")),
]


@pytest.mark.parametrize(("rule", "frame"), INPUTS)
def test_input_that_breaks_a_rule_ends_the_session_at_once(
    rule: str, frame: dict[str, Any] | str | bytes
) -> None:
    rig = Rig().ready()
    rig.send(frame)
    assert rig.close is not None
    broken(rig, rule, INVALID)
    rig.send(TEXT)
    assert rig.record.frames_after_close == 1


TOOL_RESULTS = [
    ("tool_id_missing", result(id=None)),
    ("tool_id_unknown", result(id="function-call-2")),
    ("tool_name_missing", result(name=None)),
    ("tool_name_wrong", result(name="start_call")),
    ("tool_response_object", result(response="ok")),
    ("tool_response_object", result(response=None)),
    ("scheduling", result(scheduling="INTERRUPTED")),
]


@pytest.mark.parametrize(("rule", "frame"), TOOL_RESULTS)
def test_a_tool_result_of_the_wrong_shape_ends_the_session(
    rule: str, frame: dict[str, Any]
) -> None:
    rig = Rig(brain=Parrot(Call("end_call", {}))).ready(**declares())
    rig.say(SPEECH + QUIET)
    rig.wait(2)
    assert [sent.message["toolCall"]["functionCalls"] for sent in rig.named("toolCall")] == [
        [{"id": "function-call-1", "name": "end_call", "args": {}}]
    ]
    rig.send(frame)
    broken(rig, rule, INVALID)


def test_a_tool_result_may_cross_its_cancellation_but_not_come_long_after_it() -> None:
    rig = Rig(brain=Parrot(Call("end_call", {}))).ready(**declares())
    rig.say(SPEECH + QUIET)
    rig.wait(0.6)
    rig.say(SPEECH)
    assert [sent.message for sent in rig.named("toolCallCancellation")] == [
        {"toolCallCancellation": {"ids": ["function-call-1"]}}
    ]
    rig.send(result())
    assert rig.close is None
    rig.say(QUIET)
    rig.send(result())
    broken(rig, "tool_cancelled", INVALID)


def test_media_chunks_are_refused_with_the_words_of_the_service() -> None:
    rig = Rig().ready()
    rig.send({"realtimeInput": {"mediaChunks": [{"data": "AAAA", "mimeType": MIME}]}})
    broken(rig, "media_chunks", "realtime_input.media_chunks is deprecated. Use audio, video,")


def test_input_before_setup_complete_is_a_breach() -> None:
    rig = Rig()
    rig.send(setup_frame())
    rig.wait(0.4)
    rig.send(audio_frame(QUIET[:640]))
    broken(rig, "input_before_setup_complete", INVALID)


MANUAL: dict[str, Any] = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}


@pytest.mark.parametrize(
    ("rule", "frame"),
    [
        ("audio_before_activity", audio_frame(QUIET[:640])),
        ("stream_end_manual", {"realtimeInput": {"audioStreamEnd": True}}),
        ("manual_activity", {"realtimeInput": {"activityEnd": {}}}),
    ],
)
def test_without_voice_detection_audio_belongs_inside_an_activity(
    rule: str, frame: dict[str, Any]
) -> None:
    rig = Rig().ready(**MANUAL)
    rig.send(frame)
    broken(rig, rule, INVALID)


def test_a_session_without_input_is_aborted() -> None:
    rig = Rig().ready()
    rig.wait(149)
    assert rig.close is None
    rig.wait(1)
    broken(rig, "idle", "The operation was aborted.", 1008)


def test_a_handle_cannot_be_used_while_its_session_is_connected() -> None:
    handles = Handles()
    first = Rig(handles=handles).ready(sessionResumption={})
    first.send(TEXT)
    first.wait(6)
    handle = first.named("sessionResumptionUpdate")[-1].message["sessionResumptionUpdate"]
    second = Rig(handles=handles, seed=2)
    second.record.session = 2
    second.send(setup_frame(sessionResumption={"handle": handle["newHandle"]}))
    broken(second, "handle_in_use", "Internal error encountered.", 1011)
    first.session.ended(1000, "", first.now)
    third = Rig(handles=handles, seed=3)
    third.ready(sessionResumption={"handle": handle["newHandle"]})
    third.send(TEXT)
    assert third.close is None
    assert first.parrot.prompts == ["Hello", "Hello"]  # the conversation goes on where it was
    assert third.parrot.prompts == []


def test_every_rule_was_broken_above() -> None:
    tables = (
        {row[0] for row in SETUPS}
        | {row[0] for row in OTHER_CLOSES}
        | {row[0] for row in INPUTS}
        | {row[0] for row in TOOL_RESULTS}
    )
    alone = {
        "audio_before_activity", "handle_in_use", "idle", "input_before_setup_complete",
        "media_chunks", "stream_end_manual", "tool_cancelled",
    }  # fmt: skip
    assert tables | alone == set(RULES)


@pytest.mark.parametrize("model", sorted(REFUSED))
def test_every_path_of_the_refusals_is_a_field(model: str) -> None:
    for condition in REFUSED[model]:
        kind = "ClientMessage"
        for name in condition.partition("=")[0].split("."):
            kind = MESSAGES[kind][name].strip("[]")


def test_some_setups_are_never_answered() -> None:
    for frame in (
        setup_frame(ET),
        setup_frame(OLD, **generation(enableAffectiveDialog=True)),
    ):
        rig = Rig()
        rig.send(frame)
        rig.wait(20)
        assert rig.close is None
        assert not rig.sent
        assert not rig.violations


def test_the_whole_frame_that_googles_client_sends_has_known_names_only() -> None:
    setup = {
        "model": "models/gemini-2.5-flash-native-audio-preview-12-2025",
        "generationConfig": {
            "responseModalities": ["AUDIO"], "temperature": 0.7, "topP": 0.9, "topK": 40.0,
            "maxOutputTokens": 1024, "mediaResolution": "MEDIA_RESOLUTION_LOW", "seed": 7,
            "speechConfig": {
                "voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}},
                "language_code": "en-US",
            },
            "thinkingConfig": {"include_thoughts": False, "thinking_level": "LOW"},
            "enableAffectiveDialog": True,
        },
        "systemInstruction": {"parts": [{"text": "You are a phone agent."}], "role": "user"},
        "tools": [
            {"googleSearch": {}},
            {
                "functionDeclarations": [
                    {
                        "description": "Look up an order", "name": "lookup_order",
                        "parameters": {
                            "properties": {"order_id": {"description": "id", "type": "STRING"}},
                            "required": ["order_id"], "type": "OBJECT",
                        },
                        "behavior": "NON_BLOCKING",
                    }
                ]
            },
        ],
        "inputAudioTranscription": {"language_codes": ["en-US"]},
        "outputAudioTranscription": {},
        "realtimeInputConfig": {
            "automatic_activity_detection": {
                "disabled": False, "start_of_speech_sensitivity": "START_SENSITIVITY_HIGH",
                "end_of_speech_sensitivity": "END_SENSITIVITY_LOW", "prefix_padding_ms": 20,
                "silence_duration_ms": 500,
            },
            "activity_handling": "START_OF_ACTIVITY_INTERRUPTS",
            "turn_coverage": "TURN_INCLUDES_ONLY_ACTIVITY",
        },
        "contextWindowCompression": {
            "trigger_tokens": "100000", "sliding_window": {"target_tokens": 50000},
        },
        "proactivity": {"proactive_audio": True},
        "historyConfig": {"initial_history_in_client_content": True},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "sessionResumption": None,
    }  # fmt: skip
    message = read(json.dumps({"setup": setup}))
    assert isinstance(message, dict)
    assert check_setup(message, "v1alpha") == "gemini-2.5-flash-native-audio-preview-12-2025"
    assert message["setup"]["contextWindowCompression"]["triggerTokens"] == 100_000
    assert "sessionResumption" not in message["setup"]
    assert list(found(message, "setup.tools.functionDeclarations.behavior")) == ["NON_BLOCKING"]


@given(st.binary(max_size=800).map(lambda pcm: pcm + pcm), st.booleans(), st.booleans())
def test_both_spellings_and_both_alphabets_carry_the_same_audio(
    pcm: bytes, camel: bool, url_safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    names = ("realtimeInput", "mimeType") if camel else ("realtime_input", "mime_type")
    blob = {"data": encode(pcm).decode(), names[1]: "audio/pcm; rate=8000"}
    assert read(json.dumps({names[0]: {"audio": blob}})) == Audio(pcm, 8000)
    unpadded = blob | {"data": blob["data"].rstrip("=")}
    assert read(json.dumps({names[0]: {"audio": unpadded}})) == Audio(pcm, 8000)


fields = st.sampled_from(
    sorted({spelling for names in MESSAGES.values() for name in names for spelling in (name, snake(name))})
)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | fields,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60)
@given(st.dictionaries(fields, anything, max_size=2))
def test_no_message_is_worse_than_a_broken_rule(message: dict[str, Any]) -> None:
    session = Rig().ready()
    frame = json.dumps(message)
    session.send(frame)
    assert session.close is None or session.violations


@given(st.text(max_size=200))
def test_no_text_is_worse_than_a_broken_rule(text: str) -> None:
    try:
        read(text)
    except RuleError as error:
        assert error.rule in RULES
    else:
        assert json.loads(text)
