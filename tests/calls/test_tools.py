"""A call whose model uses tools of every kind: all are answered, and the talk goes on meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from agent.simulator.brain import BenchBrain, Call, Reply
from tests.calls.exchange import exchange, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

TOOLS = '''
import time

from agent.tools.python_tool import CallInfo, ToolFailed, tool


@tool(reads_only=True)
def who(call: CallInfo) -> str:
    """Tell who calls."""
    return f"{call.direction}, {call.caller[-2:]}"


@tool
def book(table: int) -> str:
    """Book a table."""
    time.sleep(1.0)
    return f"table {table}"


@tool
def full(table: int) -> str:
    """Book a table where there is none."""
    raise ToolFailed("There is no table left.")
'''

CALLS = (
    Call("who", {}),
    Call("book", {"table": 4}),
    Call("full", {"table": 5}),
    Call("order", {"number": "a/7"}),
    Call("book", {"table": "four"}),
)


class Busy(BenchBrain):
    """Calls all its tools after the greeting, and keeps what they answered."""

    told: list[tuple[str, dict[str, Any]]]

    def prompted(self, text: str) -> Reply:
        return (*super().prompted(text), *CALLS)

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        self.told.append((tool, response))
        return ()


@asynccontextmanager
async def crm() -> AsyncIterator[str]:
    async def order(request: web.Request) -> web.Response:
        response = web.json_response({"order": request.match_info["number"]})
        response.force_close()  # a connection that is kept would be left after the call
        return response

    app = web.Application()
    app.router.add_get("/orders/{number}", order)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_tools_of_every_kind_answer_while_the_talk_goes_on(tmp_path: Path) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def brain() -> Busy:
        made = Busy(0.4)
        made.told = told
        return made

    async with crm() as url:
        http = {
            "name": "order",
            "description": "Look an order up.",
            "url": f"{url}/orders/{{number}}",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}},
                "required": ["number"],
            },
            "allow_private": True,
        }
        agent = {"tools": ["end_call", {"python": "desk_tools"}, {"http": http}]}
        (tmp_path / "agents").mkdir()
        (tmp_path / "agents" / "desk_tools.py").write_text(TOOLS)
        async with exchange(tmp_path, brain=brain, agent=agent) as here:
            heard = await here.call(words(0.6), call_sid="CA" + "1" * 32)
            row = await here.record("CA" + "1" * 32)
            assert heard.report.first_word_ms is not None
            with closing(sqlite3.connect(here.folder / "pickup.db")) as database:
                journal = database.execute(
                    "SELECT tool, response FROM effects WHERE call = ? ORDER BY tool", (row.id,)
                ).fetchall()
    assert len(told) == len(CALLS)
    errors = {str(response["error"]) for _, response in told if "error" in response}
    answers = {name: response for name, response in told if "error" not in response}
    assert answers == {
        "who": {"result": "inbound, 43"},
        "book": {"result": "table 4"},
        "order": {"order": "a/7"},
    }
    assert errors == {
        "There is no table left.",
        'book was not called right, and nothing was done: table should be a whole number, not "four".',
    }
    assert [(name, msgspec.json.decode(response)) for name, response in journal] == [
        ("book", {"result": "table 4"}),
        ("full", {"error": "There is no table left."}),
    ]
