"""A campaign whose server and command are killed again and again: nobody is dialled twice, nobody is forgotten."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from agent.cli.parts.children import Child
from agent.config.settings import environment
from agent.simulator.brain import BenchBrain
from agent.simulator.callee import Directory, parse
from agent.simulator.gemini import Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.network import NetworkOptions
from agent.simulator.rest import TwilioStandIn, serving as twilio_serving
from tests.calls.exchange import ACCOUNT, AUTH_TOKEN, GEMINI_KEY

PUBLIC_URL = "http://127.0.0.1:9"
"""What is signed, whatever port the server has this time."""
AGENT = """\
name: Reminder
persona: You remind people.
outbound: {calling_hours: "00:00-24:00", attempts: 1, ring_seconds: 5}
"""
PARTIES = ("busy", "failed", "no-answer:after=0.2")


class House:
    """A deployment in which a campaign runs: its data outlive its processes, Twilio outlives them all."""

    def __init__(self, folder: Path, gemini: str, numbers: list[str]) -> None:
        self.folder = folder
        self.numbers = numbers
        self.reach: dict[str, str] = {}
        self.twilio: TwilioStandIn | None = None
        self.server: Child | None = None
        self.command: subprocess.Popen[bytes] | None = None
        self._gemini = gemini
        (folder / "agents").mkdir()
        (folder / "agents" / "reminder.yaml").write_text(AGENT)
        (folder / "people.csv").write_text("\n".join(["number", *numbers]) + "\n")

    @property
    def environ(self) -> dict[str, str]:
        assert self.twilio is not None
        return environment() | {
            "PUBLIC_URL": PUBLIC_URL,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "TWILIO_API_URL": self.twilio.origin,
            "GEMINI_API_KEY": GEMINI_KEY,
            "GEMINI_URL": self._gemini,
            "DATA_DIR": str(self.folder / "data"),
            "CALLER_ID": "+12024561414",
            "CALL_COUNTRIES": "US",
            "CALLS_PER_SECOND": "20",
            "CALLS_PER_HOUR": "100000",
            "CALLS_PER_DAY": "100000",
        }

    async def serve(self) -> None:
        """Start the server, as whoever watches over it would."""
        with (self.folder / "server.log").open("ab") as log:
            words = ("serve", "--port", "0")
            self.server = await asyncio.to_thread(Child, words, self.environ, log, self.folder)
        self.reach[PUBLIC_URL] = self.server.url

    def order(self) -> None:
        """Start the command, as an operator would who sees that it is gone."""
        words = ("campaign", "run", "people.csv", "--agent", "reminder", "--json")
        pace = ("--rate", "20", "--concurrency", "200")
        with (self.folder / "command.out").open("wb") as out:
            self.command = subprocess.Popen(
                [sys.executable, "-m", "agent", *words, *pace],
                cwd=self.folder,
                env=self.environ,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )

    async def kill_server(self) -> None:
        assert self.server is not None
        self.server.process.kill()
        with self.server.process:
            await asyncio.to_thread(self.server.process.wait)
        await self.serve()

    async def kill_command(self) -> None:
        assert self.command is not None
        self.command.kill()
        await asyncio.to_thread(self.command.wait)
        self.order()

    async def finished(self, seconds: float) -> dict[str, Any]:
        """What the command says when all are called."""
        assert self.command is not None
        try:
            await asyncio.wait_for(asyncio.to_thread(self.command.wait), seconds)
        finally:
            self.command.kill()
        told: dict[str, Any] = json.loads((self.folder / "command.out").read_text())
        return told

    def dialled(self) -> Counter[str]:
        """How often each number was dialled, as the carrier knows it."""
        assert self.twilio is not None
        return Counter(call.record.to for call in self.twilio.network.calls.values())

    def results(self) -> list[dict[str, str]]:
        text = (self.folder / "people.results.csv").read_text()
        return list(csv.DictReader(io.StringIO(text)))

    def ended(self) -> int:
        database = self.folder / "data" / "pickup.db"
        with closing(sqlite3.connect(database)) as opened:
            (many,) = opened.execute("SELECT count(*) FROM attempts WHERE state = 3").fetchone()
        return int(many)


@asynccontextmanager
async def house(folder: Path, people: int) -> AsyncIterator[House]:
    numbers = [f"+1202456{n:04}" for n in range(2000, 2000 + people)]
    parties = {number: parse(PARTIES[n % len(PARTIES)]) for n, number in enumerate(numbers)}
    conduct = Conduct(setup_seconds=0.05, speed=20.0)
    async with serving(Options(conduct=conduct), lambda: BenchBrain(1.0)) as (_, url):
        made = House(folder, url.replace("http", "ws"), numbers)
        options = NetworkOptions(
            account_sid=ACCOUNT, auth_token=AUTH_TOKEN, start_delay_s=0.0, reach=made.reach
        )
        async with twilio_serving(options, Directory(parties)) as made.twilio:
            await made.serve()
            try:
                yield made
            finally:
                if made.command is not None:
                    made.command.kill()
                    made.command.wait()
                if made.server is not None:
                    with made.server.process:
                        await asyncio.to_thread(made.server.stop)


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_nobody_is_dialled_twice_and_nobody_is_forgotten(tmp_path: Path, full: bool) -> None:
    people, kills = (500, 50) if full else (50, 5)
    chance = random.Random(people)
    async with house(tmp_path, people) as home:
        home.order()
        killed: Counter[str] = Counter()
        for kill in range(kills):
            # Spread over the campaign, so that there is always something in flight to be killed.
            for _ in range(600):
                if sum(home.dialled().values()) > kill * people / (kills + 1):
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            what = "command" if kill % 5 == 4 else "server"
            killed[what] += 1
            await (home.kill_command() if what == "command" else home.kill_server())
        told = await home.finished(180.0)
        dialled, results = home.dialled(), home.results()
    times = sorted(Counter(dialled.values()).items())
    print(f"{people} numbers, killed {dict(killed)}: dialled {times}, {told['ended']}")
    assert [number for number, times in dialled.items() if times > 1] == []
    assert set(dialled) == set(home.numbers)
    assert sum(told["ended"].values()) == told["total"] == people
    assert [row["number"] for row in results] == home.numbers
    assert {row["state"] for row in results} == {"ended"}
    assert "Traceback" not in (tmp_path / "server.log").read_text()
