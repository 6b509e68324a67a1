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
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

GRID = 0.005
"""Seconds between possible wake-ups. The lead that playout keeps (400 ms) makes 5 ms inaudible."""


class Wakeup:
    """One caller's place in the schedule; `at` moves it, None takes it out.

    Attributes:
        deadline: when it wants to be woken, seconds, monotonic; None: not at all.
        queued: when the schedule looks at it next, never after `deadline`. A deadline that moves on with every message costs
            nothing: it is read again when the earlier one has come.
    """

    __slots__ = ("_schedule", "call", "deadline", "queued")

    def __init__(self, schedule: Wakeups, call: Callable[[float], None]) -> None:
        self._schedule = schedule
        self.call = call
        self.deadline: float | None = None
        self.queued: float | None = None

    def at(self, deadline: float | None) -> None:
        """Be woken at `deadline` (seconds, monotonic) or a little later; replaces what was set before."""
        if deadline is None:
            self.deadline = None
            return
        self.deadline = deadline = math.ceil(deadline / GRID) * GRID
        if self.queued is None or deadline < self.queued:
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
        self._queue: list[tuple[float, int, Wakeup]] = []
        self._serial = 0
        self._timer: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self._closed = False

    def register(self, call: Callable[[float], None]) -> Wakeup:
        """A wake-up that will call `call(now)`; it is not set yet."""
        return Wakeup(self, call)

    def add(self, deadline: float, wakeup: Wakeup) -> None:
        """Look at a wake-up at `deadline`; only wake-ups themselves and this file call this."""
        if self._closed:
            return
        wakeup.queued = deadline
        self._serial += 1
        heapq.heappush(self._queue, (deadline, self._serial, wakeup))
        if deadline < self._armed:
            self._arm()

    def close(self) -> None:
        """Wake nobody any more."""
        self._closed = True
        self._queue.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed = self._queue[0][0] if self._queue else math.inf
        if self._queue:
            self._timer = self._loop.call_later(max(0.0, self._armed - self.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._armed = -math.inf  # nobody re-arms while we go through what is due
        now = self.now()
        due = self._take(now)  # whoever is due again at once waits for the loop's next turn
        try:
            while due and not self._closed:
                wakeup = due.popleft()
                if wakeup.deadline is None:
                    continue
                if wakeup.deadline <= now:
                    wakeup.deadline = None
                    wakeup.call(now)
                elif wakeup.queued is None:  # it has moved on since it was queued
                    self.add(wakeup.deadline, wakeup)
        finally:
            for wakeup in due:  # somebody raised; the others are still woken
                if wakeup.deadline is not None and wakeup.queued is None:
                    self.add(wakeup.deadline, wakeup)
            self._arm()

    def _take(self, now: float) -> deque[Wakeup]:
        """The wake-ups whose time to be looked at has come, in the order of time."""
        due: deque[Wakeup] = deque()
        while self._queue and self._queue[0][0] <= now:
            deadline, _, wakeup = heapq.heappop(self._queue)
            if wakeup.queued == deadline:  # else it was queued again for an earlier time
                wakeup.queued = None
                due.append(wakeup)
        return due
