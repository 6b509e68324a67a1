"""`setup`: every option at its documented place, nothing that a model refuses, judged by google-genai's types."""

import json
from typing import Any

import msgspec
import pytest
from google.genai import types
from pydantic import BaseModel, create_model

from agent.errors import UserError
from agent.protocols.gemini.setup import (
    DEVELOPER_API,
    MODELS,
    SETTINGS,
    GeminiOptions,
    ModelRow,
    Rung,
    Setting,
    ToolDeclaration,
    check,
    row_for,
    setup_message,
)

LOOKUP = ToolDeclaration(
    "lookup_order",
    "Look up an order by its number.",
    {
        "type": "object",
        "properties": {
            "order_id": {"type": "string", "description": "the number"},
            "lines": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        },
        "required": ["order_id"],
    },
)
END_CALL = ToolDeclaration("end_call", "End the call.", {"type": "object", "properties": {}})

EVERYTHING: dict[str, Any] = {
    "system_instruction": "You answer the telephone.",
    "voice": "Kore",
    "language": "en-US",
    "tools": (LOOKUP, END_CALL),
    "tool_behaviour": "NON_BLOCKING",
    "tool_scheduling": "WHEN_IDLE",
    "temperature": 0.7,
    "thinking_budget": 128,
    "thinking_level": "LOW",
    "proactive_audio": True,
    "affective_dialog": True,
    "resumption": True,
    "handle": "a-handle",
    "compression_trigger": 25_000,
    "compression_target": 8_000,
    "transcribe_caller": True,
    "transcribe_agent": True,
    "silence_ms": 500,
    "prefix_ms": 20,
    "start_sensitivity": "HIGH",
    "end_sensitivity": "LOW",
}


def options(model: str = "gemini-3.8-live", **more: Any) -> GeminiOptions:
    return GeminiOptions(**{"system_instruction": "You answer the telephone.", **more}, model=model)


def accepted_by(row: ModelRow, version: str = "v1beta") -> GeminiOptions:
    """Every option that the row accepts, all set."""
    chosen = dict(EVERYTHING)
    if not row.behaviours:
        chosen["tool_behaviour"] = None
    if not row.scheduling:
        chosen["tool_scheduling"] = None
    if not row.thinking_levels:
        chosen["thinking_level"] = None
    if not row.thinking_budget or row.thinking_levels:
        chosen["thinking_budget"] = None
    if version not in row.proactivity:
        chosen["proactive_audio"] = None
    if not row.affective_dialog:
        chosen["affective_dialog"] = None
    return GeminiOptions(**chosen, model=row.name)


def setup_of(given: GeminiOptions, without: tuple[str, ...] = ()) -> dict[str, Any]:
    message = json.loads(setup_message(given, DEVELOPER_API, without))
    assert list(message) == ["setup"]
    setup: dict[str, Any] = message["setup"]
    return setup


def at(setup: dict[str, Any], path: str) -> Any:
    value: Any = setup
    for name in path.split("."):
        value = value[0] if isinstance(value, list) else value
        value = value.get(name)
        if value is None:
            return None
    return value


# ---- the judge -------------------------------------------------------------------------------------------------------


def strict(model: type[BaseModel]) -> type[BaseModel]:
    """A model of google-genai that forbids unknown fields (its own configuration does too; this makes sure)."""
    assert model.model_config.get("extra") == "forbid"
    return model


def judged(setup: dict[str, Any]) -> dict[str, Any]:
    """The setup as google-genai's types read it, unknown names forbidden.

    `types.LiveClientSetup` lacks `realtimeInputConfig`, which its own client sends: that is judged by its own type.
    """
    rest = dict(setup)
    realtime = rest.pop("realtimeInputConfig", None)
    read = strict(types.LiveClientSetup).model_validate(rest)
    strict(types.GenerationConfig).model_validate(rest["generationConfig"])
    seen: dict[str, Any] = read.model_dump(exclude_none=True, by_alias=True, mode="json")
    if realtime is not None:
        config = strict(types.RealtimeInputConfig).model_validate(realtime)
        seen["realtimeInputConfig"] = config.model_dump(
            exclude_none=True, by_alias=True, mode="json"
        )
    return seen


