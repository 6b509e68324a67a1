"""`send_digits`: press keys, for the menu of another machine."""

from __future__ import annotations

from typing import Any

from agent.events import PressKeys
from agent.tools.base import Answer, Declaration

MOST = 32


class SendDigits:
    """Presses keys after what the agent is saying."""

    declaration = Declaration(
        name="send_digits",
        description=(
            "Press keys of the telephone's keypad, such as for the menu of a machine that you are speaking with. They are "
            "pressed after what you are saying."
        ),
        parameters={
            "type": "object",
            "properties": {
                "digits": {
                    "type": "string",
                    "description": "Of 0-9, * and #; w waits half a second.",
                    "minLength": 1,
                    "maxLength": MOST,
                    "pattern": "^[0-9*#w]+$",
                }
            },
            "required": ["digits"],
        },
    )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for the keys; the schema has been held against them."""
        return Answer({"result": "The keys are pressed."}, PressKeys(args["digits"]))
