"""What a call needs of the world, as protocols; `server/` joins them to concrete classes.

A line, a model and a toolbox are told commands and answer with events. `send` never waits and never raises for a peer that is
gone: that arrives as an event (`LineEnded`, `ModelEnded`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.events import (
        AnyCommand,
        AnyEvent,
        Detect,
        LineCommand,
        ModelCommand,
        Pcm,
        ToolCommand,
    )


class Line(Protocol):
    """A phone leg that is connected."""

    def send(self, command: LineCommand) -> None: ...


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
