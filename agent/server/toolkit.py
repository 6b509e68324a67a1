"""The tools of one call, made from what its agent's file lists: a built-in tool is one row of `BUILT_IN`.

What cannot be had, such as a module that does not load or a secret that is not set, is left out of the call and told to the
operator: a caller is better served by an agent that lacks one tool than by none.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.drive.tasks import Tasks
from agent.errors import PickupError, StorageError, UserError
from agent.server import clock, transfers
from agent.tools.collect_digits import CollectDigits
from agent.tools.effects import MemoryJournal
from agent.tools.end_call import EndCall
from agent.tools.hold import Hold
from agent.tools.http_tool import HttpSpec, make_http_tool
from agent.tools.look_up import LookUp
from agent.tools.mcp_server import Access, McpServer, McpSpec
from agent.tools.mcp_tool import make_mcp_tool
from agent.tools.opt_out import OptOut
from agent.tools.python_files import PythonFiles
from agent.tools.python_tool import make_tool
from agent.tools.schedule_callback import Diary, ScheduleCallback
from agent.tools.send_digits import SendDigits
from agent.tools.take_message import TakeMessage
from agent.tools.threads import Threads
from agent.tools.transfer_call import TransferCall
from agent.tools.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import SecretStr

    from agent.config.agent_file import AgentFile
    from agent.config.agent_tools import Auth, HttpTool as HttpEntry, McpTool as McpEntry, ToolEntry
    from agent.tools.base import CallInfo, Tool
    from agent.tools.effects import Journal
    from agent.tools.look_up import Library, Quote
    from agent.tools.opt_out import OptOuts
    from agent.tools.schedule_callback import CallbackDesk, Promise
    from agent.tools.take_message import Inbox, LeftMessage


class Nowhere:
    """Stands in for what a server does not have: every use of it fails in words."""

    async def take(self, info: CallInfo, message: LeftMessage) -> None:
        raise StorageError("messages are not kept here")

    async def schedule(self, info: CallInfo, promise: Promise) -> None:
        raise StorageError("callbacks are not kept here")

    async def opt_out(self, info: CallInfo, why: str) -> bool:
        raise StorageError("opt-outs are not kept here")

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
    """

    wall: Callable[[], float] = clock.wall
    inbox: Inbox = Nowhere()
    desk: CallbackDesk = Nowhere()
    library: Callable[[AgentFile], Library] = lambda agent: Nowhere()
    opt_outs: OptOuts = Nowhere()


def _diary(agent: AgentFile, ports: Ports) -> Diary:
    return Diary(agent.timezone, agent.is_open, ports.wall)


BUILT_IN: dict[str, Callable[[AgentFile, CallInfo, Ports], Tool]] = {
    "end_call": lambda agent, info, ports: EndCall(),
    "take_message": lambda agent, info, ports: TakeMessage(info, ports.inbox),
    "schedule_callback": lambda agent, info, ports: ScheduleCallback(
        info, ports.desk, _diary(agent, ports)
    ),
    "look_up": lambda agent, info, ports: LookUp(ports.library(agent)),
    "transfer_call": lambda agent, info, ports: TransferCall(transfers.choices(agent)),
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
        self._sessions = Tasks("mcp", lambda child, error: log.error(child, exc_info=error))
        self._servers: dict[str, McpServer] = {}
        self._files = PythonFiles(folder, log.error)
        self._threads = Threads()
        self._web = Web()
        self._secret = secret
        self._told: set[str] = set()

    async def tools(self, agent: AgentFile, info: CallInfo) -> Sequence[Tool]:
        """What the model may do in this call, for as long as it lasts."""
        made: dict[str, Tool] = {}
        if (
            info.direction == "outbound"
        ):  # whom we call can always refuse to be called, whatever the file lists
            made["opt_out"] = OptOut(info, self._ports.opt_outs)
        for entry in agent.tools:
            if entry.builtin in made:
                continue
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
        if entry.http is not None:
            return [self._http(entry.http)]
        if entry.mcp is not None:
            server = self._server(entry.mcp)
            return [make_mcp_tool(server, listed) for listed in await server.tools()]
        raise AssertionError("an entry is one of four")

    def connect(self, agent: AgentFile) -> None:
        """Open the sessions that this agent's calls will want, ahead of the first call."""
        for entry in agent.tools:
            if entry.mcp is not None:
                try:
                    self._server(entry.mcp)
                except UserError as error:
                    self._tell(agent, str(error))

    def _server(self, mcp: McpEntry) -> McpServer:
        """The one session with a server, over all calls; a file that was saved otherwise has another.

        Raises:
            UserError: a secret is not set.
        """
        headers = dict(mcp.headers)
        if mcp.secret is not None:
            headers["Authorization"] = f"Bearer {self._named(mcp.secret)}"
        access = Access(headers, {name: self._named(name) for name in mcp.environment})
        key = repr((mcp, access))
        if key not in self._servers:
            spec = McpSpec(
                name=mcp.name,
                command=mcp.command or (),
                url=mcp.url or "",
                allow=mcp.allow,
                timeout=mcp.timeout,
            )
            self._servers[key] = McpServer(spec, access, self._sessions, log.warning)
        return self._servers[key]

    def _named(self, secret: str) -> str:
        held = self._secret(secret)
        if held is None:
            raise UserError(f"the secret {secret} is not set")
        return held.get_secret_value()

    def _http(self, http: HttpEntry) -> Tool:
        spec = HttpSpec(**{name: getattr(http, name) for name in HttpSpec.__struct_fields__})
        return make_http_tool(spec, self._secret_headers(http.auth), self._web)

    def _secret_headers(self, auth: Auth | None) -> dict[str, str]:
        """The header that proves who asks.

        Raises:
            UserError: the secret is not set.
        """
        if auth is None:
            return {}
        secret = self._named(auth.secret)
        match auth.scheme:
            case "bearer":
                return {"Authorization": f"Bearer {secret}"}
            case "basic":
                return {"Authorization": f"Basic {b64encode(secret.encode()).decode()}"}
            case "header":
                return {auth.header: secret}

    async def close(self) -> None:
        """Let what tools have begun come to its end, and let go of what they have opened."""
        await self.tasks.close(grace=GRACE)
        await self._sessions.close()
        await self._web.close()

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
