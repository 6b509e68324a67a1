"""When our own voice detector listens, and what it means when it hears somebody.

The service hears the caller too, but late, and not always: over a reply that it has already generated it may say nothing at all,
and it drops some short words. So a detector of our own listens where that matters, and nowhere else:

- *over the agent's words*, as soon as the level meter has heard something: a voice that is not our own echo stops the agent at once.
  Where the service does not confirm it in time it was a cough, or somebody else's talk, and the agent says the interrupted word
  again and goes on. Two such stops in a row, and it listens no more in this call;
- *after a short utterance* that got neither words nor an answer: if there was a voice in it, the model hears it again.

Everything in here is decided by the level of the line, by positions and by what the detector answered, never by samples, so that
also a flight record without sound replays exactly.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.audio.voice_gate import AHEAD, LINE_SECONDS, OWN_SECONDS
from agent.events import Detect, Pcm8k

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.audio.level import SpeechMeter
    from agent.call.downlink import Lately
    from agent.events import LinePcm, VoiceDetected

WINDOW = 0.032
"""Seconds of sound to each likelihood that the detector answers with."""


class LocalVoiceOptions(msgspec.Struct, frozen=True):
    """What the detector is used for; all in seconds but shares, likelihoods and counts.

    Attributes:
        barge_in: whether a voice over the agent's words stops them at once.
        confirm: how long the service may take to confirm that, from the stop or from the voice's end ...
        confirm_words: ... where the voice went on for `words` after the stop: it may be the answer that confirms it ...
        longest: ... and how long the agent waits at most.
        back: how far the agent goes back for the beginning of the interrupted word, at most.
        fuse: after so many stops in a row that nobody confirmed, it listens no more over the agent's words.
        share: of a call's time that may be listened to ...
        burst: ... of which so much may be saved up.
        likely: likelihood from which a window holds a voice.
        windows: how many of them make it one: in a row over the agent's words, in all in a short word.
        rescue: whether short words that got no answer are sent again.
        overdue: after a short word, how long its transcription or answer may take.
        shortest, short: how long a short word is.
        end_after: quiet after the caller's words that is their end, and is told to the model; 0: the model finds out by itself.
    """

    barge_in: bool = False
    confirm: float = 0.7
    confirm_words: float = 2.0
    words: float = 0.5
    longest: float = 6.0
    back: float = 0.4
    fuse: int = 2
    share: float = 0.1
    burst: float = 3.0
    likely: float = 0.5
    windows: int = 3
    rescue: bool = True
    overdue: float = 2.0
    shortest: float = 0.15
    short: float = 1.2
    end_after: float = 0.0


class Budget:
    """Keeps what is listened to within its share of the call, which begins `now`."""

    def __init__(self, options: LocalVoiceOptions, now: float) -> None:
        self._options = options
        self._saved = options.share  # a second's share, to begin with
        self._at = now
        self.spent = 0.0

    def allows(self, now: float) -> bool:
        """Whether there is time left to listen in."""
        self._saved += (now - self._at) * self._options.share
        self._saved = min(self._saved, self._options.burst)
        self._at = now
        return self._saved > 0

    def spend(self, windows: int) -> None:
        """So many windows were listened to."""
        self._saved -= windows * WINDOW
        self.spent += windows * WINDOW


PIECE = 0.04
"""Seconds of sound that are listened to at a time: a window and a little."""
FRAME = 0.02
LONGEST_WAIT = 1.0
"""Seconds of sound that wait for an answer; with more the beginning is lost, and listening begins anew."""
SLACK = 0.08
"""Seconds by which what the caller heard may be taken late: frames that come in a burst were spoken one after the other."""


class Sizes(NamedTuple):
    """Bytes of sound at a line's rate, and positions of it."""

    line: int
    own: int
    frame: int
    piece: float
    longest: float
    ahead: int
    slack: int

    @classmethod
    def at(cls, rate: int) -> Sizes:
        second = 2 * rate
        return cls(
            line=2 * round(LINE_SECONDS * rate),
            own=2 * round(OWN_SECONDS * rate),
            frame=round(FRAME * second),
            piece=PIECE * second,
            longest=LONGEST_WAIT * second,
            ahead=round(AHEAD * rate),
            slack=round(SLACK * rate),
        )


