"""How an agent's calls behave: the deployment's settings and the agent's file in the call's own terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.call.dead_air import DeadAirOptions
from agent.call.local_voice import LocalVoiceOptions
from agent.call.options import CallOptions, UplinkOptions
from agent.server.prompt import greeting_request
from agent.server.providers import takes_notes

if TYPE_CHECKING:
    from agent.config.agent_file import AgentFile
    from agent.config.settings import Settings


def call_options(settings: Settings, agent: AgentFile) -> CallOptions:
    """What one call is like; the shorter of two limits holds."""
    longest = min(settings.max_call_seconds, agent.limits.seconds or settings.max_call_seconds)
    options = CallOptions(
        greeting=greeting_request(agent),
        answer_within=settings.answer_within,
        max_seconds=float(longest),
        voicemail=_voicemail(agent),
        tells_heard=takes_notes(agent.model or settings.gemini_model),
        dead_air=_silences(agent),
        local_voice=LocalVoiceOptions(
            barge_in=settings.local_barge_in, end_after=settings.local_speech_end
        ),
        uplink=UplinkOptions(),
    )
    moment = agent.silences.no_session
    return options if moment is None else msgspec.structs.replace(options, moment_after=moment)


def _silences(agent: AgentFile) -> DeadAirOptions:
    chosen = {"caller": agent.limits.silence, "tool": agent.filler_after}
    chosen |= agent.silences.model_dump(exclude={"no_session"})
    given = {name: value for name, value in chosen.items() if value is not None}
    return msgspec.structs.replace(DeadAirOptions(), **given)


def _voicemail(agent: AgentFile) -> str:
    """What the model is asked for when an answering machine records; empty where it is to be left without a word."""
    wanted = agent.outbound.voicemail
    if wanted is None:
        return ""
    return (
        "(An answering machine has picked up, and it records from now on. Leave this message, and say nothing else: "
        f"{wanted})"
    )
