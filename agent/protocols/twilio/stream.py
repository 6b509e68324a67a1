"""Twilio Media Streams, bidirectional (`<Connect><Stream>`), as a machine without I/O.

Source of every message and rule here: "Twilio: Media Streams, WebSocket messages"
(https://www.twilio.com/docs/voice/media-streams/websocket-messages), called Messages below.

What a peer may do wrong has three fates. What carries no sound (an event we do not know, a message
out of place, one that came twice) is dropped and counted. Sound that cannot be read is counted and
replaced by silence, so that everything after it keeps its time. A stream that cannot become a call
(no `start` in time, two of them, another codec, nothing but rubbish) is refused with a close code.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.audio import g711
from agent.errors import LineProtocolError, OwnFault
from agent.events import (
    Answer,
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
"""From the upgrade to `start`; Twilio needs half a second. A silent socket holds nothing longer."""

SILENT_SECONDS = 20.0
"""Twilio sends `media` every 20 ms, silence too: this long without a message is a dead socket."""

MAX_MESSAGE = 65_536
"""Characters. A `media` of 20 ms has about 350; the server's `ws_max_size` refuses larger ones first."""

MAX_BAD_RUN = 50
"""Unreadable messages in a row, which is one second of them."""

FRAME_BYTES = 160
"""Bytes of mu-law, 20 ms: what we send. Messages does not promise it, so any length is taken."""

ENCODING = ("audio/x-mulaw", 8000, 1)
"""Messages, `start.mediaFormat`: encoding, sampleRate and channels "always" have these values."""

DIGITS = frozenset("0123456789*#ABCD")


class State(StrEnum):
    """Where a stream is in its life."""

    NEW = "new"
    CONNECTED = "connected"
    STARTED = "started"
    STOPPED = "stopped"


TRANSITIONS = {
    (State.NEW, "connected"): State.CONNECTED,
    # `connected` says nothing that we need, and some gateways that speak this protocol leave it
    # out.
    (State.NEW, "start"): State.STARTED,
    (State.NEW, "stop"): State.STOPPED,
    (State.CONNECTED, "start"): State.STARTED,
    (State.CONNECTED, "stop"): State.STOPPED,
    (State.STARTED, "media"): State.STARTED,
    (State.STARTED, "mark"): State.STARTED,
    (State.STARTED, "dtmf"): State.STARTED,
    (State.STARTED, "stop"): State.STOPPED,
}
"""(state, event) -> state. A second `start` is refused; any other pair is dropped and counted."""

EVENTS = frozenset(event for _, event in TRANSITIONS)


class Fault(StrEnum):
    """Rules that a peer broke without ending the stream; names of the counters."""

    BINARY = "binary"  # a binary frame; Messages knows text only
    MALFORMED = "malformed"  # not JSON, or not of its event's shape
    UNKNOWN = "unknown"  # an event that Messages does not name
    MISPLACED = "misplaced"  # an event that its state does not allow
    WRONG_STREAM = "wrong_stream"
    WRONG_TRACK = "wrong_track"  # Messages: bidirectional streams carry the inbound track only
    REPEATED = "repeated"  # a sequence number that was here before
    LATE = "late"  # ... that was overtaken; the message is taken all the same
    SKIPPED = "skipped"  # ... that does not follow the one before
    EMPTY_PAYLOAD = "empty_payload"
    BAD_PAYLOAD = "bad_payload"  # not base64
    WAV_HEADER = "wav_header"


class _Format(msgspec.Struct, rename="camel"):
    encoding: str
    sample_rate: int
    channels: int


class _Start(msgspec.Struct, rename="camel"):
    stream_sid: str
    call_sid: str
    account_sid: str
    media_format: _Format
    custom_parameters: dict[str, str] = {}


class _Media(msgspec.Struct):
    payload: bytes  # base64 in the message; msgspec decodes it
    track: str = "inbound"


class _Dtmf(msgspec.Struct):
    digit: str


class _Mark(msgspec.Struct):
    name: str


class _Message(msgspec.Struct, rename="camel"):
    """Any message. A tagged union would refuse an event that Twilio adds one day."""

    event: str
    sequence_number: int = 0  # Messages: a string, from "1"; absent in `connected`
    stream_sid: str = ""
    start: _Start | None = None
    media: _Media | None = None
    dtmf: _Dtmf | None = None
    mark: _Mark | None = None


