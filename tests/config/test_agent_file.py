"""What an agent's file may say, where its mistakes are, and what a save does to the next call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from agent.config.agent_file import DISCLOSURE, AgentFile
from agent.config.agent_files import EXAMPLES, AgentFiles
from agent.config.agent_yaml import parse_agent
from agent.config.shapes import Part
from agent.errors import UserError

MINIMAL = "name: Desk\npersona: You answer.\n"


def test_name_and_persona_are_enough() -> None:
    agent = parse_agent(MINIMAL, "desk.yaml")
    assert (agent.name, agent.persona) == ("Desk", "You answer.")
    assert agent.disclosure == DISCLOSURE
    assert agent.recording.on is False
    assert (agent.model, agent.fallback_number) == (None, None)
    assert (agent.voice, agent.language) == ("Kore", "en-US")
    assert agent.greeting.say


def test_the_shipped_example_is_the_front_desk_of_the_demo() -> None:
    agent = AgentFiles(EXAMPLES, pytest.fail).get("front_desk")
    assert agent.name == "Harbour Dental"
    assert agent.greeting.say == "This is the front desk of Harbour Dental. How can I help you?"
    assert agent.disclosure == "Hello. You are speaking with an automated assistant."
    assert agent.recording.on is False
    assert "end_call" in agent.persona


def test_words_that_yaml_would_take_for_something_else_stay_words() -> None:
    agent = parse_agent(
        "name: 42\npersona: 08:30\nlanguage: no\nfallback_number: +15551234567\n", "f"
    )
    assert (agent.name, agent.persona, agent.language) == ("42", "08:30", "no")
    assert agent.fallback_number == "+15551234567"


def test_false_waives_the_disclosure_and_null_is_unset() -> None:
    agent = parse_agent(f"{MINIMAL}disclosure: false\nmodel: ~\nrecording: True\n", "f")
    assert agent.disclosure is False
    assert agent.model is None
    assert agent.recording.on is True


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "f:1: should be `key: value` lines"),
        ("- name\n", "f:1: should be `key: value` lines"),
        ("name: Desk\n", "f:1: persona is missing: the model's instruction"),
        (f"{MINIMAL}\nvoise: Kore\n", "f:4: unknown key voise: did you mean voice?"),
        (f"{MINIMAL}zzz: 1\n", "f:3: unknown key zzz: known are name, persona, greeting"),
        (f"{MINIMAL}name: Again\n", "f:3: name is given twice (first in line 1)"),
        (f"{MINIMAL}voice: [Kore\n", "f:4: not YAML: expected ',' or ']'"),
        ("name: &a Desk\npersona: *a\n", "f:2: not YAML: aliases are not taken"),
        (f"{MINIMAL}voice: \x01\n", "f:3: not YAML: special characters are not allowed"),
        (f"{MINIMAL}fallback_number: 555 1234\n", "f:3: fallback_number should be a number such"),
        (f"{MINIMAL}recording: perhaps\n", "f:3: recording should be true or false"),
        (f"{MINIMAL}disclosure: no\n", "f:3: disclosure should be a line to be spoken"),
        (f"{MINIMAL}disclosure: true\n", "f:3: disclosure should be a line to be spoken"),
        (f"{MINIMAL}disclosure:\n", "f:3: disclosure should be a line to be spoken"),
        (f"{MINIMAL}greeting: ''\n", "f:3: greeting should be a line to be spoken"),
        (f"{MINIMAL}model: Gemini 3\n", "f:3: model should be a model's name"),
        (f"{MINIMAL}language: English\n", "f:3: language should be a language tag"),
        ("name: [a, b]\npersona: {a: 1}\n", "f:1: name should be the name of who answers"),
        ("name: Desk\npersona: ''\nvoise: x\n", "f:2: persona should be"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_agent(text, "f")
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_more_mistakes_are_counted() -> None:
    with pytest.raises(UserError, match=r"^f:1: .* \(and 2 more\)$"):
        parse_agent("a: 1\nb: 2\nname: x\npersona: y\nc: 3\n", "f")


@given(st.text(max_size=300))
def test_any_text_is_an_agent_or_one_line_of_complaint(text: str) -> None:
    try:
        parse_agent(text, "f")
    except UserError as error:
        assert str(error).startswith("f:")


@given(st.dictionaries(st.sampled_from(list(AgentFile.model_fields)), st.text(max_size=40)))
def test_any_values_are_an_agent_or_one_complaint_about_a_known_key(values: dict[str, str]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in values.items())
    try:
        parse_agent(text, "f")
    except UserError as error:
        assert str(error).startswith("f:")


def parts(kind: Any) -> Iterator[type[Part]]:
    """A part of the file's model, and the parts in it."""
    if isinstance(kind, type) and issubclass(kind, Part):
        yield kind
        for field in kind.model_fields.values():
            yield from parts(field.annotation)
    for inner in get_args(kind):
        yield from parts(inner)


@pytest.mark.parametrize("part", dict.fromkeys(parts(AgentFile)), ids=lambda part: part.__name__)
def test_every_key_says_what_it_should_be(part: type[Part]) -> None:
    schema = part.model_json_schema()
    assert not [
        name for name, said in schema["properties"].items() if "description" not in str(said)
    ]


def test_an_agent_is_frozen_and_its_digest_is_its_content() -> None:
    agent = parse_agent(MINIMAL, "f")
    with pytest.raises(ValidationError):
        agent.name = "Other"  # type: ignore[misc]  # it is what is tested
    assert agent.digest() == parse_agent(f"# other layout\n{MINIMAL}", "g").digest()
    assert agent.digest() != parse_agent(f"{MINIMAL}voice: Puck\n", "f").digest()
