"""The server as it is delivered, in a process and on a core of its own; the model and the callers have the other one.

For figures of many calls at once: a service that shares its core with its callers measures them too.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil

from agent.cli.parts import cost
from agent.cli.parts.children import Child
from agent.simulator.gemini import GeminiStandIn, Options, serving
from tests.calls.exchange import (
    AUTH_TOKEN,
    CANARIES,
    GEMINI_KEY,
    LEFT_SECONDS,
    Reachable,
    agents_in,
    connections,
    no_canary_in,
    within,
)
from tests.calls.sip_serving import bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.simulator.brain import Brain
    from agent.simulator.gemini_setup import Conduct


class Apart(Reachable):
    """A running `pickup serve`."""

    def __init__(
        self, gemini: GeminiStandIn, folder: Path, child: Child, where: cost.Cores
    ) -> None:
        super().__init__(gemini, folder, child.url)
        self.child = child
        self._where = where
        self._server = child.process.pid
        self._idle = self.running()

    def running(self) -> set[str]:
        """Connections of the server's process."""
        return connections(psutil.Process(self._server))

    async def settle(self) -> None:
        """Within 5 s of the end there is no socket and no session more than before the first call."""
        idle = self._idle
        await within(
            LEFT_SECONDS,
            lambda: self.running() <= idle,
            lambda: f"left over: {self.running() - idle}",
        )
        self.no_session_is_left()

    def sample(self) -> cost.Sample:
        """What everybody has spent so far."""
        return cost.sample([self._server, os.getpid()])

    def spent(self, before: cost.Sample, after: cost.Sample) -> str:
        """What of their cores the server, and callers with the model took between two samples, for people."""
        told = []
        shares = (
            ("server", self._server, self._where.server),
            ("callers and model", os.getpid(), self._where.generators),
        )
        own = [self._server, os.getpid()]
        for name, pid, core in shares:
            there = own if self._where.server == self._where.generators else [pid]
            told.append(
                f"{name} {cost.percent(pid, before, after):.0f} % of core {core} (others there:"
                f" {cost.others_percent(core, before, after, there):.0f} %; taken by the host:"
                f" {cost.stolen_percent(core, before, after):.0f} %)"
            )
        return "; ".join(told)


@asynccontextmanager
async def apart(
    folder: Path,
    *,
    brain: Callable[[], Brain],
    conduct: Conduct,
    agent: dict[str, Any],
    **settings: str,
) -> AsyncIterator[Apart]:
    """A server that answers calls as long as the context lasts; nothing is left of it, nowhere a secret.

    Args:
        folder: all that is written.
        brain: what speaks.
        conduct: how the stand-in for Gemini behaves.
        agent: what the agent's file says beside the least.
        settings: more of the environment.
    """
    where, data, log = cost.cores(), folder / "data", folder / "log"
    with cost.pinned(where.generators):
        async with serving(Options(conduct=conduct), brain) as (gemini, url):
            environ = bare() | {
                "PICKUP_AGENTS": str(agents_in(folder, agent)),
                "GEMINI_URL": url.replace("http", "ws"),
                "GEMINI_API_KEY": GEMINI_KEY,
                "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
                "DATA_DIR": str(data),
                "LOG_LEVEL": "debug",
            }
            child = await asyncio.to_thread(_start, environ | settings, log, where.server)
            try:
                yield (running := Apart(gemini, data, child, where))
                await running.settle()
            finally:
                with child.process:  # closes its pipe
                    status = await asyncio.to_thread(child.stop)
    assert status == 0  # it waits for calls, and is killed where there is still one
    text = log.read_text()
    assert "Traceback" not in text, text
    assert [canary for canary in CANARIES if canary in text] == []
    no_canary_in(data)


def _start(environ: dict[str, str], log: Path, core: int) -> Child:
    with cost.pinned(core), log.open("wb") as errors:
        return Child(("serve", "--port", "0"), environ, errors, log.parent)
