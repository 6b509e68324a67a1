"""Frames of a WebSocket (RFC 6455, section 5.2) as nearly all of a call's are: a whole message each, without extensions.

The libraries' way there and back goes through objects that are made for any frame; a call's sound is a hundred of one kind in a
second. Whatever else a peer may send is cut out whole and left to the library.
"""

from __future__ import annotations

import os
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without C
    from websockets.utils import apply_mask

FIN = 0x80
CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CONTROL = 0x8
"""Opcodes from here on are of control frames, which may stand among the fragments of a message (section 5.4)."""
MASKED = 0x80
KEYS = 4096
"""Bytes of masking keys that are drawn at a time: each draw is a call of the system."""


class Part(NamedTuple):
    """What was cut off.

    Attributes:
        opcode: TEXT or BINARY: `data` is the message. 0: `data` is to be read by the library, as it came.
        data: bytes, unmasked where it is a message.
    """

    opcode: int
    data: bytes


class FrameReader:
    """Cuts what a peer sends into frames.

    Args:
        masked: whether the peer is a client: its frames are masked, a server's are not (section 5.1).
        limit: bytes of the largest message. From the first frame on that is larger, or that no peer may send, everything is left to
            the library, which knows how to refuse it.
    """

    def __init__(self, *, masked: bool, limit: int) -> None:
        self._mask = MASKED if masked else 0
        self._limit = limit
        self._held = bytearray()  # of a frame that has not come whole: at most `limit` and its head
        self._need = 0  # bytes that must be there before it is looked at again
        self._fragmented = False  # in the middle of a message that the library reads
        self._given_up = False

    def read(self, data: bytes) -> list[Part]:
        """What can be told now: in order, and all of what came but the beginning of a frame."""
        if self._held:
            self._held += data
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
            self._held.clear()
        parts: list[Part] = []
        at, end = 0, len(data)
        while at < end and (extent := self._extent(data, at, end)):
            start, stop = extent
            if stop > end:
                self._held += data[at:]
                self._need = stop - at
                return parts
            parts.append(self._part(data, at, start, stop))
            at = stop
        if at < end:
            parts.append(Part(0, data[at:]))
        return parts

    def rest(self) -> bytes:
        """What is held of a frame that has not come whole; from now on it is the library's."""
        held = bytes(self._held)
        self._held.clear()
        return held

    def _extent(self, data: bytes, at: int, end: int) -> tuple[int, int] | None:
        """Where the payload of the frame at `at` begins and ends; of one whose head is not whole, where the head might.

        None: it is the library's, with all that follows.
        """
        if self._given_up:
            return None
        if end < at + 2:
            return at, at + 2
        second = data[at + 1]
        size, start = second & 0x7F, at + 2
        if size >= 126:
            start += 2 if size == 126 else 8
            if end < start:
                return at, start
            size = int.from_bytes(data[at + 2 : start], "big")
        # RSV bits mean extensions, none of which was agreed on.
        if second & MASKED != self._mask or size > self._limit or data[at] & 0x70:
            self._given_up = True
            return None
        start += 4 if self._mask else 0
        return start, start + size

    def _part(self, data: bytes, at: int, start: int, stop: int) -> Part:
        first = data[at]
        opcode = first & 0x0F
        if first & FIN and opcode in (TEXT, BINARY) and not self._fragmented:
            payload = data[start:stop]
            if self._mask:
                payload = apply_mask(payload, data[start - 4 : start])
            return Part(opcode, payload)
        if opcode < CONTROL:
            self._fragmented = not first & FIN
        return Part(0, data[at:stop])


def server_frame(message: str | bytes) -> bytes:
    """A message as a server sends it: text or binary by its type, not masked."""
    opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (FIN | opcode, size, payload)
    if size < 1 << 16:
        return b"%c\x7e%b%b" % (FIN | opcode, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (FIN | opcode, size.to_bytes(8, "big"), payload)


class ClientFrames:
    """Makes the frames of one connection as a client sends them: text, masked."""

    def __init__(self) -> None:
        self._keys = b""
        self._next = 0

    def text(self, payload: bytes) -> bytes:
        """A message whose UTF-8 is `payload`; its key comes from the system's own randomness (section 5.3) and is used once."""
        if self._next >= len(self._keys):
            self._keys, self._next = os.urandom(KEYS), 0
        key = self._keys[self._next : self._next + 4]
        self._next += 4
        size = len(payload)
        if size < 126:
            head = bytes((FIN | TEXT, MASKED | size))
        elif size < 1 << 16:
            head = b"%c%c%b" % (FIN | TEXT, MASKED | 126, size.to_bytes(2, "big"))
        else:
            head = b"%c%c%b" % (FIN | TEXT, MASKED | 127, size.to_bytes(8, "big"))
        return b"%b%b%b" % (head, key, apply_mask(payload, key))
