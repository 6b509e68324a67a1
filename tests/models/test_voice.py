"""Who stops the agent and who does not, by sound: echoes, noises, and callers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from agent import events as e
from agent.events import Pcm8k
from agent.models.voice import MOST, Models, VoiceDetector
from tests.models.overlap import (
    AGENT,
    CALLER,
    RATE,
    Echo,
    Overlap,
    Sound,
    clip,
    noise,
    pcm,
    placed,
    quieter,
)

ECHOES = [
    Echo(delay, down, room)
    for delay in (0.0, 0.08, 0.2, 0.36)
    for down in (15, 22, 30)
    for room in (0, 160)
]


async def echoed(agent: str, echo: Echo, *, wide: bool = False) -> Overlap:
    return await Overlap(agent, noise(len(clip(agent)) / RATE + 0.3), echo, wide=wide).run()


wide_band_too = pytest.mark.parametrize("wide", [False, True])


@wide_band_too
@pytest.mark.parametrize(("agent", "n"), [("agent_open", 2)])
async def test_our_own_voice_coming_back_stops_nobody(agent: str, n: int, wide: bool) -> None:
    call = await echoed(agent, ECHOES[n], wide=wide)
    assert call.cleared == []


@pytest.mark.slow
@pytest.mark.parametrize("agent", AGENT)
async def test_whatever_way_it_takes_our_own_voice_stops_nobody(agent: str, full: bool) -> None:
    for n, echo in enumerate(ECHOES if full else ECHOES[:: len(ECHOES) // 4]):
        call = await echoed(agent, echo, wide=n % 2 > 0)
        assert call.cleared == [], echo


async def took(
    voice: Sound, agent: str, at: float, echo: Echo | None, *, wide: bool = False
) -> float:
    """Seconds from the caller's first sound to the agent's silence."""
    call = await Overlap(agent, placed(voice, at, 2.2) + noise(2.2), echo, wide=wide).run()
    rows = voice[: len(voice) // 80 * 80].reshape(-1, 80)
    onset = np.flatnonzero(np.sqrt((rows**2).mean(axis=1)) > 300)[0] / 100
    return call.cleared[0] - at - float(onset)


@wide_band_too
@pytest.mark.parametrize("echo", [None, Echo(0.1, 20)])
async def test_a_caller_stops_the_agent_within_a_fifth_of_a_second(
    echo: Echo | None, wide: bool
) -> None:
    assert await took(clip("caller_open"), "agent_open", 0.8, echo, wide=wide) <= 0.2


@pytest.mark.slow
@pytest.mark.parametrize("echo", [None, Echo(0.1, 20), Echo(0.25, 15, 160)])
@wide_band_too
async def test_so_does_nearly_every_caller(echo: Echo | None, full: bool, wide: bool) -> None:
    """19 of 20 within 0.3 s, as long as they are about as loud as we are; half of them within 0.15 s."""
    times = [
        await took(clip(caller), agent, at, echo, wide=wide)
        for agent in (AGENT if full else AGENT[:1])
        for caller in CALLER
        for at in (0.6, 1.03)
    ]
    print(echo, wide, f"p50 {np.percentile(times, 50):.3f} s, p95 {np.percentile(times, 95):.3f} s")
    assert np.percentile(times, 50) <= 0.15
    assert np.percentile(times, 95) <= 0.3


async def test_a_quiet_caller_stops_it_too() -> None:
    call = await Overlap("agent_open", placed(quieter(clip("caller_open"), 12), 0.8, 2.2)).run()
    assert call.cleared


def keys(seconds: float) -> Sound:
    """A telephone's key, pressed again and again (ITU-T Q.23: 770 and 1336 Hz)."""
    times = np.arange(round(seconds * RATE)) / RATE
    tones = np.sin(2 * np.pi * 770 * times) + np.sin(2 * np.pi * 1336 * times)
    return np.asarray(4000 * tones * (times % 0.2 < 0.1))


def cough() -> Sound:
    return noise(0.25, 8000, seed=5) * np.exp(-np.arange(2000) / 500)


@pytest.mark.parametrize(
    "sound", [keys(1.2), cough(), noise(1.2, 1500)], ids=["keys", "cough", "hiss"]
)
async def test_what_is_no_voice_stops_nobody(sound: Sound) -> None:
    call = await Overlap("agent_open", placed(sound, 0.8, 2.2) + noise(2.2)).run()
    assert call.machine.metrics.listened > 0
    assert call.cleared == []


# ---- the driver


class Hears:
    """A model that hears a voice in whatever is loud, and counts."""

    made = 0

    def __init__(self) -> None:
        Hears.made += 1
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def process_chunk(self, audio: bytes) -> float:
        return float(np.abs(np.frombuffer(audio, "<i2")).max() > 1000)


async def answers(detector: VoiceDetector, told: list[e.VoiceDetected], *asked: e.Detect) -> None:
    told.clear()
    for command in asked:
        detector.send(command)
    assert not told  # never inside the call's own step
    await asyncio.sleep(0)


async def test_windows_are_counted_over_questions_and_begun_anew_with_a_fresh_one() -> None:
    told: list[e.VoiceDetected] = []
    detector = VoiceDetector(Models(Hears), told.append)
    loud, none = Pcm8k(pcm(noise(0.04, 8000))), Pcm8k(b"")
    await answers(
        detector,
        told,
        e.Detect(1, loud, none, fresh=True),
        e.Detect(2, loud, none),
        e.Detect(3, loud, none),
        e.Detect(4, loud, none),
        e.Detect(5, loud, none, fresh=True),
    )
    assert [len(each.voice) for each in told] == [1, 1, 1, 2, 1]
    assert [each.n for each in told] == [1, 2, 3, 4, 5]


async def test_detectors_go_from_call_to_call_and_there_are_few() -> None:
    Hears.made = 0
    models = Models(Hears)
    told: list[e.VoiceDetected] = []
    detectors = [VoiceDetector(models, told.append) for _ in range(MOST + 2)]
    for detector in detectors:
        question = e.Detect(1, Pcm8k(bytes(2048)), Pcm8k(b""), fresh=True)
        await answers(detector, told, question)
        assert told[0].voice == [0.0] * 4
    assert Hears.made == MOST
    await answers(detectors[0], told, e.Detect(2, Pcm8k(bytes(512)), Pcm8k(b"")))
    assert told[0].voice == [0.0]  # it has lost its own to another call, and begins anew
    for detector in detectors:
        detector.close()
        detector.close()
    assert Hears.made == MOST
