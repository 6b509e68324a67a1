"""What a call needs of the world, as protocols; `server/` joins them to concrete classes.

A line, a model and a toolbox are told commands and answer with events. `send` never waits and never raises for a peer that is
gone: that arrives as an event (`LineEnded`, `ModelEnded`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio

    from agent.events import (
        AnyCommand,
        AnyEvent,
        Detect,
        LineCommand,
        LineRate,
        ModelCommand,
        Pcm,
        ToolCommand,
        TransferOutcome,
    )


class Line(Protocol):
    """A phone leg that is connected."""

    def send(self, command: LineCommand) -> None: ...


class AttachedLine(Line, Protocol):
    """A phone leg, as the owner of its call needs it."""

    @property
    def sends_digits(self) -> bool:
        """Whether it carries out `Digits`."""
        ...

    @property
    def rate(self) -> LineRate:
        """Of its sound in both directions, Hz; it stays as it is from the moment the leg is connected."""
        ...

    @property
    def ended(self) -> asyncio.Future[Any]:
        """Done when the leg is over; the result is nobody's business."""
        ...


class ArrivingLine(AttachedLine, Protocol):
    """A phone leg that brings its own call: it rings until it is answered, and no webhook tells of it.

    `HangUp` before `answer` refuses the call (busy), after it ends the leg; the line tells its sink `LineEnded` once, whoever
    ended it: `stopped` or `closed` where the caller hung up, `lost` where the line broke.
    """

    @property
    def transfers(self) -> bool:
        """Whether `transfer` can be asked for at all."""
        ...

    async def answer(self) -> bool:
        """Stop ringing; whether the caller hears us now, and did not give up meanwhile."""
        ...

    async def transfer(self, address: str, within: float) -> TransferOutcome:
        """Put the caller through to a number (E.164) or a `sip:` address; ends with the leg too, and after `within` seconds.

        Nothing is hung up: where it was `connected` the caller of this does that.
        """
        ...


class PlacedLine(ArrivingLine, Protocol):
    """A phone leg of a call that we place: it rings at whoever is called. `HangUp` takes it back."""

    async def picked_up(self, within: float) -> str:
        """Ring for at most so many seconds; the `end_reason` of a call that nobody took, empty where somebody did."""
        ...


class Model(Protocol):
    """A session with a speech model; audio sent before it is ready is the sender's mistake."""

    def send(self, command: ModelCommand) -> None: ...


class Toolbox(Protocol):
    """The tools of one call; each `StartTool` is answered by one `ToolFinished` unless it is cancelled."""

    def send(self, command: ToolCommand) -> None: ...


class Detector(Protocol):
    """Hears whether there is a voice; each `Detect` is answered by one `VoiceDetected`."""

    def send(self, command: Detect) -> None: ...


class Recorder(Protocol):
    """Keeps what happened: one entry for each `handle` and `tick`, and the agent's sound as it was heard."""

    def record(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        """`t` seconds after the call's start; `event` is None for a tick."""
        ...

    def keep_sound(self) -> None:
        """Keep sound from now on, where it was not to be kept before the caller knew."""
        ...

    def heard(self, t: float, pcm: Pcm) -> None:
        """The caller heard `pcm` beginning `t` seconds after the call's start."""
        ...
