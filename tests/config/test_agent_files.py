"""The folder of agents, and what a save does to the next call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.agent_files import EXAMPLES, LARGEST, AgentFiles, agents_folder, claimed_twice
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


class TestNumbers:
    @pytest.fixture
    def told(self) -> list[str]:
        return []

    @pytest.fixture
    def files(self, tmp_path: Path, told: list[str]) -> AgentFiles:
        for name, numbers in (
            ("anna", "[+15550000001, 'sip:Desk@Example.com']"),
            ("bert", "+15550000002"),
            ("carl", "[]"),
            ("dora", "['sip:*@Dora.example', 600, 'sip:night-1']"),
        ):
            text = MINIMAL.replace("Desk", name) + f"numbers: {numbers}\n"
            save(tmp_path / f"{name}.yaml", text, 1)
        return AgentFiles(tmp_path, told.append)

    @pytest.mark.parametrize(
        ("number", "name"),
        [
            ("+15550000001", "anna"),
            ("+15550000002", "bert"),
            ("sip:desk@example.com:5060;transport=tls", "anna"),
            ("sips:desk@example.com?x=y", "anna"),
            ("sip:anybody@dora.example", "dora"),
            ("sip:desk@dora.example", "dora"),
            ("sip:600@10.0.0.1", "dora"),
            ("600", "dora"),
            ("sip:NIGHT-1@10.0.0.1:5070", "dora"),
            ("+15550000003", "carl"),  # claimed by nobody: the first that claims nothing
            ("", "carl"),
        ],
    )
    def test_a_number_reaches_the_agent_that_claims_it(
        self, files: AgentFiles, number: str, name: str
    ) -> None:
        assert files.for_number(number).name == name

    def test_users_are_those_that_are_claimed_at_any_domain(self, files: AgentFiles) -> None:
        assert files.users() == {"+15550000001", "+15550000002", "600", "night-1"}

    def test_default_answers_what_nobody_claims(self, files: AgentFiles) -> None:
        save(files.folder / "default.yaml", MINIMAL, 1)
        assert files.for_number("+15550000003").name == "Desk"
        assert files.for_number("+15550000002").name == "bert"

    def test_where_all_claim_some_the_first_answers(self, files: AgentFiles) -> None:
        (files.folder / "carl.yaml").unlink()
        assert files.for_number("+15550000003").name == "anna"

    def test_a_broken_file_is_told_once_per_save_and_passed_over(
        self, files: AgentFiles, told: list[str]
    ) -> None:
        path = files.folder / "aaron.yaml"
        save(path, "name: [", 1)
        for _ in range(3):
            assert files.for_number("+15550000001").name == "anna"
        assert len(told) == 1
        assert told[0].startswith(f"{path}:")
        assert told[0].endswith("the file is passed over")
        save(path, "name: [[", 2)
        files.for_number("+15550000001")
        assert len(told) == 2

    def test_without_any_that_can_be_read_it_says_what_is_wrong(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        files = AgentFiles(empty, lambda line: None)
        with pytest.raises(UserError, match="no agent 'default'"):
            files.for_number("+15550000001")
        save(empty / "desk.yaml", "name: [", 1)
        with pytest.raises(UserError, match="not YAML"):
            files.for_number("+15550000001")

    def test_a_number_that_two_claim_is_found(self, files: AgentFiles) -> None:
        agents, _ = files.readable()
        assert claimed_twice(agents) == []
        save(
            files.folder / "carl.yaml",
            MINIMAL + "numbers: [+15550000009, 'sip:DESK@example.com:5061']\n",
            2,
        )
        agents, _ = files.readable()
        assert claimed_twice(agents) == [("carl", 1, "anna")]

    def test_a_start_at_which_somebody_looks_is_told(self, files: AgentFiles) -> None:
        assert list(files.check()) == ["anna", "bert", "carl", "dora"]
        save(files.folder / "carl.yaml", MINIMAL + "numbers: +15550000002\n", 2)
        with pytest.raises(UserError, match=r"carl.yaml: numbers\[0\] is claimed by bert.yaml too"):
            files.check()
        save(files.folder / "carl.yaml", "name: [", 3)
        files = AgentFiles(files.folder, lambda line: None)
        with pytest.raises(UserError, match="not YAML"):
            files.check()
