"""`collect_digits`: a number that the caller types instead of saying it."""

from __future__ import annotations

from typing import Any

from agent.events import CollectKeys
from agent.tools.base import Answer, Declaration

MOST = 32


class CollectDigits:
    """Takes the caller's keys until there are enough, `#` is pressed, or none comes for a while."""

    declaration = Declaration(
        name="collect_digits",
        description=(
            "Take a number that the caller types on the keypad. Ask for it first, in the same turn, and say that # ends it. "
            "You are answered with the digits when all are there, or none comes any more."
        ),
        parameters={
            "type": "object",
            "properties": {
                "most": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST,
                    "description": "How many digits at most.",
                },
                "seconds": {
                    "type": "integer",
                    "minimum": 2,
                    "maximum": 60,
                    "description": "How long to wait for the first digit and for each more; 10 unless given.",
                },
                "secret": {
                    "type": "boolean",
                    "description": "Whether it is a PIN or a card's number, which is kept out of the records.",
                },
            },
            "required": ["most"],
        },
    )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for the keys; the call answers the model when they are there. This answer is for where it cannot."""
        return Answer(
            {"error": "Another number is being typed."},
            CollectKeys(
                most=args["most"],
                within=float(args.get("seconds", 10)),
                secret=bool(args.get("secret", False)),
            ),
        )
