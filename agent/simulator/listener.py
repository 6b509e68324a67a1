"""The caller's side of a session: audio and activity signals in, finished utterances out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulator.ears import (
    LONGEST_UTTERANCE_SECONDS,
    Ears,
    Edge,
    Ended,
    Hearing,
    Started,
    Utterance,
)
from agent.simulator.strict import RuleError

if TYPE_CHECKING:
    from agent.simulator.strict import Audio


class Listener:
    """Finds utterances, by its own voice detection or by the client's activity signals.

    Attributes:
        near_speech: Whether sound of speech's level is going on, committed as speech or not.
    """

    def __init__(self, hearing: Hearing, *, manual: bool) -> None:
        self._hearing = hearing
        self._manual = manual
        self._ears: Ears | None = None
        self._rate_hz = 0
        self._activity: bytearray | None = None
        self._seconds = 0.0

    @property
    def near_speech(self) -> bool:
        return self._ears is not None and self._ears.onset is not None

    @property
    def going_on(self) -> Utterance | None:
        """What the caller is saying now, as far as it was heard; None in quiet."""
        if self._activity is not None:
            pcm = bytes(self._activity)
            return Utterance(pcm, self._rate_hz or 16_000, len(pcm) / 2 / (self._rate_hz or 16_000))
        return self._ears.going_on if self._ears is not None else None

    def audio(self, chunk: Audio) -> list[Edge]:
        """Take a chunk of audio.

        Raises:
            RuleError: with voice detection off, audio came outside an activity.
        """
        self._seconds += len(chunk.pcm) / 2 / chunk.rate_hz
        if not self._manual:
            return self._ears_for(chunk.rate_hz).hear(chunk.pcm)
        self._rate_hz = chunk.rate_hz
        if self._activity is None:
            raise RuleError("audio_before_activity", "audio outside activityStart and activityEnd")
        if len(self._activity) < 2 * chunk.rate_hz * LONGEST_UTTERANCE_SECONDS:
            self._activity += chunk.pcm
        return []

    def stream_end(self) -> list[Edge]:
        """Take an `audioStreamEnd`: what was being said is finished.

        Raises:
            RuleError: voice detection is off.
        """
        if self._manual:
            raise RuleError(
                "stream_end_manual", "audioStreamEnd needs automatic activity detection"
            )
        return self._ears.flush() if self._ears is not None else []

    def activity(self, *, start: bool) -> list[Edge]:
        """Take an `activityStart` or `activityEnd`.

        Raises:
            RuleError: voice detection is on, or the two do not alternate.
        """
        if not self._manual:
            raise RuleError("manual_activity", "automatic activity detection is not disabled")
        if start == (self._activity is not None):
            raise RuleError("manual_activity", f"activity{'Start' if start else 'End'} twice")
        if self._activity is None:
            self._activity = bytearray()
            return [Started(self._seconds)]
        pcm, self._activity = bytes(self._activity), None
        rate_hz = self._rate_hz or 16_000
        return [Ended(self._seconds, Utterance(pcm, rate_hz, len(pcm) / 2 / rate_hz), flushed=True)]

    def _ears_for(self, rate_hz: int) -> Ears:
        if self._ears is None or rate_hz != self._rate_hz:  # the client changed its rate
            self._ears, self._rate_hz = Ears(rate_hz, self._hearing), rate_hz
        return self._ears
