"""`look_up`: what the agent's own documents say, with where they say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agent.errors import StorageError, ToolFailed
from agent.tools.base import Answer, Declaration

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSAGES = 4
"""At most as many are given: a model that speaks needs the one that answers, not all."""

NOTHING = (
    "Nothing was found in the documents. Ask again with other words, or say that you do not know: "
    "do not answer from anything else."
)


class Quote(msgspec.Struct, frozen=True):
    """What a document says; `source` names the file and, where there is one, the heading."""

    source: str
    text: str


class Library(Protocol):
    """The documents of one agent."""

    async def search(self, question: str, limit: int) -> Sequence[Quote]:
        """What fits best, the best first. Raises StorageError."""
        ...


class LookUp:
    """Looks into the agent's documents.

    Args:
        library: those.
    """

    declaration = Declaration(
        name="look_up",
        description=(
            "Look something up in the documents of the people you work for: prices, rules, opening times, products, whatever a "
            "caller asks that you were not told. Answer only from what it gives back; if nothing fits, say that you do not know."
        ),
        parameters={
            "type": "object",
            "properties": {
                "question": {
                    "type": "string",
                    "description": "What to look for: the few words that matter, in the language of the documents.",
                    "minLength": 1,
                    "maxLength": 500,
                }
            },
            "required": ["question"],
        },
    )

    def __init__(self, library: Library) -> None:
        self._library = library

    async def run(self, args: dict[str, Any]) -> Answer:
        """The passages, each with its source; or that there is nothing."""
        try:
            found = await self._library.search(args["question"], PASSAGES)
        except StorageError as error:
            raise ToolFailed("The documents cannot be read just now. Say so.") from error
        if not found:
            return Answer({"result": NOTHING})
        return Answer({"passages": [msgspec.to_builtins(quote) for quote in found]})
