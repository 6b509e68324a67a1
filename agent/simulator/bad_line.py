"""A phone line that misbehaves, one named fault at a time: what a server must outlive.

Pure: every message that the stand-in is about to send passes through `BadLine.distort`, which says
what is sent instead. Nothing here is random: the fault comes at the same message every time.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

RESET: Final = None
"""In place of a message: the connection is reset, without a close frame."""
FAULTY_CHUNK = 25
"""The media message, from 1, at which a fault of the audio comes: half a second in."""
HUGE_BYTES = 1024 * 1024
WAV_HEADER = b"RIFF\x24\x00\x00\x00WAVEfmt ".ljust(160, b"\x00")

Sent = str | bytes | None
"""A text message, a binary one, or a reset."""


def _media(payload: str, stream_sid: str = "MZ" + "f" * 32) -> str:
    return (
        f'{{"event":"media","sequenceNumber":"1","streamSid":"{stream_sid}",'
        f'"media":{{"track":"inbound","chunk":"1","timestamp":"5","payload":"{payload}"}}}}'
    )


def _with_payload(text: str, payload: str) -> str:
    head, mark, _ = text.partition('"payload":"')
    return f'{head}{mark}{payload}"}}}}'


def _media_before_start(text: str, event: str, _: int) -> list[Sent]:
    silence = base64.b64encode(b"\xff" * 160).decode()
    return [text, _media(silence)] if event == "connected" else [text]


def _two_starts(text: str, event: str, _: int) -> list[Sent]:
    return [text, text] if event == "start" else [text]


def _no_start(text: str, event: str, _: int) -> list[Sent]:
    return [text] if event == "connected" else []


def _no_stop(text: str, event: str, _: int) -> list[Sent]:
    return [] if event == "stop" else [text]


def _at_chunk(replace: Callable[[str], list[Sent]]) -> Callable[[str, str, int], list[Sent]]:
    def at_chunk(text: str, event: str, chunk: int) -> list[Sent]:
        faulty = event == "media" and chunk == FAULTY_CHUNK
        return replace(text) if faulty else [text]

    return at_chunk


def _out_of_order(text: str, event: str, chunk: int) -> list[Sent]:
    if event != "media" or chunk != FAULTY_CHUNK:
        return [text]
    earlier = text.replace(f'"chunk":"{chunk}"', f'"chunk":"{chunk - 5}"')
    return [text, earlier]


_UNKNOWN = '{"event":"surprise","sequenceNumber":"26","streamSid":"MZ","surprise":{}}'

FAULTS: dict[str, Callable[[str, str, int], list[Sent]]] = {
    "media-before-start": _media_before_start,
    "two-starts": _two_starts,
    "no-start": _no_start,
    "no-stop": _no_stop,
    "reset": _at_chunk(lambda _: [RESET]),
    "bad-base64": _at_chunk(lambda text: [_with_payload(text, "#not base64#")]),
    "file-header": _at_chunk(
        lambda text: [_with_payload(text, base64.b64encode(WAV_HEADER).decode())]
    ),
    "huge-frame": _at_chunk(lambda text: [_with_payload(text, "/" * HUGE_BYTES)]),
    "unknown-event": _at_chunk(lambda text: [_UNKNOWN, text]),
    "not-json": _at_chunk(lambda text: [text[:40]]),
    "binary-frame": _at_chunk(lambda text: [text.encode()]),
    "out-of-order": _out_of_order,
}
"""Each fault: (message, its event, how many media messages so far) -> what is sent instead."""


class BadLine:
    """Distorts one stream's messages."""

    def __init__(self, fault: str) -> None:
        """Choose a fault by name.

        Raises:
            UserError: no fault has this name.
        """
        if fault not in FAULTS:
            raise UserError(f"no fault of the line is called {fault!r}: {', '.join(FAULTS)}")
        self._fault = FAULTS[fault]
        self._chunk = 0

    def distort(self, text: str) -> list[Sent]:
        """What goes out in place of `text`, a message of the stand-in's own making."""
        event = text.split('"', 4)[3]
        if event == "media":
            self._chunk += 1
        return self._fault(text, event, self._chunk)
