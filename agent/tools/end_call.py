"""`end_call`: the agent says goodbye and hangs up, in that order."""

from __future__ import annotations

from typing import Any

from agent.events import EndAfterGoodbye
from agent.tools.base import Answer, Declaration


class EndCall:
    """Ends the call once the caller has heard what the agent is saying."""

    declaration = Declaration(
        name="end_call",
        description=(
            "End the telephone call. Say goodbye first, in the same turn. Use it when the caller says goodbye or has "
            "nothing more to ask."
        ),
    )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for the end; the call itself waits until the goodbye was heard."""
        return Answer({"result": "The call ends when you have said goodbye."}, EndAfterGoodbye())
