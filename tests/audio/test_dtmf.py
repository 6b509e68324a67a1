"""Keys as tones, judged by the energy at each frequency of ITU-T Q.23."""

from __future__ import annotations

import numpy as np
import pytest

from agent.audio.dtmf import COLUMNS, KEYS, ROWS, TONE, WAIT, dial
from agent.errors import OwnFault
from agent.events import LinePcm, Pcm8k, Pcm16k

FULL = 32_124 / 10 ** (3.17 / 20)


def level(samples: np.ndarray, hertz: float, rate: int) -> float:
    """dBm0 of a sine in there (the discrete Fourier transform at this one frequency)."""
    n = np.arange(len(samples))
    peak = 2 * abs(np.sum(samples * np.exp(-2j * np.pi * hertz * n / rate))) / len(samples)
    return float(20 * np.log10(max(peak, 1e-9) / FULL))


@pytest.mark.parametrize("kind", [Pcm8k, Pcm16k])
@pytest.mark.parametrize("key", "1234567890*#ABCD")
def test_a_key_is_its_two_frequencies_and_nothing_else(key: str, kind: type[LinePcm]) -> None:
    pcm, rate = dial(key, kind), kind.rate
    sound = np.frombuffer(pcm, dtype=np.int16).astype(float)
    tone, rest = sound[: round(TONE * rate)], sound[round(TONE * rate) :]
    row = next(n for n, keys in enumerate(KEYS) if key in keys)
    column = KEYS[row].index(key)
    low, high = level(tone, ROWS[row], rate), level(tone, COLUMNS[column], rate)
    assert low == pytest.approx(-10.0, abs=0.5)
    assert 0 <= high - low <= 4  # ITU-T Q.24: at most so much stronger
    others = {*ROWS, *COLUMNS} - {ROWS[row], COLUMNS[column]}
    assert max(level(tone, other, rate) for other in others) < low - 20
    assert len(rest) >= 0.04 * rate and not rest.any()  # a pause of 40 ms and more


def test_keys_follow_each_other_and_w_waits() -> None:
    assert dial("1w2") == dial("1") + Pcm8k(bytes(2 * round(WAIT * 8000))) + dial("2")


@pytest.mark.parametrize("key", ["", "E", "é"])
def test_what_is_no_key_makes_no_sound(key: str) -> None:
    if not key:
        assert dial(key) == b""
        return
    with pytest.raises(OwnFault):
        dial(key)
