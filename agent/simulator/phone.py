"""The reactive caller: listens, waits for quiet, speaks, and sometimes interrupts. Pure.

listening --(agent was heard, then quiet for 0.6 s)--> speaking utterance n
listening --(utterance n interrupts, agent heard for 1.5 s)--> speaking utterance n
listening --(nobody says anything for `patience_s`)--> speaking utterance n
speaking  --(last sample)--> listening
listening --(nothing left to say, quiet for `hang_up_after_s`)--> hangs up
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol as Port

import msgspec

from agent.simulator.earpiece import RATE_HZ, Attention, Earpiece, Sounds
from agent.simulator.media_stream import FRAME_SAMPLES
from agent.simulator.report import CallerSpeaks, CallerStops, SpokenUtterance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SILENCE = b"\xff" * FRAME_SAMPLES
"""20 ms of mu-law zero."""
AUDIBLE_SAMPLES = RATE_HZ // 5
"""The agent counts as audible for 200 ms after its last audible block: words have pauses."""


class Utterance(msgspec.Struct, frozen=True):
    """One thing to say.

    Attributes:
        text: the words, for people.
        mulaw: the clip, 8 kHz mu-law.
        first, last: positions in the clip of the first sample of speech and after the last.
        interrupt_after_s: speak once the agent's answer was heard this long, without waiting for
            its end; None waits for quiet.
        digits: keys pressed before speaking, one `dtmf` message each.
    """

    text: str
    mulaw: bytes
    first: int
    last: int
    interrupt_after_s: float | None = None
    digits: str = ""


class Manners(msgspec.Struct, frozen=True):
    """How the caller behaves.

    Attributes:
        quiet_s: silence at the ear that means the agent has finished.
        patience_s: with nobody speaking for this long, the caller says the next thing.
        hang_up_after_s: with everything said and quiet for this long, the caller hangs up; None
            waits for the agent to do it.
        repeat: begin again after the last utterance, so that the call goes on.
    """

    quiet_s: float = 0.6
    patience_s: float = 8.0
    hang_up_after_s: float | None = 10.0
    repeat: bool = False


class ReactiveCaller:
    """Decides, frame by frame, what the caller says.

    Positions are samples of 8 kHz on the caller's timeline, which the ear shares.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        manners: Manners,
        attention: Attention,
        sounds: Sounds | None = None,
    ) -> None:
        """Listen through `attention`; keep what is said in `sounds`, where given."""
        self._utterances = utterances
        self._manners = manners
        self._attention = attention
        self._sounds = sounds
        self._next = 0
        self._offset: int | None = None  # in the clip being spoken
        self._since = 0  # position from which the caller has been listening
        self._answer: int | None = None  # where the answer to the last utterance began
        self._began_at = self._ended_at = -1  # positions of the last utterance's outer frames
        self.spoken: list[SpokenUtterance] = []

    def frame(self, position: int) -> bytes:
        """The next 160 bytes to send; their first sample is said at `position`."""
        if self._offset is None:
            if not self._may_speak(position):
                return SILENCE
            self._begin(position)
        utterance = self._utterance()
        offset = self._offset or 0
        frame = utterance.mulaw[offset : offset + FRAME_SAMPLES].ljust(FRAME_SAMPLES, b"\xff")
        if self._sounds is not None:
            self._sounds.place(position, frame)
        self._offset = offset + FRAME_SAMPLES
        if self._offset >= len(utterance.mulaw):
            self._offset = None
            self._next += 1
            self._ended_at = position
            self._listen_from(position + FRAME_SAMPLES)
        return frame

    def digits(self, position: int) -> str:
        """Keys to press before the frame that was taken for `position`."""
        if self._began_at != position:
            return ""
        return self._utterances[(self.spoken[-1].n - 1) % len(self._utterances)].digits

    def progress(self, position: int, now: float) -> list[CallerSpeaks | CallerStops]:
        """What the frame that was taken for `position` began or ended, as events at `now`."""
        if position not in {self._began_at, self._ended_at}:
            return []
        last = self.spoken[-1]
        events: list[CallerSpeaks | CallerStops] = []
        if self._began_at == position:
            events.append(
                CallerSpeaks(
                    now_s=now,
                    n=last.n,
                    text=last.text,
                    at_s=last.start_s,
                    interrupts=last.interrupts,
                )
            )
        if self._ended_at == position:
            events.append(CallerStops(now_s=now, n=last.n, at_s=last.end_s))
        return events

    def resume(self, position: int) -> None:
        """A new stream begins at `position`: what was being said was lost with the old one."""
        if self._offset is not None:
            self._offset = None
            self._next += 1
            self.spoken[-1].end_s = min(self.spoken[-1].end_s, position / RATE_HZ)
        self._listen_from(position)

    def wants_to_hang_up(self, position: int) -> bool:
        """Whether everything is said and nobody has spoken for long enough."""
        limit = self._manners.hang_up_after_s
        if limit is None or self._offset is not None or self._has_more():
            return False
        quiet_since = max(self._since, self._attention.last_voice_end)
        return position - quiet_since >= limit * RATE_HZ

    def _has_more(self) -> bool:
        if self._manners.repeat:
            return bool(self._utterances)
        return self._next < len(self._utterances)

    def _utterance(self) -> Utterance:
        return self._utterances[self._next % len(self._utterances)]

    def _listen_from(self, position: int) -> None:
        self._since = position
        self._answer = None

    def _may_speak(self, position: int) -> bool:
        if not self._has_more():
            return False
        heard_to = self._attention.last_voice_end
        if heard_to <= self._since:
            return position - self._since >= self._manners.patience_s * RATE_HZ
        if self._answer is None:
            began = self._attention.voice_began
            self._answer = max(self._since, heard_to if began is None else began)
        silent = position - heard_to
        if silent >= self._manners.quiet_s * RATE_HZ:
            return True
        interrupt = self._utterance().interrupt_after_s
        if interrupt is None or silent >= AUDIBLE_SAMPLES:
            return False
        return position - self._answer >= interrupt * RATE_HZ

    def _begin(self, position: int) -> None:
        utterance = self._utterance()
        heard_to = self._attention.last_voice_end
        self._offset = 0
        self._began_at = position
        self.spoken.append(
            SpokenUtterance(
                n=self._next + 1,
                text=utterance.text,
                start_s=(position + utterance.first) / RATE_HZ,
                end_s=(position + utterance.last) / RATE_HZ,
                interrupts=heard_to > 0 and position - heard_to < AUDIBLE_SAMPLES,
            )
        )


