"""Whole calls on loopback: the real server in this process, a stand-in for Gemini behind it, one for Twilio before it.

The agent's voice is the stand-in's buzz; our own spoken lines are pure tones here, so that what the caller heard can be told
apart by ear. Everything else is as it is delivered.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sqlite3
import wave
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import aiohttp
import msgspec
import numpy as np
import psutil
import yaml

from agent.config.agent_files import AgentFiles
from agent.config.settings import Settings
from agent.drive.logs import configure as configure_logs
from agent.server.app import Building, build
from agent.server.lines import SHIPPED
from agent.server.register import derive
from agent.server.run import Server, configure
from agent.simulator.brain import BenchBrain, speechlike
from agent.simulator.caller import SPEECH, CallAudio, CallerOptions, run_caller, utterance
from agent.simulator.clock import Owner, now
from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.phone import Manners, Utterance
from agent.simulator.signature import sign
from agent.simulator.wav import read_phone_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from agent.simulator.brain import Brain
    from agent.simulator.faults import Fault
    from agent.simulator.records import Violation
    from agent.simulator.report import AnyCallEvent, CallReport

AUTH_TOKEN = "canary-of-the-auth-token"
GEMINI_KEY = "canary-of-the-gemini-key"
FROM, TO, FALLBACK = "+12025550143", "+12025550100", "+12025550177"
CANARIES = (AUTH_TOKEN, GEMINI_KEY, *(number.removeprefix("+") for number in (FROM, TO, FALLBACK)))
ACCOUNT = "AC" + "0" * 32

TONES = {
    "trouble": 1000,
    "time_limit": 1400,
    "disclosure": 1800,
    "moment": 2200,
    "still_there": 2600,
    "unheard": 2820,
    "repeat": 3180,
    "put_through": 3300,
}
"""Hertz of our own lines: no harmonic of the buzz is near."""
OTHER_TONE = 3420
"""Hertz of lines that no test listens for."""
TONE_SECONDS = 0.4

LEFT_SECONDS = 5.0
"""How long after a call something of it may be left."""


class Heard(NamedTuple):
    """A call as the caller heard it."""

    report: CallReport
    audio: CallAudio

    def tone(self, name: str) -> float:
        """Seconds of one of our own lines that were heard."""
        _, heard = self.audio.arrays()
        found = 0
        for start in range(0, len(heard) - 160, 160):
            block = heard[start : start + 160].astype(np.float64)
            power = float((block**2).sum())
            if power < 160 * 100.0**2:
                continue
            turns = 2j * np.pi * TONES[name] / 8000 * np.arange(160)
            found += 2 * abs((block * np.exp(turns)).sum()) ** 2 / 160 > 0.8 * power
        return found * 0.02

    @property
    def codes(self) -> list[int | None]:
        """Close codes of the call's streams."""
        return [leg.close_code for leg in self.report.legs]


class Record(NamedTuple):
    """A call's row, as the database itself has it."""

    id: str
    end_reason: str | None
    ended_at: float | None
    legs: int
    instance: str


