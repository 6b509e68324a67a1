"""What running a tool costs beside the tool, and what a tool that blocks costs everybody else."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from agent.call.tool_calls import ToolCalls
from agent.drive.tasks import Tasks
from agent.errors import OwnFault
from agent.events import StartTool, ToolCalled
from agent.server.journal import DatabaseJournal
from agent.storage.database import Database
from agent.storage.effects import Effects as EffectsTable
from agent.tools.base import CallInfo
from agent.tools.effects import Effects
from agent.tools.python_tool import make_tool, read_function, tool
from agent.tools.threads import Threads
from agent.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.events import ToolFinished

pytestmark = [pytest.mark.slow, pytest.mark.measure]


@tool(reads_only=True)
async def at_once(n: int) -> int:
    """Answer at once."""
    return n


@tool(reads_only=True)
def in_a_thread(n: int) -> int:
    """Answer at once, from a thread."""
    return n


@tool
def effect(n: int) -> int:
    """Do something."""
    return n


@tool(reads_only=True)
def waits(seconds: float) -> str:
    """Block for a while."""
    time.sleep(seconds)
    return "done"


class Desk:
    """A call's tools, asked one at a time."""

    def __init__(self, journal: DatabaseJournal) -> None:
        self.tasks = Tasks("call")
        self.calls = ToolCalls()
        self._answered: asyncio.Future[ToolFinished] | None = None
        threads, info = Threads(), CallInfo("call-1", "Desk")
        self.box = Toolbox(
            [
                make_tool(read_function(each), info, threads)
                for each in (at_once, in_a_thread, effect, waits)
            ],
            self._finished,
            self.tasks,
            lambda name, error: None,
            Effects("call-1", journal, self.tasks, lambda name, error: None),
            deadline=30.0,
        )

    def _finished(self, event: ToolFinished) -> None:
        if self._answered is None:
            raise OwnFault("nobody asked")
        self._answered.set_result(event)

    async def ask(self, name: str, call: str, **args: Any) -> dict[str, Any]:
        """From the model's call to its answer."""
        self._answered = asyncio.get_running_loop().create_future()
        for command in self.calls.called(ToolCalled(call, name, args)):
            assert isinstance(command, StartTool)
            self.box.send(command)
        event = await self._answered
        assert self.calls.finished(event)[1]
        return event.response


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    database = Database(f"sqlite+aiosqlite:///{folder / 'pickup.db'}")
    await database.ready()
    made = Desk(DatabaseJournal(EffectsTable(database), lambda: 1_700_000_000.0))
    try:
        yield made
    finally:
        await made.tasks.close()
        await database.close()


def test_our_own_part_of_a_tool_call_is_short(tmp_path: Path, full: bool) -> None:
    count = 1000 if full else 100
    median: dict[str, float] = {}
    waited: dict[str, float] = {}

    async def measure() -> None:
        async with desk(tmp_path) as asked:
            for name in ("at_once", "in_a_thread", "effect"):
                took, wall = [], []
                for n in range(count):
                    begun, at = time.process_time(), time.perf_counter()
                    assert await asked.ask(name, f"{name}-{n}", n=n) == {"result": n}
                    took.append(1000 * (time.process_time() - begun))
                    wall.append(1000 * (time.perf_counter() - at))
                median[name], waited[name] = statistics.median(took), statistics.median(wall)

    uvloop.run(measure())
    # Ours is what is computed, in all threads; what is waited for beside it is the disk's, which makes an effect durable twice.
    for what, found in (("computed", median), ("in all", waited)):
        print(what, {name: f"{ms:.2f} ms" for name, ms in found.items()}, f"({count} calls each)")
    # The promise is 5 ms in all. A shared machine computes at half its speed for minutes: the short run allows for that.
    assert all(ms <= 5.0 for ms in waited.values()) if full else max(median.values()) <= 10.0


def test_a_tool_that_blocks_delays_no_frame(tmp_path: Path, full: bool) -> None:
    """Twenty-five calls' frames, one every 20 ms each, at absolute times as playout has them."""
    seconds = 10.0 if full else 2.0
    late: list[float] = []

    async def frames(clock: Callable[[], float], begun: float) -> None:
        for n in range(int(seconds / 0.02)):
            due = begun + 0.02 * n
            if (wait := due - clock()) > 0:
                await asyncio.sleep(wait)
            late.append(1000 * (clock() - due))

    async def measure() -> None:
        clock = asyncio.get_running_loop().time
        async with desk(tmp_path) as asked, asyncio.TaskGroup() as group:
            for line in range(25):
                group.create_task(frames(clock, clock() + 0.02 * line / 25))
            await asked.ask("waits", "1", seconds=seconds)

    uvloop.run(measure())
    late.sort()
    print(f"{len(late)} frames, p99 {late[len(late) * 99 // 100]:.1f} ms, latest {late[-1]:.1f} ms")
    assert late[-1] <= 20.0
