"""What the model is told: who it is, how one speaks on a telephone, and when to speak first. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config.agent_file import AgentFile


MANNERS = """\
You are on a telephone call. The caller hears you and cannot see anything. Speak in short sentences, one thought at a time, and ask \
one question at a time. Say numbers, dates and times as people say them. Do not use lists, markup or emoji. If you did not \
understand, say so and ask again. If the caller is silent, wait. Never pretend to be a human."""

LEAVING = """\
When the caller says goodbye or needs nothing more, say goodbye and call `end_call` in the same turn."""

LANGUAGES = """\
Begin in {}. You also speak {}: when the caller speaks one of these, answer in it from then on."""

ABSENT = """\
You cannot use any tool in this call: the tools {} are not available. Never say that you have done what only a tool can do; say that \
you cannot do it just now. When the caller says goodbye, say goodbye too and wait: the caller hangs up."""


SINCE = """\
This call has been going on for a while. Since your last memory of it, this was said:"""

SO_FAR = """\
This call has been going on for a while; you have greeted the caller already, so do not greet again. This was said so far:"""


def system_instruction(
    agent: AgentFile,
    memory: str = "",
    *,
    wall: float | None = None,
    fresh: bool = True,
    absent: Sequence[str] = (),
) -> str:
    """The session's system instruction: persona, rules of conversation, tools (the order of Live API best practices).

    Args:
        agent: who it is.
        memory: what was said in this call that the session does not remember, a line each.
        wall: what time it is (seconds since 1970-01-01 UTC), for agents whose file says where they are.
        fresh: whether the session remembers nothing.
        absent: names of its tools, where it has to do without them.
    """
    parts = [f"You are {agent.name}.\n{agent.persona.strip()}", MANNERS]
    if agent.languages:
        parts.append(LANGUAGES.format(agent.language, ", ".join(agent.languages)))
    if wall is not None and "timezone" in agent.model_fields_set:
        parts.append(_now(agent, wall))
    if absent:
        parts.append(ABSENT.format(", ".join(absent)))
    elif any(entry.builtin == "end_call" for entry in agent.tools):
        parts.append(LEAVING)
    if memory:
        parts.append(f"{SO_FAR if fresh else SINCE}\n{memory}")
    return "\n\n".join(parts)


def _now(agent: AgentFile, wall: float) -> str:
    """Date and time where the agent is; models do not know them."""
    local = datetime.fromtimestamp(wall, ZoneInfo(agent.timezone))
    told = f"It is {local:%A}, {local.day} {local:%B %Y}, {local:%H:%M} ({agent.timezone})."
    if agent.hours is None:
        return told
    return told + (" You are open." if agent.is_open(wall) else " You are closed now.")


def greeting_request(agent: AgentFile, *, outbound: bool = False) -> str:
    """The message that makes the model speak first (Live API: it expects input before it responds)."""
    greeting = agent.greeting
    there = "The person you are calling has picked up" if outbound else "The caller is on the line"
    if greeting.free is not None:
        return f"{there}. Greet them now, in your own words: {greeting.free}"
    return f"{there}. Greet them now with exactly these words: {greeting.say}"
