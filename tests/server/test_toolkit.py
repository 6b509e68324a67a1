"""The toolkit: from what an agent's file lists to the tools of one call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, get_args

import pytest
import structlog

from agent.config.agent_tools import BuiltIn
from agent.config.agent_yaml import parse_agent
from agent.config.settings import Settings
from agent.errors import ToolFailed
from agent.server import toolkit as room
from agent.server.journal import DatabaseJournal, Unknowns
from agent.server.toolkit import BUILT_IN, Ports, Toolkit
from agent.storage.database import Database
from agent.storage.effects import Effects
from agent.storage.records import CallRecord, Records, State
from agent.tools.base import CallInfo
from agent.tools.effects import Done, Unknown
from agent.tools.http_tool import HttpTool
from tests.server.bench import AGENT

if TYPE_CHECKING:
    from pathlib import Path

INFO = CallInfo("call-1", "Desk", "+15551234567")

TOOLS = '''
from agent.tools.python_tool import CallInfo, tool


@tool(reads_only=True)
def who(call: CallInfo) -> str:
    """Tell who calls."""
    return call.caller


@tool
def end_call() -> None:
    """End it all."""
'''


async def names(kit: Toolkit, *tools: str) -> list[str]:
    listed = "".join(f"  - {each}\n" for each in tools)
    agent = parse_agent(AGENT + (f"tools:\n{listed}" if tools else ""), "desk.yaml")
    return [tool.declaration.name for tool in await kit.tools(agent, INFO)]


async def test_an_agent_without_a_list_of_tools_can_end_its_calls() -> None:
    assert await names(Toolkit()) == ["end_call"]


def test_a_built_in_tool_is_called_what_its_row_says() -> None:
    agent = parse_agent(AGENT, "desk.yaml")
    for name, make in BUILT_IN.items():
        assert make(agent, INFO, Ports()).declaration.name == name


async def test_python_functions_beside_the_agents_know_their_call(tmp_path: Path) -> None:
    (tmp_path / "desk_tools.py").write_text(TOOLS)
    agent = parse_agent(AGENT + "tools: [python: 'desk_tools:who']\n", "desk.yaml")
    (who,) = await Toolkit(tmp_path).tools(agent, INFO)
    assert (await who.run({})).response == {"result": "+15551234567"}


async def test_what_cannot_be_had_is_left_out_and_told_once(tmp_path: Path) -> None:
    (tmp_path / "desk_tools.py").write_text(TOOLS)
    kit = Toolkit(tmp_path)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert await names(kit, "end_call", "python: nowhere_at_all", "python: desk_tools") == [
                "end_call",
                "who",
            ]
    whys = [line["why"] for line in logs]
    assert [why[:40] for why in whys] == [
        "Desk, nowhere_at_all: module nowhere_at_"[:40],
        "Desk, desk_tools: there is a tool end_call already"[:40],
    ]


async def test_a_module_that_takes_long_to_load_costs_the_call_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOAD_WITHIN", 0.05)
    gate = threading.Event()
    kit = Toolkit(tmp_path)

    def hang(source: str) -> list[Any]:
        gate.wait()
        return []

    monkeypatch.setattr(kit._outside._files, "functions", hang)
    with structlog.testing.capture_logs() as logs:
        assert await names(kit, "python: slow", "end_call") == ["end_call"]
    gate.set()
    assert [line["why"] for line in logs] == ["Desk, slow: not there after 0.05 s"]


async def test_what_nobody_knows_the_outcome_of_is_told_once(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'pickup.db'}"
    records = await Records.open(url)
    database = records.database
    try:
        effects = Effects(database)
        for call, state in (("lives", State.ANSWERED), ("crashed", State.CRASHED)):
            await records.create(call_record(call, state=state))
            await effects.begin(call, "1", "book", 1_700_000_000.0)
            await effects.begin(call, "2", "book", 1_600_000_000.0)
            await effects.begin(call, "3", "look", 1_700_000_000.0)
            await effects.finish(call, "3", {}, 1_700_000_001.0)
        unknowns = Unknowns(effects, lambda: 1_700_000_060.0)
        with structlog.testing.capture_logs() as logs:
            await unknowns.look()
            await unknowns.look()
        assert [(line["call"], line["tool"], line["key"]) for line in logs] == [
            ("crashed", "book", "1")
        ]
    finally:
        await records.close()


def call_record(call: str, *, state: State) -> CallRecord:
    return CallRecord(
        id=call,
        provider="twilio",
        provider_call_id=call,
        instance="1",
        alive_until=1_700_000_000.0,
        direction="inbound",
        agent="Desk",
        started_at=1_700_000_000.0,
        version="0",
        state=state,
    )


HTTP = """tools:
  - http:
      name: order
      description: Look an order up.
      url: http://127.0.0.1:1/orders/{id}
      parameters: {type: object, properties: {id: {type: string}}, required: [id]}
      auth: {secret: CRM_TOKEN, scheme: SCHEME, header: X-Key}
