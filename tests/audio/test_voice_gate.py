"""Copies of our own sound are told from other sounds; pauses between our words are found."""

from __future__ import annotations

import numpy as np
import pytest

from agent.audio.resample import Upsample8to16
from agent.audio.voice_gate import AHEAD, LINE_SECONDS, OWN_SECONDS, Echo, since_pause
from agent.events import LinePcm, Pcm8k, Pcm16k
from tests.models.overlap import Sound, clip, noise, pcm, quieter

RATE = Pcm8k.rate


def cut(sound: Sound, begin: float, end: float) -> Pcm8k:
    return Pcm8k(pcm(sound[round(begin * RATE) : round(end * RATE)]))


wide_band_too = pytest.mark.parametrize("wide", [False, True])


def judged(line: Sound, own: Sound, until: float, *, wide: bool) -> bool:
    """What is thought of the line at `until`, after two looks."""

    def cut(sound: Sound, begin: float, end: float) -> LinePcm:
        piece = Pcm8k(pcm(sound[round(begin * RATE) : round(end * RATE)]))
        return Upsample8to16().feed(piece) if wide else piece

    echo = Echo(Pcm16k if wide else Pcm8k)
    before = until - 0.04
    echo.feed(
        cut(line, before - LINE_SECONDS, before),
        cut(own, before + AHEAD - OWN_SECONDS, before + AHEAD),
    )
    assert echo.likely()  # the first look clears nobody
    echo.feed(cut(line, before, until), cut(own, before + AHEAD, until + AHEAD))
    return echo.likely()


@wide_band_too
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.35])
@pytest.mark.parametrize("down", [15, 30])
def test_a_copy_is_an_echo_however_late_and_quiet(delay: float, down: float, wide: bool) -> None:
    own = np.concatenate((np.zeros(RATE), clip("agent_open")))
    line = np.concatenate((np.zeros(round(delay * RATE)), quieter(own, down)))[: len(own)]
    line = line + noise(len(line) / RATE, 4)
    assert judged(line, own, 2.5, wide=wide)


@wide_band_too
def test_another_voice_is_none(wide: bool) -> None:
    own = np.concatenate((np.zeros(RATE), clip("agent_open")))
    line = np.concatenate((np.zeros(2 * RATE), quieter(clip("caller_open"), 10)))
    looks = [judged(line, own, 2.2 + 0.1 * n, wide=wide) for n in range(10)]
    assert looks.count(False) >= 6


@wide_band_too
def test_what_is_louder_than_we_are_is_none(wide: bool) -> None:
    own = np.concatenate((np.zeros(RATE), clip("agent_open")))
    looks = [judged(own, quieter(own, 6), 1.3 + 0.1 * n, wide=wide) for n in range(10)]
    assert looks.count(False) >= 3  # between words it is quieter than that


def test_sound_may_come_in_pieces_of_any_length() -> None:
    whole, pieces = Echo(), Echo()
    sound = cut(clip("agent_open"), 0.5, 1.5)
    whole.feed(sound, sound)
    for size in (2, 30, 158, 162):
        pieces.feed(Pcm8k(sound[:size]), Pcm8k(sound[:size]))
        sound = Pcm8k(sound[size:])
    pieces.feed(sound, sound)
    assert whole.likely() == pieces.likely()


def test_the_latest_pause_between_two_words_is_found() -> None:
    word = noise(0.2, 3000)
    sound = np.concatenate((word, np.zeros(320), word, np.zeros(320), word[:800]))
    assert since_pause(Pcm8k(pcm(sound)), 0.5) == pytest.approx(0.1, abs=0.021)


@pytest.mark.parametrize("sound", [noise(1.0, 3000), np.zeros(0)])
def test_where_there_is_no_pause_there_is_none(sound: Sound) -> None:
    assert since_pause(Pcm8k(pcm(sound)), 0.5) == 0.0
