"""The account of what the caller said, kept across resumptions: was every word heard, once?

A handle is a snapshot: a session that resumes from it knows the utterances that were finished when
it was issued. Later ones it has forgotten, so the client owes them: as audio, from their start
(then they are answered), or as text, in `clientContent` or in the new setup's system instruction. An utterance that was going on when the
connection went is owed as well. What is owed and does not come before anything new is
`utterance-missing`; what was answered in full and is sent again as audio, so that it is
answered again, is `utterance-answered-twice`.

Pure: time is an argument.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from agent.simulator.ears import LARGEST_SHIFT, RECOGNISED, Utterance, fingerprint, likeness

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.records import UtteranceCounts

MISSING = "utterance-missing"
ANSWERED_TWICE = "utterance-answered-twice"
SHORTEST_OWED_SECONDS = 0.25
"""A click or a cough is not owed."""
SETTLED_SECONDS = 3.0
"""A session that ends sooner after `setupComplete` had no time to be told what was owed."""
ALIKE_KNOWN = 5  # so many of the last known utterances are looked at
MOST_SAID = 50  # the oldest are forgotten
TAIL_SECONDS = 0.3  # quiet around an utterance


class Answer(Enum):
    """How far an utterance was answered."""

    NONE = auto()
    BEGUN = auto()
    COMPLETE = auto()


class Spoken:
    """One utterance of the caller's, however often it came.

    Attributes:
        sound: What was heard of it.
        text: Its transcription; empty where it was cut off by the connection's end.
        whole: It was heard to its end.
        sent: So much of its transcription the client was sent: it can write no more of it.
    """

    def __init__(self, sound: Utterance, text: str, *, whole: bool) -> None:
        self.sound = sound
        self.text = text
        self.whole = whole
        self.sent = ""
        self.answer = Answer.NONE

    @property
    def tellable(self) -> str:
        """The words by which the client can tell of it again; an answer that has begun needs no more than it was sent."""
        return self.text if self.answer is Answer.NONE else self.sent


class Thread:
    """One conversation over all of its sessions.

    Attributes:
        said: Everything the caller said, in order.
        calls: Name and arguments of the tools that the model called.
        live: Number of the session that has a connection now.
        gone_at: When the last connection went.
    """

    def __init__(self) -> None:
        self.calls: set[tuple[str, bytes]] = set()
        self.said: list[Spoken] = []
        self.live: int | None = None
        self.gone_at = float("-inf")


class Memory(NamedTuple):
    """What a session knew when a handle was issued."""

    known: tuple[Spoken, ...] = ()
    tokens: int = 0


class Account:
    """One session's part of the account."""

    def __init__(
        self,
        thread: Thread,
        memory: Memory,
        counts: UtteranceCounts,
        violated: Callable[[str, str], None],
    ) -> None:
        """Begin with what the session knows.

        Args:
            thread: The conversation.
            memory: Of the handle; an empty one for a new conversation.
            counts: Filled in.
            violated: Told the rule and the detail of what the client did wrong.
        """
        self._thread = thread
        self._counts = counts
        self._violated = violated
        self._known = list(memory.known)
        self._owed = [said for said in thread.said if said not in self._known]

    @property
    def known(self) -> tuple[Spoken, ...]:
        """The finished utterances that the model remembers now."""
        return tuple(self._known)

    @property
    def owed(self) -> int:
        """How many utterances the client has not sent again yet."""
        return len(self._owed)

    def heard(self, sound: Utterance, text: str, now: float, *, answers: bool) -> Spoken:
        """Enter a finished utterance.

        Args:
            sound: What was heard.
            text: Its transcription.
            now: When its end was found.
            answers: Whether the model has an answer to it.
        """
        self._counts.heard += 1
        again = self._again(sound, text) or self._replayed(sound, now)
        if again is None:
            self._missed()
            again = Spoken(sound, text, whole=True)
            self._thread.said.append(again)
            del self._thread.said[:-MOST_SAID]
        else:
            self._counts.heard_again += 1
            if again.answer is Answer.COMPLETE and answers:
                self._counts.answered_twice += 1
                self._violated(ANSWERED_TWICE, f"{text!r:.60} had been answered and came again")
            again.sound, again.text, again.whole = sound, text, True
        if again not in self._known:
            self._known.append(again)
        return again

    def told(self, texts: list[str], *, answers: bool) -> list[Spoken]:
        """Enter written turns: what was owed and is in them is known again, and returned.

        Args:
            texts: Of the turns, in order.
            answers: Whether the last one will be answered.
        """
        written = [_plain(text) for text in texts]
        again: list[Spoken] = []
        for owed in list(self._owed):
            words = _plain(owed.tellable)
            found = [at for at, text in enumerate(written) if words and words in text]
            if not found:
                continue
            self._owed.remove(owed)
            self._known.append(owed)
            again.append(owed)
            self._counts.told_again += 1
            if answers and found[-1] == len(written) - 1 and owed.answer is Answer.COMPLETE:
                self._counts.answered_twice += 1
                self._violated(ANSWERED_TWICE, f"{owed.text!r:.60} had been answered, and is asked")
        return again

    def begun(self, spoken: Spoken) -> None:
        """The first audio of its answer is out."""
        if spoken.answer is Answer.NONE:
            self._counts.answered += 1
            spoken.answer = Answer.BEGUN
        else:
            self._counts.begun_again += 1

    def complete(self, spoken: Spoken) -> None:
        """Its answer was generated to the end."""
        spoken.answer = Answer.COMPLETE

    def ended(self, going_on: Utterance | None, lived: float, now: float) -> None:
        """The connection is gone.

        Args:
            going_on: What the caller was saying.
            lived: Seconds since `setupComplete`.
            now: The time.
        """
        if (
            going_on is not None
            and going_on.seconds >= SHORTEST_OWED_SECONDS
            and self._again(going_on, "") is None
            and not self._coming(going_on)
        ):
            self._thread.said.append(Spoken(going_on, "", whole=False))
        if lived >= SETTLED_SECONDS:
            self._missed()
        self._thread.gone_at = now

    def _coming(self, going_on: Utterance) -> bool:
        """Whether it is the beginning of what is owed, which the next session is owed once more."""
        begun = Spoken(going_on, "", whole=False)
        same = next((owed for owed in self._owed if _same(owed.sound, "", begun)), None)
        if same is not None:
            self._owed.remove(same)
        return same is not None

    def _again(self, sound: Utterance, text: str) -> Spoken | None:
        """Find what is owed in a sound, which may be several utterances in one."""
        first: Spoken | None = None
        while self._owed:
            at = next((at for at, owed in enumerate(self._owed) if _same(sound, text, owed)), None)
            if at is None:
                break
            found = self._owed.pop(at)
            if first is None:
                first = found
            elif found not in self._known:
                self._known.append(found)
            sound = _behind(sound, found.sound)
            text = ""
            if sound.seconds < SHORTEST_OWED_SECONDS:
                break
        return first

    def _replayed(self, sound: Utterance, now: float) -> Spoken | None:
        """Find a known utterance that is sent again: nobody can have said it since the last session.

        Only what cannot have been spoken since is taken for a replay: a caller may say one thing twice.
        """
        if sound.seconds <= now - self._thread.gone_at:
            return None
        recent = self._known[-ALIKE_KNOWN:]
        return next((known for known in reversed(recent) if _same(sound, "", known)), None)

    def _missed(self) -> None:
        for owed in self._owed:
            if owed.sound.seconds < SHORTEST_OWED_SECONDS:
                continue
            self._counts.missing += 1
            what = (
                f"{owed.text!r:.60}"
                if owed.whole
                else "what was being said at the connection's end"
            )
            self._violated(MISSING, f"{what} ({owed.sound.seconds:.1f} s) did not come again")
        self._thread.said = [said for said in self._thread.said if said not in self._owed]
        self._owed.clear()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _same(sound: Utterance, text: str, other: Spoken) -> bool:
    """Whether an utterance is, or begins with, what was heard before."""
    if other.whole and text and not text.startswith("[") and text == other.text:
        return True
    if sound.seconds < other.sound.seconds - TAIL_SECONDS:
        return False
    length = min(len(sound.pcm), len(other.sound.pcm) * sound.rate_hz // other.sound.rate_hz)
    ours = fingerprint(sound.pcm[: length - length % 2], sound.rate_hz)
    theirs = fingerprint(other.sound.pcm, other.sound.rate_hz)
    if min(len(ours), len(theirs)) < LARGEST_SHIFT + 1:
        return True  # too short to be told apart
    return likeness(ours, theirs) >= RECOGNISED


def _behind(sound: Utterance, before: Utterance) -> Utterance:
    """What is left of a sound behind another that it begins with."""
    length = min(len(sound.pcm), len(before.pcm) * sound.rate_hz // before.rate_hz)
    rest = sound.pcm[length - length % 2 :]
    return Utterance(rest, sound.rate_hz, max(0.0, sound.seconds - before.seconds))
