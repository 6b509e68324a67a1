"""`transfer_call`: put the caller through to somebody whom the agent's file names, and to nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.errors import ToolFailed
from agent.events import TransferAfterGoodbye
from agent.tools.base import Answer, Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWERED_WITHIN = 15.0
"""Seconds beyond the ringing in which a provider has told that a transfer failed, if it did."""


class TransferCall:
    """Puts the caller through once he has heard that he is.

    Args:
        targets: what the model may choose from: by name, what it is there for and how many seconds it may ring.
    """

    def __init__(self, targets: Mapping[str, tuple[str, float]]) -> None:
        self._targets = targets
        known = "; ".join(
            f"{name}: {what}" if what else name for name, (what, _) in targets.items()
        )
        self.declaration = Declaration(
            name="transfer_call",
            description=(
                "Put the caller through to a person. Say so first, in the same turn: the caller leaves when he has heard it, "
                "and is back with you where nobody takes the call. If the caller goes on speaking, nobody is put through "
                f"until you call this again. There are: {known}."
            ),
            parameters={
                "type": "object",
                "properties": {
                    "target": {
                        "type": "string",
                        "enum": list(targets),
                        "description": "Who takes the caller.",
                    }
                },
                "required": ["target"],
            },
        )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for the transfer; the call itself waits until the caller has heard of it.

        Raises:
            ToolFailed: there is no such target.
        """
        target = args.get("target")
        if not isinstance(target, str) or target not in self._targets:
            raise ToolFailed(
                f"There is nobody by that name. There are: {', '.join(self._targets)}."
            )
        _, rings = self._targets[target]
        return Answer(
            {"result": "The caller is put through when he has heard you say so."},
            TransferAfterGoodbye(target, rings + ANSWERED_WITHIN),
        )
