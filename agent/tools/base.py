"""What a tool is, and what it may know of the call it runs in."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from agent.events import Effect


class CallInfo(msgspec.Struct, frozen=True):
    """The call that a tool runs in; the model neither sees nor chooses any of it.

    Attributes:
        id: our id of the call.
        agent: its name.
        caller: the other side's number or address as its network gave it, which proves nothing of who speaks; empty where withheld.
        direction: who called whom.
        variables: what this very call was given by whoever placed it.
        own_line: whether its line brought it without a provider's webhooks: no provider can join it to another call.
    """

    id: str
    agent: str
    caller: str = ""
    direction: Literal["inbound", "outbound"] = "inbound"
    variables: dict[str, str] = {}
    own_line: bool = False


class Declaration(msgspec.Struct, frozen=True):
    """What the model is told of a tool (Live API: `FunctionDeclaration`).

    Attributes:
        name: what the model calls it.
        description: when to use it, in the imperative.
        parameters: JSON Schema of its arguments (an object, plain: see `schema.plain`), None where it takes none.
        deadline: seconds that it may take; None: as long as any tool of the call. Not told to the model.
    """

    name: str
    description: str
    parameters: dict[str, Any] | None = None
    deadline: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a tool gives back: a JSON object for the model and, for some tools, an effect on the call."""

    response: dict[str, Any]
    effect: Effect | None = None


class Tool(Protocol):
    """One thing the agent can do. `run` may raise `ToolFailed` with words that the model can say."""

    @property
    def declaration(self) -> Declaration: ...

    async def run(self, args: dict[str, Any]) -> Answer: ...
