"""How an agent calls people: what its file says of it, as the dialer uses it."""

from __future__ import annotations

from datetime import time
from typing import TYPE_CHECKING

import msgspec

from agent.server.outbound.calling_hours import CallingHours
from agent.server.outbound.retries import Retries
from agent.server.prompt import greeting_request

if TYPE_CHECKING:
    from agent.call.options import CallOptions
    from agent.config.agent_file import AgentFile


PICKED_UP_WITHIN = 45.0
"""Seconds from the end of the ringing until the stream must be there: the carrier may queue a call before it rings."""


class Habits(msgspec.Struct, frozen=True):
    """How an agent calls people.

    Attributes:
        by: the name of whoever carries its calls.
        caller_id: the number that the callee sees, or our own address where there is none.
        ring_seconds: how long it lets ring.
        hours: when it may call, on the callee's clock.
        retries: what it does where it reached nobody.
    """

    by: str
    caller_id: str
    ring_seconds: int
    hours: CallingHours
    retries: Retries


def habits_of(agent: AgentFile, by: str, caller_id: str | None) -> Habits | None:
    """An agent's habits where its calls are carried by `by`.

    None where neither its file nor `caller_id` (the deployment's) names a number to call from.
    """
    wants = agent.outbound
    number = wants.caller_id or caller_id
    if number is None:
        return None
    hours = wants.calling_hours
    return Habits(
        by,
        number,
        wants.ring_seconds,
        CallingHours(_clock(hours.opens), _clock(hours.closes), zone=agent.timezone),
        Retries(wants.attempts, wants.retry_minutes * 60.0, frozenset(wants.retry_on)),
    )


def as_we_call(options: CallOptions, agent: AgentFile) -> CallOptions:
    """A call's options where the call is ours: it may ring as long as the agent lets it."""
    rings = float(agent.outbound.ring_seconds) + PICKED_UP_WITHIN
    greeting = greeting_request(agent, outbound=True)
    return msgspec.structs.replace(options, start_within=rings, greeting=greeting)


def _clock(minutes: int) -> time:
    """The time of day so many minutes after midnight; the day's end is its last moment."""
    return time.max if minutes >= 24 * 60 else time(minutes // 60, minutes % 60)
