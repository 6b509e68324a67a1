"""What callers are told by the provider's own voice, where there is no stream to speak on: in the agent's words, or in ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.protocols.door import Say, Transfer

if TYPE_CHECKING:
    from agent.config.agent_file import AgentFile

SPOKEN = {
    "busy": "All our lines are busy at the moment. Please call again in a few minutes. Goodbye.",
    "trouble": "I am sorry, something went wrong on our side. Please call again in a few minutes. "
    "Goodbye.",
}

OUR_TROUBLE = frozenset({"model_lost", "internal_error", "crash", "no_start", "line_lost"})
"""Ends after which a caller who is still there hears a sentence, or is put through to a person where the agent's file names one."""


def said(what: Literal["busy", "trouble"], agent: AgentFile | None = None) -> Say:
    """One of our lines, in the agent's own words where its file has some."""
    own = None if agent is None else getattr(agent.lines, what)
    if own is None or agent is None:
        return Say(SPOKEN[what])
    return Say(own, agent.language)


class Amends(NamedTuple):
    """What a caller gets for trouble of ours: a person, where the agent's file names one, or words."""

    fallback: str | None = None
    words: Say = Say(SPOKEN["trouble"])


def amends(agent: AgentFile) -> Amends:
    """What this agent's callers get."""
    return Amends(agent.fallback_number, said("trouble", agent))


def closed(agent: AgentFile, wall: float) -> Say | Transfer | None:
    """What somebody gets who calls at `wall` (seconds since 1970); None: the agent answers."""
    if agent.closed is None or agent.is_open(wall):
        return None
    if agent.closed.transfer is not None:
        there = agent.transfer[agent.closed.transfer]
        return Transfer(there.address, timeout=there.timeout)
    return Say(agent.closed.say or "", agent.language)