@pytest.mark.parametrize("row", MODELS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("version", ["v1beta", "v1alpha"])
def test_google_genai_accepts_the_fullest_setup_of_each_model(row: ModelRow, version: str) -> None:
    given = accepted_by(row, version)
    assert check(given, DEVELOPER_API, version) == []
    setup = setup_of(given)
    assert judged(setup) == setup


def test_the_judge_sees_a_field_at_the_wrong_level() -> None:
    setup = setup_of(options())
    with pytest.raises(ValueError, match="temperature"):
        judged({**setup, "temperature": 0.7})


def test_the_smallest_setup() -> None:
    given = options(
        system_instruction="",
        resumption=False,
        compression_trigger=None,
        compression_target=None,
        transcribe_caller=False,
        transcribe_agent=False,
    )
    assert setup_of(given) == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {"responseModalities": ["AUDIO"]},
    }


def test_the_usual_setup() -> None:
    assert setup_of(options(voice="Kore", temperature=0.7)) == {
        "model": "models/gemini-3.8-live",
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "temperature": 0.7,
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
        },
        "systemInstruction": {"parts": [{"text": "You answer the telephone."}]},
        "inputAudioTranscription": {},
        "outputAudioTranscription": {},
        "contextWindowCompression": {
            "triggerTokens": 25_000,
            "slidingWindow": {"targetTokens": 8_000},
        },
        "sessionResumption": {},
    }


# ---- the table of settings -------------------------------------------------------------------------------------------


def test_every_option_has_a_place_and_a_rung() -> None:
    assert sorted(setting.option for setting in SETTINGS) == sorted(
        field.name for field in msgspec.structs.fields(GeminiOptions)
    )


def test_only_model_and_persona_are_never_given_up_and_tools_and_resumption_last() -> None:
    by_rung = {
        rung: {setting.option for setting in SETTINGS if setting.rung is rung} for rung in Rung
    }
    assert by_rung[Rung.ESSENTIAL] == {"model", "system_instruction"}
    assert by_rung[Rung.USEFUL] == {"tools", "resumption", "handle"}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.option)
def test_an_option_is_found_at_its_path_and_gone_without_it(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    if setting.option == "tool_scheduling":
        return  # it rides on tool answers: see the tests of the session
    monkeypatch.setitem(MODELS, "x", ModelRow("x", language_code=True))
    given = GeminiOptions(**EVERYTHING, model="x")
    assert at(setup_of(given), setting.path) is not None
    if setting.rung is not Rung.ESSENTIAL:
        without = {"resumption": ("resumption", "handle")}.get(setting.option, (setting.option,))
        assert at(setup_of(given, without), setting.path) is None


def test_dropping_behaviour_keeps_the_tools() -> None:
    declarations = setup_of(options(tools=(LOOKUP,)), ("tool_behaviour",))["tools"][0]
    assert [entry["name"] for entry in declarations["functionDeclarations"]] == ["lookup_order"]


def test_a_required_thought_is_never_dropped() -> None:
    setup = setup_of(options("gemini-3.8-live-extended-thinking"), ("thinking_level",))
    assert setup["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
    chosen = options("gemini-3.8-live-extended-thinking", thinking_budget=64)
    assert setup_of(chosen)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 64}


# ---- the table of models ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "more", "named"),
    [
        ("gemini-3.8-live", {"thinking_level": "LOW"}, "thinking_level"),
        ("gemini-3.8-live", {"thinking_budget": 0}, "thinking_budget"),
        ("gemini-3.8-live", {"proactive_audio": False}, "proactive_audio"),
        ("gemini-3.8-live", {"affective_dialog": True}, "affective_dialog"),
        ("gemini-3.8-live-extended-thinking", {"thinking_level": "MINIMAL"}, "thinking_level"),
        ("gemini-3.8-live-extended-thinking", {"tool_behaviour": "BLOCKING"}, "tool_behaviour"),
        ("gemini-3.8-live-extended-thinking", {"tool_scheduling": "SILENT"}, "tool_scheduling"),
        (
            "gemini-3.8-live-extended-thinking",
            {"thinking_level": "LOW", "thinking_budget": 9},
            "thinking_level, thinking_budget",
        ),
        ("gemini-3.1-flash-live-preview", {"tool_behaviour": "NON_BLOCKING"}, "tool_behaviour"),
        ("gemini-3.1-flash-live-preview", {"affective_dialog": True}, "affective_dialog"),
        (
            "gemini-2.5-flash-native-audio-preview-12-2025",
            {"proactive_audio": True},
            "proactive_audio",
        ),
        ("gemini-3.8-live", {"temperature": 0.0}, "temperature"),
        ("gemini-3.8-live", {"temperature": 2.1}, "temperature"),
        ("gemini-3.8-live", {"handle": "h", "resumption": False}, "handle"),
        ("gemini-99-live", {"thinking_level": "LOW"}, "thinking_level"),
    ],
)
def test_a_setting_that_a_model_refuses_is_named(
    model: str, more: dict[str, Any], named: str
) -> None:
    with pytest.raises(UserError, match=f"^{named}: "):
        check(options(model, **more), DEVELOPER_API, "v1beta")


