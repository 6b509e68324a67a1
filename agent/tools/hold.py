"""`hold`: let the line rest, and take it up again."""

from __future__ import annotations

from typing import Any

from agent.events import HoldCall, ResumeCall
from agent.tools.base import Answer, Declaration

LONGEST = 300
"""Seconds that a hold may last, whatever the model says."""


class Hold:
    """Holds the call, or resumes it."""

    declaration = Declaration(
        name="hold",
        description=(
            "Hold the call, or resume it. Say so first, in the same turn. While it is held you hear nothing and nobody waits "
            "for you. It is over when you resume, when its time is up, when the caller presses a key and, where the caller "
            "asked for it, when he speaks."
        ),
        parameters={
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["hold", "resume"]},
                "seconds": {
                    "type": "integer",
                    "minimum": 5,
                    "maximum": LONGEST,
                    "description": "How long at most; 60 unless given.",
                },
                "caller_asked": {
                    "type": "boolean",
                    "description": "Whether the caller asked you to wait.",
                },
            },
            "required": ["action"],
        },
    )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for it; the schema has been held against the arguments."""
        if args["action"] == "resume":
            return Answer({"result": "The caller hears you."}, ResumeCall())
        seconds = float(args.get("seconds", 60))
        return Answer(
            {"result": "The call is held. Say nothing until it is over."},
            HoldCall(seconds, bool(args.get("caller_asked", False))),
        )
