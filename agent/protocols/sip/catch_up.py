"""Delay that stays on a line, and how it goes again.

A ring that has run dry plays silence, and what comes after that is late by it. A voice that is ahead of the ear never notices. But one
that comes as fast as it is played, such as somebody's who speaks live, stays late until it pauses: from then on the ring always holds
something when more comes, and that serves nothing. So it is taken out of the voice, as long as what comes does not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.audio.shorten import SHORTEST, shortened
from agent.protocols.sip.sound import FRAME

if TYPE_CHECKING:
    from agent.events import LinePcm, LineRate

WINDOW = 1.0
"""Seconds over which is looked what the ring held least: two like each other, and that much served nothing."""

REST = 8.0
"""Seconds for which nothing more is taken out: delay that is there again so soon may be needed again."""

LIVE = 0.2
"""Seconds that the ring of a voice that comes as it is spoken may hold; above it, it is ahead, and wants to be."""


class CatchUp:
    """Shortens what goes into a ring that holds more than it needs.

    Args:
        rate: of the line, Hz.
        now: seconds, monotonic, as everywhere here.
    """

    def __init__(self, rate: LineRate, now: float) -> None:
        self._second = 2 * rate  # bytes, as all that follows
        self._frame = round(FRAME * self._second)
        self._least = round(SHORTEST * rate) * 2
        self._most = round(LIVE * self._second)
        self._window = now  # its beginning
        self._low = self._most  # least that the ring held in it when more came
        self._before = 0  # the same of the window before
        self._rest = now  # until when nothing more is taken
        self._spare = 0  # still to be taken
        self._ask_at = now

    def asks(self, now: float) -> bool:
        """Whether it wants to know what the ring holds, when more is put in."""
        return now >= self._ask_at

    def fit(self, pcm: LinePcm, held: int, now: float) -> LinePcm:
        """What goes in for `pcm`, when the ring still holds so many bytes."""
        self._ask_at = now + max(FRAME / 2, (held - self._most) / self._second)
        if not held:  # it has run dry: nothing is late any more
            self._low = 0
        if now >= self._window + WINDOW:
            self._look_back(now)
        self._low = min(self._low, held)
        spare = min(self._spare, held)
        if spare < self._least:
            return pcm
        rest = shortened(pcm, spare // 2)
        gone = len(pcm) - len(rest)
        if gone:
            self._rest = now + REST
        self._spare = spare - gone
        self._low = max(0, self._low - gone)
        return rest

    def _look_back(self, now: float) -> None:
        """A window is over: what neither it nor the one before it needed may go."""
        low, before = self._low, self._before
        self._window, self._low, self._before = now, self._most, low
        stays = self._frame <= low < self._most and abs(low - before) <= self._frame
        if not stays:
            self._spare = 0
        elif self._spare or now >= self._rest:
            self._spare = min(low, before)
