"""Asterisk's `chan_websocket` with JSON control messages, as a machine without I/O.

Source of every message and rule here: "Asterisk: Configuration, Channel Drivers, WebSocket"
(https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket), called WebSocket below. Asterisk is the client. Sound is
binary frames of bare mu-law, control is text frames. Asterisk owns the clock: what we send waits in its queue, 20 ms a frame.

Asterisk sends nothing while a caller is on hold, or where his phone leaves silence out; the model has to hear silence then, so it is
made here. Whether the other side is there at all is asked (`GET_STATUS`), since a quiet line looks like a dead one.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.audio import g711
from agent.errors import LineProtocolError, OwnFault
from agent.events import (
    Answer,
    Clear,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)
from agent.protocols.base import LineFacts, StreamStart

if TYPE_CHECKING:
    from agent.events import LineCommand, LineEvent

START_SECONDS = 5.0
"""From the upgrade to `MEDIA_START`, which follows it at once."""

QUIET_SECONDS = 0.5
"""Without a frame for so long, the line is silent and not late."""

FILL_SECONDS = 0.1
"""Silence is made in pieces of this length from then on."""

ASK_SECONDS = 10.0
"""Without a message for so long, Asterisk is asked whether it is there; as long again, and it is not."""

MAX_BAD_RUN = 50
"""Unreadable messages in a row."""

FRAME_BYTES = 160
"""Bytes of mu-law, 20 ms. What is not a multiple of it loses its remainder (WebSocket, "Media Transfer")."""

COMMAND_BYTES = 128
"""A text of this length or more is not taken for a command (`MAX_TEXT_MESSAGE_LEN` in chan_websocket.c)."""

HELD_FRAMES = 100
"""Frames that wait for `MEDIA_XON`, 2 s: the newest is dropped then. The lead that calls keep is a fifth of it."""

DIGITS = frozenset("0123456789*#ABCD")

VARIABLE = "PICKUP_"
"""Channel variables by this name are for us; all the others of the channel are nobody's business."""

IGNORED = frozenset({"STATUS", "QUEUE_DRAINED", "MEDIA_BUFFERING_COMPLETED"})
"""Events that say nothing to a call; any of them shows that Asterisk is there."""


class State(StrEnum):
    """Where a stream is in its life."""

    NEW = "new"
    STARTED = "started"
    STOPPED = "stopped"


class Fault(StrEnum):
    """Rules that a peer broke, or commands of ours that it refused, without ending the stream; names of the counters."""

    MALFORMED = "malformed"  # not JSON, or not of its event's shape
    UNKNOWN = "unknown"  # an event that WebSocket does not name
    MISPLACED = "misplaced"  # sound or an event before MEDIA_START
    EMPTY = "empty"  # a frame without sound
    REFUSED = "refused"  # ERROR: Asterisk did not take a command
    OVERFLOW = "overflow"  # our sound, dropped because no MEDIA_XON came


class _Message(msgspec.Struct):
    """Any event; each brings its own members."""

    event: str
    connection_id: str = ""
    channel_id: str = ""
    format: str = ""
    optimal_frame_size: int = 0
    digit: str = ""
    correlation_id: str = ""
    queue_full: bool = True
    channel_variables: dict[str, str] = {}


_decode = msgspec.json.Decoder(_Message).decode


