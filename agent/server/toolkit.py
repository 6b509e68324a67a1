"""The tools of one call, made from what its agent's file lists: a built-in tool is one row of `BUILT_IN`.

What cannot be had, such as a module that does not load or a secret that is not set, is left out of the call and told to the
operator: a caller is better served by an agent that lacks one tool than by none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from agent.drive.tasks import Tasks
from agent.errors import PickupError, StorageError, ToolFailed, UserError
from agent.server import clock, transfers
from agent.server.outside_tools import OutsideTools
from agent.tools.collect_digits import CollectDigits
from agent.tools.effects import MemoryJournal
from agent.tools.end_call import EndCall
from agent.tools.hold import Hold
from agent.tools.look_up import LookUp
from agent.tools.opt_out import OptOut
from agent.tools.schedule_callback import Diary, ScheduleCallback
from agent.tools.send_digits import SendDigits
from agent.tools.take_message import TakeMessage
from agent.tools.transfer_call import TransferCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from agent.config.agent_file import AgentFile
    from agent.config.agent_tools import ToolEntry
    from agent.tools.base import CallInfo, Tool
    from agent.tools.effects import Journal
    from agent.tools.look_up import Library, Quote
    from agent.tools.opt_out import OptOuts
    from agent.tools.schedule_callback import CallbackDesk, Promise
    from agent.tools.take_message import Inbox, LeftMessage


class People(Protocol):
    """Asks a person first; see `agent/server/warm.py`."""

    async def ask(self, info: CallInfo, agent: AgentFile, target: str, summary: str) -> None: ...


class Nowhere:
    """Stands in for what a server does not have: every use of it fails in words."""

    async def take(self, info: CallInfo, message: LeftMessage) -> None:
        raise StorageError("messages are not kept here")

    async def schedule(self, info: CallInfo, promise: Promise) -> None:
        raise StorageError("callbacks are not kept here")

    async def opt_out(self, info: CallInfo, why: str) -> bool:
        raise StorageError("opt-outs are not kept here")

    async def ask(self, info: CallInfo, agent: AgentFile, target: str, summary: str) -> None:
        raise ToolFailed("Nobody can be called from here.")

    async def search(self, question: str, limit: int) -> Sequence[Quote]:
        raise StorageError("there are no documents here")


log = structlog.get_logger()

LOAD_WITHIN = 2.0
"""Seconds that a caller waits for a tool that is not at hand yet; then the call begins without it."""


GRACE = 3.0
"""Seconds for what tools have begun to come to its end when the server stops; the rest stays unknown."""


@dataclass(frozen=True)
class Ports:
    """What built-in tools reach of the rest of the server; one field per need.

    Attributes:
        wall: tells seconds since 1970-01-01 UTC.
        inbox: where messages go.
        desk: where promised callbacks go.
        library: the documents of an agent.
        opt_outs: the do-not-call list.
        people: asks somebody whether they take a caller.
    """

    wall: Callable[[], float] = clock.wall
    inbox: Inbox = Nowhere()
    desk: CallbackDesk = Nowhere()
    library: Callable[[AgentFile], Library] = lambda agent: Nowhere()
    opt_outs: OptOuts = Nowhere()
    people: People = Nowhere()


def _diary(agent: AgentFile, ports: Ports) -> Diary:
    return Diary(agent.timezone, agent.is_open, ports.wall)


def _calls_back(agent: AgentFile) -> str:
    return "you call" if agent.outbound.callbacks else "a person calls"


BUILT_IN: dict[str, Callable[[AgentFile, CallInfo, Ports], Tool]] = {
    "end_call": lambda agent, info, ports: EndCall(),
    "take_message": lambda agent, info, ports: TakeMessage(info, ports.inbox),
    "schedule_callback": lambda agent, info, ports: ScheduleCallback(
        info, ports.desk, _diary(agent, ports), _calls_back(agent)
    ),
    "look_up": lambda agent, info, ports: LookUp(ports.library(agent)),
    "transfer_call": lambda agent, info, ports: TransferCall(
        transfers.choices(agent, own_line=info.own_line), partial(ports.people.ask, info, agent)
    ),
    "send_digits": lambda agent, info, ports: SendDigits(),
    "collect_digits": lambda agent, info, ports: CollectDigits(),
    "hold": lambda agent, info, ports: Hold(),
    "opt_out": lambda agent, info, ports: OptOut(info, ports.opt_outs),
}
"""The tools that come with Pickup, by the names that an agent's file lists them under."""


