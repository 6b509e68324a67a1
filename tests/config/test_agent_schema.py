"""The published JSON Schema: up to date, and of one mind with the reader; judged by `jsonschema`, which nobody here wrote."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import ruamel.yaml

from agent.config.agent_files import EXAMPLES
from agent.config.agent_schema import SCHEMA, agent_schema, with_schema
from agent.config.agent_yaml import WrongFile, parse_agent
from tests.config.test_agent_yaml import FULL, MINIMAL

JUDGE = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


def as_editors_read_it(text: str) -> Any:
    """YAML 1.2 with its numbers, by a reader that is not ours."""
    yaml = ruamel.yaml.YAML(typ="safe")
    yaml.constructor.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)
    return yaml.load(text)


def test_it_is_what_the_model_says() -> None:
    assert SCHEMA.read_text() == agent_schema(), "run: pickup agents schema --write " + str(SCHEMA)


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    "text",
    [MINIMAL, FULL, *(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml")))],
    ids=lambda text: text.partition("\n")[0],
)
def test_what_can_be_read_is_right_for_an_editor(text: str) -> None:
    parse_agent(text, "f")
    assert [error.message for error in JUDGE.iter_errors(as_editors_read_it(text))] == []


@pytest.mark.parametrize(
    "line",
    [
        "voise: Kore",
        "limits: {second: 60}",
        "limits: {seconds: 5}",
        "limits: {seconds: many}",
        "greeting: [a]",
        "recording: perhaps",
        "numbers: [abc]",
        "tools: [end_cal]",
        "tools: [{http: {name: a, description: b}}]",
        "tools: [{http: {name: a, description: b, url: 'ftp://x'}}]",
        "transfer: {My Desk: '+15551234567'}",
        "transfer: {desk: {mode: hot, number: '+15551234567'}}",
        "variables: {Name: x}",
        "hours: {monday: 8-18}",
        "hours: {mondy: 08:00-18:00}",
        "model_options: {end_sensitivity: MEDIUM}",
        "outbound: {retry_on: [answered]}",
    ],
)
def test_what_cannot_be_read_is_wrong_for_an_editor_too(line: str) -> None:
    text = f"{MINIMAL}{line}\n"
    with pytest.raises(WrongFile):
        parse_agent(text, "f")
    assert not JUDGE.is_valid(as_editors_read_it(text))


def test_the_modeline_is_the_first_line_and_there_once() -> None:
    text = with_schema(MINIMAL, "a.json")
    assert text == f"# yaml-language-server: $schema=a.json\n{MINIMAL}"
    assert with_schema(text, "b.json") == f"# yaml-language-server: $schema=b.json\n{MINIMAL}"
