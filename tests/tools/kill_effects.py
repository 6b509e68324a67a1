"""Kills a process at each step of an effect, many times, then lets another one ask for the same again: `python kill_effects.py DB N`.

A process of its own, since it forks: prints one line of JSON, what each step left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agent.drive.tasks import Tasks
from agent.errors import OutcomeUnknown
from agent.server.journal import DatabaseJournal
from agent.storage.database import Database
from agent.storage.effects import Effects as EffectsTable
from agent.tools.base import Answer, Declaration
from agent.tools.effects import Effects

STEPS = ("before the intent", "after the intent", "after the deed", "after the result", "never")


class Deed:
    """Writes a line, and ends its process where it is told to."""

    declaration = Declaration("deed", "Do.")

    def __init__(self, world: Path, name: str, step: str) -> None:
        self.world = world
        self.name = name
        self.step = step

    def reached(self, step: str) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    async def run(self, args: dict[str, Any]) -> Answer:
        raise AssertionError

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        self.reached("after the intent")
        with self.world.open("a") as world:
            world.write(f"{self.name}\n")
        self.reached("after the deed")
        return Answer({"done": self.name})


class Journal(DatabaseJournal):
    """The database's, which knows when a result is there."""

    deed: Deed

    async def finish(self, call: str, key: str, response: dict[str, Any]) -> None:
        await super().finish(call, key, response)
        self.deed.reached("after the result")


async def attempt(url: str, deed: Deed) -> str:
    """Ask for it once; what the model would be told."""
    database = Database(url)
    journal = Journal(EffectsTable(database), lambda: 1_700_000_000.0)
    journal.deed = deed
    tasks = Tasks("tools")
    effects = Effects(f"call {deed.name}", journal, tasks, lambda name, error: None)
    deed.reached("before the intent")
    try:
        answer = await effects.once(deed, {"n": 1}, 5.0)
    except OutcomeUnknown:
        told = "unknown"
    else:
        told = "done" if answer.response == {"done": deed.name} else "nonsense"
    await tasks.close(grace=5.0)
    await database.close()
    return told


def in_a_process(url: str, deed: Deed) -> str:
    """The same in a child; empty where it was killed."""
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writes, asyncio.run(attempt(url, deed)).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def main() -> None:
    path, count = Path(sys.argv[1]), int(sys.argv[2])
    url, world = f"sqlite+aiosqlite:///{path}", path.with_suffix(".world")
    seen: dict[str, dict[str, int]] = {step: {} for step in STEPS}
    for n in range(count):
        for step in STEPS:
            name = f"{n} {step}"
            first = in_a_process(url, Deed(world, name, step))
            again = in_a_process(url, Deed(world, name, "never"))
            times = world.read_text().splitlines().count(name) if world.exists() else 0
            outcome = f"{first or 'killed'}, then {again}: done {times} times"
            seen[step][outcome] = seen[step].get(outcome, 0) + 1
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
