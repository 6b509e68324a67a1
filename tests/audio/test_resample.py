"""The live resamplers, judged by their spectrum (FFT) and by soxr, which knows nothing of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings, strategies as st

from agent.audio.resample import (
    AsItIs,
    Downsample16to8,
    Downsample24to8,
    Downsample24to16,
    Resampler,
    Upsample8to16,
)
from agent.events import Pcm, Pcm8k, Pcm16k, Pcm24k

Signal = npt.NDArray[np.float64]

KINDS: list[tuple[type[Any], type[Pcm], type[Pcm]]] = [
    (Upsample8to16, Pcm8k, Pcm16k),
    (Downsample24to8, Pcm24k, Pcm8k),
    (Downsample24to16, Pcm24k, Pcm16k),
]
every_kind = pytest.mark.parametrize(("kind", "source", "target"), KINDS)


def pcm(signal: Signal) -> bytes:
    return np.clip(np.rint(signal), -32768, 32767).astype("<i2").tobytes()


def whole(kind: type[Any], source: type[Pcm], signal: Signal) -> Signal:
    return np.frombuffer(kind().feed(source(pcm(signal))), "<i2").astype(np.float64)


def tone(hertz: float, rate: int, seconds: float = 1.5, peak: float = 16_000) -> Signal:
    return peak * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def spectrum(signal: Signal, rate: int) -> Signal:
    """Peak amplitude at each whole Hz, from the last second; a whole tone falls into one bin."""
    amplitudes: Signal = np.abs(np.fft.rfft(signal[-rate:])) * 2 / rate
    return amplitudes


def decibels(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


PASS = {
    Upsample8to16: (300, 3400),
    Downsample24to8: (300, 3400),
    Downsample24to16: (50, 7000),
}
DOWN_70_DB = 16_000 * 10 ** (-70 / 20)


@every_kind
def test_the_pass_band_is_flat(kind: type[Any], source: type[Pcm], target: type[Pcm]) -> None:
    low, high = PASS[kind]
    for hertz in np.linspace(low, high, 25).round():
        heard = spectrum(whole(kind, source, tone(hertz, source.rate)), target.rate)
        assert abs(decibels(heard[int(hertz)] / 16_000)) < 0.05


def test_images_of_8_khz_are_gone_from_4600_hz_up() -> None:
    for hertz in [60, 300, 500, 1000, 1700, 2000, 2500, 3000, 3200, 3300, 3400]:
        heard = spectrum(whole(Upsample8to16, Pcm8k, tone(hertz, 8000)), 16000)
        assert heard[4600:].max() < DOWN_70_DB


@pytest.mark.parametrize(
    ("kind", "target", "tones"),
    [
        (Downsample24to8, Pcm8k, [4600, 4700, 5000, 5500, 6500, 7999, 8001, 9000, 11_000, 11_900]),
        (Downsample24to16, Pcm16k, [9200, 9300, 9500, 10_000, 10_500, 11_000, 11_500, 11_950]),
    ],
)
def test_nothing_aliases(kind: type[Any], target: type[Pcm], tones: list[int]) -> None:
    for hertz in tones:
        heard = spectrum(whole(kind, Pcm24k, tone(hertz, 24000)), target.rate)
        assert heard.max() < DOWN_70_DB


def test_images_of_24_khz_are_gone_at_16_khz() -> None:
    """Going through 48 kHz has images as well as aliases: all but the tone itself counts."""
    for hertz in [50, 1000, 3000, 5000, 6000, 6900, 7000]:
        heard = spectrum(whole(Downsample24to16, Pcm24k, tone(hertz, 24000)), 16000)
        heard[hertz] = 0
        assert heard.max() < DOWN_70_DB


@every_kind
def test_the_delay_is_short_and_as_declared(
    kind: type[Any], source: type[Pcm], target: type[Pcm]
) -> None:
    assert 0 < kind.delay <= 0.003
    at = 0.1
    click = np.zeros(source.rate)
    click[round(at * source.rate)] = 20_000
    heard = whole(kind, source, click)
    assert int(np.abs(heard).argmax()) == pytest.approx((at + kind.delay) * target.rate, abs=1)


@every_kind
def test_soxr_hears_the_same(kind: type[Any], source: type[Pcm], target: type[Pcm]) -> None:
    """Noise within the pass band, against soxr's best quality on the whole signal."""
    noise = np.random.default_rng(7).standard_normal(source.rate * 2)
    bins = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(len(noise), 1 / source.rate)
    bins[(hertz < PASS[kind][0]) | (hertz > PASS[kind][1])] = 0
    speech = np.fft.irfft(bins)
    speech *= 12_000 / np.abs(speech).max()
    judge = soxr.resample(np.rint(speech), source.rate, target.rate, quality="VHQ")
    ours = whole(kind, source, speech)
    late = round(kind.delay * target.rate)
    inner = slice(target.rate // 2, -target.rate // 2)
    error = ours[late:][inner] - judge[: len(judge) - late][inner]
    assert decibels(float(error.std() / judge[inner].std())) < -60


@every_kind
def test_counts_are_exact(kind: type[Any], source: type[Pcm], target: type[Pcm]) -> None:
    down = {8000: 1, 24000: 3}[source.rate]
    up = down * target.rate // source.rate
    for samples in [0, 1, 2, 3, 4, 5, 47, 48, 49, 159, 160, 161, 479, 480, 481, 24_000]:
        out = kind().feed(source(bytes(2 * samples)))
        assert type(out) is target
        assert out.samples == samples // down * up


@every_kind
@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(
        st.one_of(st.integers(0, 7), st.integers(0, 1200), st.just(160)),  # 160: a telephone's
        max_size=20,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_pieces_give_the_whole(
    kind: type[Any], source: type[Pcm], target: type[Pcm], sizes: list[int], seed: int
) -> None:
    loud = np.random.default_rng(seed).integers(-32768, 32768, sum(sizes)).astype("<i2").tobytes()
    stream = kind()
    pieces, at = b"", 0
    for size in sizes:
        pieces += stream.feed(source(loud[at : at + 2 * size]))
        at += 2 * size
    assert pieces == kind().feed(source(loud))


@every_kind
def test_nothing_waits_for_a_later_piece(
    kind: type[Any], source: type[Pcm], target: type[Pcm]
) -> None:
    stream = kind()
    for _ in range(50):
        frame = source(bytes(source.rate // 50 * 2))
        assert stream.feed(frame).samples == target.rate // 50


@every_kind
def test_too_loud_is_clipped_and_never_wraps(
    kind: type[Any], source: type[Pcm], target: type[Pcm]
) -> None:
    square = np.where(tone(200, source.rate) >= 0, 32767.0, -32768.0)
    heard = whole(kind, source, square)[500:]
    assert heard.max() == 32767
    assert heard.min() == -32768
    late = round(kind.delay * target.rate)
    tops = np.sign(
        np.sin(2 * np.pi * 200 * (np.arange(500, 500 + len(heard)) - late) / target.rate)
    )
    assert np.mean(np.sign(heard) == tops) > 0.95


@every_kind
def test_reset_forgets(kind: type[Any], source: type[Pcm], target: type[Pcm]) -> None:
    stream: Resampler = kind()
    loud = source(pcm(tone(440, source.rate, 0.1)) + b"\x01\x02")
    first = stream.feed(loud)  # type: ignore[attr-defined]
    stream.reset()
    assert stream.feed(loud) == first  # type: ignore[attr-defined]


@every_kind
@pytest.mark.parametrize("samples", [4800, 4801, 4802])
def test_the_end_of_the_last_word_is_not_lost(
    kind: type[Any], source: type[Pcm], target: type[Pcm], samples: int
) -> None:
    word = pcm(tone(440, source.rate)[:samples])
    stream = kind()
    said = stream.feed(source(word))
    rest = stream.flush()
    assert type(rest) is target
    with_silence = kind().feed(source(word + bytes(source.rate)))
    assert with_silence.startswith(said + rest)
    assert not any(with_silence[len(said + rest) :])
    assert rest.seconds <= 2 * 0.003
    assert stream.flush() == b""  # nobody spoke since
    assert stream.feed(source(word)) == said  # nothing of it is left
    stream.reset()
    assert stream.flush() == b""


@every_kind
def test_steady_sound_stays_as_loud_as_it_was(
    kind: type[Any], source: type[Pcm], target: type[Pcm]
) -> None:
    heard = whole(kind, source, np.full(source.rate // 10, 12_345.0))[200:]
    assert abs(heard - 12_345).max() <= 3


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of element size"):
        Upsample8to16().feed(Pcm8k(b"abc"))


def test_a_wide_band_line_that_becomes_a_narrow_one_sounds_as_one() -> None:
    for hertz in [300, 1000, 2000, 3000, 3400]:
        heard = spectrum(whole(Downsample16to8, Pcm16k, tone(hertz, 16000)), 8000)
        assert abs(decibels(heard[hertz] / 16_000)) < 0.05
    for hertz in [4600, 4700, 5000, 6500, 7000, 7900]:
        heard = spectrum(whole(Downsample16to8, Pcm16k, tone(hertz, 16000)), 8000)
        assert heard.max() < DOWN_70_DB


def test_what_has_the_models_rate_stays_as_it_is() -> None:
    sound = Pcm16k(b"\1\2\3\4")
    assert AsItIs().feed(sound) is sound


@pytest.mark.parametrize("kind", [Upsample8to16, Downsample24to8, Downsample24to16])
def test_pieces_of_any_lengths_one_after_the_other_are_what_the_whole_is(kind: type[Any]) -> None:
    """Pieces of one length in a row take another way through than the first of them."""
    lengths = [480, 480, 480, 960, 960, 480, 480, 7, 480, 480, 480, 1920, 1920, 1920, 4800, 4800]
    source = Pcm8k if kind is Upsample8to16 else Pcm24k
    samples = np.random.default_rng(5).integers(-32768, 32767, sum(lengths)).astype("<i2")
    pieces = np.split(samples, np.cumsum(lengths)[:-1])
    resampler = kind()
    said = b"".join(resampler.feed(source(piece.tobytes())) for piece in pieces)
    assert said == kind().feed(source(samples.tobytes()))


@pytest.mark.parametrize("kind", [Upsample8to16, Downsample24to8, Downsample24to16])
def test_a_quiet_piece_behind_a_loud_one_is_clipped_where_the_loud_one_rings_into_it(
    kind: type[Any],
) -> None:
    """Quiet pieces are not clipped at all, and a filter remembers: all the same they are what the whole is."""
    source = Pcm8k if kind is Upsample8to16 else Pcm24k
    dice = np.random.default_rng(7)
    pieces = []
    for n in range(40):
        full = np.where(dice.random(480) > 0.5, 32767, -32768)
        quiet = dice.integers(-900, 900, 480)
        # The loud part ends where the piece does, so that it rings into the quiet one behind it.
        loud = np.concatenate([quiet[:400], full[:80]])
        pieces.append((loud, quiet, quiet)[n % 3].astype("<i2").tobytes())
    resampler = kind()
    said = b"".join(resampler.feed(source(piece)) for piece in pieces)
    assert said == kind().feed(source(b"".join(pieces)))
    assert np.abs(np.frombuffer(said, "<i2").astype(int)).max() >= 32767
