"""A session with an MCP server: a program that is started, or a URL. It is kept open, and opened again when it is lost.

(Model Context Protocol, https://modelcontextprotocol.io/specification: transports stdio and Streamable HTTP.) The `mcp` package is an
extra and is imported when an agent first names a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.errors import OutcomeUnknown, ToolFailed, UserError
from agent.tools.answers import presentable
from agent.tools.effects import unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp import Client, Tool as Listed
    from mcp.types import CallToolResult

    from agent.drive.tasks import Tasks

LOOK = 30.0
"""Seconds between looks at the list of tools: they tell of new tools, and of a server that is gone."""

LIST_WITHIN = 10.0
"""Seconds for a server to tell its tools; the session is taken for lost then."""

PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a session is opened again: after one that was lost, after one and more vain attempts; the last one ever after."""

PAGES = 20
"""Pages of a list of tools that are read."""


class McpSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A server.

    Attributes:
        name: what it is called in lines to the operator.
        command: the program and its arguments; empty: it is at `url`.
        url: its Streamable HTTP endpoint.
        allow: names of the tools that the model may use; None: all.
        timeout: seconds for one call of a tool.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    allow: tuple[str, ...] | None = None
    timeout: float = 10.0


class Access(NamedTuple):
    """What a server is given that is secret: headers for a URL, environment variables for a program."""

    headers: Mapping[str, str]
    environment: Mapping[str, str]