class Toolkit:
    """Makes the tools of each call.

    Args:
        folder: where the agents' files lie, and the Python modules beside them.
        ports: what built-in tools need.
        journal: where the effects of tools are written; by default it is forgotten with the process.
        secret: a named secret of the deployment, None where it is not set.

    Attributes:
        journal: that one.
        tasks: own what tools have begun.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        ports: Ports | None = None,
        journal: Journal | None = None,
        secret: Callable[[str], SecretStr | None] = lambda name: None,
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.tasks = Tasks("tools", lambda child, error: log.error(child, exc_info=error))
        self._ports = ports or Ports()
        self._outside = OutsideTools(folder, secret, self._tell)
        self._told: set[str] = set()

    async def tools(self, agent: AgentFile, info: CallInfo) -> Sequence[Tool]:
        """What the model may do in this call, for as long as it lasts."""
        made: dict[str, Tool] = {}
        if info.direction == "outbound":
            # Whom we call can always refuse to be called, whatever the file lists.
            made["opt_out"] = OptOut(info, self._ports.opt_outs)
        entries = [entry for entry in agent.tools if entry.builtin not in made]
        for entry, found in await self._at_hand(agent, entries, info):
            for tool in found:
                name = tool.declaration.name
                if made.setdefault(name, tool) is not tool:
                    self._tell(f"{agent.name}, {_source(entry)}: there is a tool {name} already")
        return tuple(made.values())

    async def _at_hand(
        self, agent: AgentFile, entries: Sequence[ToolEntry], info: CallInfo
    ) -> list[tuple[ToolEntry, Sequence[Tool]]]:
        """Each entry with its tools; all are looked for at once, and the caller waits for none of them long."""
        looking = {
            self.tasks.start_read(f"look {n}", self._made(agent, entry, info)): entry
            for n, entry in enumerate(entries)
        }
        late: set[asyncio.Task[Sequence[Tool]]] = set()
        try:
            if looking:
                _, late = await asyncio.wait(looking, timeout=LOAD_WITHIN)
        finally:
            for task in looking:
                task.cancel()  # means nothing to one that is done
        found = []
        for task, entry in looking.items():
            if task in late:
                why = f"not there after {LOAD_WITHIN:g} s"
                self._tell(f"{agent.name}, {_source(entry)}: {why}")
            elif isinstance(error := task.exception(), PickupError):
                self._tell(f"{agent.name}, {_source(entry)}: {error}")
            else:
                found.append((entry, task.result()))
        return found

    async def _made(self, agent: AgentFile, entry: ToolEntry, info: CallInfo) -> Sequence[Tool]:
        make = BUILT_IN.get(entry.builtin or "")
        if make is None:
            return await self._outside.made(entry, info)
        return [make(agent, info, self._ports)]

    def connect(self, agent: AgentFile) -> None:
        """Open the sessions that this agent's calls will want, ahead of the first call."""
        for entry in agent.tools:
            try:
                self._outside.connect(entry)
            except UserError as error:
                self._tell(f"{agent.name}, {_source(entry)}: {error}")

    async def close(self) -> None:
        """Let what tools have begun come to its end, and let go of what they have opened."""
        await self.tasks.close(grace=GRACE)
        await self._outside.close()

    def _tell(self, why: str) -> None:
        """Once: a caller every minute must not be a line every minute."""
        if why not in self._told:
            self._told.add(why)
            log.error("a tool is not there", why=why)


def _source(entry: ToolEntry) -> str:
    """What an entry is called in a line to the operator."""
    if entry.http is not None:
        return f"http {entry.http.name}"
    if entry.mcp is not None:
        return f"mcp {entry.mcp.name}"
    return entry.python or entry.builtin or "nothing"
