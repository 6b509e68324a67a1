"""The agent's voice on its way to the caller: downsampled, paced by the playout clock, kept until it was heard.

Positions are samples of agent audio at the line's rate since the call began; they name moments of speech for turns, transcript and
recording alike. `protect` guards a sentence of our own: it is cut by nothing, and what follows it is.

The agent may have spoken before a line is there, and until then nobody knows the line's rate. So what it says is queued for 8 kHz,
and kept as it came: where the line turns out to have twice that, it is queued anew, and each position becomes twice what it was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agent.audio.playout import Playout
from agent.audio.resample import FOR_LINE
from agent.errors import OwnFault
from agent.events import Clear, Pcm8k, Play

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.audio.playout import Heard, PlayoutOptions
    from agent.events import AnyCommand, LinePcm, Mark, Pcm24k

    Steps = list[Callable[[int], object]]

KEEP = 0.2
"""Seconds of heard audio that are handed over at a time: an entry in the flight record each, so not every frame."""


LATELY = 1.5
"""Seconds of what was sent that are known: the lead, an echo's delay and the way back to a word's beginning."""


class Lately:
    """What was sent last, by position."""

    def __init__(self, kind: type[LinePcm] = Pcm8k) -> None:
        self.kind = kind
        self._most = round(LATELY * kind.rate)
        self._start = 0
        self._samples = bytearray()

    def put(self, position: int, pcm: LinePcm) -> None:
        """`pcm` was sent for `position`, in place of what was taken back from there on."""
        if not self._start <= position <= self.end:
            self._start, self._samples = position, bytearray()
        samples = self._samples
        samples[2 * (position - self._start) :] = pcm
        gone = len(samples) // 2 - self._most
        if gone > 0:
            del samples[: 2 * gone]
            self._start += gone

    @property
    def end(self) -> int:
        """Position behind the latest."""
        return self._start + len(self._samples) // 2

    def between(self, first: int, last: int) -> LinePcm:
        """As much of it as there is."""
        return self.kind(
            self._samples[2 * max(0, first - self._start) : 2 * max(0, last - self._start)]
        )


class Downlink:
    """Paces what one call says to its caller.

    Attributes:
        kind: the line's sound; until there is one, 8 kHz.
        lately: what was sent last.
        due_at: when the agent's voice is to be looked after again: what of it is sent, what was heard, what silence is about it.
        fed: there is more of a reply that goes on: what of it is sent next may be due sooner, and nothing else is.
    """

    kind: type[LinePcm]

    def __init__(self, options: PlayoutOptions) -> None:
        self._options = options
        self._early: Steps | None = []  # how it came to what is queued; None: a line was there
        self.due_at = math.inf
        self.fed = False
        self._begin(Pcm8k)

    def _begin(self, kind: type[LinePcm]) -> None:
        """With nothing queued."""
        self.kind = kind
        self.lately = Lately(kind)
        self.playout = Playout(self._options, kind)
        self._resample = FOR_LINE[kind]()
        self._protected = 0
        self._kept = 0
        self.dropped = 0.0  # seconds
        self._audible = 0  # what comes behind it is silence

    def line(self, kind: type[LinePcm]) -> int:
        """A line with this sound is there.

        Returns:
            How many times what it was each position is now.

        Raises:
            OwnFault: there was another one, with another sound.
        """
        early, self._early = self._early, None
        if kind is self.kind:
            return 1
        if early is None:
            raise OwnFault(f"a call's line cannot become one of {kind.rate} Hz")
        times = kind.rate // self.kind.rate
        self._begin(kind)
        for step in early:
            step(times)
        return times

    @property
    def position(self) -> int:
        """Where the next word will be."""
        return self.playout.queued

    @property
    def sent(self) -> int:
        """Position up to which the line has our audio."""
        return self.playout.sent

    def due(self, now: float) -> list[Play | Mark]:
        """What the line gets now."""
        position = self.playout.sent
        commands = self.playout.due(now)
        for command in commands:
            if type(command) is Play:
                self.lately.put(position, command.pcm)
                position += len(command.pcm) // 2
        return commands

    def look_again(self) -> None:
        """Find out when there is something to send next, or to miss."""
        deadline = self.playout.deadline()
        self.due_at = math.inf if deadline is None else deadline

    def feed(self, pcm: Pcm24k, *, audible: bool = True) -> None:
        """Say this after all that is waiting."""
        before = self.position
        dropped = self._feed(pcm, audible=audible)
        taken = not dropped or self.position > before  # what the queue does not take is not kept
        if self._early is not None and taken:
            self._early.append(lambda _: self._feed(pcm, audible=audible))

    def _feed(self, pcm: Pcm24k, *, audible: bool) -> int:
        dropped = self.playout.feed(self._resample.feed(pcm))
        if dropped:
            self.dropped += dropped / self.kind.rate
        if audible:
            self._audible = self.position
        return dropped

    def say_whole(self, pcm: Pcm24k) -> None:
        """Say a line of our own that nothing may cut; what follows it follows without a gap."""
        self.feed(pcm)
        self.end_utterance()
        self._protect()
        if self._early is not None:
            self._early.append(lambda _: self._protect())

    def _protect(self) -> None:
        self._protected = self.position

    def press(self, tones: LinePcm) -> None:
        """Sound of the line's own kind, keys above all, after what is queued; nothing may cut it."""
        self.end_utterance()
        self.dropped += self.playout.feed(tones) / self.kind.rate
        self.playout.end_utterance()
        self._protect()

    def end_utterance(self) -> None:
        """The sentence is complete: its last frame may leave, and a mark follows it."""
        self._end()
        if self._early is not None:
            end = self.position
            self._early.append(lambda times: self._end(end * times))

    def _end(self, at_least: int = 0) -> None:
        """Silence follows up to position `at_least`: one filter rings longer than another."""
        self.playout.feed(self._resample.flush())
        self.playout.feed(self.kind(2 * max(0, at_least - self.position)))
        self.playout.end_utterance()

    def cut(self, now: float) -> list[AnyCommand]:
        """Stop speaking at once, but for a protected line; nothing where nothing is unheard."""
        if not self.unheard(now):
            return []
        clear = self.playout.rewind(now)
        self.release()
        self._drop()
        if self._early is not None:
            self._early.append(lambda _: self._drop())
        return [Clear()] if clear else []

    def _drop(self) -> None:
        self.playout.drop(max(self._protected, self.playout.sent))
        self._resample.reset()

    def release(self) -> None:
        """A `pause` is over, and nothing is heard again."""
        self.playout.release(self.kind(b""))

    @property
    def sound_until(self) -> int:
        """Where the last of our sound is; what is queued behind it is silence."""
        return min(self._audible, self.position)

    def sound_left(self, now: float) -> float:
        """Seconds until the last of our sound has been heard."""
        return max(0, self.sound_until - self.playout.heard(now)) / self.kind.rate

    def pause(self, now: float) -> list[AnyCommand]:
        """Stop speaking for now; `speak_on` or `cut` ends it."""
        return [Clear()] if self.playout.pause(now) else []

    def speak_on(self, word: int) -> tuple[int, int]:
        """Go on after a `pause`, with the word that began at position `word`.

        Returns:
            Where that went into the queue, and how many samples are heard again.
        """
        at = self.playout.sent
        frame = round(self._options.frame * self.kind.rate)  # only whole ones can be put in
        samples = max(0, at - word) // frame * frame
        again = self.lately.between(at - samples, at)
        if again.samples < samples:  # it began before what is known
            again = self.kind(b"")
        self.playout.release(again)
        if self._protected > at:
            self._protected += again.samples
        if self._audible >= at:
            self._audible += again.samples
        return at, again.samples

    def own_words(self, now: float) -> bool:
        """Whether a protected line is being heard, or comes next."""
        return self._protected > self.playout.heard(now)

    def unheard(self, now: float) -> bool:
        """Whether anything beyond a protected line is still to be heard."""
        return self.position > max(self.playout.heard(now), self._protected)

    def take_heard(self, now: float, *, everything: bool = False) -> list[Heard]:
        """What the caller has heard since the last time, in pieces worth keeping."""
        heard = self.playout.heard(now)
        everything = everything or heard == self.position  # the end of what there is
        if heard - self._kept < (1 if everything else KEEP * self.kind.rate):
            return []
        self._kept = heard
        return self.playout.take_heard(now)
