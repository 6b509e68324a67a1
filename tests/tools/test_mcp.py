"""Tools of a real MCP server, started here: over stdio as a child of the client, and over HTTP as a server of its own."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest

from agent.drive.tasks import Tasks
from agent.errors import OutcomeUnknown, ToolFailed, UserError
from agent.tools.effects import Effectful
from agent.tools.mcp_server import Access, McpServer, McpSpec
from agent.tools.mcp_tool import McpTool, make_mcp_tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CRM = str(Path(__file__).parent / "mcp_crm.py")
NO_ACCESS = Access({}, {})


class Scene:
    """A server's session and what was reported of it."""

    def __init__(self, access: Access, **fields: Any) -> None:
        self.told: list[str] = []
        self.faults: list[BaseException] = []
        self.tasks = Tasks("mcp", lambda child, error: self.faults.append(error))
        given: dict[str, Any] = {"name": "crm"}
        self.server = McpServer(McpSpec(**given | fields), access, self.tasks, self.told.append)

    def allow(self, *names: str) -> None:
        self.server.spec = msgspec.structs.replace(self.server.spec, allow=names)

    async def tools(self) -> dict[str, McpTool]:
        async with asyncio.timeout(30):
            listed = await self.server.tools()
        return {tool.name: make_mcp_tool(self.server, tool) for tool in listed}

    async def ask(self, name: str, **args: Any) -> dict[str, Any]:
        tool = (await self.tools())[name]
        if isinstance(tool, Effectful):
            return (await tool.carry_out(args, "key")).response
        return (await tool.run(args)).response


@asynccontextmanager
async def session(access: Access = NO_ACCESS, **fields: Any) -> AsyncIterator[Scene]:
    scene = Scene(access, **fields)
    try:
        yield scene
    finally:
        await scene.tasks.close()
    assert scene.faults == []


def stdio(**environment: str) -> dict[str, Any]:
    return {"command": (sys.executable, CRM), "access": Access({}, environment)}


@contextmanager
def running(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, CRM, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def kill_child() -> None:
    """Kill the one server that this process has started over stdio."""
    (child,) = (each for each in psutil.Process().children(recursive=True) if CRM in each.cmdline())
    child.kill()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process decides
        await asyncio.sleep(0.05)


@contextmanager
def http_server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(port) as process:
        yield port, process


async def test_what_it_tells_of_its_tools_is_what_the_model_is_told() -> None:
    async with session(**stdio(SHOP="harbour")) as scene:
        tools = await scene.tools()
        look = tools["look"].declaration
        assert (look.name, look.description, look.deadline) == ("look", "Look an order up.", 10.0)
        assert look.parameters == {
            "type": "object",
            "properties": {
                "order": {"type": "string"},
                "lines": {"type": "array", "items": {"type": "integer"}, "nullable": True},
            },
            "required": ["order"],
        }
        assert tools["die"].declaration.parameters is None
        effects = {name for name, tool in tools.items() if isinstance(tool, Effectful)}
        assert effects == {"book", "die_booking"}
        scene.allow("book", "look")
        assert list(await scene.tools()) == ["book", "look"]
        scene.allow("look", "sell")
        with pytest.raises(UserError, match="mcp crm has no sell .there: look, book"):
            await scene.tools()
        scene.allow("book", "look")
        answer = await scene.ask("look", order="7", lines=[1])
        assert answer == {"order": "7", "lines": [1], "shop": "harbour"}
        assert await scene.ask("book", table=4) == {"result": "table 4"}


async def test_each_thing_that_goes_wrong_is_one_clear_error() -> None:
    async with session(**stdio()) as scene:
        for name, why in (
            ("fails", "Error executing tool fails"),
            ("large", "large has run, but answered with 10.0 MB"),
            ("picture", "picture has run, but answered with what cannot be said"),
        ):
            with pytest.raises(ToolFailed, match=why):
                await scene.ask(name)
        with pytest.raises(ToolFailed, match="Input should be a valid string"):
            await scene.ask("look", order=[1])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await scene.ask("hangs")
        assert (await scene.ask("look", order="7"))["order"] == "7"  # and goes on


async def test_a_server_that_dies_is_started_again_and_what_it_was_doing_is_unknown(
    tmp_path: Path,
) -> None:
    booked = tmp_path / "booked"
    async with session(**stdio(BOOKED=str(booked))) as scene:
        with pytest.raises(ToolFailed, match="die broke off. Try again later"):
            await scene.ask("die")
        assert await scene.ask("book", table=4) == {"result": "table 4"}
        with pytest.raises(OutcomeUnknown, match="die_booking broke off: it is not known whether"):
            await scene.ask("die_booking")
        assert await scene.ask("book", table=5) == {"result": "table 5"}
        kill_child()  # unseen: it is noticed before something is done
        assert await scene.ask("book", table=6) == {"result": "table 6"}
        assert scene.told == ["mcp crm: the session was lost; it is opened again"] * 3
    assert booked.read_text() == "4\n5\n6\n"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"command": ("/nowhere/at-all",)}, "FileNotFoundError"),
        ({"command": (sys.executable, "-c", "pass")}, "MCPError: Connection closed"),
        ({"url": "http://127.0.0.1:1/mcp"}, "ConnectError"),
    ],
)
async def test_a_server_that_is_not_there_is_told_once(fields: dict[str, Any], why: str) -> None:
    async with session(**fields) as scene:
        await until(lambda: bool(scene.told))
        with pytest.raises(UserError, match=f"mcp crm: .*{why}"):
            await scene.tools()
        await asyncio.sleep(0.7)
        assert len(scene.told) == 1


async def test_over_http_with_a_token_and_again_after_the_server_was_replaced() -> None:
    with http_server() as (port, first):
        url = f"http://127.0.0.1:{port}/mcp"
        async with session(Access({"Authorization": "Bearer t"}, {}), url=url) as scene:
            await until(scene.server._up.is_set)
            assert (await scene.ask("look", order="7"))["order"] == "7"
            assert await scene.ask("book", table=4) == {"result": "table 4"}
            first.kill()
            first.wait()
            with pytest.raises(ToolFailed, match="look broke off|cannot be reached"):
                await scene.ask("look", order="7")
            scene.told.clear()
            with running(port):
                await until(lambda: "mcp crm is back" in scene.told)
                assert (await scene.ask("look", order="8"))["order"] == "8"
