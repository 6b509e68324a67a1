"""The server as a process of its own: it is killed in mid-call and started again, stopped in mid-call, stopped twice."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import aiohttp
import pytest

from agent.cli.parts.children import Child
from agent.config.settings import environment
from agent.simulator.brain import BenchBrain
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.gemini import Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.report import AgentSpeaks, Ended
from agent.simulator.signature import sign
from tests.calls.exchange import ACCOUNT, AUTH_TOKEN, FROM, GEMINI_KEY, TO, no_canary_in, within

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.simulator.report import AnyCallEvent, CallReport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SID = "CA" + "1" * 32
PUBLIC_URL = "http://127.0.0.1:9"
"""What is signed: it stays the same over a restart, as a deployment's origin does, whatever the port is."""


class House:
    """A deployment: its data outlive its processes."""

    def __init__(self, folder: Path, gemini: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._gemini = gemini
        self._log = folder / "log"

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Child]:
        """One process of it."""
        environ = environment() | {
            "PUBLIC_URL": PUBLIC_URL,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "GEMINI_API_KEY": GEMINI_KEY,
            "GEMINI_URL": self._gemini,
            "DATA_DIR": str(self.data),
            "LOG_LEVEL": "debug",
        }
        with self._log.open("ab") as log:
            child = await asyncio.to_thread(
                Child, ("serve", "--port", "0", "--record"), environ, log, self.folder
            )
            try:
                yield child
            finally:
                with child.process:  # closes its pipe
                    await asyncio.to_thread(child.stop)

    def log(self) -> str:
        return self._log.read_text()

    def ending(self) -> tuple[str | None, float | None]:
        """`end_reason` and `ended_at` of the only call."""
        with closing(sqlite3.connect(self.data / "pickup.db")) as database:
            rows = database.execute("SELECT end_reason, ended_at FROM calls").fetchall()
        assert len(rows) == 1
        reason, at = rows[0]
        return reason, at


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    conduct = Conduct(setup_seconds=0.05, speed=20.0)
    async with serving(Options(conduct=conduct), lambda: BenchBrain(1.0)) as (gemini, url):
        house = House(tmp_path, url.replace("http", "ws"))
        yield house
        await within(5.0, lambda: gemini.stats().live == 0, "a session with the model is left")
    assert "Traceback" not in house.log()
    digits = [number.removeprefix("+") for number in (FROM, TO)]
    assert [c for c in (AUTH_TOKEN, GEMINI_KEY, *digits) if c in house.log()] == []
    no_canary_in(house.data)


async def call(child: Child, do: Callable[[], None], seconds: float) -> CallReport:
    """A call in which something is done when the agent is first heard."""
    first = [do]

    def watch(event: AnyCallEvent) -> None:
        if isinstance(event, AgentSpeaks) and first:
            first.pop()()

    return await run_caller(
        CallerOptions(
            url=child.url,
            public_url=PUBLIC_URL,
            auth_token=AUTH_TOKEN,
            call_sid=SID,
            from_number=FROM,
            to_number=TO,
            status_path="/twilio/status",
            max_seconds=seconds,
        ),
        on_event=watch,
    )


async def asked_after(child: Child) -> str:
    """What the action of the call's <Connect> answers."""
    form = {"CallSid": SID, "AccountSid": ACCOUNT, "From": FROM, "To": TO}
    signature = sign(AUTH_TOKEN, PUBLIC_URL + "/twilio/after", form)
    async with (
        aiohttp.ClientSession(headers={"X-Twilio-Signature": signature}) as http,
        http.post(child.url + "/twilio/after", data=form) as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def test_after_a_crash_the_caller_hears_an_apology_and_the_record_is_closed(
    house: House,
) -> None:
    async with house.process() as child:
        report = await call(child, child.process.kill, 4.0)
        assert report.ended in {Ended.LINE_LOST, Ended.WEBHOOK_FAILED}
    assert house.ending() == (None, None)  # nobody was left who could have closed it
    async with house.process() as child:
        twiml = await asked_after(child)
        assert re.search("<Say[^>]*>I am sorry", twiml)
        assert "<Hangup" in twiml
        await within(60.0, lambda: house.ending()[1], "the lease ran out and nobody closed it")
        assert house.ending()[0] == "crash"
        assert re.search("<Say[^>]*>I am sorry", await asked_after(child))


async def test_a_call_goes_on_through_sigterm(house: House) -> None:
    async with house.process() as child:
        report = await call(child, child.process.terminate, 4.0)
        assert report.ended is Ended.CALLER_HUNG_UP
        assert report.heard[-1].end_s > 3.0  # disclosure and greeting, to their end
        assert await asyncio.to_thread(child.process.wait, 10) == 0
    assert house.ending()[0] == "caller_hung_up"


async def test_the_second_sigterm_ends_the_call_with_its_record(house: House) -> None:
    async with house.process() as child:

        def twice() -> None:
            child.process.terminate()
            asyncio.get_running_loop().call_later(0.5, child.process.send_signal, signal.SIGTERM)

        report = await call(child, twice, 8.0)
        assert report.seconds < 5.0
        assert await asyncio.to_thread(child.process.wait, 10) == 0
    assert house.ending()[0] == "server_stopped"


async def test_a_recorded_call_holds_no_number_and_no_secret(house: House) -> None:
    async with house.process() as child:
        report = await call(child, lambda: None, 4.0)
        assert report.ended is Ended.CALLER_HUNG_UP
        await within(5.0, lambda: house.ending()[1], "no final record")
    (folder,) = (house.data / "calls").iterdir()
    assert {path.name for path in folder.iterdir()} >= {
        "call.wav",
        "transcript.json",
        "events.jsonl",
    }
    for path in house.data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
