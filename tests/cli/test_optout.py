"""`pickup optout`: a list of numbers is taken whole or not at all, and whoever is on it is not called."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from agent.cli import main
from agent.storage.attempts import Attempts, Wanted
from agent.storage.database import Database


@pytest.fixture
def home(tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    shutil.copy(migrated_file, tmp_path / "data" / "pickup.db")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    with pytest.raises(SystemExit) as left:
        main(["optout", *words])
    assert left.value.code == status
    out, error = capsys.readouterr()
    return out if status == 0 else error


def test_whoever_is_added_is_not_called_until_removed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def reserve() -> str | None:
        database = Database(f"sqlite:///{home}/data/pickup.db")
        wanted = Wanted(
            id="a", idempotency_key="a", number="+12024561111", agent="x", not_before=0.0
        )
        made = await Attempts(database).reserve(wanted, 1.0)
        await database.close()
        return made.refused

    assert run(capsys, "list") == "Everybody may be called.\n"
    assert run(capsys, "add", "+1 (202) 456-1111", "+12024561112") == "added 2; 0 were there\n"
    assert run(capsys, "add", "+12024561111") == "added 0; 1 were there\n"
    assert asyncio.run(reserve()) == "do_not_call"
    assert "+12024561111" not in run(capsys, "list")
    assert "+12024561111" in run(capsys, "list", "--numbers")
    told = json.loads(run(capsys, "list", "--json"))
    assert {(each["number"], each["why"]) for each in told["numbers"]} == {
        ("…11", "operator"),
        ("…12", "operator"),
    }
    assert told["v"] == 1
    assert run(capsys, "remove", "+12024561111", "+12024561113") == "removed 1; 1 were not there\n"
    assert asyncio.run(reserve()) is None


def test_a_file_of_numbers_is_added(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "list.csv").write_text('number,why\n+12024561111,asked\n\n"+12024561112",\n')
    assert run(capsys, "add", "--file", "list.csv") == "added 2; 0 were there\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "+12024561111", "911"), "'911': no number"),
        (("add", "--file", "bad.csv"), "bad.csv:2: no number"),
        (("add", "--file", "none.csv"), "none.csv cannot be read"),
        (("add",), "say which numbers"),
        (("remove", "12"), "'12': no number"),
    ],
)
def test_one_that_is_no_number_stops_all_of_it(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    (home / "bad.csv").write_text("+12024561111\n2024561111\n")
    assert told in run(capsys, *words, status=2)
    assert run(capsys, "list") == "Everybody may be called.\n"
