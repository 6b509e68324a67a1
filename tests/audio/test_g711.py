"""mu-law against the formula of ITU-T G.711, table 2, over every code and every sample."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from agent.audio import g711
from agent.errors import OwnFault
from agent.events import Pcm8k, Pcm16k


def parts(code: int) -> tuple[int, int, int]:
    """Sign, segment and mantissa of a byte; G.711 inverts all bits on the line."""
    code = ~code & 0xFF
    return (-1 if code & 0x80 else 1), code >> 4 & 0x07, code & 0x0F


def value(code: int) -> int:
    """What the decoder gives: 4 bits of mantissa in one of 8 segments; 14 bits, here times 4."""
    sign, segment, mantissa = parts(code)
    return 4 * sign * (((2 * mantissa + 33) << segment) - 33)


def decisions(code: int) -> tuple[int, int]:
    """The decision values between which the encoder chooses this code, as magnitudes."""
    _, segment, mantissa = parts(code)
    return (
        4 * (((2 * mantissa + 32) << segment) - 33),
        4 * (((2 * mantissa + 34) << segment) - 33),
    )


TABLE = np.array([value(code) for code in range(256)])
LIMITS = np.array([decisions(code) for code in range(256)])


def test_every_code_has_the_value_of_the_recommendation() -> None:
    decoded = np.frombuffer(g711.decode(bytes(range(256))), "<i2")
    assert decoded.tolist() == TABLE.tolist()
    assert type(g711.decode(b"")) is Pcm8k


def test_every_sample_gets_the_code_between_whose_decision_values_it_lies() -> None:
    samples = np.arange(-32768, 32768)
    codes = np.frombuffer(g711.encode(Pcm8k(samples.astype("<i2").tobytes())), np.uint8)
    assert len(codes) == 65536
    heard = np.abs(samples).clip(max=LIMITS.max())  # what is louder is clipped
    lower, upper = LIMITS[codes].T
    # G.711 decides on 14 bits of our 16: next to a decision value either side is right.
    assert (lower - heard).max() <= 4
    assert (heard - upper).max() <= 4
    assert (np.sign(samples) * TABLE[codes] >= 0).all()


def test_the_table_is_the_one_that_is_printed_in_the_recommendation() -> None:
    """Table 2a: the largest value, and the first one of each segment (positive, 14 bits)."""
    printed = {0x80: 8031, 0x8F: 4191, 0x9F: 2079, 0xAF: 1023, 0xBF: 495, 0xCF: 231, 0xDF: 99}
    printed |= {0xEF: 33, 0xFE: 2, 0xFF: 0}
    assert {code: value(code) // 4 for code in printed} == printed
    assert decisions(0x80) == (4 * 7903, 4 * 8159)
    assert decisions(0x8F) == (4 * 4063, 4 * 4319)


def test_what_was_decoded_is_encoded_to_the_same_bytes() -> None:
    every = bytes(range(256))
    again = g711.encode(g711.decode(every))
    assert again == every.replace(b"\x7f", b"\xff")  # negative zero and zero are one sample


def test_silence_is_silent() -> None:
    assert g711.decode(g711.SILENCE * 3) == bytes(6)
    assert g711.encode(Pcm8k(bytes(2))) == g711.SILENCE


def test_the_import_warns_nobody_and_silences_nothing_else() -> None:
    program = (
        "import warnings; warnings.simplefilter('error')\n"
        "import agent.audio.g711, agent.audio.level\n"
        "try: warnings.warn('later', DeprecationWarning)\n"
        "except DeprecationWarning: print('still an error')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "still an error\n"


def test_sound_of_another_rate_is_refused() -> None:
    with pytest.raises(OwnFault, match="16000 Hz"):
        g711.encode(Pcm16k(bytes(4)))
