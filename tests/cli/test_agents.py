"""`pickup agents`: every mistake of every file at once, and the schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import cli
from agent.cli.agents import AgentsReport
from agent.config.agent_schema import agent_schema

EXAMPLE = Path(__file__).parent / "examples" / "agents.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("PICKUP_AGENTS", raising=False)
    (tmp_path / "agents").mkdir()
    save(tmp_path / "agents", "desk", "lines: {moment: Moment.}\n")
    save(tmp_path / "agents", "shop", "voise: Kore\nlimits:\n  seconds: 1\n")
    return tmp_path / "agents"


def save(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(f"name: {name}\npersona: You answer.\n{text}")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["agents", *words])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_every_mistake_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "check")
    assert (code, err) == (2, "")
    desk, shop = folder / "desk.yaml", folder / "shop.yaml"
    assert out.splitlines() == [
        f"{desk}:3: warning: lines.moment has no sound yet: until the model has read it, Pickup's own is said",
        f"{desk}: ok",
        f"{shop}:3: unknown key voise: did you mean voice?",
        f"{shop}:5: limits.seconds should be the longest call in seconds, from 10 to 86400",
    ]


def test_one_agent_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "desk")
    assert code == 0
    assert "shop" not in out
    code, out, err = run(capsys, "check", "disk")
    assert (code, out) == (2, "")
    assert err == f"pickup: no agent 'disk' in {folder} (there: desk, shop)\n"


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "check", "--json")
    assert code == 2
    report: dict[str, Any] = json.loads(out.replace(str(folder), "/srv/agents"))
    assert out.count("\n") == 1
    assert report == json.loads(EXAMPLE.read_text())
    msgspec.convert(report, AgentsReport)


def test_a_folder_without_agents_is_a_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.iterdir():
        path.unlink()
    code, _, err = run(capsys, "check")
    assert code == 2
    assert err.startswith("pickup: no agent in ")


def test_the_schema_is_printed_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "schema") == (0, agent_schema(), "")
    assert run(capsys, "schema", "--write", "schema.json") == (0, "", "")
    assert Path("schema.json").read_text() == agent_schema()
    code, _, err = run(capsys, "schema", "--write", "no/such/folder.json")
    assert code == 2
    assert err.startswith("pickup: cannot write: ")