class Reachable(ABC):
    """A server that can be called, wherever it runs, and everybody around it.

    Attributes:
        gemini: the model behind it.
        folder: its `DATA_DIR`.
        url: where it listens.
        excused: violations that a test has looked at itself.
    """

    def __init__(self, gemini: GeminiStandIn, folder: Path, url: str) -> None:
        self.gemini = gemini
        self.folder = folder
        self.url = url
        self.excused: list[Violation] = []

    # ---- calls

    async def call(
        self,
        *say: Utterance,
        on_event: Callable[[AnyCallEvent], None] | None = None,
        **options: Any,
    ) -> Heard:
        """One telephone call, to its end."""
        given: dict[str, Any] = {
            "url": self.url,
            "auth_token": AUTH_TOKEN,
            "from_number": FROM,
            "to_number": TO,
            "start_delay_s": 0.0,
            "status_path": "/twilio/status",
            "max_seconds": 5.0,
            "utterances": say,
            "manners": Manners(quiet_s=0.2, patience_s=0.6, hang_up_after_s=1.0),
        }
        audio = CallAudio()
        report = await run_caller(
            CallerOptions(**(given | options)), on_event=on_event, audio=audio
        )
        # Server, model and callers share one loop here: what is late after `stop` may be the loop's own doing.
        broken = [str(each) for each in report.violations if each.rule != "after-stop"]
        assert broken == []
        return Heard(report, audio)

    async def dial(self, call_sid: str, token: str | None, **options: Any) -> Heard:
        """A stream that somebody opens directly, with Twilio's signature and this token."""
        parameters = {} if token is None else {"token": token}
        url = f"{self.url.replace('http', 'ws')}/twilio/media"
        given: dict[str, Any] = {"status_path": None, "max_seconds": 2.0}
        return await self.call(
            url=url, call_sid=call_sid, parameters=parameters, **(given | options)
        )

    async def post(
        self, path: str, call_sid: str, *, signed_with: str | None = AUTH_TOKEN, **form: str
    ) -> tuple[int, str]:
        """A webhook, as Twilio would send it; None sends no signature."""
        fields = {"CallSid": call_sid, "AccountSid": ACCOUNT, "From": FROM, "To": TO} | form
        signature = sign(signed_with or "", self.url + path, fields)
        headers = {} if signed_with is None else {"X-Twilio-Signature": signature}
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + path, data=fields, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def ring(self, call_sid: str) -> str:
        """The first webhook of a call; returns the token it got."""
        _, twiml = await self.post("/twilio/voice", call_sid)
        return token_of(twiml)

    # ---- what is left

    async def record(self, call_sid: str, seconds: float = 5.0) -> Record:
        """The call's one record, once it is closed."""
        found = await within(
            seconds, lambda: self._closed(call_sid), f"no final record of {call_sid}"
        )
        assert isinstance(found, Record)
        return found

    def rows(self, call_sid: str) -> list[Record]:
        """The call's rows in the database."""
        with closing(sqlite3.connect(self.folder / "pickup.db")) as database:
            rows = database.execute(
                "SELECT id, end_reason, ended_at, legs, instance FROM calls"
                " WHERE provider_call_id = ?",
                (call_sid,),
            ).fetchall()
        return [Record(*row) for row in rows]

    def _closed(self, call_sid: str) -> Record | None:
        rows = self.rows(call_sid)
        assert len(rows) <= 1
        return next((row for row in rows if row.ended_at is not None), None)

    def events(self, call_sid: str) -> list[dict[str, Any]]:
        """The flight record of an ended call."""
        (row,) = self.rows(call_sid)
        path = self.folder / "calls" / row.id / "events.jsonl"
        return [msgspec.json.decode(line) for line in path.read_text().splitlines()]

    def transcript(self, call_sid: str) -> list[dict[str, Any]]:
        """The lines of an ended call's transcript."""
        (row,) = self.rows(call_sid)
        path = self.folder / "calls" / row.id / "transcript.json"
        lines: list[dict[str, Any]] = msgspec.json.decode(path.read_bytes())["lines"]
        return lines

    async def metric(self, name: str) -> float:
        """A counter's value, as Prometheus would read it."""
        async with aiohttp.ClientSession() as http, http.get(self.url + "/metrics") as answer:
            page = await answer.text()
        (value,) = re.findall(rf"(?m)^{re.escape(name)} (\S+)$", page)
        return float(value)

    @property
    def opened(self) -> int:
        """Sessions with the model, ever."""
        return self.gemini.stats().opened

    @abstractmethod
    def running(self) -> set[str]:
        """What the server has open at this moment."""

    def no_session_is_left(self) -> None:
        """Every session with the model has ended, and none broke a rule."""
        stats = self.gemini.stats()
        assert stats.live == 0
        assert [each for each in stats.violations if each not in self.excused] == []


class Exchange(Reachable):
    """A server in this process."""

    def __init__(
        self, gemini: GeminiStandIn, folder: Path, building: Building, server: Server, url: str
    ) -> None:
        super().__init__(gemini, folder, url)
        self.building = building
        self.server = server
        self.log = StringIO()  # all that was logged
        self._idle = self.running()

    async def settle(self) -> None:
        """Within 5 s of the end there is no task, no socket and no session more than before the first call."""
        idle = self._idle
        await within(
            LEFT_SECONDS,
            lambda: self.running() <= idle and self.building.active == 0,
            lambda: f"left over: {self.running() - idle}, {self.building.active} calls",
        )
        self.no_session_is_left()

    def running(self) -> set[str]:
        """Tasks and connections of this process."""
        me = asyncio.current_task()
        tasks = {f"task {task.get_name()}" for task in asyncio.all_tasks() if task is not me}
        return tasks | connections(psutil.Process())


def connections(process: psutil.Process) -> set[str]:
    """TCP connections that a process has open."""
    found = process.net_connections("tcp")
    return {f"socket {each.fd}" for each in found if each.status == "ESTABLISHED"}


async def within(seconds: float, look: Callable[[], Any], complaint: Any) -> Any:
    """Look again and again until there is something."""
    until = now() + seconds
    while not (found := look()):
        assert now() < until, complaint() if callable(complaint) else complaint
        await asyncio.sleep(0.01)
    return found


def token_of(twiml: str) -> str:
    """The one-use token that a <Connect><Stream> carries."""
    (token,) = re.findall(r'<Parameter name="token" value="([^"]+)"', twiml)
    return str(token)


def token_key() -> bytes:
    """What the server signs its tokens with."""
    return derive(AUTH_TOKEN, "call token")


