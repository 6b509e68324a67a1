"""Tools that an agent's file brings along: Python functions beside it, HTTP endpoints, MCP servers."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

import structlog

from agent.drive.tasks import Tasks
from agent.errors import UserError
from agent.tools.http_tool import HttpSpec, make_http_tool
from agent.tools.mcp_server import Access, McpServer, McpSpec
from agent.tools.mcp_tool import make_mcp_tool
from agent.tools.python_files import PythonFiles
from agent.tools.python_tool import make_tool
from agent.tools.threads import Threads
from agent.tools.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mcp import Tool as Listed
    from pydantic import SecretStr

    from agent.config.agent_tools import Auth, HttpTool as HttpEntry, McpTool as McpEntry, ToolEntry
    from agent.tools.base import CallInfo, Tool

log = structlog.get_logger()


def http_spec(http: HttpEntry) -> HttpSpec:
    """An endpoint as the tools' room takes it."""
    return HttpSpec(**{name: getattr(http, name) for name in HttpSpec.__struct_fields__})


class OutsideTools:
    """What all calls share of such tools: threads, connections, sessions.

    Args:
        folder: where the agents' files lie, and the Python modules beside them.
        secret: a named secret of the deployment, None where it is not set.
        tell: told in one line of a tool that a call has to do without.
    """

    def __init__(
        self,
        folder: Path | None,
        secret: Callable[[str], SecretStr | None],
        tell: Callable[[str], None],
    ) -> None:
        self._secret = secret
        self._tell = tell
        self._files = PythonFiles(folder, log.error)
        self._loading = Threads()  # apart: tools that hang must not keep others from being read
        self._threads = Threads()
        self._web = Web()
        self._sessions = Tasks("mcp", lambda child, error: log.error(child, exc_info=error))
        self._servers: dict[str, McpServer] = {}

    async def made(self, entry: ToolEntry, info: CallInfo) -> Sequence[Tool]:
        """An entry's tools for one call.

        Raises:
            UserError: the file, or what it names, is wrong.
            ToolFailed: it cannot be had just now.
        """
        if entry.python is not None:
            source = entry.python
            functions = await self._loading.run(
                f"load {source}", lambda: self._files.functions(source)
            )
            return [make_tool(function, info, self._threads) for function in functions]
        if entry.http is not None:
            headers = self._proof(entry.http.auth)
            return [make_http_tool(http_spec(entry.http), headers, self._web)]
        if entry.mcp is not None:
            server = self._server(entry.mcp)
            return list(self._of_server(server, await server.tools()))
        raise UserError(f"this server has no tool {entry.builtin}")

    def connect(self, entry: ToolEntry) -> None:
        """Open the session that calls will want, ahead of the first one.

        Raises:
            UserError: a secret is not set.
        """
        if entry.mcp is not None:
            self._server(entry.mcp)

    async def close(self) -> None:
        await self._sessions.close()
        await self._web.close()

    def _of_server(self, server: McpServer, listed: list[Listed]) -> Iterator[Tool]:
        for each in listed:
            try:
                yield make_mcp_tool(server, each)
            except UserError as error:
                self._tell(str(error))

    def _server(self, mcp: McpEntry) -> McpServer:
        """The one session with a server, over all calls; an entry that was saved otherwise has another."""
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

    def _proof(self, auth: Auth | None) -> dict[str, str]:
        """The header that proves who asks."""
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

    def _named(self, secret: str) -> str:
        held = self._secret(secret)
        if held is None:
            raise UserError(f"the secret {secret} is not set")
        return held.get_secret_value()
