"""A server's rooms on the bench: real wiring, files and machines; models, lines, disk and database that do as told."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from agent import events as e
from agent.config.agent_files import AgentFiles
from agent.config.settings import Settings
from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.errors import Fate, StorageError
from agent.protocols.base import StreamStart
from agent.protocols.door import Caller
from agent.server.lines import LineStore
from agent.server.register import Register, derive
from agent.server.render import Renderer
from agent.server.switchboard import Switchboard
from agent.server.warm import WarmTransfers
from agent.server.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.config.agent_file import AgentFile
    from agent.server.sessions import Sessions
    from agent.storage.durable import DurableRecords
    from agent.storage.flight import FlightRecorder
    from agent.storage.records import CallRecord
    from agent.tools.base import Tool

WALL = 1_700_000_000.0
ACCOUNT = "AC" + "0" * 32
AGENT = "name: Desk\npersona: You answer.\ndisclosure: false\n"
VOICE = e.Pcm24k(b"\x10\x20" * 4800)  # 200 ms


def caller(n: int = 1, **fields: Any) -> Caller:
    call_id = f"CA{n:032x}"
    return Caller("twilio", call_id, ACCOUNT, "inbound", "+15551234567", "+15557654321", **fields)


class FakeModel:
    """A call's model: speaks as soon as it is asked to, unless `silent`; a `broken` one raises when it is opened."""

    def __init__(self, sink: Callable[[e.ModelEvent], None], silent: bool, broken: bool) -> None:
        self.sink = sink
        self.sent: list[e.ModelCommand] = []
        self.closed = 0
        self._silent = silent
        self._broken = broken

    def send(self, command: e.ModelCommand) -> None:
        self.sent.append(command)
        if isinstance(command, e.OpenModel):
            if self._broken:
                raise ZeroDivisionError
            self.sink(e.ModelReady(0.3))
        elif isinstance(command, e.SendText) and not self._silent:
            self.speak()

    def speak(self) -> None:
        for event in (e.ModelAudio(VOICE), e.GenerationComplete(), e.TurnComplete()):
            self.sink(event)

    def end(self) -> None:
        self.sink(e.ModelEnded(Fate.FATAL, 1008, "gone"))

    def figures(self) -> dict[str, Any]:
        return {"left_out": [], "last_sent": []}

    async def close(self) -> None:
        self.closed += 1


class FakeLine:
    """A stream that plays nothing and ends when it is told to hang up."""

    sends_digits = False
    rate: e.LineRate = 8000

    def __init__(self) -> None:
        self.sent: list[e.LineCommand] = []
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, command: e.LineCommand) -> None:
        self.sent.append(command)
        if isinstance(command, e.HangUp) and not self.ended.done():
            self.ended.set_result(None)

    @property
    def hung_up(self) -> bool:
        return e.HangUp() in self.sent


class FakeRecorder:
    def __init__(self) -> None:
        self.entries: list[e.AnyEvent | None] = []
        self.transcripts: list[dict[str, Any]] = []
        self.closed = 0
        self.lost_ms = 0.0

    def record(self, t: float, event: e.AnyEvent | None, commands: list[e.AnyCommand]) -> None:
        self.entries.append(event)

    def keep_sound(self) -> None:
        pass

    def heard(self, t: float, pcm: e.Pcm) -> None:
        pass

    async def write_transcript(self, transcript: dict[str, Any]) -> None:
        self.transcripts.append(transcript)

    async def close(self) -> None:
        self.closed += 1


