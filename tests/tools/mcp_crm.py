"""A small MCP server, made with the protocol's own package: `python mcp_crm.py` (stdio), or with a port, Streamable HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ImageContent, ToolAnnotations

server = MCPServer("crm", log_level="CRITICAL")
READS = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READS)
def look(order: str, lines: list[int] | None = None) -> dict[str, Any]:
    """Look an order up."""
    return {"order": order, "lines": lines, "shop": os.environ.get("SHOP")}


@server.tool()
def book(table: int) -> str:
    """Book a table."""
    with Path(os.environ.get("BOOKED", os.devnull)).open("a") as file:
        file.write(f"{table}\n")
    return f"table {table}"


@server.tool(annotations=READS)
def fails() -> str:
    """Fail."""
    raise ValueError("inside")


@server.tool(annotations=READS)
async def hangs() -> str:
    """Hang."""
    await asyncio.sleep(60)
    return "at last"


@server.tool(annotations=READS)
def large() -> str:
    """Answer at length."""
    return "x" * 10_000_000


@server.tool(annotations=READS)
def picture() -> ImageContent:
    """Answer with a picture."""
    return ImageContent(type="image", data="AAAA", mime_type="image/png")


@server.tool(annotations=READS)
def die() -> str:
    """End the server."""
    os._exit(3)


@server.tool()
def die_booking() -> str:
    """End the server while it books."""
    os._exit(3)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run()
