"""A scenario's file: what it says is read, and each mistake is told with its line and what was meant."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from agent.config.agent_files import EXAMPLES
from agent.config.agent_schema import SCENARIO_SCHEMA, scenario_schema
from agent.config.agent_yaml import WrongFile
from agent.config.scenario import LARGEST, load_scenario, parse_scenario, pattern
from agent.errors import UserError

GOOD = """\
name: Hours
agent: front_desk
variables: {name: Ada}
expect: {ended: [agent_hung_up, caller_hung_up], first_word_under: 2.5}
turns:
  - expect: {says: front desk}
  - say: When do you open?
    expect:
      says: [/eight|8/, morning]
      tool: {name: book, with: {day: /\\d+/, seats: 2, "no": true}}
    stand_in: {says: "At eight.", tools: [end_call, {name: book, args: {seats: 2}}]}
  - press: 12#
  - hangs_up: true
"""
EXAMPLE_FILES = sorted((EXAMPLES / "scenarios").glob("*.yaml"))


def test_it_is_read() -> None:
    scenario = parse_scenario(GOOD, "s.yaml")
    greeting, question, keys, end = scenario.turns
    assert not greeting.acts
    assert question.expect.says == ("/eight|8/", "morning")
    (tool,) = question.expect.tool
    assert (tool.name, tool.with_) == ("book", {"day": "/\\d+/", "seats": 2, "no": True})
    assert question.stand_in is not None
    assert [each.name for each in question.stand_in.tools] == ["end_call", "book"]
    assert (keys.press, end.hangs_up) == ("12#", True)
    assert scenario.expect.ended == ("agent_hung_up", "caller_hung_up")
    assert not scenario.scripted  # the first turn has no answer of the stand-in's


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("say: When", "sya: When", "s.yaml:7: unknown key turns[1].sya: did you mean say?"),
        ("ended: [agent", "end: [agent", "s.yaml:4: unknown key expect.end: did you mean ended?"),
        ("2.5", "soon", "s.yaml:4: expect.first_word_under should be seconds until the agent"),
        (
            "/eight|8/",
            "/eight(/",
            "s.yaml:9: turns[1].expect.says[0] should be words, or a regular",
        ),
        ("name: Hours\n", "", "s.yaml:1: name is missing"),
        ("press: 12#", "press: hello", "s.yaml:12: turns[2].press should be keys"),
        (
            "  - press: 12#\n",
            "  - expect: {}\n",
            "s.yaml:12: turns[2] should have say, clip, press",
        ),
        ("press: 12#", "{press: 1, say: Hi}", "s.yaml:12: turns[2] has words and keys"),
        ("press: 12#", "{press: 1, interrupts: 1}", "turns[2].interrupts needs words under say"),
        ("hangs_up: true", "{hangs_up: true, stand_in: {says: Hi}}", "turns[3].stand_in is never"),
        ("agent: front_desk", "transfers: bussy", "did you mean busy?"),
        ("name: Hours", "[", "s.yaml:3: not YAML"),
    ],
)
def test_each_mistake_is_told_with_its_line(old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(WrongFile) as wrong:
        parse_scenario(GOOD.replace(old, new, 1), "s.yaml")
    assert told in str(wrong.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_scenario(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_text("#" * (LARGEST + 1))
    with pytest.raises(UserError, match="larger than 256 kB"):
        load_scenario(large)


@pytest.mark.parametrize(("wanted", "found"), [("/a|b/", True), ("a", False), ("//", False)])
def test_an_expression_stands_between_slashes(wanted: str, found: bool) -> None:
    assert (pattern(wanted) is not None) is found


def test_the_schema_is_what_the_reader_takes() -> None:
    assert SCENARIO_SCHEMA.read_text() == scenario_schema(), (
        f"run: pickup check --schema > {SCENARIO_SCHEMA}"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(SCENARIO_SCHEMA.read_text()))


@pytest.mark.parametrize("file", EXAMPLE_FILES, ids=lambda file: file.stem)
def test_the_examples_are_right_and_the_schema_says_so_too(file: Path) -> None:
    assert load_scenario(file).scripted
    judge = jsonschema.Draft202012Validator(json.loads(SCENARIO_SCHEMA.read_text()))
    assert [error.message for error in judge.iter_errors(yaml.safe_load(file.read_text()))] == []
