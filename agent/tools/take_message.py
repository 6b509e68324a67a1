"""`take_message`: the caller leaves a message for the people behind the agent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agent.errors import StorageError, ToolFailed
from agent.tools.base import Answer, Declaration

if TYPE_CHECKING:
    from agent.tools.base import CallInfo

LONGEST = 4000
"""Characters of a message: some four minutes of speech."""


class LeftMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was left.

    Attributes:
        id: the same for the same message of the same call.
        number: whom to answer: what the caller said, else the number that called; empty where there is neither.
    """

    id: str
    text: str
    name: str = ""
    number: str = ""
    urgent: bool = False


class Inbox(Protocol):
    """Where messages go."""

    async def take(self, info: CallInfo, message: LeftMessage) -> None:
        """Keep a message; one that is there already stays as it is. Raises StorageError."""
        ...


def same_wish(call: str, tool: str, args: dict[str, Any]) -> str:
    """An id that the same arguments have in the same call, also when a model that was resumed asks again."""
    wish = msgspec.json.encode([call, tool, args], order="deterministic")
    return hashlib.sha256(wish).hexdigest()[:32]


class TakeMessage:
    """Writes a message down once the caller has heard and confirmed it.

    Args:
        info: the call.
        inbox: where it goes.
    """

    declaration = Declaration(
        name="take_message",
        description=(
            "Write down a message for the people you work for. Ask who it is from and what it is about, read it back in "
            "full, and call this only after the caller has said that it is right. Say that it was taken only after this "
            "has answered."
        ),
        parameters={
            "type": "object",
            "properties": {
                "message": {
                    "type": "string",
                    "description": "The whole message in the caller's words, with every name, number and date.",
                    "minLength": 1,
                    "maxLength": LONGEST,
                },
                "name": {
                    "type": "string",
                    "description": "Who leaves it, as the caller said it.",
                    "maxLength": 200,
                },
                "number": {
                    "type": "string",
                    "description": "The number to answer at, where the caller gave another than the one they call from.",
                    "maxLength": 40,
                },
                "urgent": {
                    "type": "boolean",
                    "description": "Whether the caller said that it cannot wait.",
                },
                "confirmed": {
                    "type": "boolean",
                    "description": "Whether the caller heard the message read back and said that it is right.",
                },
            },
            "required": ["message", "confirmed"],
        },
    )

    def __init__(self, info: CallInfo, inbox: Inbox) -> None:
        self._info = info
        self._inbox = inbox

    async def run(self, args: dict[str, Any]) -> Answer:
        """Keep the message; the same one is kept once, however often it is told."""
        if not args["confirmed"]:
            raise ToolFailed("Read the message back first, and call this when the caller says yes.")
        said = {"text": args["message"].strip(), "name": args.get("name", "").strip()}
        message = LeftMessage(
            id=same_wish(self._info.id, "take_message", said),
            number=args.get("number", "").strip() or self._info.caller,
            urgent=args.get("urgent", False),
            **said,
        )
        try:
            await self._inbox.take(self._info, message)
        except StorageError as error:
            raise ToolFailed("The message was not kept. Try once more in a moment.") from error
        return Answer({"result": "The message was written down and will be read."})
