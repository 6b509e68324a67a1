"""Takes a moment out of a voice so that nobody hears it: of a pause as much as there is, of a sound one of its periods.

As adaptive playout does where a buffer holds more than it must (Y. J. Liang, N. Faerber, B. Girod, Adaptive Playout Scheduling Using
Time-Scale Modification in Packet Voice Communications, ICASSP 2001; WebRTC's NetEQ, "accelerate"): what repeats itself is faded over into
its own next period. What is neither quiet nor like itself is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from agent.audio.level import loudness

if TYPE_CHECKING:
    from agent.events import LinePcm

    Sound = TypeVar("Sound", bound=LinePcm)

QUIET = 100
"""Root mean square up to which a sound is a pause: -50 dBFS, the noise of a quiet room."""

SHORTEST = 0.0025
"""Seconds of the shortest period that is looked for: 400 Hz, above any voice that speaks."""

ALIKE = 0.9
"""Correlation from which two stretches follow each other as if they were one."""


def shortened(pcm: Sound, most: int) -> Sound:
    """The same sound without at most so many of its samples; of a sound that is no pause at most half goes."""
    if loudness(type(pcm)(pcm[: 2 * most])) <= QUIET:
        return type(pcm)(pcm[2 * most :])
    period = _period(np.frombuffer(pcm, "<i2").astype(np.float64), round(SHORTEST * pcm.rate), most)
    if not period:
        return pcm
    return type(pcm)(_faded(pcm[: 2 * period], pcm[2 * period : 4 * period]) + pcm[4 * period :])


def _period(sound: np.ndarray[tuple[int], np.dtype[np.float64]], least: int, most: int) -> int:
    """Samples after which the sound is most like its own beginning, half its length at most; 0: after none it is."""
    half = len(sound) // 2
    most = min(most, half)
    if most < least:
        return 0
    power = np.concatenate(([0.0], np.cumsum(sound * sound)))
    lags = np.arange(least, most + 1)
    powers = power[half] * (power[lags + half] - power[lags])
    alike = np.correlate(sound[: most + half], sound[:half])[least:] / np.sqrt(powers + 1.0)
    best = int(alike.argmax())
    return int(lags[best]) if alike[best] >= ALIKE else 0


def _faded(out: bytes, into: bytes) -> bytes:
    """From one sound into another that is as long."""
    first, second = np.frombuffer(out, "<i2"), np.frombuffer(into, "<i2")
    share = np.arange(1, len(first) + 1) / (len(first) + 1)
    return np.rint(first + (second - first.astype(np.float64)) * share).astype("<i2").tobytes()
