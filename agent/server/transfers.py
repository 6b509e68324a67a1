"""Transfers: who is behind a target's name, and what they hear first. The model chooses a name; numbers are the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.protocols.door import Transfer, Whisper
from agent.tools.transfer_call import Choice

if TYPE_CHECKING:
    from agent.config.agent_file import AgentFile

DEFAULT_WHISPER = "A caller is put through to you."


def put_through(agent: AgentFile, target: str, call_id: str, leg: int) -> Transfer:
    """Where a caller goes whose stream `leg` has ended for it.

    Raises:
        KeyError: the agent has no such target.
    """
    there = agent.transfer[target]
    return Transfer(there.address, call_id, leg, there.timeout, whisper=there.whisper is not None)


def whisper(agent: AgentFile, target: str) -> Whisper:
    """What the person hears who picks up."""
    own = agent.transfer[target].whisper
    return Whisper(DEFAULT_WHISPER) if own is None else Whisper(own, agent.language)


def choices(agent: AgentFile, *, own_line: bool = False) -> dict[str, Choice]:
    """What `transfer_call` may choose from; a line that brought its own call can only be put through without asking first."""
    return {
        name: Choice(
            there.description or "", float(there.timeout), there.mode == "warm" and not own_line
        )
        for name, there in agent.transfer.items()
    }