class KeyPress(msgspec.Struct, frozen=True):
    """Keys that the person presses, so long after the network asks for them (<Gather>)."""

    digits: str
    after_s: float = 0.2


class Mouth(Port):
    """What speaks into a phone, frame by frame; positions as for `ReactiveCaller`."""

    spoken: list[SpokenUtterance]

    def frame(self, position: int) -> bytes:
        """The next 160 bytes to send; their first sample is said at `position`."""

    def digits(self, position: int) -> str:
        """Keys to press before the frame that was taken for `position`."""

    def progress(self, position: int, now: float) -> list[CallerSpeaks | CallerStops]:
        """What the frame that was taken for `position` began or ended, as events at `now`."""

    def resume(self, position: int) -> None:
        """A new stream begins at `position`."""

    def wants_to_hang_up(self, position: int) -> bool:
        """Whether it is time to hang up."""


class Phone:
    """A handset: mouth and ear on one timeline, which runs from the first `start`.

    Attributes:
        ear, caller: None until the first stream starts.
        keys: what is pressed each time that the network asks for keys.
        talk_s: connected to another person, this one hangs up after so long; None: never.
        mouth: makes what speaks here in place of a reactive caller, of the time and of where to keep
            what is said.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        manners: Manners,
        said: Sounds | None = None,
        heard: Sounds | None = None,
    ) -> None:
        """Keep what is said and heard in `said` and `heard`, where given."""
        self._utterances = utterances
        self._manners = manners
        self._said = said
        self._heard = heard
        self.ear: Earpiece | None = None
        self.caller: Mouth | None = None
        self.keys: deque[KeyPress] = deque()
        self.talk_s: float | None = None
        self.mouth: Callable[[float, Sounds | None], Mouth] | None = None

    def connect(self, now: float) -> tuple[Earpiece, Mouth]:
        """A stream starts: the first one begins the timeline, a later one goes on with it."""
        if self.ear is None or self.caller is None:
            self.ear = Earpiece(now, quiet_s=self._manners.quiet_s, sounds=self._heard)
            self.caller = (
                ReactiveCaller(self._utterances, self._manners, self.ear.attention, self._said)
                if self.mouth is None
                else self.mouth(now, self._said)
            )
        else:
            self.caller.resume(self.ear.position(now))
        return self.ear, self.caller