def test_an_unknown_model_gets_common_settings_and_a_warning() -> None:
    given = options("models/gemini-99-live", tools=(LOOKUP,))
    assert row_for("models/gemini-99-live") == ModelRow(name="gemini-99-live")
    [warning] = check(given, DEVELOPER_API, "v1beta")
    assert "gemini-99-live" in warning
    setup = setup_of(given)
    assert setup["model"] == "models/gemini-99-live"
    assert "behavior" not in setup["tools"][0]["functionDeclarations"][0]


def test_the_default_behaviour_is_the_rows_first() -> None:
    tools = setup_of(options(tools=(LOOKUP,)))["tools"]
    assert tools[0]["functionDeclarations"][0]["behavior"] == "NON_BLOCKING"


def test_native_audio_is_asked_for_its_language_in_words() -> None:
    setup = setup_of(options(language="de-DE"))
    assert "speechConfig" not in setup["generationConfig"]
    assert setup["systemInstruction"]["parts"][0]["text"] == (
        "You answer the telephone.\n\nRESPOND IN de-DE. YOU MUST RESPOND UNMISTAKABLY IN de-DE."
    )


# ---- tools -----------------------------------------------------------------------------------------------------------


def test_a_schema_is_written_as_the_service_reads_it() -> None:
    [declaration, bare] = setup_of(options(tools=(LOOKUP, END_CALL)))["tools"][0][
        "functionDeclarations"
    ]
    assert declaration["parameters"] == {
        "type": "OBJECT",
        "properties": {
            "order_id": {"type": "STRING", "description": "the number"},
            "lines": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 1},
        },
        "required": ["order_id"],
    }
    # An object without properties is refused.
    assert bare == {
        "name": "end_call",
        "description": "End the call.",
        "behavior": "NON_BLOCKING",
    }


def test_a_keyword_that_gemini_does_not_read_is_named() -> None:
    bad = ToolDeclaration(
        "book", "Book.", {"properties": {"day": {"type": "string", "const": "x"}}}
    )
    with pytest.raises(UserError, match=r"tools\.book\.parameters: .*const"):
        check(options(tools=(bad,)), DEVELOPER_API, "v1beta")


def test_options_are_msgspec_and_survive_a_round_trip() -> None:
    given = GeminiOptions(**EVERYTHING, model="x")
    assert msgspec.json.decode(msgspec.json.encode(given), type=GeminiOptions) == given


def test_strict_judges_are_strict() -> None:
    loose = create_model("Loose", a=(int, 1))
    with pytest.raises(AssertionError):
        strict(loose)
