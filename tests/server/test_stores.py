"""What built-in tools reach: a message and a promise in the database, a journal that outlives the process, documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.config.agent_yaml import parse_agent
from agent.server.journal import DatabaseJournal
from agent.server.library import Libraries
from agent.server.stores import Desk, Stores
from agent.server.toolkit import Ports, Toolkit
from agent.tools.base import Answer, CallInfo
from agent.tools.effects import Done, Unknown
from tests.server.bench import AGENT

INFO = CallInfo("call-1", "desk", "+15551234567")
NOW = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
HANDS = AGENT + "tools: [take_message, schedule_callback, look_up]\nknowledge: texts\n"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/pickup.db"


@pytest.fixture
async def stores(url: str) -> AsyncIterator[Stores]:
    made = Stores.at(url)
    yield made
    await made.close()


async def use(stores: Stores | None, agents: Path, tool: str, **args: object) -> Answer:
    desk = Desk(stores, lambda: NOW) if stores else None
    libraries = Libraries(agents, agents / "indexes")
    ports = (
        Ports(lambda: NOW, inbox=desk, desk=desk, library=libraries.of)
        if desk
        else Ports(lambda: NOW)
    )
    agent = parse_agent(HANDS, "desk.yaml")
    kit = Toolkit(ports=ports)
    tools = {each.declaration.name: each for each in await kit.tools(agent, INFO)}
    answer = await tools[tool].run(args)
    await kit.close()
    return answer


async def test_a_message_is_in_the_database_once(stores: Stores, tmp_path: Path) -> None:
    for _ in range(2):
        await use(stores, tmp_path, "take_message", message="The tap drips.", confirmed=True)
    (message,) = await stores.messages.recent()
    assert (message.call, message.agent, message.taken_at) == ("call-1", "desk", NOW)
    assert (message.text, message.from_number, message.name) == (
        "The tap drips.",
        "+15551234567",
        None,
    )


async def test_a_promise_is_in_the_database_once(stores: Stores, tmp_path: Path) -> None:
    for _ in range(2):
        await use(stores, tmp_path, "schedule_callback", at="2026-09-22T10:00")
    (callback,) = await stores.callbacks.open()
    assert (callback.call, callback.number, callback.made_at) == ("call-1", "+15551234567", NOW)
    assert callback.at == 1_790_071_200.0


async def test_documents_lie_beside_the_agents_file(stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "prices.md").write_text("# Cleaning\n\nEighty dollars.")
    answer = await use(stores, tmp_path, "look_up", question="cleaning")
    assert answer.response == {
        "passages": [{"source": "prices.md, Cleaning", "text": "Eighty dollars."}]
    }


async def test_documents_that_cannot_be_read_are_told_to_the_operator(tmp_path: Path) -> None:
    agents = [parse_agent(HANDS, "desk.yaml"), parse_agent(AGENT, "other.yaml")]
    libraries = Libraries(tmp_path, tmp_path / "indexes")
    with capture_logs() as logs:
        await libraries.prepare(agents)
    assert [line["why"] for line in logs] == [f"knowledge: there is no folder {tmp_path}/texts"]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "x.txt").write_bytes(b"\xff")
    with capture_logs() as logs:
        await libraries.prepare(agents)
    assert [line["why"] for line in logs] == ["x.txt: it is not UTF-8 (byte 0)"]


async def test_the_journal_outlives_the_process(url: str) -> None:
    before = Stores.at(url)
    journal = DatabaseJournal(before.effects, lambda: NOW)
    for key in ("done", "begun"):
        assert await journal.begin("call-1", key, "book") is None
    await journal.finish("call-1", "done", {"result": "booked"})
    await before.close()
    after = Stores.at(url)
    journal = DatabaseJournal(after.effects, lambda: NOW)
    assert await journal.begin("call-1", "done", "book") == Done({"result": "booked"})
    assert await journal.begin("call-1", "begun", "book") == Unknown()
    await after.close()
