"""The toolkit: from what an agent's file lists to the tools of one call."""

from __future__ import annotations

from agent.config.agent_yaml import parse_agent
from agent.server.toolkit import BUILT_IN, Ports, Toolkit
from agent.tools.base import CallInfo
from tests.server.bench import AGENT

INFO = CallInfo("call-1", "Desk", "+15551234567")


def test_an_agent_without_a_list_of_tools_can_end_its_calls() -> None:
    tools = Toolkit().tools(parse_agent(AGENT, "desk.yaml"), INFO)
    assert [tool.declaration.name for tool in tools] == ["end_call"]


def test_a_built_in_tool_is_called_what_its_row_says() -> None:
    agent = parse_agent(AGENT, "desk.yaml")
    for name, make in BUILT_IN.items():
        assert make(agent, INFO, Ports()).declaration.name == name
