"""Which keys are heard in audio."""

from __future__ import annotations

import audioop

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.audio.dtmf import dial
from agent.simulator.brain import speechlike
from agent.simulator.caller import SPEECH
from agent.simulator.tones import HIGH_HZ, KEYS, LOW_HZ, keys
from agent.simulator.wav import read_phone_wav

ALL = "".join(KEYS)


def tone(
    digit: str, seconds: float = 0.1, *, off: float = 0.0, twist_db: float = 0.0, level: float = 0.1
) -> NDArray[np.float64]:
    row = next(row for row in range(4) if digit in KEYS[row])
    low, high = LOW_HZ[row], HIGH_HZ[KEYS[row].index(digit)]
    time = np.arange(round(seconds * 8000)) / 8000
    louder = 10 ** (twist_db / 20)
    pair = np.sin(2 * np.pi * low * (1 + off) * time) + louder * np.sin(
        2 * np.pi * high * (1 + off) * time
    )
    return np.asarray(32767 * level * pair)


def pause(seconds: float = 0.1) -> NDArray[np.float64]:
    return np.zeros(round(seconds * 8000))


def mulaw(*parts: NDArray[np.float64]) -> bytes:
    return audioop.lin2ulaw(np.concatenate(parts).astype("<i2").tobytes(), 2)


def digits(*parts: NDArray[np.float64]) -> str:
    return "".join(key.digit for key in keys(mulaw(*parts)))


def test_every_key_is_heard_once_with_its_time_and_length() -> None:
    parts = [part for digit in ALL for part in (tone(digit), pause())]
    heard = keys(mulaw(*parts))
    assert "".join(key.digit for key in heard) == ALL
    for number, key in enumerate(heard):
        assert key.at_s == pytest.approx(number * 0.2, abs=0.02)
        assert key.ms == pytest.approx(100, abs=20)


def test_the_same_key_twice_is_two_keys_and_a_hole_of_20_ms_makes_none() -> None:
    assert digits(tone("5"), pause(0.06), tone("5")) == "55"
    assert digits(tone("5"), pause(0.02), tone("5")) == "5"
    assert digits(tone("1"), tone("2")) == "12"


@pytest.mark.parametrize("shift", range(0, 160, 23))
def test_a_key_of_50_ms_is_heard_wherever_the_blocks_fall_and_one_of_20_ms_nowhere(
    shift: int,
) -> None:
    assert digits(np.zeros(400 + shift), tone("7", 0.05), pause()) == "7"
    assert digits(np.zeros(400 + shift), tone("7", 0.02), pause()) == ""


@pytest.mark.parametrize(
    ("given", "heard"),
    [
        ({"off": 0.01}, True),
        ({"off": -0.01}, True),
        ({"off": 0.035}, False),
        ({"off": -0.035}, False),
        ({"twist_db": 6.0}, True),
        ({"twist_db": -6.0}, True),
        ({"twist_db": 10.0}, False),
        ({"twist_db": -10.0}, False),
        ({"level": 0.03}, True),
        ({"level": 0.005}, False),
    ],
)
def test_a_receivers_limits(given: dict[str, float], heard: bool) -> None:
    found = {digit: digits(pause(), tone(digit, **given), pause()) for digit in ALL}
    assert found == {digit: digit if heard else "" for digit in ALL}


def test_noise_beside_a_tone_is_borne_and_noise_alone_is_no_key() -> None:
    noise = np.random.default_rng(1).normal(0, 600, 8000 * 20)
    assert digits(noise) == ""
    mixed = tone("9", 0.2) + noise[:1600]
    assert digits(noise[:800], mixed, noise[:800]) == "9"


def test_nobodys_speech_presses_a_key() -> None:
    for path in sorted(SPEECH.glob("*.wav")):
        assert digits(read_phone_wav(path).astype(np.float64)) == "", path.name
    assert keys(audioop.lin2ulaw(speechlike(5.0, 8000), 2)) == []


def test_what_is_long_is_heard_across_its_parts() -> None:
    silence = pause(9.95)
    assert digits(silence, tone("1"), silence, tone("2"), pause()) == "12"
    assert keys(b"") == keys(b"\xff" * 159) == []


def test_the_keys_that_our_own_server_sends_are_heard() -> None:
    sent = "0123456789*#ABCD" + "77"
    heard = keys(audioop.lin2ulaw(bytes(dial(sent)), 2))
    assert "".join(key.digit for key in heard) == sent
    assert all(key.ms == pytest.approx(100, abs=20) for key in heard)
