"""What a tool is."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from agent.events import EndAfterGoodbye


class Declaration(msgspec.Struct, frozen=True):
    """What the model is told of a tool (Live API: `FunctionDeclaration`).

    Attributes:
        name: what the model calls it.
        description: when to use it, in the imperative.
        parameters: JSON Schema of its arguments (an object), None where it takes none.
    """

    name: str
    description: str
    parameters: dict[str, Any] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a tool gives back: a JSON object for the model and, for some tools, an effect on the call."""

    response: dict[str, Any]
    effect: EndAfterGoodbye | None = None


class Tool(Protocol):
    """One thing the agent can do. `run` may raise `ToolFailed` with words that the model can say."""

    @property
    def declaration(self) -> Declaration: ...

    async def run(self, args: dict[str, Any]) -> Answer: ...
