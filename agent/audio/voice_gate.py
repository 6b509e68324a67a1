"""Whether a sound on the line can be our own voice coming back, and where our own words part.

A telephone's echo is our voice, later and weaker: a speakerphone's or a bad handset's is some 10 to 30 dB down (what a network's
own hybrid returns, its canceller removes: ITU-T G.168). What lies nearly as loud on the line as we are is therefore nobody's echo. What
is weaker is compared with what the caller heard of us in the last half second: the loudness of eight bands of the telephone's
range over a quarter of a second, at each delay. A copy rises and falls with us in every band; another person does not.

The test takes 0.2 to 0.4 ms, which is too much for every frame of every call: it is made where a meter has heard something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agent.events import Pcm8k

if TYPE_CHECKING:
    from agent.events import LinePcm, Pcm

Rows = npt.NDArray[np.float64]

HOP = 0.01
"""Seconds from one row to the next."""
SPAN = 0.02
"""Seconds that a row is made of."""
WINDOW = 24
"""Rows that are compared: 240 ms, about a syllable and the silence before it."""
LAGS = 49
"""Delays that are tried, in rows."""
AHEAD = 0.08
"""Seconds by which our own sound is handed in early: the ear's clock may be late by as much, and an echo never comes early."""

LINE_SECONDS = (WINDOW + 1) * HOP
"""Of the line's sound that a comparison needs ..."""
OWN_SECONDS = (WINDOW + LAGS) * HOP
"""... and of ours."""

UNLIKE = 7.0
"""Decibels from the likest copy of our own sound from which a sound is no echo."""
FLOOR_DB = 3.0
"""Decibels over the quietest row of a band that are still its noise."""
FILTER_DB = 5.0
"""Decibels by which an echo's way may favour one band."""
WEAKER = 7.0
"""Decibels under our loudest that a sound must be to be an echo at all."""

_STEP = 31.25
"""Hz from one step of a spectrum to the next: 256 samples at 8 kHz."""
_BANDS = (8, 13, 19, 26, 35, 46, 60, 78, 108)
"""Edges of the bands in such steps: 250 to 3375 Hz, wider upwards as the ear's are; an echo shows in what a telephone carries."""
_FLOOR = 1e4
"""Power that is added to every band: about -70 dBFS, under which nothing is compared."""
_QUIET = 10 * np.log10(_FLOOR)


class Echo:
    """Compares one line with what it was told, as long as there is something to judge.

    Args:
        kind: the line's sound.
    """

    def __init__(self, kind: type[LinePcm] = Pcm8k) -> None:
        self._line = _Bands(WINDOW, kind.rate)
        self._own = _Bands(WINDOW + LAGS - 1, kind.rate)
        self._cleared = False

    def feed(self, line: LinePcm, own: LinePcm) -> None:
        """Take what has been heard on the line, and what of ours was heard meanwhile.

        Both end at the same moment, ours `AHEAD` later; the first time they may be of any length, then they go on without a gap.
        """
        self._line.feed(line)
        self._own.feed(own)

    def likely(self) -> bool:
        """Whether what the line has now may be our own voice; it takes two answers in a row to clear it."""
        line, own = self._line, self._own
        weaker = max(line.levels[-4:]) <= max(own.levels) - WEAKER
        before, self._cleared = (
            self._cleared,
            not weaker or _mismatch(line.rows, own.rows) > UNLIKE,
        )
        return not (before and self._cleared)


class _Bands:
    """The latest rows of one sound: the level of each band, and of all together, in dB."""

    def __init__(self, keep: int, rate: int) -> None:
        self._hop, self._span = round(HOP * rate), round(SPAN * rate)
        self._fft = round(rate / _STEP)
        # A tone has twice the amplitude in a spectrum of twice the samples.
        self._shape = np.hanning(self._span) * (Pcm8k.rate / rate)
        self._rest: npt.NDArray[np.generic] = np.zeros(self._span - self._hop)
        self.rows: Rows = np.full((keep, len(_BANDS) - 1), _QUIET)
        self.levels: Rows = np.full(keep, _QUIET)

    def feed(self, pcm: LinePcm) -> None:
        samples = np.concatenate((self._rest, np.frombuffer(pcm, np.int16)))
        count = (len(samples) - self._span) // self._hop + 1
        if count > 0:
            keep = len(self.rows)
            spans = np.lib.stride_tricks.sliding_window_view(samples, self._span)[:: self._hop]
            power = np.abs(np.fft.rfft(spans * self._shape, self._fft)) ** 2
            bands = np.add.reduceat(power[:, : _BANDS[-1]], _BANDS[:-1], axis=1) / np.diff(_BANDS)
            self.rows = np.concatenate((self.rows, 10 * np.log10(bands + _FLOOR)))[-keep:]
            loud = 10 * np.log10(power[:, _BANDS[0] : _BANDS[-1]].mean(axis=1) + _FLOOR)
            self.levels = np.concatenate((self.levels, loud))[-keep:]
        self._rest = samples[max(0, count) * self._hop :]


def _mismatch(line: Rows, own: Rows) -> float:
    """How far `line` is from the likest delayed and filtered copy of `own`; dB, root mean square over rows and bands.

    A filter's gain is fitted in each band, not far from that of the whole; what falls under the line's own floor is the floor.
    """
    floor = line.min(axis=0)[:, np.newaxis] + FLOOR_DB
    heard = line.T[np.newaxis]  # lag, band, row
    copies = np.lib.stride_tricks.sliding_window_view(own, len(line), axis=0)
    weight = np.maximum(heard - floor - FLOOR_DB, 0.0) + 1e-6
    gains = weight * (heard - copies)
    overall = gains.sum(axis=(1, 2))[:, np.newaxis] / weight.sum()
    gain = gains.sum(axis=2) / weight.sum(axis=2)
    gain = np.clip(gain, overall - FILTER_DB, overall + FILTER_DB)
    copies = np.maximum(copies + gain[:, :, np.newaxis], floor)
    errors = np.square(np.maximum(heard, floor) - copies).mean(axis=(1, 2))
    return float(np.sqrt(errors.min()))


GAP_ROW = 0.02
GAP_DB = 12.0
"""Decibels under a stretch's loudest that are a pause between two words."""


def since_pause(own: Pcm, within: float) -> float:
    """Seconds from the latest pause of at least 20 ms to the end of `own`, within so many seconds; 0 where there is none."""
    size = round(GAP_ROW * own.rate)
    count = min(len(own) // 2, round(within * own.rate)) // size
    if count == 0:
        return 0.0
    rows = np.frombuffer(own, np.int16)[-count * size :].astype(np.float64).reshape(count, size)
    levels = 10 * np.log10(np.mean(rows * rows, axis=1) + 1.0)
    quiet = np.flatnonzero(levels <= max(levels.max() - GAP_DB, 20.0))
    return float((count - 1 - quiet[-1]) * GAP_ROW) if len(quiet) else 0.0
