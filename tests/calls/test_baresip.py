"""A second implementation of SIP and RTP that nobody here wrote (Debian's baresip) holds the demo's conversation."""

from __future__ import annotations

import asyncio
import wave
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest
import soxr

from agent.config.agent_files import EXAMPLES
from agent.config.settings import Settings
from agent.server.sip import prepared
from agent.simulator.brain import EchoBrain, Say
from agent.simulator.caller import SPEECH
from agent.simulator.gemini_setup import Conduct
from agent.simulator.wav import read_phone_wav
from tests.calls.debian_baresip import call, needs_baresip
from tests.calls.exchange import exchange
from tests.calls.sip_serving import sip_serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.calls.debian_baresip import Sound

SAYS = {4.5: "caller_open", 11.0: "caller_park", 15.5: "caller_cost", 22.0: "caller_bye"}
"""Seconds into the call, and what is said: the third while the agent still answers the second."""
SECONDS = 33


@pytest.mark.slow
@pytest.mark.timeout(100)
@needs_baresip
@pytest.mark.parametrize(("codec", "rate"), [("pcmu", 8000), ("g722", 16000)])
def test_another_telephone_holds_the_whole_conversation(
    tmp_path: Path, codec: str, rate: int
) -> None:
    said = np.zeros(SECONDS * rate)
    for at, clip in SAYS.items():
        sound = soxr.resample(read_phone_wav(SPEECH / f"{clip}.wav").astype(float), 8000, rate)
        said[int(at * rate) :][: len(sound)] = sound
    with sip_serving(
        tmp_path,
        agent=(EXAMPLES / "front_desk.yaml")
        .read_text()
        .replace("recording: false", "recording: true"),
    ) as served:
        phone = call(tmp_path / "phone", served.where, said, codec, SECONDS)
        stats = served.stats()
    (path,) = served.data.glob("calls/*/transcript.json")
    told = msgspec.json.decode(path.read_bytes())
    assert told["end_reason"] == "agent_hung_up", phone.told
    heard = [line["text"] for line in told["lines"] if line["who"] == "caller"]
    assert heard == [
        "Hi. What time do you open tomorrow?",
        "And where can I park my car?",
        "Sorry, is it free on Sundays?",
        "Great, thank you. Goodbye.",
    ]
    assert told["metrics"]["barge_ins"] == 1
    assert not stats["violations"]
    assert phone.rate == rate
    blocks = phone.heard[: len(phone.heard) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10)
    spoken = (np.sqrt((blocks**2).mean(axis=1)) > 300).sum() / 10
    assert 8.0 < spoken < 20.0  # seconds of the agent's voice, as the telephone recorded them
    with wave.open(str(path.parent / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, rate)
        kept = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).astype(float)
    if rate == 16000:  # a voice of 24 kHz has that much up there, and a telephone of 8 kHz nothing
        for agent in (phone.heard, kept[:, 1]):
            assert -26 < above(agent, 4200, rate) < -12


def above(sound: Sound, hertz: float, rate: int) -> float:
    """The share of a sound's power that lies above so many Hz, in dB."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float(10 * np.log10(power[int(hertz * len(sound) / rate) :].sum() / power.sum()))


TONES = (300, 1000, 2200, 3400, 4300, 5500, 6600, 7000)
TONE, EVERY = 0.3, 0.4
"""Seconds of each, and from one to the next."""
AMPLITUDE, LOUD = 8000, 1000
TOO_HIGH = 10_000
"""Hertz of what no line of 16 kHz carries: folded it would be 6 kHz."""


def tones(rate: int, *more: int) -> Sound:
    """All of them, one after the other."""
    times = np.arange(round(TONE * rate)) / rate
    rise = np.clip(np.minimum(times, TONE - times) / 0.005, 0, 1)
    sound = np.zeros(round(EVERY * rate) * len((*TONES, *more)))
    for n, hertz in enumerate((*TONES, *more)):
        first = round(n * EVERY * rate)
        sound[first : first + len(times)] = AMPLITUDE * rise * np.sin(2 * np.pi * hertz * times)
    return sound


class Singer(EchoBrain):
    """Sings the tones when it is asked to speak, and notes all that it hears."""

    def __init__(self, heard: bytearray) -> None:
        super().__init__()
        self._heard = heard

    def prompted(self, text: str) -> tuple[Say]:
        return (Say(tones(24_000, TOO_HIGH).astype("<i2").tobytes(), "La."),)

    def echo(self, pcm: bytes, rate_hz: int, now: float) -> bytes:
        assert rate_hz == 16_000
        self._heard += pcm
        return b""


class Heard(NamedTuple):
    """A tone as it was heard: where it began (seconds), its level against what was sent, all else against it (dB)."""

    begins: float
    level: float
    rest: float


def heard_tones(sound: Sound, rate: int) -> list[Heard]:
    """Each tone that is there, in order; how it sounds in the fifth of a second that begins 30 ms behind its start."""
    size = rate // 100
    rows = sound[: len(sound) // size * size].reshape(-1, size)
    loud = np.sqrt((rows**2).mean(axis=1)) > LOUD
    found: list[Heard] = []
    # A telephone's record begins with our first packet, and the first tone may begin with it.
    for begin in [n for n in range(len(loud)) if loud[n] and not (n and loud[n - 1])]:
        if found and begin / 100 - found[-1].begins < 0.7 * EVERY:
            continue  # a lost packet is no end of a tone
        piece = sound[begin * size + 3 * size :][: rate // 5]
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) * 4 / len(piece)
        at = round(TONES[len(found) % len(TONES)] / 5)  # 5 Hz from one to the next
        power = (spectrum[max(0, at - 4) : at + 5] ** 2).sum()
        rest = max((spectrum**2).sum() - power, 1e-9)
        level = 20 * np.log10(max(spectrum[at], 1e-9) / AMPLITUDE)
        found.append(Heard(begin / 100, float(level), float(10 * np.log10(rest / power))))
    return found


@pytest.mark.slow
@pytest.mark.timeout(60)
@needs_baresip
async def test_tones_up_to_7_khz_pass_in_both_directions_and_nothing_else(tmp_path: Path) -> None:
    """At the model's socket and at the telephone: each at its time, as loud as it was, and none of what a line cannot carry."""
    where, came = prepared(Settings.load({"SIP_LISTEN": "127.0.0.1:0"})).sip_listen, bytearray()
    assert where is not None
    said = np.concatenate((np.zeros(16_000), tones(16_000), np.zeros(8_000)))
    async with exchange(
        tmp_path,
        brain=lambda: Singer(came),
        conduct=Conduct(setup_seconds=0.02, model_delay_seconds=0.02, speed=50.0),
        SIP_LISTEN=where,
    ):
        phone = await asyncio.to_thread(call, tmp_path / "phone", where, said, "g722", 7)
    assert phone.rate == 16_000, phone.told
    model = np.frombuffer(bytes(came), "<i2").astype(float)
    for sound in (model, phone.heard):
        found = heard_tones(sound, 16_000)
        assert len(found) == len(TONES)
        # A machine that stands still for a moment costs a telephone some packets, and one or two tones their shape.
        assert [one.begins - found[0].begins for one in found] == pytest.approx(
            [n * EVERY for n in range(len(TONES))], abs=0.15
        )
        clean = [one for one in found if abs(one.level) < 0.3 and one.rest < -20]
        assert len(clean) >= len(TONES) - 2  # -20 dB: the codec's own noise, at the highest
