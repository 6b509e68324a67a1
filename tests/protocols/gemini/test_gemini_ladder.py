"""The ladder: each optional field is given up when it is named, and what remains at its end is accepted; never the same twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from agent.protocols.gemini.ladder import named, step_down
from agent.protocols.gemini.setup import (
    DEVELOPER_API,
    MODELS,
    SETTINGS,
    GeminiOptions,
    ModelRow,
    Rung,
    Setting,
    ToolDeclaration,
    setup_message,
)
from agent.simulator.faults import Fault
from agent.simulator.refusals import judge

SETUPS = 3
UNNAMED = "Request contains an invalid argument."
TOOL = ToolDeclaration(
    "book", "Book.", {"type": "object", "properties": {"day": {"type": "string"}}}
)
EVERYTHING = GeminiOptions(
    model="x",
    system_instruction="You answer the telephone.",
    voice="Kore",
    language="en-US",
    tools=(TOOL,),
    tool_behaviour="NON_BLOCKING",
    temperature=0.7,
    thinking_level="LOW",
    thinking_budget=128,
    proactive_audio=True,
    affective_dialog=True,
    handle="a-handle",
    silence_ms=500,
    prefix_ms=20,
    start_sensitivity="HIGH",
    end_sensitivity="LOW",
)
OPTIONAL = [setting for setting in SETTINGS if setting.rung is not Rung.ESSENTIAL]
IN_SETUP = [setting for setting in OPTIONAL if setting.option != "tool_scheduling"]


@pytest.fixture(autouse=True)
def _a_model_that_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "x", ModelRow("x", language_code=True))


def refusal_of(message: str, kind: str, *paths: str) -> str | None:
    """What the stand-in says to this setup; None: it takes it."""
    faults = [Fault(kind, f"setup.{path}", after="setup") for path in paths]
    verdict = judge(json.loads(message), faults, 0, lambda _: True)
    return None if verdict.close is None else verdict.close.reason


def climb(
    kind: str, *paths: str, options: GeminiOptions = EVERYTHING
) -> tuple[frozenset[str] | None, int]:
    """What is left out of the setup that is accepted at last, and how many setups it took; None: none was."""
    without, sent = frozenset[str](), list[str]()
    while True:
        message = setup_message(options, DEVELOPER_API, without)
        assert message not in sent
        sent.append(message)
        refusal = refusal_of(message, kind, *paths)
        if refusal is None:
            return without, len(sent)
        if len(sent) == SETUPS:
            return None, len(sent)
        less = step_down(options, without, refusal, last=len(sent) == SETUPS - 1)
        if less is None:
            return None, len(sent)
        without = less


@pytest.mark.parametrize("setting", IN_SETUP, ids=lambda setting: setting.option)
def test_a_field_that_is_named_is_given_up_and_nothing_else(setting: Setting) -> None:
    alone = {"resumption": {"resumption", "handle"}, "tools": {"tools", "tool_behaviour"}}
    wanted = frozenset(alone.get(setting.option, {setting.option}))
    assert climb("refuse", setting.path) == (wanted, 2)


@pytest.mark.parametrize("setting", OPTIONAL, ids=lambda setting: setting.option)
def test_every_optional_field_is_known_by_its_name_in_both_spellings(setting: Setting) -> None:
    snake = "".join("_" + c.lower() if c.isupper() else c for c in setting.path)
    for path in (setting.path, snake):
        for text in (f"Invalid value at 'setup.{path}' (TYPE_X), 1", f"setup.{path} is wrong"):
            assert setting.option in named(text), text


@pytest.mark.parametrize("setting", IN_SETUP, ids=lambda setting: setting.option)
def test_where_nothing_is_named_tools_and_resumption_are_given_up_last(setting: Setting) -> None:
    without, setups = climb("refuse-unnamed", setting.path)
    assert without is not None
    useful = {"tools", "resumption", "handle"}
    if setting.rung is Rung.EXTRA:
        assert setups == 2
        assert without == {
            each.option for each in IN_SETUP if each.rung is Rung.EXTRA
        }  # all were set
    else:
        assert setups == 3
        assert without >= useful
        minimal = json.loads(setup_message(EVERYTHING, DEVELOPER_API, without))["setup"]
        assert set(minimal) == {"model", "generationConfig", "systemInstruction"}
        assert minimal["generationConfig"] == {"responseModalities": ["AUDIO"]}


@pytest.mark.parametrize(
    "fields",
    [
        ("generationConfig.temperature", "outputAudioTranscription"),
        ("generationConfig.temperature", "outputAudioTranscription", "inputAudioTranscription"),
    ],
    ids=["two", "three"],
)
def test_several_named_fields_take_three_setups(fields: tuple[str, ...]) -> None:
    without, setups = climb("refuse", *fields)
    assert setups == 3
    assert without == frozenset(each.option for each in IN_SETUP if each.rung is Rung.EXTRA)


def test_the_last_setup_is_the_smallest_where_nobody_says_what_is_wrong() -> None:
    less = step_down(EVERYTHING, {"voice"}, UNNAMED, last=True)
    assert less is not None
    assert {"voice", "tools", "resumption", "temperature"} <= less


def test_what_cannot_be_made_smaller_is_not_sent_again() -> None:
    assert climb("refuse-unnamed", "systemInstruction") == (None, 3)
    bare = GeminiOptions(
        model="x",
        system_instruction="Hi.",
        resumption=False,
        compression_trigger=None,
        compression_target=None,
        transcribe_caller=False,
        transcribe_agent=False,
    )
    assert step_down(bare, (), UNNAMED) is None
    assert step_down(bare, (), "Invalid value at 'setup.generation_config.temperature'") is None


def test_a_field_that_is_gone_already_and_named_again_is_no_reason_to_send_the_same() -> None:
    less = step_down(EVERYTHING, {"temperature"}, "'setup.generation_config.temperature' again")
    assert less is not None
    assert "voice" in less
    assert "tools" not in less


def test_only_what_was_set_is_said_to_be_missing() -> None:
    plain = GeminiOptions(model="gemini-3.8-live", system_instruction="Hi.", voice="Kore")
    less = step_down(plain, (), UNNAMED)
    assert sorted(less or ()) == [
        "compression_target",
        "compression_trigger",
        "transcribe_agent",
        "transcribe_caller",
        "voice",
    ]


def test_a_thought_that_the_model_needs_is_not_what_is_given_up() -> None:
    options = GeminiOptions(model="gemini-3.8-live-extended-thinking", system_instruction="Hi.")
    less = step_down(options, (), "'setup.generation_config.thinking_config.thinking_level'")
    assert less is not None
    assert "thinking_level" not in less


VAD = {"silence_ms", "prefix_ms", "start_sensitivity", "end_sensitivity"}


@pytest.mark.parametrize(
    ("refusal", "options"),
    [
        (UNNAMED, set()),
        ("The model is overloaded; tools and voice are fine. See JSON.", set()),
        ("", set()),
        ("Unknown name \"temperature\" at 'setup': Cannot find field.", {"temperature"}),
        ("Unknown name \"speechConfig\" at 'setup.generation_config': C", {"voice", "language"}),
        ('Unknown name "automaticActivityDetection" at \'setup.realtime_inp', VAD),
        ("Unknown name \"name\" at 'setup.tools[0].function_declarations[1]': C", {"tools"}),
        ("Unknown name \"proactivity\" at 'setup': Cannot find field.", {"proactive_audio"}),
        ("Invalid value at 'setup.realtime_input_config.automatic_activity_detec", VAD),
        ("thinking_budget is not supported by this model", {"thinking_budget"}),
        ("enableAffectiveDialog is not supported", {"affective_dialog"}),
        ('Proto field is not repeating, cannot start list: "tools"', {"tools", "tool_behaviour"}),
        ("Invalid value at 'setup.generation_config.response_modalities'", set()),
        ("Invalid value at 'setup.system_instruction.parts'", set()),
    ],
)
def test_refusals_as_they_are_worded(refusal: str, options: set[str]) -> None:
    assert named(refusal) == options


@given(st.text(max_size=150))
def test_any_words_at_all_lead_to_a_smaller_setup(refusal: str) -> None:
    options = GeminiOptions(model="gemini-3.8-live", system_instruction="Hi.", tools=(TOOL,))
    less = step_down(options, (), refusal)
    assert less
    known: Any = {setting.option for setting in OPTIONAL}
    assert less <= known
