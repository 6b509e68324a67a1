"""Keys as tones, judged by the energy at each frequency of ITU-T Q.23."""

from __future__ import annotations

import numpy as np
import pytest

from agent.audio.dtmf import COLUMNS, KEYS, ROWS, TONE, WAIT, dial
from agent.errors import OwnFault
from agent.events import Pcm8k

FULL = 32_124 / 10 ** (3.17 / 20)


def level(samples: np.ndarray, hertz: float) -> float:
    """dBm0 of a sine in there (the discrete Fourier transform at this one frequency)."""
    n = np.arange(len(samples))
    peak = 2 * abs(np.sum(samples * np.exp(-2j * np.pi * hertz * n / 8000))) / len(samples)
    return float(20 * np.log10(max(peak, 1e-9) / FULL))


@pytest.mark.parametrize("key", "1234567890*#ABCD")
def test_a_key_is_its_two_frequencies_and_nothing_else(key: str) -> None:
    pcm = dial(key)
    sound = np.frombuffer(pcm, dtype=np.int16).astype(float)
    tone, rest = sound[: round(TONE * 8000)], sound[round(TONE * 8000) :]
    row = next(n for n, keys in enumerate(KEYS) if key in keys)
    column = KEYS[row].index(key)
    low, high = level(tone, ROWS[row]), level(tone, COLUMNS[column])
    assert low == pytest.approx(-10.0, abs=0.5)
    assert 0 <= high - low <= 4  # ITU-T Q.24: at most so much stronger
    others = {*ROWS, *COLUMNS} - {ROWS[row], COLUMNS[column]}
    assert max(level(tone, other) for other in others) < low - 20
    assert len(rest) >= 320 and not rest.any()  # a pause of 40 ms and more


def test_keys_follow_each_other_and_w_waits() -> None:
    assert dial("1w2") == dial("1") + Pcm8k(bytes(2 * round(WAIT * 8000))) + dial("2")


@pytest.mark.parametrize("key", ["", "E", "é"])
def test_what_is_no_key_makes_no_sound(key: str) -> None:
    if not key:
        assert dial(key) == b""
        return
    with pytest.raises(OwnFault):
        dial(key)
