"""The one clock, and one scheduler for the whole process.

Pure code says when it wants to be woken (`deadline()`); this file wakes it. Deadlines are rounded up to a common grid, so that
one turn of the event loop serves many calls: at 25 calls that is a quarter of the wake-ups of one timer per call.

An event loop may wake us early (uvloop counts whole milliseconds), so what is due is decided by `now()`, never by the fact that
a timer fired.
"""

from __future__ import annotations

import heapq
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

GRID = 0.005
"""Seconds between possible wake-ups. The lead that playout keeps (400 ms) makes 5 ms inaudible."""


class Wakeup:
    """One caller's place in the schedule; `at` moves it, None takes it out."""

    __slots__ = ("_schedule", "call", "deadline")

    def __init__(self, schedule: Wakeups, call: Callable[[float], None]) -> None:
        self._schedule = schedule
        self.call = call
        self.deadline: float | None = None

    def at(self, deadline: float | None) -> None:
        """Be woken at `deadline` (seconds, monotonic) or a little later; replaces what was set before."""
        if deadline is None:
            self.deadline = None
            return
        deadline = math.ceil(deadline / GRID) * GRID
        if deadline != self.deadline:
            self.deadline = deadline
            self._schedule.add(deadline, self)


class Wakeups:
    """Wakes pure code at its deadlines.

    Args:
        loop: the event loop whose timer is used, one timer at a time.
        clock: seconds, monotonic; the virtual loop's `time` in tests.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = clock
        self._loop = loop
        self._due: list[tuple[float, int, Wakeup]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf

    def register(self, call: Callable[[float], None]) -> Wakeup:
        """A wake-up that will call `call(now)`; it is not set yet."""
        return Wakeup(self, call)

    def add(self, deadline: float, wakeup: Wakeup) -> None:
        """Put a wake-up on the schedule (`Wakeup.at` does); stale entries are skipped when they come up."""
        self._serial += 1
        heapq.heappush(self._due, (deadline, self._serial, wakeup))
        if deadline < self._armed:
            self._arm()

    def close(self) -> None:
        """Wake nobody any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._due and self._due[0][2].deadline != self._due[0][0]:
            heapq.heappop(self._due)
        self._armed = math.inf
        if self._due:
            self._armed = self._due[0][0]
            self._timer = self._loop.call_later(max(0.0, self._armed - self.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._armed = -math.inf  # nobody re-arms while we go through what is due
        now = self.now()
        try:
            while self._due and self._due[0][0] <= now:
                deadline, _, wakeup = heapq.heappop(self._due)
                if wakeup.deadline == deadline:
                    wakeup.deadline = None
                    wakeup.call(now)
        finally:
            self._arm()  # whoever raised, the others are still woken
