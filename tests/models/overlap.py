"""A call in which somebody, or something, is heard over the agent's words: real speech, a real detector, literal times."""

from __future__ import annotations

import asyncio
import wave
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from agent import events as e
from agent.audio import g711
from agent.audio.resample import Downsample16to8, Upsample8to16
from agent.call.local_voice import LocalVoiceOptions
from agent.call.machine import CallMachine
from agent.call.options import CallOptions, OwnLine, OwnLines
from agent.events import Pcm8k, Pcm16k, Pcm24k
from agent.models.voice import Models, VoiceDetector

Sound = npt.NDArray[np.float64]

SPEECH = Path(__file__).parents[2] / "agent" / "simulator" / "speech"
AGENT = ("agent_open", "agent_cost", "agent_greeting", "agent_park")
CALLER = ("caller_open", "caller_cost", "caller_bye", "caller_park")
RATE = 8000
FRAME = 160
"""Samples of 20 ms."""
WAY = 0.03
"""Seconds from us to the telephone, and as much back."""
OWN = OwnLine("line", "A line of our own.", Pcm24k(bytes(4800)))
"""None of them is said in here."""
MODELS = Models()


@cache
def clip(name: str, rate: int = RATE) -> Sound:
    """One of the simulator's clips."""
    with wave.open(str(SPEECH / f"{name}.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
        return np.asarray(soxr.resample(sound, file.getframerate(), rate), np.float64)


def quieter(sound: Sound, decibels: float) -> Sound:
    return sound * 10 ** (-decibels / 20)


def pcm(sound: Sound) -> bytes:
    return bytes(np.clip(sound, -32768, 32767).astype("<i2").tobytes())


def noise(seconds: float, loudness: float = 10.0, seed: int = 1) -> Sound:
    return np.random.default_rng(seed).normal(scale=loudness, size=round(seconds * RATE))


def placed(sound: Sound, at: float, seconds: float) -> Sound:
    """`sound` beginning at `at`, in so many seconds of silence."""
    whole = np.zeros(round(seconds * RATE))
    first = round(at * RATE)
    part = sound[: len(whole) - first]
    whole[first : first + len(part)] = part
    return whole


class Echo(NamedTuple):
    """Our own voice coming back: so much later, so much quieter (dB), by a room of so many samples."""

    delay: float
    down: float
    room: int = 0

    def of(self, sound: Sound) -> Sound:
        if self.room:
            sound = np.convolve(sound, walls(self.room))[: len(sound)]
        return quieter(sound, self.down)


@cache
def walls(room: int) -> Sound:
    """A room's answer to a clap."""
    answer = np.random.default_rng(room).normal(size=room) * np.exp(-4 * np.arange(room) / room)
    return np.asarray(answer / np.sqrt(np.sum(answer**2)))


class Overlap:
    """The agent says something; what lies on the line meanwhile is the caller's sound and our echo.

    Args:
        agent: name of what it says.
        caller: his sound, 8 kHz.
        echo: of ours, if there is one.
        wide: the line is a wide-band one, at both ends of which somebody has a voice of 8 kHz.

    Attributes:
        cleared: when we stopped the agent, in seconds from the agent's first sound.
    """

    def __init__(
        self, agent: str, caller: Sound, echo: Echo | None = None, *, wide: bool = False
    ) -> None:
        options = CallOptions(
            greeting="Greet the caller.", local_voice=LocalVoiceOptions(barge_in=True)
        )
        self.machine = CallMachine(options, OwnLines(OWN, OWN, OWN, OWN, OWN, OWN, OWN))
        self.cleared: list[float] = []
        self._caller = caller
        self._echo = echo
        self._agent = agent
        self._wide = (Upsample8to16(), Downsample16to8()) if wide else None
        self._now = 0.0
        self._played = np.zeros(0)  # by the telephone, from the line's start
        self._marks: list[tuple[float, str]] = []
        self._begin = 0.0
        self._detector = VoiceDetector(MODELS, self._tell)

    async def run(self) -> Overlap:
        """Let all of the caller's sound come."""
        self._tell(e.CallStarted("c", 0.0, 0.0, "0", "front_desk", "f", {}))
        self._tell(e.ModelReady(0.3))
        self._now = 3.0
        self._tell(e.LineStarted(1, rate=16000 if self._wide else 8000))
        self._say("agent_greeting")
        await self._frames(np.zeros(round(3.5 * RATE)))
        self._tell(e.TurnComplete())
        self._tell(e.CallerSaid("When are you open?"))
        self._begin = self._now
        self._say(self._agent)
        await self._frames(self._caller)
        self._detector.close()
        return self

    def _say(self, name: str) -> None:
        self._tell(e.ModelAudio(Pcm24k(pcm(clip(name, 24000)))))
        self._tell(e.GenerationComplete())

    async def _frames(self, caller: Sound) -> None:
        for first in range(0, len(caller) - FRAME + 1, FRAME):
            self._now = round(self._now + 0.02, 6)
            while self._marks and self._marks[0][0] + 2 * WAY <= self._now:
                self._tell(e.LineMark(self._marks.pop(0)[1]))
            near = caller[first : first + FRAME] + self._heard_back()
            heard = g711.decode(g711.encode(Pcm8k(pcm(near))))
            self._tell(e.LineAudio(self._wide[0].feed(heard) if self._wide else heard))
            await asyncio.sleep(0)
            deadline = self.machine.deadline()
            if deadline is not None and deadline <= self._now:
                self._carry_out(self.machine.tick(self._now))

    def _heard_back(self) -> Sound:
        """The echo that comes in with this frame."""
        if self._echo is None:
            return np.zeros(FRAME)
        last = round((self._now - 3.0 - 2 * WAY - self._echo.delay) * RATE)
        known = self._echo.room + FRAME
        part = np.zeros(known)
        some = self._played[max(0, last - known) : max(0, last)]
        if len(some):
            part[known - len(some) :] = some
        return self._echo.of(part)[-FRAME:]

    def _tell(self, event: e.AnyEvent) -> None:
        self._carry_out(self.machine.handle(event, self._now))

    def _carry_out(self, commands: list[e.AnyCommand]) -> None:
        for command in commands:
            match command:
                case e.Play(pcm=sound):
                    now = round((self._now - 3.0) * RATE)
                    if self._wide:
                        sound = self._wide[1].feed(Pcm16k(sound))
                    gap = np.zeros(max(0, now - len(self._played)))
                    new = np.frombuffer(sound, "<i2").astype(np.float64)
                    self._played = np.concatenate((self._played, gap, new))
                case e.Mark(name=name):
                    self._marks.append((3.0 + len(self._played) / RATE, name))
                case e.Clear():
                    self.cleared.append(round(self._now - self._begin, 3))
                    self._played = self._played[: round((self._now - 3.0) * RATE)]
                    self._marks = [(self._now, name) for _, name in self._marks]
                case e.Detect():
                    self._detector.send(command)
                case _:
                    pass
