"""What only shows when an agent's keys are seen together: names that nothing has, options that exclude each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.config.variables import places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.config.agent_file import AgentFile
    from agent.config.agent_tools import HttpTool, McpTool

Found = tuple[tuple[str | int, ...], str]
"""A path in the file, and what is wrong there."""


def contradictions(agent: AgentFile) -> Iterator[Found]:
    """Each mistake of an agent whose keys are right one by one."""
    yield from _unknown_variables(agent)
    yield from _unknown_targets(agent)
    yield from _tools(agent)
    if agent.hours is not None and "timezone" not in agent.model_fields_set:
        yield ("hours",), "hours need a timezone such as America/New_York beside them"
    if agent.closed is not None and agent.hours is None:
        yield ("closed",), "closed is never said: there are no hours"


def _unknown_variables(agent: AgentFile) -> Iterator[Found]:
    known = ", ".join(agent.variables) or "none"
    for path, text in (
        (("persona",), agent.persona),
        (("greeting",), agent.greeting.say or agent.greeting.free),
        (("outbound", "voicemail"), agent.outbound.voicemail),
    ):
        for name in dict.fromkeys(places(text)):
            if name not in agent.variables:
                shown = name if name.isprintable() else repr(name)
                told = f"asks for {{{{{shown}}}}}, which is not under variables (there: {known})"
                yield path, f"{'.'.join(path)} {told}"


def _unknown_targets(agent: AgentFile) -> Iterator[Found]:
    known = ", ".join(agent.transfer) or "none"
    if agent.closed is not None and agent.closed.transfer not in (None, *agent.transfer):
        name = agent.closed.transfer
        yield ("closed", "transfer"), f"closed.transfer: no target {name} (there: {known})"


def _tools(agent: AgentFile) -> Iterator[Found]:
    seen: set[str] = set()
    for index, entry in enumerate(agent.tools):
        path = ("tools", index)
        name = entry.builtin or (entry.http and entry.http.name) or None
        if name is not None and name in seen:
            yield path, f"tools[{index}]: there is a tool {name} already"
        seen |= {name} if name else set()
        if entry.builtin == "transfer_call" and not agent.transfer:
            yield path, f"tools[{index}]: transfer_call needs targets under transfer"
        if entry.builtin == "look_up" and agent.knowledge is None:
            yield path, f"tools[{index}]: look_up needs a folder under knowledge"
        if entry.http is not None:
            for key, told in _http(entry.http):
                yield (*path, "http", key), f"tools[{index}].http.{key} {told}"
        if entry.mcp is not None:
            for key, told in _mcp(entry.mcp):
                yield (*path, "mcp", key), f"tools[{index}].mcp{'.' if key else ''}{key} {told}"


def _http(tool: HttpTool) -> Iterator[tuple[str, str]]:
    if tool.parameters and tool.parameters.get("type", "object") != "object":
        yield "parameters", "should be of type object: a tool's arguments have names"
    properties = tool.parameters.get("properties", {})
    if not isinstance(properties, dict):
        yield "parameters", "should have a mapping under properties"
        properties = {}
    for name in re.findall(r"\{([^{}]*)\}", tool.url):
        if name not in properties:
            yield "url", f"has {{{name}}}, which is not under parameters.properties"
    safe = tool.method in ("GET", "PUT", "DELETE") if tool.idempotent is None else tool.idempotent
    if tool.retries and not safe:
        yield "retries", f"would repeat a {tool.method}: set `idempotent: true` where that is safe"


def _mcp(tool: McpTool) -> Iterator[tuple[str, str]]:
    if (tool.command is None) == (tool.url is None):
        yield "", "should have a command or a url, and not both"
    if tool.command == ():
        yield "command", "should name a program"
    if tool.url is None and (tool.secret is not None or tool.headers):
        yield "command", "has no headers: secret and headers go with a url"
    if tool.url is not None and tool.environment:
        yield "url", "has no environment: that goes with a command"
