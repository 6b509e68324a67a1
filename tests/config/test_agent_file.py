"""What an agent's file may say, where its mistakes are, and what a save does to the next call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from agent.config.agent_file import (
    DISCLOSURE,
    EXAMPLES,
    LARGEST,
    SHOULD_BE,
    AgentFile,
    AgentFiles,
    agents_folder,
    parse_agent,
)
from agent.errors import UserError

MINIMAL = "name: Desk\npersona: You answer.\n"


def test_name_and_persona_are_enough() -> None:
    agent = parse_agent(MINIMAL, "desk.yaml")
    assert (agent.name, agent.persona) == ("Desk", "You answer.")
    assert agent.disclosure == DISCLOSURE
    assert agent.recording is False
    assert (agent.model, agent.fallback_number) == (None, None)
    assert (agent.voice, agent.language) == ("Kore", "en-US")
    assert agent.greeting


def test_the_shipped_example_is_the_front_desk_of_the_demo() -> None:
    agent = AgentFiles(EXAMPLES, pytest.fail).get("front_desk")
    assert agent.name == "Harbour Dental"
    assert agent.greeting == "This is the front desk of Harbour Dental. How can I help you?"
    assert agent.disclosure == "Hello. You are speaking with an automated assistant."
    assert agent.recording is False
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
    assert agent.recording is True


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


@given(st.dictionaries(st.sampled_from(list(SHOULD_BE)), st.text(max_size=40)))
def test_any_values_are_an_agent_or_one_complaint_about_a_known_key(values: dict[str, str]) -> None:
    text = "".join(f"{key}: {value}\n" for key, value in values.items())
    try:
        parse_agent(text, "f")
    except UserError as error:
        assert str(error).startswith("f:")


def test_every_key_says_what_it_should_be() -> None:
    assert list(SHOULD_BE) == list(AgentFile.model_fields)


def test_an_agent_is_frozen_and_its_digest_is_its_content() -> None:
    agent = parse_agent(MINIMAL, "f")
    with pytest.raises(ValidationError):
        agent.name = "Other"  # type: ignore[misc]  # it is what is tested
    assert agent.digest() == parse_agent(f"# other layout\n{MINIMAL}", "g").digest()
    assert agent.digest() != parse_agent(f"{MINIMAL}voice: Puck\n", "f").digest()


class TestFolder:
    def test_chosen_then_own_then_the_examples(self, tmp_path: Path) -> None:
        assert agents_folder(None, tmp_path) == EXAMPLES
        (tmp_path / "agents").mkdir()
        assert agents_folder(None, tmp_path) == tmp_path / "agents"
        assert agents_folder(Path("chosen"), tmp_path) == Path("chosen")


def save(path: Path, text: str, second: int) -> None:
    path.write_text(text)
    os.utime(path, (second, second))


class TestFiles:
    @pytest.fixture
    def told(self) -> list[str]:
        return []

    @pytest.fixture
    def files(self, tmp_path: Path, told: list[str]) -> AgentFiles:
        return AgentFiles(tmp_path, told.append)

    def test_a_save_reaches_the_next_call(self, files: AgentFiles) -> None:
        save(files.folder / "desk.yaml", MINIMAL, 1)
        first = files.get("desk")
        assert files.get("desk") is first
        save(files.folder / "desk.yaml", MINIMAL.replace("Desk", "Shop"), 2)
        assert files.get("desk").name == "Shop"
        assert first.name == "Desk"

    def test_a_broken_save_is_told_once_and_changes_nothing(
        self, files: AgentFiles, told: list[str]
    ) -> None:
        path = files.folder / "desk.yaml"
        save(path, MINIMAL, 1)
        first = files.get("desk")
        save(path, "name: [", 2)
        assert files.get("desk") is first
        assert files.get("desk") is first
        assert len(told) == 1
        assert told[0].startswith(f"{path}:1: not YAML")
        path.unlink()
        assert files.get("desk") is first
        assert "no agent 'desk'" in told[1]
        save(path, MINIMAL.replace("Desk", "Back"), 3)
        assert files.get("desk").name == "Back"
        assert len(told) == 2

    def test_a_file_that_never_was_right_is_refused(self, files: AgentFiles) -> None:
        save(files.folder / "desk.yaml", "name: [", 1)
        with pytest.raises(UserError, match="not YAML"):
            files.get("desk")

    @pytest.mark.parametrize("name", ["shop", "../desk", "", "a/b", "desk.yaml"])
    def test_an_agent_that_is_not_there_is_told_with_those_that_are(
        self, files: AgentFiles, name: str
    ) -> None:
        save(files.folder / "desk.yaml", MINIMAL, 1)
        with pytest.raises(UserError, match=r"no agent .* \(there: desk\)"):
            files.get(name)

    def test_an_empty_folder_has_none(self, files: AgentFiles) -> None:
        assert files.names() == []
        with pytest.raises(UserError, match=r"\(there: none\)"):
            files.get("desk")

    def test_a_file_that_is_no_text_is_told(self, files: AgentFiles) -> None:
        (files.folder / "desk.yaml").write_bytes(b"name: \xff")
        with pytest.raises(UserError, match="cannot be read"):
            files.get("desk")

    def test_a_file_that_is_too_large_is_told(self, files: AgentFiles) -> None:
        save(files.folder / "desk.yaml", MINIMAL + "#" * LARGEST, 1)
        with pytest.raises(UserError, match="larger than 256 kB"):
            files.get("desk")
