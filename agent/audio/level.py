"""How loud a line is, and whether somebody speaks on it.

The meter is not a speech recogniser's voice detection: it tells "the caller's last word ended here"
for the figures of a call, in two microseconds a frame. It takes a frame as voiced that is well
above the line's own noise, which it follows: the floor drops to a quieter frame at once and rises
slowly, so that noise that stays becomes the floor and speech does not.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agent.events import LinePcm, Pcm

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce that audioop leaves the standard library; from 3.13 on
    # audioop-lts provides it.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

FULL_SCALE = 32768.0
SILENCE = -100.0
"""dBFS of digital silence: below the smallest level that 16 bits can hold (-90.3)."""
INAUDIBLE = 33
"""Peak up to which nothing is heard: -60 dBFS, of the order of mu-law's smallest steps (ITU-T G.711)."""


def loudness(pcm: Pcm) -> int:
    """Root mean square of the samples."""
    return audioop.rms(pcm, 2)


def peak(pcm: bytes) -> int:
    """The largest sample, of either sign."""
    return audioop.max(pcm, 2)


def audible(pcm: Pcm) -> bool:
    """Whether any of it can be heard on a telephone; digital silence cannot, nor the faintest dither."""
    return peak(pcm) > INAUDIBLE


def steady(level: int, samples: int) -> bytes:
    """Sound of this `loudness` and nothing else: a meter cannot tell it from the one that it stands for."""
    return min(level, 32767).to_bytes(2, "little") * samples


def rms(pcm: Pcm) -> float:
    """Level in dBFS (0: a full-scale square wave, -3: a sine); `SILENCE` for nothing."""
    level = loudness(pcm)
    return 20 * math.log10(level / FULL_SCALE) if level else SILENCE


class MeterOptions(msgspec.Struct, frozen=True):
    """What counts as speech.

    Attributes:
        above: dB over the noise floor from which a frame is loud.
        least: dBFS below which nothing is ever loud.
        enough: dBFS above which everything is loud, whatever the floor.
        rise: dB per second by which the floor climbs towards the level of the line.
        onset: seconds of loudness in a row that begin speech; shorter ones are clicks.
        hangover: seconds of quiet that end speech; shorter ones are inside a word or between two.
    """

    above: float = 10.0
    least: float = -52.0
    enough: float = -22.0
    rise: float = 6.0
    onset: float = 0.04
    hangover: float = 0.3


class SpeechMeter:
    """Follows one line, frame by frame (20 ms as a rule).

    Attributes:
        started: when the utterance that goes on, or the last one, began (seconds, monotonic);
            None before the first.
        last_voiced: when the last voiced frame ended, likewise.
        speaking: whether an utterance goes on, the hangover included.
    """

    def __init__(self, options: MeterOptions | None = None) -> None:
        self._options = options or MeterOptions()
        self._floor = self._options.least
        self._loud = 0.0  # seconds of loudness in a row
        self.started: float | None = None
        self.last_voiced: float | None = None
        self.speaking = False

    def feed(self, pcm: LinePcm, at: float) -> bool:
        """Take a frame whose last sample was spoken at `at`; answers whether it is voiced."""
        options, seconds = self._options, pcm.seconds
        level = rms(pcm)
        loud = level > min(max(self._floor + options.above, options.least), options.enough)
        if level < self._floor:
            self._floor = max(level, options.least - options.above)
        else:
            self._floor = min(level, self._floor + options.rise * seconds)
        self._loud = self._loud + seconds if loud else 0.0
        if self.speaking and self.last_voiced is not None:
            self.speaking = loud or at - self.last_voiced < options.hangover
        voiced = loud and (self.speaking or self._loud >= options.onset)
        if voiced:
            if not self.speaking:
                self.started = at - self._loud
            self.speaking = True
            self.last_voiced = at
        return voiced