class McpServer:
    """One server, and the session with it.

    Args:
        spec: the server.
        access: what it is given that is secret.
        tasks: own the session.
        report: told in one line when the server cannot be reached, and when it can again.
    """

    def __init__(
        self, spec: McpSpec, access: Access, tasks: Tasks, report: Callable[[str], None]
    ) -> None:
        self.spec = spec
        self._access = access
        self._tasks = tasks
        self._report = report
        self._client: Client | None = None
        self._tools: list[Listed] = []
        self._up = asyncio.Event()
        self._was_up = False
        self._lost = asyncio.Event()
        self._why = ""
        tasks.start(f"mcp {spec.name}", self._keep())

    async def tools(self) -> list[Listed]:
        """The tools that the model may use, as the server told them last; waits until it has told them.

        Raises:
            UserError: the server cannot be reached, or has not what is allowed.
        """
        if self._why:
            raise UserError(f"mcp {self.spec.name}: {self._why}")
        await self._up.wait()
        allow = self.spec.allow
        if allow is None:
            return self._tools
        found = {tool.name: tool for tool in self._tools}
        if missing := [name for name in allow if name not in found]:
            there = ", ".join(found) or "none"
            raise UserError(f"mcp {self.spec.name} has no {', '.join(missing)} (there: {there})")
        return [found[name] for name in allow]

    async def call(self, name: str, args: dict[str, Any], *, effect: bool) -> dict[str, Any]:
        """Call a tool.

        Args:
            name: the tool.
            args: its arguments.
            effect: whether it changes something: then the session is tried first, since a call that meets a dead one may have been
                done or not.

        Raises:
            ToolFailed: the server says so, or it was not asked.
            OutcomeUnknown: it was asked and the session broke.
        """
        from mcp import MCPError

        try:
            client = await self._live(name, look=effect)
            result = await client.call_tool(name, args)
        except MCPError as error:
            if not _is_closed(error):
                raise ToolFailed(f"{name} failed: {error}") from None
            self._lost.set()
            if effect:
                raise OutcomeUnknown(unknown(name, "broke off")) from error
            raise ToolFailed(f"{name} broke off. Try again later.") from error
        return _response(name, result)

    async def _live(self, name: str, *, look: bool) -> Client:
        """A session that was alive a moment ago; waits for one where there is none."""
        from mcp import MCPError

        for _ in range(2):
            if self._why:
                break
            await self._up.wait()
            client = self._client
            if client is None:
                continue
            try:
                if look:
                    await client.list_tools(cache_mode="bypass")
            except MCPError as error:
                if not _is_closed(error):
                    return client  # it answers, that is enough
                self._lost.set()
                self._up.clear()
            else:
                return client
        raise ToolFailed(f"{name} cannot be reached, and nothing was done.")

    # ---- the session

    async def _keep(self) -> None:
        """Open the session, and open it again; whatever its library raises is read from its task."""
        await asyncio.to_thread(_load)
        failures = 0
        while True:
            self._lost.clear()
            self._was_up = False
            session = self._tasks.start_read(f"mcp session {self.spec.name}", self._session())
            session.add_done_callback(_error)  # read, whoever else reads it
            try:
                await asyncio.wait([session])
            finally:
                session.cancel()
            error = _error(session)
            self._up.clear()
            if self._was_up:
                failures = 0
                self._report(f"mcp {self.spec.name}: {_cause(error)}; it is opened again")
            else:
                failures += 1
                self._down(_cause(error))
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])

    async def _session(self) -> None:
        async with AsyncExitStack() as stack:
            client = await self._connect(stack)
            self._tools = await _list(client)
            self._client = client
            if self._why:
                self._report(f"mcp {self.spec.name} is back")
                self._why = ""
            self._was_up = True
            self._up.set()
            try:
                while not self._lost.is_set():
                    try:
                        async with asyncio.timeout(LOOK):
                            await self._lost.wait()
                    except TimeoutError:
                        self._tools = await _list(client)
            finally:
                self._client = None

    async def _connect(self, stack: AsyncExitStack) -> Client:
        try:
            import httpx2
            from mcp import Client, StdioServerParameters
            from mcp.client.streamable_http import streamable_http_client
        except ModuleNotFoundError as error:
            raise UserError("it wants the extra: pip install 'pickup[mcp]'") from error
        spec = self.spec
        async with asyncio.timeout(LIST_WITHIN):
            if spec.command:
                program, *args = spec.command
                environment = dict(self._access.environment)
                server: Any = StdioServerParameters(command=program, args=args, env=environment)
            else:
                http = httpx2.AsyncClient(
                    headers=dict(self._access.headers),
                    timeout=httpx2.Timeout(30.0, read=300.0),
                    trust_env=False,
                )
                await stack.enter_async_context(http)
                server = streamable_http_client(spec.url, http_client=http)
            return await stack.enter_async_context(Client(server))

    def _down(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self._report(f"mcp {self.spec.name}: {why}")


def _load() -> None:
    """Import what a session needs, in a thread: it takes seconds, and calls are going on."""
    with contextlib.suppress(ModuleNotFoundError):  # said when it is used
        importlib.import_module("mcp.client.streamable_http")


async def _list(client: Client) -> list[Listed]:
    tools: list[Listed] = []
    cursor: str | None = None
    async with asyncio.timeout(LIST_WITHIN):
        for _ in range(PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
    return tools


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _is_closed(error: Any) -> bool:
    from mcp.types import CONNECTION_CLOSED

    return bool(error.code == CONNECTION_CLOSED)


def _cause(error: BaseException | None) -> str:
    """Why a session ended, in one line: groups of errors hide what matters inside."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is None or isinstance(error, asyncio.CancelledError):
        return "the session was lost"
    if isinstance(error, TimeoutError):
        return f"no answer within {LIST_WITHIN:g} s"
    text = str(error).partition("\n")[0]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _response(name: str, result: CallToolResult) -> dict[str, Any]:
    """What a server answered, as the model gets it.

    Raises:
        ToolFailed: the server says that it failed, or it answered with what cannot be said.
    """
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        raise ToolFailed(presentable(name, text or f"{name} failed.")["result"])
    if result.structured_content is not None:
        return presentable(name, result.structured_content)
    if not text and result.content:
        raise ToolFailed(f"{name} has run, but answered with what cannot be said.")
    return presentable(name, _object(text))


def _object(text: str) -> Any:
    """Many servers write JSON into a text."""
    if not text.startswith("{"):
        return text or None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
