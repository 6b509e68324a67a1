"""The folder of agents, and what a save does to the next call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.agent_files import EXAMPLES, LARGEST, AgentFiles, agents_folder
from agent.errors import UserError

MINIMAL = "name: Desk\npersona: You answer.\n"


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