class Overheard:
    """Listens to what is said over the agent's words."""

    def __init__(
        self, options: LocalVoiceOptions, serials: Iterator[int], kind: type[LinePcm] = Pcm8k
    ) -> None:
        self._options = options
        self._serials = serials
        self._kind = kind
        self._sizes = Sizes.at(kind.rate)
        self._line = bytearray()  # the latest of the line ...
        self._own = bytearray()  # ... and of ours, as the caller heard it, `AHEAD`
        self._blank = 0  # bytes at its end in which nothing of ours is heard
        self._ear = 0
        self._cursor = 0  # position behind the latest of ours
        self._new = 0  # bytes of both that were not listened to yet
        self._listening = False
        self._asked = 0  # number of the question that is open; 0: none is
        self._in_a_row = 0
        self._asked_at = 0  # position behind what was asked about last
        self.unconfirmed = 0  # stops in a row that nobody confirmed

    @property
    def open(self) -> bool:
        """Whether it may listen at all in this call."""
        return self._options.barge_in and self.unconfirmed < self._options.fuse

    def hear(self, pcm: LinePcm, ear: int, lately: Lately) -> None:
        """Take the line's next frame; `ear` is the position that the caller has heard of us by its end."""
        sizes = self._sizes
        self._line += pcm
        self._own += bytes(len(pcm))
        self._blank = min(self._blank + len(pcm), len(self._own))
        self._new += len(pcm)
        end = min(ear + sizes.ahead, lately.end)
        if ear > self._ear and end > self._cursor:
            begin = max(self._cursor, end - len(pcm) // 2 - sizes.slack)
            self._heard(lately.between(begin, end), end)
        self._ear = ear
        del self._line[: max(0, len(self._line) - max(sizes.line, self._new))]
        del self._own[: max(0, len(self._own) - max(sizes.own, self._new))]

    def _heard(self, pcm: LinePcm, end: int) -> None:
        """Put what is heard of us, up to position `end`, where nothing is yet; what has no room comes with the next frame."""
        fits = pcm[: self._blank]
        gap = self._blank - len(fits)
        skipped = (
            gap if gap >= self._sizes.frame else 0
        )  # it begins just now; less than that is jitter
        first = len(self._own) - self._blank + skipped
        self._own[first : first + len(fits)] = fits
        self._blank = gap - skipped
        self._cursor = end - (len(pcm) - len(fits)) // 2

    def ask(self) -> Detect | None:
        """There is a sound over the agent's words: what to ask the detector, if it is time to."""
        if not self._listening:
            self._listening, self._in_a_row = True, 0
            return self._detect(bytes(self._line), bytes(self._own), fresh=True)
        if self._asked:
            if self._new > self._sizes.longest:
                self.rest()
            return None
        if self._new < self._sizes.piece:
            return None
        return self._detect(bytes(self._line[-self._new :]), bytes(self._own[-self._new :]))

    def rest(self) -> None:
        """There is nothing to listen to just now."""
        self._listening, self._asked, self._new = False, 0, 0

    def _detect(self, line: bytes, own: bytes, *, fresh: bool = False) -> Detect:
        self._asked = next(self._serials)
        self._asked_at = self._cursor
        self._new = self._blank = 0
        return Detect(self._asked, self._kind(line), self._kind(own), fresh)

    def answered(self, event: VoiceDetected) -> bool:
        """Whether somebody speaks, by the detector's answer."""
        if event.n != self._asked:
            return False
        self._asked = 0
        if not event.voice:
            self._in_a_row = 0
        for likelihood in event.voice:
            self._in_a_row = self._in_a_row + 1 if likelihood >= self._options.likely else 0
            if self._in_a_row >= self._options.windows:
                return True
        return False

    def word_began(self, gap: float) -> int:
        """Position at which the word began that is being said, by the answer's `gap`."""
        return self._asked_at - round(gap * self._kind.rate)


PROBE = 4 * WINDOW
"""Seconds of a short word that are listened to at a time: four windows, which take a loop's time for some milliseconds."""
LEAD_IN = 0.15
"""Seconds around a word that are listened to as well."""
HEARING = 0.5
"""Seconds more than a short word that are kept: what the meter waits before it calls an utterance ended, and the lead-in."""


class ShortWord:
    """Finds the short words that the model has not understood.

    Attributes:
        began: when the latest one began.
        asked: number of the question that is open; 0: none is.
    """

    def __init__(
        self, options: LocalVoiceOptions, serials: Iterator[int], kind: type[LinePcm] = Pcm8k
    ) -> None:
        self._options = options
        self._serials = serials
        self._kind = kind
        self._keep = 2 * round((options.short + HEARING) * kind.rate)
        self._probe = 2 * round(PROBE * kind.rate)
        self._line = bytearray()
        self._speaking = False
        self._alone = False  # whether the utterance that goes on is the caller's alone
        self._left = b""  # what of the word was not listened to yet
        self._due = math.inf
        self._voiced = 0  # windows of it that held a voice
        self.asked = 0
        self.began = 0.0

    def hear(self, pcm: LinePcm, now: float, meter: SpeechMeter, *, audible: bool) -> None:
        """Take the line's next frame; `audible`: the caller hears the agent."""
        self._line += pcm
        del self._line[: max(0, len(self._line) - self._keep)]
        if meter.speaking:
            self._alone = not audible and (self._alone or not self._speaking)
        elif self._speaking:
            self.forget()
            if self._alone and meter.started is not None and meter.last_voiced is not None:
                self._ended(meter.started, meter.last_voiced, now)
        self._speaking = meter.speaking

    def _ended(self, began: float, last: float, now: float) -> None:
        if self._options.shortest <= last - began <= self._options.short:
            first, behind = (
                round((now - at) * self._kind.rate) for at in (began - LEAD_IN, last + LEAD_IN)
            )
            self._left = bytes(self._line[-2 * first : len(self._line) - 2 * max(0, behind)])
            self._due = last + self._options.overdue
            self.began = began

    def forget(self) -> None:
        """The model has understood it, or somebody speaks again."""
        self._due = math.inf
        self.asked = self._voiced = 0

    def ask(self, now: float) -> Detect | None:
        """What to ask the detector where a word is overdue: its first piece."""
        if now < self._due or self.asked:
            return None
        return self._piece(fresh=True)

    def answered(self, event: VoiceDetected) -> Detect | bool:
        """The next piece to ask about, or whether there was a voice in it; only for the question that is open."""
        self._voiced += sum(likelihood >= self._options.likely for likelihood in event.voice)
        if self._left:
            return self._piece()
        enough = self._voiced >= self._options.windows
        self.forget()
        return enough

    def _piece(self, *, fresh: bool = False) -> Detect:
        piece, self._left = self._left[: self._probe], self._left[self._probe :]
        self.asked = next(self._serials)
        return Detect(self.asked, self._kind(piece), self._kind(b""), fresh)


class Stop(msgspec.Struct, frozen=True):
    """The agent was stopped by a voice that nobody has confirmed yet: when, and where the interrupted word began."""

    since: float
    word: int


class LocalVoice:
    """All of this for one call, which begins `now`.

    Attributes:
        overheard: what is said over the agent's words.
        word: what is said while the agent is silent.
        budget: how much may be listened to.
        stop: the one that waits to be confirmed.
        ended_at: end of the caller's words that the model was told of last.
    """

    def __init__(self, options: LocalVoiceOptions, now: float) -> None:
        self.options = options
        self.budget = Budget(options, now)
        self._serials = itertools.count(1)
        self.stop: Stop | None = None
        self.ended_at = -math.inf
        self._listen(Pcm8k)

    def _listen(self, kind: type[LinePcm]) -> None:
        self._kind = kind
        self.overheard = Overheard(self.options, self._serials, kind)
        self.word = ShortWord(self.options, self._serials, kind)

    def line(self, kind: type[LinePcm]) -> None:
        """A line with this sound is there."""
        if kind is not self._kind:
            self._listen(kind)

    def confirmed(self) -> None:
        """The service heard somebody too."""
        if self.stop is not None:
            self.stop = None
            self.overheard.unconfirmed = 0

    def patience(self, last: float) -> float:
        """Seconds from the voice's end, `last`, in which the service may confirm it."""
        words = self.stop is not None and last - self.stop.since >= self.options.words
        return self.options.confirm_words if words else self.options.confirm

    def confirm_until(self, now: float) -> float:
        """How long a stop that the service seems to confirm may go on."""
        since = now if self.stop is None else self.stop.since
        return min(now + self.options.confirm, since + self.options.longest)
