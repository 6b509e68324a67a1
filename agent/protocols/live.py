"""What a driver of speech models needs of a model's wire language; `agent/models/live.py` drives it.

A new model is one file (or folder) beside this one that has this shape. Time is an argument: seconds,
monotonic. A session tells of its end exactly once, with `ModelEnded`, unless the call left it first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.events import EndAudio, ModelEvent, SendAudio, SendNote, SendText, SendToolResult


class LiveModel(Protocol):
    """One session with a speech model, as a machine: frames in, events out; commands in, frames out."""

    @property
    def ready(self) -> bool:
        """The model hears what it is sent."""
        ...

    @property
    def over(self) -> bool:
        """Nothing will come of this session any more."""
        ...

    def connecting(self, now: float) -> None:
        """The driver begins to open the socket."""
        ...

    def opened(self, now: float) -> str:
        """The socket is open; returns the first frame to send."""
        ...

    def receive(self, frame: str | bytes, now: float) -> list[ModelEvent]:
        """A frame has come; whatever is in it, this never raises for the peer's mistakes."""
        ...

    def send(self, command: SendAudio | SendText | SendNote | SendToolResult | EndAudio) -> str:
        """The frame that says `command`, empty where it has lost its meaning meanwhile; raises `OwnFault` unless `ready`."""
        ...

    def refused(self, status: int | None, reason: str, now: float) -> list[ModelEvent]:
        """No socket could be opened; `status` is the HTTP answer to the upgrade, if there was one."""
        ...

    def closed(self, code: int, reason: str, now: float) -> list[ModelEvent]:
        """The socket is closed."""
        ...

    def stalled(self, reason: str, now: float) -> list[ModelEvent]:
        """The peer no longer takes what we send; the driver gives the socket up."""
        ...

    def leave(self) -> None:
        """The call needs the model no longer: the session is over and tells of it no more."""
        ...

    def deadline(self) -> float | None:
        """When to call `tick`, or None."""
        ...

    def tick(self, now: float) -> list[ModelEvent]:
        """Time has passed; nothing happens before `deadline`."""
        ...
