"""The stand-in's voice detection and its memory for clips, on what a telephone line makes of them."""

from __future__ import annotations

import audioop

import numpy as np
import pytest
import soxr
from hypothesis import given, settings, strategies as st

from agent.simulator.brain import speechlike
from agent.simulator.ears import (
    Ears,
    Edge,
    Ended,
    Hearing,
    Recogniser,
    Started,
    fingerprint,
    level_dbfs,
    likeness,
)
from agent.simulator.script import SPEECH_FOLDER, read_clip

CALLER = ("caller_open", "caller_park", "caller_cost", "caller_bye")
AGENT = ("agent_greeting", "agent_open", "agent_cost", "agent_bye")
KNOWN = Recogniser({name: read_clip(SPEECH_FOLDER / f"{name}.wav") for name in CALLER})


def quiet(seconds: float, rate_hz: int = 16_000) -> bytes:
    return bytes(2 * int(seconds * rate_hz))


def over_the_line(
    pcm: bytes, rate_hz: int, *, gain_db: float = 0.0, noise: float = 0.0, to_hz: int = 16_000
) -> bytes:
    """Take sound through an 8 kHz mu-law line with a second of quiet around it."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) * 10 ** (gain_db / 20)
    if rate_hz != 8_000:
        samples = soxr.resample(samples, rate_hz, 8_000)
    pad = np.zeros(8_000)
    samples = np.concatenate([pad, samples, pad])
    samples += np.random.default_rng(5).normal(0, noise, len(samples))
    line = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
    line = audioop.ulaw2lin(audioop.lin2ulaw(line, 2), 2)
    back = soxr.resample(np.frombuffer(line, "<i2"), 8_000, to_hz)
    return np.asarray(back, "<i2").tobytes()


def listen(pcm: bytes, rate_hz: int = 16_000, hearing: Hearing | None = None) -> list[Edge]:
    ears = Ears(rate_hz, hearing or Hearing())
    size = 2 * rate_hz // 50
    return [
        edge for at in range(0, len(pcm), size) for edge in ears.hear(pcm[at : at + size])
    ]  # fmt: skip


def only_utterance(edges: list[Edge]) -> Ended:
    assert [type(edge) for edge in edges] == [Started, Ended]
    ended = edges[1]
    assert isinstance(ended, Ended)
    return ended


@pytest.mark.parametrize("name", CALLER)
@pytest.mark.parametrize("gain_db", [-12, 0, 12])
@pytest.mark.parametrize("noise", [0, 40])
def test_a_clip_is_recognised_after_the_line_whatever_its_level(
    name: str, gain_db: float, noise: float
) -> None:
    pcm, rate = read_clip(SPEECH_FOLDER / f"{name}.wav")
    heard = over_the_line(pcm, rate, gain_db=gain_db, noise=noise)
    ended = only_utterance(listen(heard))
    length = len(pcm) / 2 / rate
    assert ended.utterance.seconds == pytest.approx(length, abs=0.15)
    assert ended.at == pytest.approx(1.0 + length + 0.5, abs=0.1)
    assert KNOWN.recognise(ended.utterance.pcm, 16_000) == name


@pytest.mark.parametrize("rate_hz", [8_000, 24_000])
def test_a_clip_is_recognised_at_other_rates(rate_hz: int) -> None:
    pcm, rate = read_clip(SPEECH_FOLDER / "caller_cost.wav")
    ended = only_utterance(listen(over_the_line(pcm, rate, to_hz=rate_hz), rate_hz))
    assert KNOWN.recognise(ended.utterance.pcm, rate_hz) == "caller_cost"


@pytest.mark.parametrize("name", AGENT)
def test_other_speech_is_not_taken_for_a_clip(name: str) -> None:
    pcm, rate = read_clip(SPEECH_FOLDER / f"{name}.wav")
    ended = only_utterance(listen(over_the_line(pcm, rate)))
    assert KNOWN.recognise(ended.utterance.pcm, 16_000) is None


def test_noise_and_a_tone_are_not_taken_for_a_clip() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 32_000).astype("<i2").tobytes()
    assert KNOWN.recognise(noise, 16_000) is None
    assert KNOWN.recognise(speechlike(2.0, 16_000), 16_000) is None
    assert KNOWN.recognise(b"", 16_000) is None
    assert KNOWN.recognise(quiet(1.0), 16_000) is None
    assert Recogniser({}).recognise(noise, 16_000) is None


def test_half_a_clip_is_not_the_clip() -> None:
    pcm, rate = read_clip(SPEECH_FOLDER / "caller_open.wav")
    whole = fingerprint(pcm, rate)
    assert likeness(whole, whole) == pytest.approx(1.0, abs=0.01)
    assert likeness(fingerprint(pcm[: len(pcm) // 3], rate), whole) < 0.5


def test_speech_starts_and_ends_at_literal_times() -> None:
    edges = listen(quiet(1.0) + speechlike(2.0, 16_000) + quiet(1.0))
    ended = only_utterance(edges)
    assert edges[0].at == pytest.approx(1.06)  # 60 ms of speech commit it
    assert ended.at == pytest.approx(3.5)
    assert ended.utterance.seconds == pytest.approx(2.0)
    # 300 ms of look-back hold the 60 ms that committed it, and the pause is kept
    assert len(ended.utterance.pcm) == pytest.approx(2 * 16_000 * (2.0 + 0.5 + 0.3 - 0.06))


def test_the_setup_decides_how_long_a_pause_ends_speech_and_what_starts_it() -> None:
    speech = quiet(0.5) + speechlike(1.0, 16_000) + quiet(0.4) + speechlike(1.0, 16_000)
    patient = listen(speech + quiet(2), hearing=Hearing(silence_seconds=0.8, prefix_seconds=0.2))
    assert [edge.at for edge in patient] == pytest.approx([0.7, 2.9 + 0.8])
    hasty = listen(speech + quiet(2), hearing=Hearing(silence_seconds=0.2, prefix_seconds=0.02))
    assert [edge.at for edge in hasty] == pytest.approx([0.52, 1.7, 1.92, 3.1])


def test_a_low_sensitivity_hears_loud_speech_only() -> None:
    faint = np.frombuffer(speechlike(1.0, 16_000), "<i2") // 24  # about -48 dBFS
    sound = quiet(0.5) + faint.astype("<i2").tobytes() + quiet(1)
    assert len(listen(sound)) == 2
    assert not listen(sound, hearing=Hearing(extra_db=12.0))


def test_a_click_and_a_noisy_line_are_not_speech() -> None:
    click = speechlike(0.04, 16_000)
    assert not listen(quiet(0.5) + click + quiet(0.5) + click + quiet(0.5))
    noise = np.random.default_rng(2).normal(0, 200, 80_000)  # -44 dBFS from the first moment
    hiss = noise.astype("<i2").tobytes()
    edges = listen(hiss)
    assert len(edges) <= 2  # it may be fooled once, and then has learnt the line's noise
    ears = Ears(16_000, Hearing())
    ears.hear(hiss)
    assert not ears.speaking
    loud = (noise[:32_000] + np.frombuffer(speechlike(2.0, 16_000), "<i2")).astype("<i2")
    assert [type(edge) for edge in ears.hear(loud.tobytes())] == [Started]
    assert [type(edge) for edge in ears.hear(hiss[:32_000])] == [Ended]


def test_the_end_of_the_stream_ends_speech() -> None:
    ears = Ears(16_000, Hearing())
    assert ears.flush() == []
    assert len(ears.hear(speechlike(1.0, 16_000))) == 1
    [ended] = ears.flush()
    assert isinstance(ended, Ended)
    assert ended.utterance.seconds == pytest.approx(1.0)
    assert not ears.speaking
    assert ears.onset is None


def test_of_a_very_long_utterance_the_beginning_is_kept() -> None:
    ears = Ears(8_000, Hearing())
    speech = speechlike(10.0, 8_000)
    edges = [edge for _ in range(4) for edge in ears.hear(speech)]
    edges += ears.hear(quiet(1, 8_000))
    ended = only_utterance(edges)
    assert ended.utterance.seconds == pytest.approx(40.0)
    assert len(ended.utterance.pcm) == 2 * 8_000 * 30


SOUND = quiet(0.3) + speechlike(0.5, 16_000) + quiet(0.7) + speechlike(0.3, 16_000) + quiet(0.3)
WHOLE = Ears(16_000, Hearing()).hear(SOUND)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 9_000), max_size=12))
def test_how_the_stream_is_cut_makes_no_difference(cuts: list[int]) -> None:
    ears = Ears(16_000, Hearing())
    at, edges = 0, []
    for cut in [*cuts, len(SOUND)]:
        edges += ears.hear(SOUND[at : at + 2 * cut])
        at += 2 * cut
    assert edges == WHOLE


def test_levels_are_in_decibels_under_full_scale() -> None:
    full = np.full(320, 32_767, np.float32)
    assert level_dbfs(full) == pytest.approx(0.0, abs=0.001)
    assert level_dbfs(full * np.float32(0.1)) == pytest.approx(-20.0, abs=0.001)
    assert level_dbfs(np.zeros(320, np.float32)) == -96.0
    speech = np.frombuffer(speechlike(1.0), "<i2").astype(np.float32)
    assert level_dbfs(speech) == pytest.approx(-20.0, abs=0.5)
    assert abs(speech[0]) > 100
