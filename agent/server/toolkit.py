"""The tools of one call, made from what its agent's file lists: a built-in tool is one row of `BUILT_IN`.

What cannot be had, such as a module that does not load or a secret that is not set, is left out of the call and told to the
operator: a caller is better served by an agent that lacks one tool than by none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.errors import PickupError, UserError
from agent.tools.effects import MemoryJournal
from agent.tools.end_call import EndCall
from agent.tools.python_files import PythonFiles
from agent.tools.python_tool import make_tool
from agent.tools.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.config.agent_file import AgentFile
    from agent.config.agent_tools import ToolEntry
    from agent.tools.base import CallInfo, Tool
    from agent.tools.effects import Journal

log = structlog.get_logger()

LOAD_WITHIN = 2.0
"""Seconds that a caller waits for a tool that is not at hand yet; then the call begins without it."""


@dataclass(frozen=True)
class Ports:
    """What built-in tools reach of the rest of the server; one field per need, None where this server does not have it."""


BUILT_IN: dict[str, Callable[[AgentFile, CallInfo, Ports], Tool]] = {
    "end_call": lambda agent, info, ports: EndCall(),
}
"""The tools that come with Pickup, by the names that an agent's file lists them under."""


class Toolkit:
    """Makes the tools of each call.

    Args:
        folder: where the agents' files lie, and the Python modules beside them.
        ports: what built-in tools need.
        journal: where the effects of tools are written; by default it is forgotten with the process.

    Attributes:
        journal: that one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        ports: Ports | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.journal = journal or MemoryJournal()
        self._ports = ports or Ports()
        self._files = PythonFiles(folder, log.error)
        self._threads = Threads()
        self._told: set[str] = set()

    async def tools(self, agent: AgentFile, info: CallInfo) -> Sequence[Tool]:
        """What the model may do in this call, for as long as it lasts."""
        made: dict[str, Tool] = {}
        for entry in agent.tools:
            try:
                async with asyncio.timeout(LOAD_WITHIN):
                    found = await self._made(agent, entry, info)
            except PickupError as error:
                self._tell(agent, str(error))
            except TimeoutError:
                self._tell(agent, f"{_source(entry)} is not there after {LOAD_WITHIN:g} s")
            else:
                for tool in found:
                    self._add(agent, tool, made)
        return tuple(made.values())

    async def _made(self, agent: AgentFile, entry: ToolEntry, info: CallInfo) -> Sequence[Tool]:
        if entry.builtin is not None:
            make = BUILT_IN.get(entry.builtin)
            if make is None:
                raise UserError(f"this server has no tool {entry.builtin}")
            return [make(agent, info, self._ports)]
        if entry.python is not None:
            source = entry.python
            functions = await self._threads.run(
                f"load {source}", lambda: self._files.functions(source)
            )
            return [make_tool(function, info, self._threads) for function in functions]
        raise UserError(f"this server cannot make {_source(entry)}")

    def _add(self, agent: AgentFile, tool: Tool, made: dict[str, Tool]) -> None:
        name = tool.declaration.name
        if name in made:
            self._tell(agent, f"two tools are called {name}: the first one is taken")
        made.setdefault(name, tool)

    def _tell(self, agent: AgentFile, why: str) -> None:
        """Once: a caller every minute must not be a line every minute."""
        line = f"{agent.name}: {why}"
        if line not in self._told:
            self._told.add(line)
            log.error("a tool is not there", agent=agent.name, why=why)


def _source(entry: ToolEntry) -> str:
    """What an entry is called in a line to the operator."""
    if entry.http is not None:
        return f"http {entry.http.name}"
    if entry.mcp is not None:
        return f"mcp {entry.mcp.name}"
    return entry.python or entry.builtin or "nothing"