@dataclass
class FakeRecords:
    """`DurableRecords` in memory: `down`, the database does not answer; `full`, the spool takes nothing either."""

    down: bool = False
    full: bool = False
    slow: float = 0.0
    created: list[CallRecord] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    finished: dict[str, tuple[str, int, dict[str, Any]]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    spooled: list[str] = field(default_factory=list)
    reasons: dict[str, str | None] = field(default_factory=dict)

    def _spool(self) -> None:
        if self.full:
            raise StorageError("the spool is full")

    async def create(self, record: CallRecord) -> bool:
        await asyncio.sleep(self.slow)
        self._spool()
        self.created.append(record)
        return True

    async def answered(self, call: str, at: float) -> None:
        self._spool()
        self.answers.append(call)

    async def finish(
        self, call: str, reason: str, at: float, *, legs: int, metrics: dict[str, Any]
    ) -> bool:
        self._spool()
        assert call not in self.finished
        assert call in {record.id for record in self.created}, (
            "an UPDATE of a row that is not there"
        )
        self.finished[call] = reason, legs, metrics
        return True

    async def spend(self, token: str, call: str, expires: float) -> bool:
        await asyncio.sleep(self.slow)
        if self.down:
            raise StorageError("down")
        fresh = token not in self.tokens
        self.tokens.add(token)
        return fresh

    async def spent(self, token: str, call: str, expires: float) -> None:
        self._spool()
        self.spooled.append(token)

    async def by_provider_id(self, call_id: str) -> Any:
        if self.down:
            raise StorageError("down")
        return Ended(self.reasons[call_id]) if call_id in self.reasons else None


@dataclass(frozen=True)
class Ended:
    end_reason: str | None


@dataclass(frozen=True, kw_only=True)
class BenchWiring(Wiring):
    """Real wiring but for the network and the disk."""

    models: list[FakeModel] = field(default_factory=list)
    recorders: list[FakeRecorder] = field(default_factory=list)
    conduct: dict[str, bool] = field(default_factory=dict)

    def wall(self) -> float:
        return WALL + self.wakeups.now()

    def model(
        self,
        agent: AgentFile,
        tools: Sequence[Tool],
        sink: Callable[[e.ModelEvent], None],
        tasks: Tasks,
    ) -> Sessions:
        if self.conduct.get("no model"):
            raise ZeroDivisionError
        silent, broken = self.conduct.get("silent", False), self.conduct.get("broken", False)
        self.models.append(FakeModel(sink, silent, broken))
        return cast("Sessions", self.models[-1])

    def recorder(self, call: str, agent: AgentFile, tasks: Tasks) -> FlightRecorder:
        self.recorders.append(FakeRecorder())
        return cast("FlightRecorder", self.recorders[-1])


class Bench:
    """A switchboard and everything around it; made inside a virtual loop."""

    def __init__(self, folder: Path, *, max_calls: int = 3, agent: str = AGENT) -> None:
        loop = asyncio.get_running_loop()
        self.agents = folder / "agents"
        self.agents.mkdir(exist_ok=True)
        (self.agents / "desk.yaml").write_text(agent)
        self.wakeups = Wakeups(loop, loop.time)
        lines = LineStore(folder / "lines")
        tasks = Tasks("server")
        self.failures: list[BaseException] = []
        self.wiring = BenchWiring(
            settings=Settings.load({"DATA_DIR": str(folder), "ANSWER_WITHIN": "2"}),
            agents=AgentFiles(self.agents, lambda line: None),
            lines=lines,
            wakeups=self.wakeups,
            disk=ThreadPoolExecutor(1),
            tasks=tasks,
            renderer=Renderer(lines, tasks),
        )
        self.records = FakeRecords()
        self.register = Register(
            cast("DurableRecords", self.records),
            "instance",
            token_key=derive("secret", "call token"),
            number_key=derive("secret", "number"),
            wall=self.wiring.wall,
        )
        calls = Tasks("calls", lambda child, error: self.failures.append(error))
        self.warm = WarmTransfers(tasks, self.wiring.new_id)
        self.board = Switchboard(self.wiring, self.register, calls, max_calls, self.warm)

    @property
    def model(self) -> FakeModel:
        return self.wiring.models[-1]

    async def start(
        self, token: str, n: int = 1, *, account: str = ACCOUNT
    ) -> tuple[FakeLine, Callable[[e.LineEvent], None] | None]:
        """A stream brings this token."""
        start = StreamStart("MZ1", caller(n).call_id, account, {"token": token}, "mulaw", 8000)
        line = FakeLine()
        return line, await self.board.admit(start, line)

    def series(self, name: str) -> float:
        """A series of `/metrics` by its full name with labels."""
        for line in self.board.metrics.page().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no series {name}")
