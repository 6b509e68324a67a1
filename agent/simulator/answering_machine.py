"""What a machine says into the telephone: a greeting and a beep, or a fax's tone. Pure.

answered |-- greeting --|  |-beep-| listens ... hangs up `LISTENS_S` after the beep
"""

from __future__ import annotations

import audioop
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from agent.simulator.amd import BEEP_S
from agent.simulator.brain import speechlike
from agent.simulator.earpiece import RATE_HZ
from agent.simulator.media_stream import FRAME_SAMPLES

if TYPE_CHECKING:
    from agent.simulator.callee import Callee
    from agent.simulator.earpiece import Sounds
    from agent.simulator.report import CallerSpeaks, CallerStops, SpokenUtterance

BEEP_HZ = 1000
FAX_HZ = 2100
"""The called station's tone (ITU-T T.30, CED)."""
LISTENS_S = 60.0
"""How long a machine records, and how long a fax waits."""


class AnsweringMachine:
    """Speaks by the clock, whoever talks; positions are samples on its phone's timeline.

    Attributes:
        beep_end: position where the beep ends (the greeting, where there is none): what is heard
            from here on is in the recording.
    """

    def __init__(self, callee: Callee, lead: int, sounds: Sounds | None = None) -> None:
        """Begin to speak `lead` samples before the timeline's beginning: when it was answered."""
        self._sound = recording(callee.kind, callee.greeting_s, callee.beep_s)
        self._lead = lead
        self._sounds = sounds
        self.spoken: list[SpokenUtterance] = []
        self.beep_end = len(self._sound) - lead

    def frame(self, position: int) -> bytes:
        """The next 160 bytes to send; their first sample is said at `position`."""
        at = position + self._lead
        frame = self._sound[at : at + FRAME_SAMPLES].ljust(FRAME_SAMPLES, b"\xff")
        if self._sounds is not None and at < len(self._sound):
            self._sounds.place(position, frame)
        return frame

    def digits(self, position: int) -> str:
        """No machine presses keys."""
        return ""

    def progress(self, position: int, now: float) -> list[CallerSpeaks | CallerStops]:
        """Nothing to tell: a machine says nothing to anybody."""
        return []

    def resume(self, position: int) -> None:
        """A new stream begins: a machine does not care."""

    def wants_to_hang_up(self, position: int) -> bool:
        """Whether the tape is full."""
        return position >= self.beep_end + LISTENS_S * RATE_HZ


@cache
def recording(kind: str, greeting_s: float, beep_s: float | None) -> bytes:
    """What a machine or a fax sounds like, in 8 kHz mu-law."""
    if kind == "fax":
        return audioop.lin2ulaw(tone(FAX_HZ, greeting_s), 2)
    speech = speechlike(greeting_s, RATE_HZ)
    if beep_s is not None:
        gap = max(0, round(beep_s * RATE_HZ) * 2 - len(speech))
        speech = speech[: round(beep_s * RATE_HZ) * 2] + bytes(gap) + tone(BEEP_HZ, BEEP_S)
    return audioop.lin2ulaw(speech, 2)


def tone(hertz: float, seconds: float) -> bytes:
    """A sine of -10 dBFS, PCM16 of 8 kHz."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return bytes((10_000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes())
