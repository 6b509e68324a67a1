"""Whole samples out of pieces of any length.

A speech model cuts its audio wherever its transport likes, also in the middle of a sample (Gemini
Live sends parts of 2 bytes and parts of odd length); everything behind this file counts in whole
ones.
"""

from __future__ import annotations

SAMPLE_BYTES = 2


class Samples:
    """Carries the byte that a piece ended on in mid-sample over to the next piece."""

    def __init__(self) -> None:
        self._half = b""

    def feed(self, data: bytes) -> bytes:
        """The whole int16 samples that are known by now and were not yet given, if any."""
        if self._half:
            data = self._half + data
            self._half = b""
        if len(data) % SAMPLE_BYTES:
            self._half = data[-1:]
            data = data[:-1]
        return data