class AsteriskStream:
    """One WebSocket of Asterisk's; the shape is `agent.protocols.base.MediaStream`.

    Args:
        now: when the socket was accepted (seconds, monotonic).

    Attributes:
        faults: how often each rule was broken.
    """

    facts: ClassVar[LineFacts] = LineFacts(
        rate=8000, frame=FRAME_BYTES / 8000, marks_confirmed=True
    )

    def __init__(self, now: float) -> None:
        self.state = State.NEW
        self.faults: Counter[Fault] = Counter()
        self._start_by = now + START_SECONDS
        self._heard_at = now  # the last message of any kind
        self._asked = False  # whether it is there, since then
        self._sounded_to = now  # up to here the line has given sound, or we have
        self._fill_at = now
        self._bad_run = 0
        self._held: deque[str | bytes] | None = None  # what waits for MEDIA_XON
        self._replies: list[str | bytes] = []

    def receive(self, message: str | bytes, now: float) -> list[StreamStart | LineEvent]:
        """Take one message; see `MediaStream.receive`.

        Raises:
            LineProtocolError: the stream cannot go on.
        """
        if self.state is State.STOPPED:
            return []
        self._heard_at, self._asked = now, False
        if isinstance(message, bytes):
            return self._sound(message, now)
        try:
            event = _decode(message)
        except (msgspec.DecodeError, RecursionError):
            if message.startswith("MEDIA_START "):
                why = "control messages are plain text: the dial string needs f(json)"
                raise self._refusal(why, close_code=1003) from None
            return self._bad(Fault.MALFORMED)
        if event.event == "MEDIA_START" and self.state is State.NEW:
            return [self._start(event, now)]
        if self.state is State.NEW:
            return self._bad(Fault.MISPLACED)
        return self._event(event)

    def send(self, command: LineCommand | Answer) -> str | bytes | None:
        """The message for a command; None outside a started stream, and while `MEDIA_XOFF` holds it back.

        Raises:
            OwnFault: audio that is not whole frames, or a command too long to be read.
        """
        if self.state is not State.STARTED:
            return None
        if isinstance(command, Play):
            if len(command.pcm) % (2 * FRAME_BYTES):
                raise OwnFault(f"{len(command.pcm)} bytes of audio are not whole frames of 20 ms")
            return self._in_order(g711.encode(command.pcm))
        if isinstance(command, Mark):
            return self._in_order(_command("MARK_MEDIA", command.name))
        if isinstance(command, Clear):
            if self._held is not None:
                self._held.clear()
                self._replies.append(_command("GET_STATUS"))  # a queue that was emptied has room
            return _command("FLUSH_MEDIA")
        if isinstance(command, Answer):
            return _command("ANSWER")
        return _command("HANGUP") if isinstance(command, HangUp) else None

    def replies(self) -> list[str | bytes]:
        """What is to be sent because of what was received, or of the time; each is given once."""
        replies, self._replies = self._replies, []
        return replies

    def deadline(self) -> float | None:
        if self.state is State.STOPPED:
            return None
        if self.state is State.NEW:
            return self._start_by
        return min(self._fill_at, self._heard_at + (2 if self._asked else 1) * ASK_SECONDS)

    def tick(self, now: float) -> list[LineEvent]:
        """Let time pass; see `MediaStream.tick`.

        Raises:
            LineProtocolError: no `MEDIA_START` came in time.
        """
        if self.state is State.NEW and now >= self._start_by:
            raise self._refusal(f"no MEDIA_START within {START_SECONDS:.0f} s")
        if self.state is not State.STARTED:
            return []
        if now >= self._heard_at + 2 * ASK_SECONDS:
            self.state = State.STOPPED
            return [LineEnded("lost")]
        if now >= self._heard_at + ASK_SECONDS and not self._asked:
            self._asked = True
            self._replies.append(_command("GET_STATUS"))
        return self._fill(now) if now >= self._fill_at else []

    def counts(self) -> dict[str, int]:
        return {str(fault): count for fault, count in self.faults.items()}

    # ---- what comes

    def _start(self, event: _Message, now: float) -> StreamStart:
        if event.format != "ulaw" or event.optimal_frame_size != FRAME_BYTES:
            got = f"{event.format[:20]}, {event.optimal_frame_size} bytes a frame"
            raise self._refusal(f"{got}: the dial string needs c(ulaw)", close_code=1003)
        if not event.channel_id:
            raise self._refusal("MEDIA_START does not name its channel")
        self.state = State.STARTED
        self._bad_run = 0
        self._sounded(now)
        variables = event.channel_variables.items()
        return StreamStart(
            stream_id=event.connection_id,
            call_id=event.channel_id,
            account="",
            parameters={
                name.removeprefix(VARIABLE).lower(): value
                for name, value in variables
                if name.startswith(VARIABLE)
            },
            encoding=event.format,
            rate=8000,
        )

    def _sound(self, frame: bytes, now: float) -> list[StreamStart | LineEvent]:
        if self.state is State.NEW:
            return self._bad(Fault.MISPLACED)
        if not frame:
            return self._bad(Fault.EMPTY)
        self._bad_run = 0
        self._sounded(now)
        return [LineAudio(g711.decode(frame))]

    def _event(self, event: _Message) -> list[StreamStart | LineEvent]:
        match event.event:
            case "MEDIA_MARK_PROCESSED":
                return [LineMark(event.correlation_id)]
            case "DTMF_END" if event.digit in DIGITS and event.digit:
                return [LineDigit(event.digit)]
            case "MEDIA_XOFF":
                self._held = self._held or deque()
            case "MEDIA_XON" | "STATUS" if event.event == "MEDIA_XON" or not event.queue_full:
                self._replies.extend(self._held or ())
                self._held = None
            case "ERROR":
                self.faults[Fault.REFUSED] += 1
            case "MEDIA_START":
                raise self._refusal("a second MEDIA_START")
            case "DTMF_END":
                return self._bad(Fault.MALFORMED)
            case name if name in IGNORED:
                pass
            case _:
                self.faults[Fault.UNKNOWN] += 1
        return []

    def _sounded(self, now: float) -> None:
        self._sounded_to = now
        self._fill_at = now + QUIET_SECONDS

    def _fill(self, now: float) -> list[LineEvent]:
        """The silence that the line has left out."""
        frames = min(int((now - self._sounded_to) / self.facts.frame + 1e-6), HELD_FRAMES)
        self._sounded_to = now
        self._fill_at = now + FILL_SECONDS
        return [LineAudio(Pcm8k(bytes(2 * FRAME_BYTES * frames)))]

    # ---- what goes

    def _in_order(self, message: str | bytes) -> str | bytes | None:
        """Sound, and marks between it, wait together where Asterisk's queue is full."""
        if self._held is None:
            return message
        frames = sum(len(each) for each in self._held if isinstance(each, bytes)) // FRAME_BYTES
        if isinstance(message, bytes) and frames + len(message) // FRAME_BYTES > HELD_FRAMES:
            self.faults[Fault.OVERFLOW] += 1
        else:
            self._held.append(message)
        return None

    def _bad(self, fault: Fault) -> list[StreamStart | LineEvent]:
        self.faults[fault] += 1
        self._bad_run += 1
        if self._bad_run >= MAX_BAD_RUN:
            raise self._refusal(f"{self._bad_run} unreadable messages in a row", close_code=1007)
        return []

    def _refusal(self, message: str, *, close_code: int = 1008) -> LineProtocolError:
        self.state = State.STOPPED
        return LineProtocolError(f"Asterisk: {message}", close_code=close_code)


def _command(name: str, correlation_id: str = "") -> str:
    """A command in as few bytes as it takes."""
    members = {"command": name} | ({"correlation_id": correlation_id} if correlation_id else {})
    text = msgspec.json.encode(members)
    if len(text) >= COMMAND_BYTES:
        raise OwnFault(f"a command of {len(text)} bytes: Asterisk would not read it")
    return text.decode()
