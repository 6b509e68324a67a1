"""Delay that stays is taken out of the voice; what is needed is not."""

from __future__ import annotations

import numpy as np
import pytest

from agent.events import LinePcm, Pcm8k
from agent.protocols.sip.catch_up import CatchUp

PAUSE = Pcm8k(320)
"""20 ms that nobody hears."""


class Line:
    """A ring that plays 20 ms at each multiple of 20 ms, and a voice of which a frame comes 5 ms after that, or later."""

    def __init__(self) -> None:
        self.catch_up = CatchUp(8000, 0.0)
        self.frames = 0  # ticks so far
        self.held = 0
        self.dry = 0  # ticks without sound while there was a voice
        self.levels: list[int] = []  # what the ring held when more came, in ms

    def speaks(self, seconds: float, late: float = 0.0, frame: LinePcm = PAUSE) -> None:
        """Live; the first frames are late, all at once."""
        waiting = 0
        for n in range(round(seconds * 50)):
            self.tick()
            waiting += 1
            if n * 0.02 + 0.005 >= late:
                for _ in range(waiting):
                    self.say(frame, self.frames * 0.02 + 0.005)
                waiting = 0

    def tick(self) -> None:
        self.frames += 1
        self.dry += self.held < 320
        self.held = max(0, self.held - 320)

    def say(self, pcm: LinePcm, now: float) -> None:
        self.levels.append(self.held // 16)
        if self.catch_up.asks(now):
            pcm = self.catch_up.fit(pcm, self.held, now)
        self.held += len(pcm)


def test_a_stall_is_made_good_within_seconds() -> None:
    line = Line()
    line.speaks(5.0)
    assert set(line.levels) == {0}
    line.speaks(3.5, late=0.06)
    assert line.dry == 1 + 3  # the first tick of all, and the stall
    assert max(line.levels) == 60
    line.levels.clear()
    line.speaks(5.0)
    assert set(line.levels) == {0}
    assert line.dry == 4


def test_continuing_sound_gives_its_periods_and_noise_waits_for_a_pause() -> None:
    at = np.arange(160) / 8000
    hum = Pcm8k(np.round(8000 * np.sin(2 * np.pi * 150 * at)).astype("<i2").tobytes())
    noise = Pcm8k(np.random.default_rng(1).normal(0, 3000, 160).astype("<i2").tobytes())
    humming, hissing = Line(), Line()
    for line, frame in ((humming, hum), (hissing, noise)):
        line.speaks(1.0, frame=frame)
        line.speaks(5.0, late=0.04, frame=frame)
    assert humming.levels[-1] <= 2  # less than any period
    assert hissing.levels[-1] == 40
    hissing.speaks(0.1)
    assert hissing.levels[-1] == 0
    assert (humming.dry, hissing.dry) == (3, 3)


def test_what_is_needed_again_and_again_stays() -> None:
    line = Line()
    for _ in range(10):
        line.speaks(0.3, late=0.04)
        line.speaks(0.9)
    assert line.dry == 1 + 2  # the first time; from then on there is enough


def test_what_was_needed_after_all_is_left_alone_for_a_while() -> None:
    line = Line()
    for _ in range(10):
        line.speaks(0.3, late=0.04)
        line.speaks(3.7)
    assert line.dry == 1 + 2 * 5  # of ten times in 40 s


def test_a_voice_that_is_ahead_stays_ahead_and_the_ring_is_hardly_asked() -> None:
    catch_up, held, asked = CatchUp(8000, 0.0), 0, 0
    for n in range(500):  # topped up to 400 ms, 40 ms at a time
        now = n * 0.02
        held = max(0, held - 320)
        if held > 360 * 16:
            continue
        pcm = Pcm8k(400 * 16 - held)
        if catch_up.asks(now):
            asked += 1
            assert catch_up.fit(pcm, held, now) is pcm
        held += len(pcm)
    assert asked < 65  # of 250 times


@pytest.mark.parametrize("faster", [1.05, 1.1, 1.5])
def test_a_voice_that_gets_ahead_slowly_may(faster: float) -> None:
    catch_up, held, taken = CatchUp(8000, 0.0), 0.0, 0
    for n in range(500):
        now = n * 0.02
        held = max(0.0, held - 320 / faster)  # what was played since the last frame came
        if catch_up.asks(now):
            taken += 320 - len(catch_up.fit(PAUSE, round(held / 2) * 2, now))
        held += 320
    assert taken == 0


def test_after_a_pause_nothing_is_late() -> None:
    """What the ring held before it ran dry says nothing of the reply that comes next, all at once."""
    line = Line()
    line.speaks(0.1)
    line.speaks(2.0, late=0.06)
    assert line.levels[-1] == 60
    for _ in range(50):
        line.tick()
    now = line.frames * 0.02
    for n in range(10):
        line.say(PAUSE, now + n * 0.011)
    assert line.held == 10 * 320


def test_pieces_that_come_together_are_one() -> None:
    catch_up = CatchUp(8000, 0.0)
    assert catch_up.asks(1.0)
    catch_up.fit(PAUSE, 0, 1.0)
    assert not catch_up.asks(1.0)
    assert catch_up.asks(1.015)