"""


@pytest.mark.parametrize(
    ("scheme", "header"),
    [
        ("bearer", {"Authorization": "Bearer us:er"}),
        ("basic", {"Authorization": "Basic dXM6ZXI="}),
        ("header", {"X-Key": "us:er"}),
    ],
)
async def test_an_endpoint_proves_who_asks_by_a_named_secret(
    scheme: str, header: dict[str, str]
) -> None:
    settings = Settings.load({"CRM_TOKEN": "us:er"})
    kit = Toolkit(secret=settings.secret)
    agent = parse_agent(AGENT + HTTP.replace("SCHEME", scheme), "desk.yaml")
    (tool,) = await kit.tools(agent, INFO)
    assert isinstance(tool, HttpTool)
    assert tool._secrets == header
    assert tool.declaration.name == "order"
    with pytest.raises(ToolFailed, match="order cannot be reached"):  # a private address
        await tool.run({"id": "7"})
    await kit.close()


async def test_a_secret_that_is_not_set_costs_its_tool() -> None:
    kit = Toolkit()
    agent = parse_agent(AGENT + HTTP.replace("SCHEME", "bearer"), "desk.yaml")
    with structlog.testing.capture_logs() as logs:
        assert await kit.tools(agent, INFO) == ()
    assert [line["why"] for line in logs] == ["Desk, http order: the secret CRM_TOKEN is not set"]


async def test_the_journal_is_the_databases(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'pickup.db'}")
    try:
        journal = DatabaseJournal(Effects(database), lambda: 1_700_000_000.0)
        assert await journal.begin("call-1", "key", "book") is None
        assert await journal.begin("call-1", "key", "book") == Unknown()
        await journal.finish("call-1", "key", {"table": 4})
        assert await journal.begin("call-1", "key", "book") == Done({"table": 4})
        assert await journal.begin("call-2", "key", "book") is None
    finally:
        await database.close()


MCP = """tools:
  - mcp: {name: crm, command: [CRM], environment: CRM_TOKEN}
  - end_call
"""


async def test_an_mcp_server_is_one_for_all_calls_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "LOAD_WITHIN", 0.05)
    kit = Toolkit(secret=Settings.load({"CRM_TOKEN": "t"}).secret)
    agent = parse_agent(AGENT + MCP.replace("[CRM]", "[/nowhere/at-all]"), "desk.yaml")
    kit.connect(agent)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert [tool.declaration.name for tool in await kit.tools(agent, INFO)] == ["end_call"]
    assert len(kit._outside._servers) == 1
    assert {line["event"] for line in logs} >= {"a tool is not there"}
    await kit.close()


async def test_an_mcp_server_without_its_secret_is_not_started() -> None:
    kit = Toolkit()
    agent = parse_agent(AGENT + MCP.replace("[CRM]", "[/nowhere/at-all]"), "desk.yaml")
    with structlog.testing.capture_logs() as logs:
        kit.connect(agent)
        assert [tool.declaration.name for tool in await kit.tools(agent, INFO)] == ["end_call"]
    assert [line["why"] for line in logs] == ["Desk, mcp crm: the secret CRM_TOKEN is not set"]
    assert kit._outside._servers == {}
    await kit.close()


def test_every_built_in_tool_can_be_listed_and_every_one_that_can_is_there() -> None:
    assert set(get_args(BuiltIn)) == set(BUILT_IN)
