"""Keys as tones (DTMF): for lines that carry sound only.

Frequencies: ITU-T Q.23, 6.1. Levels and times: inside what ITU-T Q.24 has every receiver take (a tone of 40 ms and more, a pause of
40 ms and more, the higher frequency at most 4 dB above the lower one).
"""

from __future__ import annotations

import math
from array import array
from functools import cache

from agent.errors import OwnFault
from agent.events import LinePcm, Pcm8k

ROWS = (697.0, 770.0, 852.0, 941.0)
COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = ("123A", "456B", "789C", "*0#D")
PAUSE_KEY = "w"

TONE = 0.1
"""Seconds of each tone, and of the silence after it: what telephones send when a memory dials."""

WAIT = 0.5
"""Seconds of silence that `w` stands for, as in Twilio's `digits`."""

LOW, HIGH = -10.0, -8.0
"""Levels of the two frequencies in dBm0."""

RAMP = 0.002
"""Seconds in which a tone rises and falls: an edge would be a click at other frequencies."""

PEAK = 32_124 / 10 ** (3.17 / 20)
"""Peak of a sine of 0 dBm0 in 16 bits: mu-law's largest value is +3.17 dBm0 (ITU-T G.711)."""


def dial(keys: str, kind: type[LinePcm] = Pcm8k) -> LinePcm:
    """The sound of these keys, one after the other.

    Args:
        keys: of 0-9 * # A-D, and `w` for half a second of silence.
        kind: the line's sound.

    Raises:
        OwnFault: there is no such key.
    """
    return kind(b"".join(_sound(key, kind.rate) for key in keys))


@cache
def _sound(key: str, rate: int) -> bytes:
    if key == PAUSE_KEY:
        return bytes(2 * round(WAIT * rate))
    row = next((n for n, row in enumerate(KEYS) if key in row), None)
    if row is None or len(key) != 1:
        raise OwnFault(f"{key!r} is no key of a telephone")
    low, high = ROWS[row], COLUMNS[KEYS[row].index(key)]
    samples = round(TONE * rate)
    tone = array("h", (_sample(n, samples, low, high, rate) for n in range(samples)))
    return tone.tobytes() + bytes(2 * samples)


def _sample(n: int, samples: int, low: float, high: float, rate: int) -> int:
    rise = min(n, samples - n) / (RAMP * rate)
    step = 2 * math.pi * n / rate
    both = 10 ** (LOW / 20) * math.sin(low * step) + 10 ** (HIGH / 20) * math.sin(high * step)
    return round(min(1.0, rise) * PEAK * both)
