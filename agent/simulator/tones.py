"""Hears keys in audio: what a telephone exchange would take for DTMF. Pure.

Blocks of 20 ms, one every 10 ms. A key is a block in which one low and one high frequency carry most
of the power, neither much louder than the other; it counts once it has lasted 40 ms, and again only
after a pause.
Sources: ITU-T Q.23 (frequencies), Q.24 (levels, twist, durations that a receiver goes by).
"""

from __future__ import annotations

import audioop
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RATE_HZ = 8000
LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
KEYS = ("123A", "456B", "789C", "*0#D")

BLOCK = 160
HOP = 80
CHUNK = 1000
"""Blocks that are looked at together: ten seconds."""
SHARE = 0.6
"""Of a block's power that the two frequencies carry; one that is 1.5 % off keeps about so much."""
TWIST_DB = 8.0
"""One frequency may be so much louder than the other."""
FAINTEST = 10 ** (-35 / 20) * 32768
"""-35 dBFS (root mean square)."""
SHORTEST_BLOCKS = 3
"""A tone of 40 ms fills three blocks."""
PAUSE_BLOCKS = 4
"""A hole of 20 ms empties three blocks and is the tone's own; a pause of 40 ms empties five."""

_TIME = np.arange(BLOCK) / RATE_HZ
_PHASES = 2 * np.pi * np.outer(_TIME, LOW_HZ + HIGH_HZ)
_WAVES = np.hstack([np.cos(_PHASES), np.sin(_PHASES)]).astype(np.float32)


class KeyHeard(msgspec.Struct, frozen=True):
    """A key's tone: its beginning on the timeline and its length, both to 10 ms."""

    digit: str
    at_s: float
    ms: float


def keys(mulaw: bytes) -> list[KeyHeard]:
    """The keys in 8 kHz mu-law, in order."""
    found: list[KeyHeard] = []
    key, begun, last = "", 0, 0
    for number, heard in enumerate([*_blocks(mulaw), *[""] * (PAUSE_BLOCKS + 1)]):
        if key and (number - last > PAUSE_BLOCKS or heard not in {"", key}):
            if last - begun + 1 >= SHORTEST_BLOCKS:
                length = (last - begun) * HOP + BLOCK
                found.append(KeyHeard(key, begun * HOP / RATE_HZ, length * 1000 / RATE_HZ))
            key = ""
        if heard:
            key, begun, last = key or heard, begun if key else number, number
    return found


def _blocks(mulaw: bytes) -> Iterator[str]:
    """The key in each block; empty where there is none."""
    step = CHUNK * HOP
    for start in range(0, max(0, len(mulaw) - BLOCK + 1), step):
        part = audioop.ulaw2lin(mulaw[start : start + step + BLOCK - HOP], 2)
        samples = np.frombuffer(part, np.int16).astype(np.float32)
        if len(samples) >= BLOCK:
            windows = np.lib.stride_tricks.sliding_window_view(samples, BLOCK)[::HOP]
            yield from _chunk(np.ascontiguousarray(windows))


def _chunk(blocks: NDArray[np.float32]) -> Iterator[str]:
    power = (blocks**2).sum(axis=1)
    parts = (blocks @ _WAVES) ** 2
    tones = 2 * (parts[:, :8] + parts[:, 8:]) / BLOCK  # power of each frequency, over the block
    low, high = tones[:, :4], tones[:, 4:]
    row, column = low.argmax(axis=1), high.argmax(axis=1)
    strongest = low.max(axis=1), high.max(axis=1)
    both = strongest[0] + strongest[1]
    twist = np.abs(10 * np.log10(np.maximum(strongest[0], 1) / np.maximum(strongest[1], 1)))
    loud = power >= BLOCK * FAINTEST**2
    good = loud & (both >= SHARE * power) & (twist <= TWIST_DB)
    if not good.any():  # an hour of talk is looked through without holding up other calls
        yield from [""] * len(blocks)
        return
    for number in range(len(blocks)):
        yield KEYS[row[number]][column[number]] if good[number] else ""
