"""`pickup init`: what it writes is what Pickup reads, and it destroys nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import cli
from agent.config.agent_files import AgentFiles, agents_folder
from agent.config.settings import Settings


def init(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        cli.main(["init", *words])
    return left.value.code


def test_what_it_writes_is_what_pickup_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init() == 0
    out = capsys.readouterr().out
    assert "wrote agents/front_desk.yaml" in out
    assert "wrote .env.example" in out
    assert "wrote agents/agent.schema.json" in out
    for path in (tmp_path / "agents").glob("*.yaml"):
        modeline = path.read_text().partition("\n")[0]
        assert modeline == "# yaml-language-server: $schema=agent.schema.json"
    assert agents_folder(None, tmp_path) == tmp_path / "agents"
    assert AgentFiles(tmp_path / "agents", pytest.fail).get("front_desk").name == "Harbour Dental"
    assert Settings.load({}, tmp_path / ".env.example") == Settings.load({})


def test_another_folder_is_made(tmp_path: Path) -> None:
    assert init(str(tmp_path / "new" / "place")) == 0
    assert (tmp_path / "new" / "place" / "agents" / "front_desk.yaml").is_file()


@pytest.mark.parametrize("name", [".env.example", "agents/front_desk.yaml"])
def test_nothing_is_overwritten_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    assert init(str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith(f"pickup: {mine} would be overwritten")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"
    assert init("--force", str(tmp_path)) == 0
    assert mine.read_text() != "mine"


def test_a_folder_that_cannot_be_is_a_mistake_to_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert init(str(tmp_path / "file" / "below")) == 2
    assert capsys.readouterr().err.startswith("pickup: cannot write: ")
