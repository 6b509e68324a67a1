"""Whether the model's service has room for one more call: how many sessions begin in a second, and whether our quota is used up.

Pure. How many sessions there are at once needs no count of its own: a call has one at a time, and there are at most `MAX_CALLS`.

    closed --quota refused--> open --30 s--> half open --a session is ready--> closed
                               ^                 |
                               +--quota refused--+

While it is open new calls hear that all lines are busy, which is true, instead of a call that dies; those that are live go on. Half
open, one caller at a time is let through to find out.
"""

from __future__ import annotations

from enum import StrEnum

OPEN_SECONDS = 30.0
"""How long no new call is tried after the quota was refused: per-minute quotas have room again soon, and a caller may redial."""

PROBE_SECONDS = 15.0
"""How long one caller may be on trial before the next one is: three setups of 5 s."""

FEWEST = 10
"""Sessions that may begin in a second, whatever `MAX_CALLS` is: a few calls that end at once and are placed again are no storm."""


class Breaker(StrEnum):
    """Whether new calls are tried."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Admission:
    """Lets new calls in, or says why not.

    A token bucket bounds the sessions that begin: a full house may ring at once, and that many in each second after. Sessions
    that replace a lost one always pass, since a caller is waiting, and are counted: a storm of them keeps new calls out.

    Args:
        max_calls: slots of this process.
    """

    def __init__(self, max_calls: int = 25) -> None:
        self._rate = float(max(FEWEST, max_calls))
        self._tokens = self._rate
        self._filled_at = 0.0
        self._open_until: float | None = None
        self._probe_at: float | None = None

    def breaker(self, now: float) -> Breaker:
        if self._open_until is None:
            return Breaker.CLOSED
        return Breaker.OPEN if now < self._open_until else Breaker.HALF_OPEN

    def admit(self, now: float) -> str:
        """Take a new call in; returns why not (`quota`, `rate`), or nothing.

        Args:
            now: seconds, monotonic.
        """
        state = self.breaker(now)
        on_trial = self._probe_at is not None and now < self._probe_at + PROBE_SECONDS
        if state is Breaker.OPEN or (state is Breaker.HALF_OPEN and on_trial):
            return "quota"
        self._fill(now)
        if self._tokens < 1.0:
            return "rate"
        self._tokens -= 1.0
        if state is Breaker.HALF_OPEN:
            self._probe_at = now
        return ""

    def replaced(self, now: float) -> None:
        """A live call opens another session."""
        self._fill(now)
        self._tokens = max(self._tokens - 1.0, -self._rate)

    def ready(self, now: float) -> None:
        """A session was opened: there is room."""
        if self.breaker(now) is Breaker.HALF_OPEN:
            self._open_until = self._probe_at = None

    def ended(self, now: float, *, over_quota: bool) -> None:
        """A session ended, or did not come about."""
        if over_quota:
            self._open_until = now + OPEN_SECONDS
        self._probe_at = None

    def _fill(self, now: float) -> None:
        self._tokens = min(self._rate, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