class _Event(msgspec.Struct):
    """What is left of a message whose details cannot be read."""

    event: str


# Not strict: Messages writes counters as strings, and a gateway may not.
_decode = msgspec.json.Decoder(_Message, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event).decode

# UnicodeEncodeError: a lone surrogate, which no JSON text can hold. RecursionError: brackets beyond
# any sense.
_UNREADABLE = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)


class Sequence:
    """Tells new sequence numbers from repeated ones by a window (as RFC 4303, section 3.4.3).

    TCP keeps order, so whatever this finds is the sender's doing.
    """

    SIZE = 64

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: highest - n has been here

    def take(self, number: int) -> Fault | None:
        """Note a number and say what is odd about it; older than the window counts as repeated."""
        step = number - self._highest
        if step > 0:
            self._seen = (self._seen << step | 1) & (1 << self.SIZE) - 1 if step < self.SIZE else 1
            self._highest = number
            return None if step == 1 else Fault.SKIPPED
        if -step >= self.SIZE or self._seen >> -step & 1:
            return Fault.REPEATED
        self._seen |= 1 << -step
        return Fault.LATE


class TwilioStream:
    """One bidirectional media stream; the shape is `agent.protocols.base.MediaStream`.

    Args:
        now: when the upgrade was accepted, seconds, monotonic.
    """

    facts: ClassVar[LineFacts] = LineFacts(
        rate=8000, frame=FRAME_BYTES / 8000, marks_confirmed=True
    )

    def __init__(self, now: float) -> None:
        self.state = State.NEW
        self.faults: Counter[Fault] = Counter()
        self._deadline = now + START_SECONDS
        self._stream_id = ""
        self._head = ""  # of every message that we send
        self._sequence = Sequence()
        self._frame_bytes = FRAME_BYTES  # of the peer's last good payload
        self._bad_run = 0

    def receive(self, message: str | bytes, now: float) -> list[StreamStart | LineEvent]:
        """Take one message; see `MediaStream.receive`.

        Raises:
            LineProtocolError: the stream cannot go on.
        """
        started = self.state is State.STARTED
        if started:
            self._deadline = now + SILENT_SECONDS
        elif self.state is State.STOPPED:
            self.faults[Fault.MISPLACED] += 1
            return []
        if isinstance(message, bytes):
            self._bad(Fault.BINARY)
            return []
        if len(message) > MAX_MESSAGE:
            raise self._refusal(f"a message of {len(message)} characters", close_code=1009)
        try:
            frame = _decode(message)
        except _UNREADABLE as error:
            return self._receive_unreadable(message, str(error), now)
        if started and frame.event == "media":  # fifty times a second
            return self._in_order(frame)
        return self._receive(frame, now)

    def send(self, command: LineCommand | Answer) -> str | None:
        """The message for a command; None outside a started stream, for `Answer` and for `HangUp`.

        Messages allows exactly these members: one more, or one less, and Twilio warns once (31951)
        and plays nothing.
        """
        if self.state is not State.STARTED or isinstance(command, Answer | HangUp):
            return None
        if isinstance(command, Play):
            if len(command.pcm) % (2 * FRAME_BYTES):
                raise OwnFault(f"{len(command.pcm)} bytes of audio are not whole frames of 20 ms")
            payload = b2a_base64(g711.encode(command.pcm), newline=False).decode("ascii")
            return f'{{"event":"media",{self._head},"media":{{"payload":"{payload}"}}}}'
        if isinstance(command, Mark):
            return f'{{"event":"mark",{self._head},"mark":{{"name":{_quoted(command.name)}}}}}'
        return f'{{"event":"clear",{self._head}}}'

    def replies(self) -> tuple[()]:
        """Twilio asks for nothing."""
        return ()

    def deadline(self) -> float | None:
        return None if self.state is State.STOPPED else self._deadline

    def tick(self, now: float) -> list[LineEvent]:
        """Let time pass; see `MediaStream.tick`.

        Raises:
            LineProtocolError: no `start` came in time.
        """
        if self.state is State.STOPPED or now < self._deadline:
            return []
        if self.state is State.STARTED:
            self.state = State.STOPPED
            return [LineEnded("lost")]
        raise self._refusal(f"no start within {START_SECONDS:.0f} s")

    def counts(self) -> dict[str, int]:
        return {str(fault): count for fault, count in self.faults.items()}

    def _receive(self, frame: _Message, now: float) -> list[StreamStart | LineEvent]:
        event = frame.event
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            if event == "start" and self.state is State.STARTED:
                raise self._refusal("a second start")
            self.faults[Fault.MISPLACED if event in EVENTS else Fault.UNKNOWN] += 1
            return []
        if event == "start":
            return [self._start(frame, now)]
        if event == "stop":
            self.state = state
            return [LineEnded("stopped")]
        self.state = state
        return self._in_order(frame) if state is State.STARTED else []

    def _start(self, frame: _Message, now: float) -> StreamStart:
        start = frame.start
        if start is None or not start.stream_sid or not start.call_sid:
            raise self._refusal("start does not name its stream and call")
        audio = start.media_format
        if (audio.encoding, audio.sample_rate, audio.channels) != ENCODING:
            got = f"{audio.encoding[:40]}/{audio.sample_rate}/{audio.channels}"
            raise self._refusal(f"mediaFormat is {got}, not audio/x-mulaw/8000/1", close_code=1003)
        self._sequence.take(frame.sequence_number)
        self._stream_id = start.stream_sid
        self._head = f'"streamSid":{_quoted(start.stream_sid)}'
        self._deadline = now + SILENT_SECONDS
        self.state = State.STARTED
        return StreamStart(
            stream_id=start.stream_sid,
            call_id=start.call_sid,
            account=start.account_sid,
            parameters=start.custom_parameters,
            encoding=audio.encoding,
            rate=audio.sample_rate,
        )

    def _in_order(self, frame: _Message) -> list[StreamStart | LineEvent]:
        """A message of a started stream, unless it is another stream's or was here before."""
        if frame.stream_sid and frame.stream_sid != self._stream_id:
            self.faults[Fault.WRONG_STREAM] += 1
            return []
        oddity = self._sequence.take(frame.sequence_number) if frame.sequence_number > 0 else None
        if oddity is Fault.REPEATED:
            self._bad(oddity)
            return []
        if oddity is not None:
            self.faults[oddity] += 1
        if frame.media is not None and frame.event == "media":
            return self._media(frame.media)
        if frame.mark is not None and frame.event == "mark":
            return [LineMark(frame.mark.name)]
        if frame.dtmf is not None and frame.event == "dtmf" and frame.dtmf.digit in DIGITS:
            return [LineDigit(frame.dtmf.digit)]
        self._bad(Fault.MALFORMED)
        return self._silence() if frame.event == "media" else []

    def _media(self, media: _Media) -> list[StreamStart | LineEvent]:
        if media.track != "inbound":
            self.faults[Fault.WRONG_TRACK] += 1
            return []
        payload = media.payload
        if not payload:
            self._bad(Fault.EMPTY_PAYLOAD)
            return self._silence()
        # Messages: the payload is raw audio, "without audio file type header bytes".
        if payload[:4] == b"RIFF" and payload[8:12] == b"WAVE":
            self._bad(Fault.WAV_HEADER)
            return self._silence()
        self._bad_run = 0
        self._frame_bytes = len(payload)
        return [LineAudio(g711.decode(payload))]

    def _receive_unreadable(
        self, message: str, error: str, now: float
    ) -> list[StreamStart | LineEvent]:
        try:
            event = _decode_event(message).event
        except _UNREADABLE:
            event = ""
        if event == "start":
            raise self._refusal(f"start cannot be read: {error[:60]}")
        if event == "media" and self.state is State.STARTED:
            self._bad(Fault.BAD_PAYLOAD if "$.media" in error else Fault.MALFORMED)
            return self._silence()
        if event in ("connected", "stop") or (event and event not in EVENTS):
            return self._receive(_Message(event), now)  # its details matter to nobody
        self._bad(Fault.MALFORMED)
        return []

    def _silence(self) -> list[StreamStart | LineEvent]:
        """Stands in for sound that cannot be read: as long as the last that could."""
        return [LineAudio(Pcm8k(bytes(2 * self._frame_bytes)))]

    def _bad(self, fault: Fault) -> None:
        self.faults[fault] += 1
        self._bad_run += 1
        if self._bad_run >= MAX_BAD_RUN:
            raise self._refusal(f"{self._bad_run} unreadable messages in a row", close_code=1007)

    def _refusal(self, message: str, *, close_code: int = 1008) -> LineProtocolError:
        self.state = State.STOPPED
        return LineProtocolError(f"Twilio: {message}", close_code=close_code)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
