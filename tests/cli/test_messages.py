"""`pickup messages`: what callers left, and who is to be called back."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from agent.cli import main
from agent.storage.callbacks import Callback, Callbacks
from agent.storage.database import Database
from agent.storage.messages import Message, Messages

NUMBER = "+15550001234"


async def fill(data: Path) -> None:
    database = await Database.open(f"sqlite:///{data}/pickup.db")
    base = {"call": "one", "agent": "front_desk", "from_number": NUMBER}
    for n, (text, urgent) in enumerate((("The tap drips.", False), ("[Water] everywhere!", True))):
        await Messages(database).take(
            Message(id=f"m{n}", taken_at=1000.0 + n, text=text, urgent=urgent, name="Anna", **base)
        )
    for n in range(2):
        await Callbacks(database).schedule(
            Callback(
                id=f"b{n}ef012345",
                call="one",
                agent="front_desk",
                made_at=1000.0,
                number=NUMBER,
                at=9000.0 - n,
                note=f"About bill {n}.",
            )
        )
    await database.close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def filled(data: Path, migrated_file: Path) -> Path:
    data.mkdir()
    shutil.copy(migrated_file, data / "pickup.db")
    asyncio.run(fill(data))
    return data


def run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    with pytest.raises(SystemExit) as left:
        main(["messages", *words])
    assert left.value.code == status
    out, error = capsys.readouterr()
    return out if status == 0 else error


def test_nothing_yet_is_said_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys) == f"Nobody left a message yet in {data}.\n"


def test_messages_and_callbacks_are_shown_without_whole_numbers(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run(capsys)
    assert "URGENT  Anna …34 to front_desk (call one)\n    [Water] everywhere!" in shown
    assert shown.index("[Water]") < shown.index("The tap drips.")
    assert shown.index("About bill 1.") < shown.index("About bill 0.")
    assert NUMBER not in shown
    assert NUMBER in run(capsys, "--numbers")


def test_json_is_as_the_example_says(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(capsys, "--json", "--limit", "1"))
    example = Path(__file__).with_name("examples") / "messages.json"
    assert told == json.loads(example.read_text())


def test_a_callback_that_was_made_is_not_shown_again(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "done", "b1") == "settled b1ef012345\n"
    assert [each["id"] for each in json.loads(run(capsys, "--json"))["callbacks"]] == ["b0ef012345"]
    assert "no promised call" in run(capsys, "done", "b1", status=2)
    assert run(capsys, "done", "b0ef012345") == "settled b0ef012345\n"


def test_a_beginning_that_several_have_settles_none(
    filled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "several" in run(capsys, "done", "b", status=2)
    assert len(json.loads(run(capsys, "--json"))["callbacks"]) == 2


def test_a_database_that_cannot_be_read_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.mkdir()
    (data / "pickup.db").write_text("not a database " * 100)
    assert run(capsys, status=2).startswith("pickup: the database cannot be read")
