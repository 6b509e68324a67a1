"""The Media Streams wire from Twilio's side: what it sends, what it takes, and each rule by name.

Pure: text in, messages out. Source: Twilio, "Media Streams, WebSocket messages" (read 2026-11-21)
and the pages of the error codes named below. Twilio itself warns once (31950, 31951) and then
plays nothing; the stand-in ends the session instead, so that no broken message goes unseen.

    we send                              we take
    connected, start, media, dtmf,       media, mark, clear
    mark (echo), stop
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from agent.simulator.report import Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAME_SAMPLES = 160
"""20 ms of 8 kHz mu-law, one byte a sample: what every captured live call sends."""

MESSAGES_DOC = "https://www.twilio.com/docs/voice/media-streams/websocket-messages"
ERRORS_DOC = "https://www.twilio.com/docs/api/errors/"

RULES: dict[str, str] = {
    "binary-frame": f"{ERRORS_DOC}31950",
    "not-json": f"{ERRORS_DOC}31951",
    "unknown-event": f"{ERRORS_DOC}31951",
    "missing-field": f"{ERRORS_DOC}31951",
    "extra-field": f"{ERRORS_DOC}31951",
    "wrong-type": f"{ERRORS_DOC}31951",
    "wrong-stream-sid": f"{ERRORS_DOC}31951",
    "before-start": f"{ERRORS_DOC}31951",
    "bad-base64": MESSAGES_DOC,
    "file-header": MESSAGES_DOC,
    "buffer-overflow": f"{ERRORS_DOC}31931",
    "after-stop": MESSAGES_DOC,
    "websocket-protocol": f"{ERRORS_DOC}31924",
}
"""Each rule of the wire and the public document that states it."""

FILE_HEADERS: dict[bytes, str] = {
    b"RIFF": "WAV",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3\x03": "MP3",
    b"ID3\x04": "MP3",
    b".snd": "AU",
}
"""Payloads are raw audio: "should not contain audio file type header bytes"."""

CLOSE_REASON_MAX = 123
"""Bytes of a close frame's reason (RFC 6455, section 5.5: 125 less the code)."""


class BrokenRule(Exception):
    """The server broke a rule: the session ends."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.violation = Violation(rule, RULES[rule], detail)

    def close_reason(self) -> str:
        """The rule and its document, as a close frame can carry them."""
        text = f"{self.violation.rule}: {self.violation.doc}"
        return text[:CLOSE_REASON_MAX]


class MediaBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `media` object: raw mu-law, base64 on the wire."""

    payload: bytes


class MarkBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `mark` object."""

    name: str


class Media(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="media"
):
    """Audio to play."""

    streamSid: str  # noqa: N815  # the wire's name
    media: MediaBody


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="mark"):
    """A name to send back when the audio before it was played."""

    streamSid: str  # noqa: N815
    mark: MarkBody


class Clear(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="event", tag="clear"
):
    """Drop what is buffered."""

    streamSid: str  # noqa: N815


_DECODER: msgspec.json.Decoder[Media | Mark | Clear] = msgspec.json.Decoder(Media | Mark | Clear)
_FIELDS: dict[str, tuple[str, str | None]] = {
    "media": ("media", "payload"),
    "mark": ("mark", "name"),
    "clear": ("", None),
}


def decode(raw: str | bytes, stream_sid: str) -> Media | Mark | Clear:
    """Decode one message of the server's.

    Args:
        raw: a text message; UTF-8 where it is bytes.
        stream_sid: of the stream that it came on.

    Raises:
        BrokenRule: the message breaks a rule, which it names.
    """
    try:
        message = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise diagnose(raw, str(error)) from error
    if message.streamSid != stream_sid:
        raise BrokenRule("wrong-stream-sid", f"{message.streamSid!r} is not this stream's")
    if isinstance(message, Media) and (kind := FILE_HEADERS.get(message.media.payload[:4])):
        raise BrokenRule("file-header", f"media.payload begins with a {kind} header")
    return message


def diagnose(raw: str | bytes, error: str) -> BrokenRule:
    """Name the rule that a message breaks which the typed decoder refused."""
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return BrokenRule("not-json", error)
    if not isinstance(message, dict):
        return BrokenRule("wrong-type", "a message is a JSON object")
    if "event" not in message:
        return BrokenRule("missing-field", "event")
    event = message["event"]
    if not isinstance(event, str) or event not in _FIELDS:
        return BrokenRule("unknown-event", f"{event!r} is none of media, mark, clear")
    return _wrong_fields(message, event) or BrokenRule("wrong-type", error)


def _wrong_fields(message: dict[str, object], event: str) -> BrokenRule | None:
    body_name, field = _FIELDS[event]
    wanted = {"event", "streamSid"} | ({body_name} if body_name else set())
    if found := _missing_or_extra(message, wanted, ""):
        return found
    if field is None:
        return None
    body = message[body_name]
    if not isinstance(body, dict):
        return BrokenRule("wrong-type", f"{body_name} is an object")
    if found := _missing_or_extra(body, {field}, f"{body_name}."):
        return found
    if event == "media" and isinstance(body[field], str):
        return BrokenRule("bad-base64", "media.payload is not base64")
    return None


def _missing_or_extra(
    message: dict[str, object], wanted: set[str], prefix: str
) -> BrokenRule | None:
    if missing := sorted(wanted - message.keys()):
        return BrokenRule("missing-field", f"{prefix}{missing[0]}")
    if extra := sorted(message.keys() - wanted):
        return BrokenRule("extra-field", f"{prefix}{extra[0]}")
    return None


def connected() -> str:
    """The first message on the socket: it has no stream and no number yet."""
    return '{"event":"connected","protocol":"Call","version":"1.0.0"}'


class StreamWriter:
    """Writes one stream's messages: counters are JSON strings, the media format JSON numbers.

    `sequenceNumber` is "1" at `start` and counts messages of every kind, `chunk` counts media
    from "1", `timestamp` is in milliseconds since the stream began.
    """

    def __init__(self, *, account_sid: str, call_sid: str, stream_sid: str, first_ms: int) -> None:
        """Begin a stream whose first media message is stamped `first_ms`."""
        self._account_sid = account_sid
        self._call_sid = call_sid
        self._tail = f'"streamSid":"{stream_sid}"'
        self._stream_sid = stream_sid
        self._sequence = 0
        self._chunk = 0
        self._timestamp_ms = first_ms

    @property
    def chunks(self) -> int:
        """How many media messages were written."""
        return self._chunk

    def start(self, parameters: Mapping[str, str]) -> str:
        """The `start` message with the TwiML's <Parameter>s."""
        body = {
            "accountSid": self._account_sid,
            "streamSid": self._stream_sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        return self._numbered("start", f'"start":{msgspec.json.encode(body).decode()}')

    def media(self, mulaw: bytes) -> str:
        """One frame of the caller's audio: 160 bytes of mu-law, 20 ms."""
        self._chunk += 1
        payload = base64.b64encode(mulaw).decode("ascii")
        text = self._numbered(
            "media",
            f'"media":{{"track":"inbound","chunk":"{self._chunk}",'
            f'"timestamp":"{self._timestamp_ms}","payload":"{payload}"}}',
        )
        self._timestamp_ms += len(mulaw) // 8
        return text

    def dtmf(self, digit: str) -> str:
        """One key press; its track is `inbound_track`, unlike that of media."""
        return self._numbered("dtmf", f'"dtmf":{{"track":"inbound_track","digit":"{digit}"}}')

    def mark(self, name: str) -> str:
        """A mark sent back under the name it came with."""
        return self._numbered("mark", f'"mark":{{"name":{msgspec.json.encode(name).decode()}}}')

    def stop(self) -> str:
        """The last message of a stream."""
        return self._numbered(
            "stop",
            f'"stop":{{"accountSid":"{self._account_sid}","callSid":"{self._call_sid}"}}',
        )

    def _numbered(self, event: str, body: str) -> str:
        self._sequence += 1
        return f'{{"event":"{event}","sequenceNumber":"{self._sequence}",{self._tail},{body}}}'
