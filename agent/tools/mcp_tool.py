"""Tools of an MCP server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agent.errors import UserError
from agent.tools.base import Answer, Declaration
from agent.tools.schema import plain

if TYPE_CHECKING:
    from mcp import Tool as Listed

    from agent.tools.mcp_server import McpServer

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
"""What models take as a name (Live API: `FunctionDeclaration.name`)."""


class McpTool:
    """A tool that says it only reads (MCP: `ToolAnnotations.readOnlyHint`)."""

    def __init__(self, server: McpServer, declaration: Declaration) -> None:
        self.declaration = declaration
        self._server = server

    async def run(self, args: dict[str, Any]) -> Answer:
        return Answer(await self._server.call(self.declaration.name, args, effect=False))


class McpEffect(McpTool):
    """Any other tool."""

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        """Call it; MCP has no place for `key`."""
        return Answer(await self._server.call(self.declaration.name, args, effect=True))


def make_mcp_tool(server: McpServer, listed: Listed) -> McpTool:
    """A tool that a server listed.

    Raises:
        UserError: the model cannot be told of it.
    """
    where = f"mcp {server.spec.name}, tool {listed.name}"
    if not NAME.fullmatch(listed.name):
        raise UserError(f"{where}: no model takes that name")
    schema = listed.input_schema
    parameters = plain(schema, where, strict=False) if schema.get("properties") else None
    declaration = Declaration(
        listed.name,
        listed.description or listed.title or listed.name,
        parameters,
        deadline=server.spec.timeout,
    )
    hints = listed.annotations
    kind = McpTool if hints is not None and hints.read_only_hint else McpEffect
    return kind(server, declaration)