def words(seconds: float, *, clip: str = "", **how: Any) -> Utterance:
    """Something for the caller to say; the first seconds of a shipped clip where it must be like nothing else."""
    pcm = np.frombuffer(speechlike(seconds, 8000), np.int16)
    if clip:
        pcm = read_phone_wav(SPEECH / f"{clip}.wav")[: round(8000 * seconds)]
    return utterance(pcm, f"{seconds:g} s of speech", **how)


# ------------------------------------------------------------------ setting up


class Quiet(Server):
    """The server without its hands on this process's signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def own_lines(folder: Path) -> Iterator[None]:
    """Tones in place of our own spoken lines."""
    folder.mkdir()
    shipped = yaml.safe_load((SHIPPED / "lines.yaml").read_text())["en"]
    (folder / "lines.yaml").write_text(yaml.safe_dump({"en": shipped}))
    for name in shipped:
        hertz = TONES.get(name, OTHER_TONE)
        times = np.arange(round(TONE_SECONDS * 24_000)) / 24_000
        tone = (8000 * np.sin(2 * np.pi * hertz * times)).astype("<i2")
        with wave.open(str(folder / f"{name}.en.wav"), "wb") as file:
            file.setparams((1, 2, 24_000, 0, "NONE", ""))
            file.writeframes(tone.tobytes())
    with patch("agent.server.lines.SHIPPED", folder):
        yield


@contextmanager
def log_kept() -> Iterator[StringIO]:
    """All that is logged at the lowest level, through the program's own chain; it must hold no secret and no traceback."""
    log = StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs("debug", "json", [AUTH_TOKEN, GEMINI_KEY], log)
    try:
        yield log
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    text = log.getvalue()
    assert "Traceback" not in text, text
    assert [canary for canary in CANARIES if canary in text] == []


def no_canary_in(folder: Path) -> None:
    """Secrets are nowhere, numbers in the database only."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            hidden = CANARIES[:2] if path.name.startswith("pickup.db") else CANARIES
            assert [canary for canary in hidden if canary.encode() in content] == [], path


def agents_in(folder: Path, agent: dict[str, Any] | None = None) -> Path:
    """A folder with one agent; `agent`: what its file says beside the least."""
    agents = folder / "agents"
    agents.mkdir(exist_ok=True)
    described = {"name": "Test", "persona": "You answer.", "disclosure": False, "greeting": "Hi."}
    (agents / "test.yaml").write_text(yaml.safe_dump(described | (agent or {})))
    return agents


@asynccontextmanager
async def exchange(
    folder: Path,
    *,
    brain: Callable[[], Brain] = lambda: BenchBrain(0.4),
    faults: tuple[Fault, ...] = (),
    conduct: Conduct | None = None,
    agent: dict[str, Any] | None = None,
    tones: bool = True,
    database_seconds: float = 5.0,
    **settings: str,
) -> AsyncIterator[Exchange]:
    """A server that answers calls as long as the context lasts; nothing is left of it, nowhere a secret.

    Args:
        folder: all that is written.
        brain: what speaks.
        faults: of every session.
        conduct: how the stand-in for Gemini behaves; quick, unless given.
        agent: what the agent's file says beside the least.
        tones: our own lines are tones.
        database_seconds: how long a call waits for the database: on a machine that is busy with other tests the delivered
            0.2 s are soon over, and records would lie in the spool for a while.
        settings: more of the environment.
    """
    agents = agents_in(folder, agent)
    conduct = conduct or Conduct(setup_seconds=0.02, model_delay_seconds=0.02, speed=50.0)
    conduct = msgspec.structs.replace(conduct, faults=faults)
    voices = own_lines(folder / "lines") if tones else nullcontext()
    patient = patch("agent.storage.durable.BUDGET", database_seconds)
    with voices, log_kept() as log, patient:
        async with serving(Options(conduct=conduct), brain) as (gemini, url):
            given = {
                "GEMINI_URL": url.replace("http", "ws"),
                "GEMINI_API_KEY": GEMINI_KEY,
                "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
                "DATA_DIR": str(folder / "data"),
                "PORT": "0",
            }
            async with _served(Settings.load(given | settings), agents, gemini) as running:
                running.log = log
                yield running
                await running.settle()
            assert gemini.stats().live == 0
    no_canary_in(folder / "data")


@asynccontextmanager
async def _served(
    settings: Settings, agents: Path, gemini: GeminiStandIn
) -> AsyncIterator[Exchange]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        building = Building(
            settings, AgentFiles(agents, print), auth_token=AUTH_TOKEN, public_url=url
        )
        server = Quiet(configure(build(building), "127.0.0.1", 0), building, 60.0)
        async with Owner() as owner:
            serves = owner.start(server.serve(sockets=[listening]), "server")
            await within(10.0, lambda: server.started or serves.done(), "it does not start")
            try:
                yield Exchange(gemini, settings.data_dir, building, server, url)
            finally:
                server.should_exit = True
                await serves
