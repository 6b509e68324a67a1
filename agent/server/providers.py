"""The concrete classes, by name: a new phone provider or a new model is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from agent.models.gemini import gemini_connector
from agent.protocols.asterisk.provider import Asterisk
from agent.protocols.gemini import ladder
from agent.protocols.gemini.session import GeminiSession, over_quota
from agent.protocols.gemini.setup import GeminiOptions, ToolDeclaration, row_for
from agent.protocols.twilio.provider import Twilio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.config.agent_file import AgentFile
    from agent.config.settings import Settings
    from agent.drive.socket import Socket
    from agent.events import ModelEnded
    from agent.protocols.door import LineProvider, PhoneProvider
    from agent.protocols.live import LiveModel
    from agent.tools.base import Tool

log = structlog.get_logger()

MadeModel = tuple["LiveModel", "Callable[[], Awaitable[Socket]]"]


class Order(NamedTuple):
    """What a session is opened with, beyond the agent's voice.

    Attributes:
        tools: what the model may call.
        instruction: who it is and what it has to know.
        handle: of the snapshot to go on from; None: a fresh session.
        without: options to leave out, because a setup with them was refused.
    """

    tools: Sequence[Tool]
    instruction: str
    handle: str | None = None
    without: frozenset[str] = frozenset()


def gemini_options(settings: Settings, agent: AgentFile, order: Order) -> GeminiOptions:
    """What a session with Gemini Live is opened with, all of it."""
    return GeminiOptions(
        model=agent.model or settings.gemini_model,
        system_instruction=order.instruction,
        handle=order.handle,
        voice=agent.voice,
        language=None if agent.languages else agent.language,  # else it would speak no other
        **agent.model_options.model_dump(),
        tools=tuple(
            ToolDeclaration(
                name=tool.declaration.name,
                description=tool.declaration.description,
                parameters=tool.declaration.parameters or {},
            )
            for tool in order.tools
        ),
    )


def gemini(settings: Settings, agent: AgentFile, order: Order) -> MadeModel:
    """A session with Gemini Live in this agent's voice, and how to reach it."""
    options = gemini_options(settings, agent, order)
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    connect = gemini_connector(settings.gemini_url, settings.gemini_api_version, key)
    session = GeminiSession(options, version=settings.gemini_api_version, without=order.without)
    for warning in session.warnings:
        log.warning(warning)
    return session, connect


def takes_notes(model: str) -> bool:
    """Whether this model can be told something in mid-call that it does not answer."""
    return row_for(model).history


MODELS: dict[str, Callable[[Settings, AgentFile, Order], MadeModel]] = {"gemini": gemini}


class Refusals(NamedTuple):
    """How a model's refusals are read.

    Attributes:
        smaller: what to leave out after one; the order is that of the refused setup, the flag says that no other may follow.
        named: the options that it names.
        over_quota: whether a session ended because there is no room for another one.
    """

    smaller: Callable[[Settings, AgentFile, Order, str, bool], frozenset[str] | None]
    named: Callable[[str], frozenset[str]]
    over_quota: Callable[[ModelEnded], bool]


def _smaller(
    settings: Settings, agent: AgentFile, order: Order, refusal: str, last: bool
) -> frozenset[str] | None:
    options = gemini_options(settings, agent, order)
    return ladder.step_down(options, order.without, refusal, last=last)


REFUSALS: dict[str, Refusals] = {"gemini": Refusals(_smaller, ladder.named, over_quota)}

PHONES: dict[str, Callable[[Settings, str, str], PhoneProvider]] = {
    "twilio": lambda settings, auth_token, public_url: Twilio(
        auth_token, public_url, settings.twilio_account_sid
    ),
}
"""Each is given the settings, what requests are signed with, and the origin at which it reaches us."""

CARRIER = "twilio"
"""Whoever places our calls, and asks persons whether they take a caller."""


def _asterisk(settings: Settings) -> Asterisk | None:
    password = settings.asterisk_password
    if password is None:
        return None
    return Asterisk(settings.asterisk_user, password.get_secret_value())


LINES: dict[str, Callable[[Settings], LineProvider | None]] = {"asterisk": _asterisk}
"""Telephone systems that bring their own calls; None: the settings do not open this door."""
