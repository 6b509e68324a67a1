"""What it cost the caller that one session took the place of another: the proof that stands on the call's record.

    hop 412 ms, 0 ms of caller audio lost, 0 ms of silence added

A hop is our own move to a new connection; a recovery follows a loss. Lost audio is what no session will ever hear. Added silence
is what the caller would not have heard otherwise: nobody speaks and nothing plays, while an answer is due and either there is no
session, or the new one has not been told all that the last one knew, or has yet to say again what broke off.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

PAUSE = 0.1
"""Seconds without a voice before the caller counts as silent: words have pauses."""

SETTLED = 10.0
"""Seconds after the new session is ready at which its figures are closed in any case."""

MOST_HOPS = 200
"""So many are kept, the first; two hours of call have a dozen."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One session after another.

    Attributes:
        at: seconds after the call's start at which the old session was gone.
        planned: whether we left it; else it was lost.
        ms: until the new one was ready.
        lost_ms: caller's audio that no session will hear.
        silence_ms: silence that the caller would not have heard otherwise.
    """

    at: float
    planned: bool
    ms: float
    lost_ms: float
    silence_ms: float

    def __str__(self) -> str:
        what = "hop" if self.planned else "recovery"
        return (
            f"{what} {self.ms:.0f} ms, {self.lost_ms:.0f} ms of caller audio lost,"
            f" {self.silence_ms:.0f} ms of silence added"
        )


class Moment(NamedTuple):
    """What a call is like just now.

    Attributes:
        due: whether the caller waits for the agent.
        playing: whether he hears something of us.
        voice_at: when he was last heard himself since the latest reply began.
        speaks: whether the model has begun to speak.
        caught_up: whether the session has heard everything that he said.
        dropped: seconds of his audio that no session will hear, since the call's start.
    """

    due: bool
    playing: bool
    voice_at: float
    speaks: bool
    caught_up: bool
    dropped: float


class Hops:
    """Follows each hop until its figures are known.

    Attributes:
        made: the hops that are complete.
    """

    def __init__(self) -> None:
        self.made: list[Hop] = []
        self._live = False  # whether there is a session
        self._gone_at: float | None = None
        self._ready_at: float | None = None
        self._planned = False
        self._dropped = 0.0  # when it went
        self._awaited = (
            False  # whether the caller waits for the agent's voice, not for the session alone
        )
        self._silent = 0.0
        self._looked_at = 0.0

    @property
    def following(self) -> bool:
        """Whether there is one whose figures are not known yet."""
        return self._gone_at is not None

    def gone(self, now: float, *, planned: bool, broke_off: bool, dropped: float) -> Hop | None:
        """The session is gone; returns the hop before it, if that was still followed.

        Args:
            now: the machine's time.
            planned: whether we left it.
            broke_off: whether it was speaking.
            dropped: seconds of the caller's audio that no session will hear, since the call's start.
        """
        if not self._live:
            return None  # another attempt of the same recovery, or a session that never was
        unfinished = self._close(dropped)
        self._live = False
        self._gone_at = self._looked_at = now
        self._ready_at = None
        self._planned, self._awaited = planned, broke_off
        self._dropped, self._silent = dropped, 0.0
        return unfinished

    def ready(self, now: float, *, asked: bool) -> None:
        """There is a session; `asked`: it was asked in words to say something."""
        self._live = True
        if self._gone_at is not None:
            self._ready_at = now
            self._awaited = self._awaited or asked

    def follow(self, now: float, moment: Moment) -> Hop | None:
        """Look once more; returns the hop when its figures are known."""
        if self._gone_at is None:
            return None
        step, self._looked_at = now - self._looked_at, now
        quiet = not moment.playing and now - moment.voice_at > PAUSE
        if quiet and (moment.due or self._awaited):
            self._silent += step
        if self._ready_at is None:
            return None
        over = moment.speaks if self._awaited else moment.caught_up or moment.speaks
        if over or now - self._ready_at >= SETTLED:
            return self._close(moment.dropped)
        return None

    def end(self, dropped: float) -> Hop | None:
        """The call is over."""
        return self._close(dropped)

    def _close(self, dropped: float) -> Hop | None:
        gone_at, self._gone_at = self._gone_at, None
        if gone_at is None or self._ready_at is None:
            return None
        hop = Hop(
            at=round(gone_at, 3),
            planned=self._planned,
            ms=round((self._ready_at - gone_at) * 1000, 1),
            lost_ms=round((dropped - self._dropped) * 1000, 1),
            silence_ms=round(self._silent * 1000, 1),
        )
        if len(self.made) < MOST_HOPS:
            self.made.append(hop)
        return hop
