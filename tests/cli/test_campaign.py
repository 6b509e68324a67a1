"""`pickup campaign`: a file is checked whole before anybody is called; the same file again goes on where it was."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from agent.cli import campaign as command, main
from agent.storage.attempts import Attempts, Taker
from agent.storage.campaigns import Campaigns, CampaignState
from agent.storage.database import Database

pytestmark = pytest.mark.timeout(40)  # the first one imports the server

T = TypeVar("T")

AGENT = """\
name: Reminder
persona: You remind {{name}}.
variables: {name: null, day: today}
outbound: {calling_hours: "00:00-24:00"}
"""
PEOPLE = """\
number,name,day
+1 202-456-1111,Anna,Monday
+12024561112,"Ben, junior",Tuesday
+12024561113,Carl,=1+1
"""


@pytest.fixture
def home(tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "reminder.yaml").write_text(AGENT)
    (tmp_path / "people.csv").write_text(PEOPLE)
    (tmp_path / "data").mkdir()
    shutil.copy(migrated_file, tmp_path / "data" / "pickup.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CALL_COUNTRIES", "US")
    monkeypatch.setenv("CALLER_ID", "+12024561414")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(command, "LOOK_EVERY", 0.1)
    for name in ("DATABASE_URL", "PICKUP_AGENTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(["campaign", *words])
    return left.value.code


def start(*more: str) -> int | str | None:
    return run("run", "people.csv", "--agent", "reminder", *more)


async def with_database(home: Path, do: Callable[[Database], Awaitable[T]]) -> T:
    database = Database(f"sqlite:///{home}/data/pickup.db")
    try:
        return await do(database)
    finally:
        await database.close()


class Server(threading.Thread):
    """Stands in for a server that dials: everybody is busy, and is not tried again."""

    def __init__(self, home: Path, *, calls: int = 99) -> None:
        super().__init__()
        self.home = home
        self.calls = calls
        self.dialled: list[tuple[str, dict[str, str]]] = []
        self.enough = threading.Event()

    def run(self) -> None:
        asyncio.run(with_database(self.home, self._serve))

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.join()

    async def _serve(self, database: Database) -> None:
        campaigns, attempts = Campaigns(database), Attempts(database)
        while not self.enough.is_set():
            await asyncio.sleep(0.05)
            for campaign in await campaigns.running() if len(self.dialled) < self.calls else ():
                now = time.time()
                got = await campaigns.claim(campaign, Taker("server", now, now + 30))
                if got is not None:
                    self.dialled.append((got.number, got.variables))
                    await attempts.end(got.id, got.tries, "caller_busy", now)


# ---- the whole way


def test_everybody_is_called_once_and_told_in_the_results(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(home) as server:
        assert start("--rate", "100", "--json") == 0
        assert start("--rate", "100") == 0  # the same file again: everybody was called
    told = json.loads(capsys.readouterr().out)
    assert len(server.dialled) == 3
    assert server.dialled[1] == ("+12024561112", {"name": "Ben, junior", "day": "Tuesday"})
    campaign = told.pop("id")
    example = json.loads((Path(__file__).parent / "examples" / "campaign.json").read_text())
    assert told == {**example, "results": str(home / "people.results.csv")}
    rows = list(csv.DictReader(io.StringIO((home / "people.results.csv").read_text())))
    assert [row["number"] for row in rows] == ["+12024561111", "+12024561112", "+12024561113"]
    assert {(row["state"], row["reason"], row["tries"]) for row in rows} == {
        ("ended", "caller_busy", "1")
    }
    assert rows[1]["name"] == "Ben, junior"
    assert rows[2]["day"] == "'=1+1"  # no spreadsheet calculates what a row says
    assert (home / "people.results.csv").stat().st_mode & 0o777 == 0o600
    assert run("list") == 0
    assert campaign in capsys.readouterr().out


def test_a_campaign_that_is_paused_from_elsewhere_ends_the_watching(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pause_when_one_was_called(server: Server) -> None:
        while len(server.dialled) < 1:
            time.sleep(0.02)
        asyncio.run(with_database(home, pause))

    async def pause(database: Database) -> None:
        (campaign,) = await Campaigns(database).every()
        await Campaigns(database).change(campaign.id, CampaignState.PAUSED)

    with Server(home, calls=1) as server:
        threading.Thread(target=pause_when_one_was_called, args=(server,)).start()
        assert start("--rate", "100", "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], told["waiting"], told["ended"]) == ("paused", 2, {"caller_busy": 1})
        server.calls = 99
        assert start("--rate", "100", "--json") == 0
        assert json.loads(capsys.readouterr().out)["ended"] == {"caller_busy": 3}
    assert len({number for number, _ in server.dialled}) == len(server.dialled) == 3


def test_ctrl_c_pauses_and_the_same_command_goes_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt_when_one_was_called(server: Server) -> None:
        while len(server.dialled) < 1:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    with Server(home, calls=1) as server:
        threading.Thread(target=interrupt_when_one_was_called, args=(server,)).start()
        assert start("--rate", "100", "--json") == 130
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], told["waiting"]) == ("paused", 2)
        server.calls = 99
        assert start("--rate", "100") == 0
    assert len({number for number, _ in server.dialled}) == len(server.dialled) == 3


@pytest.mark.slow
def test_what_was_stopped_is_not_begun_again_by_accident(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server(home):
        assert start("--rate", "100", "--json") == 0
        campaign = json.loads(capsys.readouterr().out)["id"]
        assert run("stop", campaign) == 0
        assert start() == 2
        assert f"pickup campaign resume {campaign}" in capsys.readouterr().err
        assert run("resume", campaign) == 0
        assert start() == 0
        assert run("pause", campaign) == 0
    assert run("pause", "nosuch") == 2
    assert "no campaign 'nosuch'" in capsys.readouterr().err


def test_what_will_hold_a_campaign_back_is_told_before_it_begins(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLS_PER_HOUR", "2")
    with Server(home):
        assert start("--rate", "100", "--concurrency", "3") == 0
    told = capsys.readouterr().err
    assert "CALLS_PER_SECOND is 1, which holds" in told
    assert "CALLS_PER_HOUR is 2, which holds" in told
    assert "MAX_CALLS" not in told


def test_no_campaigns_yet(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    assert capsys.readouterr().out == "No campaigns yet.\n"
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"v": 1, "campaigns": []}


# ---- files that are wrong


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "people.csv:1: the first line should name the columns"),
        ("name,day\nAnna,Monday\n", "people.csv:1: the first line should name the columns"),
        ("number,number\n1,2\n", "people.csv:1: the first line should name the columns"),
        ("number,name\n", "has 0 rows"),
        ("number,name\n2024561111,Anna\n", "people.csv:2: the number should be one such as +1555"),
        ("number,name\n+12024561111\n", "people.csv:2: it has not as many cells"),
        ("number,name\n+12024561111,Anna,x\n", "people.csv:2: it has not as many cells"),
        ("number\n+12024561111\n", "people.csv:2: Reminder needs a value for name"),
        (
            "number,name,nick\n+12024561111,A,B\n",
            "people.csv:2: Reminder has no variable 'nick' (it has: name, day)",
        ),
        (
            "number,name\n+12024561111,A\n+1 (202) 456-1111,B\n",
            "people.csv:3: the same number as in line 2",
        ),
        ("number,name\n+493012345678,A\n", "people.csv:2: this number cannot be called"),
        ("number,name\n+19005551234,A\n", "people.csv:2: this number cannot be called"),
        ('number,name\n+12024561111,"A', "people.csv:1: unexpected end of data"),
    ],
)
def test_nobody_is_called_while_one_row_is_wrong(
    home: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    (home / "people.csv").write_text(text)
    assert start() == 2
    assert told in capsys.readouterr().err
    assert run("list") == 0
    assert capsys.readouterr().out == "No campaigns yet.\n"


def test_many_mistakes_are_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "people.csv").write_text("number,name\n" + "0,Anna\n" * 25)
    assert start() == 2
    error = capsys.readouterr().err
    assert "people.csv:11:" in error
    assert "people.csv:12:" not in error
    assert "... and 15 more" in error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "none.csv", "--agent", "reminder"), "none.csv cannot be read"),
        (("run", "people.csv", "--agent", "nobody"), "nobody"),
    ],
)
def test_a_file_or_an_agent_that_is_not_there(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    assert run(*words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_another_agent_or_another_text_is_another_campaign(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "agents" / "second.yaml").write_text(AGENT)
    with Server(home):
        assert start("--rate", "100") == 0
        assert run("run", "people.csv", "--agent", "second", "--rate", "100") == 0
        (home / "people.csv").write_text(PEOPLE + "+12024561114,Dora,Friday\n")
        assert start("--rate", "100") == 0
    capsys.readouterr()
    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["campaigns"]
    assert sorted(each["total"] for each in listed) == [3, 3, 4]
