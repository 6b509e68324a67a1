"""A text message as a WebSocket client puts it on the wire (RFC 6455, section 5.2): whole, masked, without extensions.

The library's own way there goes through objects that are made for any frame; the caller's voice is fifty of one kind in a second.
"""

from __future__ import annotations

import os

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without C
    from websockets.utils import apply_mask

FIN_TEXT = 0x81
"""The message's only frame, of text."""
MASKED = 0x80
KEYS = 4096
"""Bytes of masking keys that are drawn at a time: each draw is a call of the system."""


class ClientFrames:
    """Makes the frames of one connection."""

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
            head = bytes((FIN_TEXT, MASKED | size))
        elif size < 1 << 16:
            head = b"%c%c%b" % (FIN_TEXT, MASKED | 126, size.to_bytes(2, "big"))
        else:
            head = b"%c%c%b" % (FIN_TEXT, MASKED | 127, size.to_bytes(8, "big"))
        return b"%b%b%b" % (head, key, apply_mask(payload, key))
