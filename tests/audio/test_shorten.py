"""What is taken out of a voice, and that nobody hears it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from agent.audio.shorten import shortened
from agent.events import LinePcm, Pcm8k, Pcm16k
from agent.simulator.caller import SPEECH
from agent.simulator.wav import read_phone_wav


def tone(hertz: float, kind: type[LinePcm], seconds: float = 0.02, loud: float = 9000) -> LinePcm:
    at = np.arange(round(seconds * kind.rate)) / kind.rate
    return kind(np.round(loud * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes())


def samples(pcm: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def steps(pcm: bytes) -> float:
    """The largest step from one sample to the next."""
    return float(np.abs(np.diff(samples(pcm))).max())


def test_of_a_pause_as_much_goes_as_may() -> None:
    pause = Pcm8k(np.full(160, 90, "<i2").tobytes())
    assert shortened(pause, 160) == b""
    assert shortened(pause, 200) == b""
    assert shortened(pause, 50).samples == 110
    assert shortened(pause, 1).samples == 159


@pytest.mark.parametrize("kind", [Pcm8k, Pcm16k])
@pytest.mark.parametrize("hertz", [110, 150, 210, 350])
def test_of_a_voiced_sound_whole_periods_go_and_it_sounds_on(
    hertz: float, kind: type[LinePcm]
) -> None:
    sound = tone(hertz, kind)
    rest = shortened(sound, 1000)
    assert isinstance(rest, kind)
    periods = (sound.samples - rest.samples) / kind.rate * hertz
    assert round(periods) >= 1
    assert periods == pytest.approx(round(periods), abs=0.03)
    assert steps(rest) <= 1.1 * steps(sound)
    assert np.abs(samples(rest)[:8] - samples(sound)[:8]).max() < 300  # it begins as it did ...
    assert rest[-16:] == sound[-16:]  # ... and ends as it did


def test_no_more_goes_than_may() -> None:
    sound = tone(350, Pcm8k)
    assert sound.samples - shortened(sound, 30).samples == 23
    assert shortened(sound, 19) == sound  # shorter than any period of a voice


def test_what_is_not_like_itself_stays_whole() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 160).astype("<i2").tobytes()
    assert shortened(Pcm8k(noise), 160) == noise
    swell = np.linspace(0, 20_000, 160) * np.sin(np.arange(160) ** 2 / 80)
    sound = Pcm8k(swell.astype("<i2").tobytes())
    assert shortened(sound, 160) == sound


def test_recorded_speech_has_room_for_it_again_and_again() -> None:
    pcm = read_phone_wav(SPEECH / "caller_open.wav").tobytes()
    frames = [Pcm8k(pcm[at : at + 320]) for at in range(0, len(pcm) - 320, 320)]
    gone = [frame.samples - shortened(frame, 160).samples for frame in frames]
    waits = np.diff([n for n, samples in enumerate(gone) if samples])
    assert max(waits) < 50  # a second at most
    assert 0.1 < np.mean([samples > 0 for samples in gone]) < 0.9


def test_a_pause_gives_nothing_of_the_word_that_ends_before_it() -> None:
    tone = np.round(400 * np.sin(2 * np.pi * 200 * np.arange(80) / 8000))
    word = Pcm8k(np.concatenate((tone, np.zeros(720))).astype("<i2").tobytes())
    rest = shortened(word, 480)
    assert np.abs(np.frombuffer(rest, "<i2")).max() >= 380
