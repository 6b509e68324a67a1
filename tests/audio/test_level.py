"""Loudness, and where speech begins and ends: on made-up lines and on the demo's clips."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import agent
from agent.audio import g711
from agent.audio.level import MeterOptions, SpeechMeter, audible, loudness, rms, steady
from agent.events import Pcm8k

FRAME = 160
CLIPS = sorted((Path(agent.__file__).parent / "simulator" / "speech").glob("caller_*.wav"))


def noise(decibels: float, seconds: float, seed: int = 1) -> Pcm8k:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 8000))
    return Pcm8k(
        (samples * 32768 * 10 ** (decibels / 20)).clip(-32768, 32767).astype("<i2").tobytes()
    )


def listen(meter: SpeechMeter, pcm: bytes, start: float = 0.0) -> list[float]:
    """Feed 20 ms frames; the times of voiced ones (their ends)."""
    voiced = []
    for first in range(0, len(pcm) - 2 * FRAME + 1, 2 * FRAME):
        at = start + (first // 2 + FRAME) / 8000
        if meter.feed(Pcm8k(pcm[first : first + 2 * FRAME]), at):
            voiced.append(at)
    return voiced


def test_levels_in_dbfs() -> None:
    square = np.tile([32767, -32768], 80).astype("<i2").tobytes()
    sine = (32767 * np.sin(2 * np.pi * np.arange(160) / 16)).astype("<i2").tobytes()
    assert rms(Pcm8k(square)) == pytest.approx(0.0, abs=0.01)
    assert rms(Pcm8k(sine)) == pytest.approx(-3.01, abs=0.01)
    assert rms(Pcm8k(b"\x01\x00" * 160)) == pytest.approx(-90.3, abs=0.1)
    assert rms(Pcm8k(bytes(320))) == rms(Pcm8k(b"")) == -100.0


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_a_meter_cannot_tell_sound_from_a_steady_one_as_loud(clip: Path) -> None:
    with wave.open(str(clip)) as file:
        pcm = file.readframes(file.getnframes())
    frames = [Pcm8k(pcm[n : n + 2 * FRAME]) for n in range(0, len(pcm), 2 * FRAME)]
    stand_ins = [steady(loudness(frame), frame.samples) for frame in frames]
    voiced = listen(SpeechMeter(), pcm)
    assert voiced
    assert listen(SpeechMeter(), b"".join(stand_ins)) == voiced
    assert steady(32768, 2) == b"\xff\x7f\xff\x7f"


def test_silence_is_no_speech() -> None:
    meter = SpeechMeter()
    assert listen(meter, bytes(16_000)) == []
    assert meter.started is meter.last_voiced is None
    assert not meter.speaking


def test_speech_has_a_beginning_and_an_end() -> None:
    meter = SpeechMeter()
    line = bytes(16_000) + noise(-20, 1.0) + bytes(16_000)
    voiced = listen(meter, line)
    assert voiced[0] == pytest.approx(1.04)  # from the second frame on it is no click
    assert meter.started == pytest.approx(1.0)
    assert meter.last_voiced == pytest.approx(2.0)
    assert not meter.speaking


def test_a_short_pause_does_not_end_an_utterance() -> None:
    meter = SpeechMeter()
    listen(meter, bytes(16_000) + noise(-20, 0.4) + bytes(4000) + noise(-20, 0.4))
    assert meter.started == pytest.approx(1.0)
    assert meter.speaking
    later = 2.05 + 2.0
    listen(meter, bytes(3200) + noise(-20, 0.4), later)
    assert meter.started == pytest.approx(later + 0.2)
    assert meter.last_voiced == pytest.approx(later + 0.6)


def test_a_click_is_no_speech() -> None:
    meter = SpeechMeter()
    assert listen(meter, bytes(16_000) + noise(-10, 0.02) + bytes(16_000)) == []


def test_noise_that_stays_is_not_speech() -> None:
    meter = SpeechMeter()
    listen(meter, noise(-38, 5.0))
    assert listen(meter, noise(-38, 1.0, 2), 5.0) == []
    assert listen(meter, noise(-24, 0.5), 6.0) != []


def test_what_is_loud_enough_is_speech_whatever_the_floor() -> None:
    meter = SpeechMeter(MeterOptions(rise=1000.0))
    assert len(listen(meter, noise(-15, 2.0))) >= 98


def test_a_quiet_line_stays_able_to_hear_quiet_words() -> None:
    meter = SpeechMeter()
    listen(meter, bytes(80_000))
    assert listen(meter, noise(-48, 0.5), 5.0) != []


@pytest.mark.parametrize("clip", CLIPS, ids=lambda path: path.stem)
@pytest.mark.parametrize("hiss", [None, -60.0, -48.0])
def test_the_last_word_is_found_on_a_telephone_line(clip: Path, hiss: float | None) -> None:
    with wave.open(str(clip)) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int32)
    quiet = np.zeros(16_000, np.int32)
    line = np.concatenate((quiet, speech, quiet))
    if hiss is not None:
        line += np.frombuffer(noise(hiss, len(line) / 8000), "<i2")
    heard = g711.decode(g711.encode(Pcm8k(line.clip(-32768, 32767).astype("<i2").tobytes())))
    meter = SpeechMeter()
    voiced = listen(meter, heard)
    assert voiced[0] - 0.04 == pytest.approx(2.0, abs=0.12)
    assert meter.last_voiced == pytest.approx(2.0 + len(speech) / 8000, abs=0.12)


def test_digital_silence_and_dither_cannot_be_heard() -> None:
    assert not audible(Pcm8k(b""))
    assert not audible(Pcm8k(bytes(320)))
    assert not audible(noise(-78, 0.5))
    assert audible(noise(-50, 0.5))
    assert audible(Pcm8k(bytes(318) + (-40).to_bytes(2, "little", signed=True)))
