"""`transfer_call`: put the caller through to somebody whom the agent's file names, and to nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent.errors import ToolFailed
from agent.events import TransferAfterGoodbye
from agent.tools.base import Answer, Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWERED_WITHIN = 15.0
"""Seconds beyond the ringing in which a provider has told that a transfer failed, if it did."""

PERSON_DECIDES_WITHIN = 50.0
"""Seconds beyond the ringing that a person may take who is asked first."""


class Choice(NamedTuple):
    """A target, as far as the model's tool knows it.

    Attributes:
        purpose: what it is there for; may be empty.
        rings: how many seconds it may ring.
        warm: whether the person is asked first.
    """

    purpose: str
    rings: float
    warm: bool = False


class Asks(Protocol):
    """Calls a person first; returns once they take the caller, and raises `ToolFailed` where they do not."""

    async def __call__(self, target: str, summary: str) -> None: ...


class TransferCall:
    """Puts the caller through once he has heard that he is.

    Args:
        targets: what the model may choose from, by name.
        ask: asks the person of a warm target.
    """

    def __init__(self, targets: Mapping[str, Choice], ask: Asks) -> None:
        self._targets = targets
        self._ask = ask
        known = "; ".join(_described(name, choice) for name, choice in targets.items())
        warm = [choice.rings for choice in targets.values() if choice.warm]
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
                    },
                    "summary": {
                        "type": "string",
                        "maxLength": 500,
                        "description": "Who calls and why, in two sentences, for whoever takes the caller.",
                    },
                },
                "required": ["target"],
            },
            deadline=max(warm) + PERSON_DECIDES_WITHIN if warm else None,
        )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask for the transfer, after the person where that is wanted; the call waits until the caller has heard of it.

        Raises:
            ToolFailed: there is no such target, or the person does not take the caller.
        """
        target = args.get("target")
        if not isinstance(target, str) or target not in self._targets:
            known = ", ".join(self._targets)
            raise ToolFailed(f"There is nobody by that name. There are: {known}.")
        there = self._targets[target]
        told = "The caller is put through when he has heard you say so."
        if there.warm:
            await self._ask(target, str(args.get("summary", "")))
            told = "They take the call. Tell the caller that you put him through now; he leaves when he has heard it."
        return Answer({"result": told}, TransferAfterGoodbye(target, there.rings + ANSWERED_WITHIN))


def _described(name: str, choice: Choice) -> str:
    asked = " (is asked first, while you go on talking)" if choice.warm else ""
    return f"{name}{asked}: {choice.purpose}" if choice.purpose else name + asked
