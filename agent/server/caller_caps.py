"""How often one number may call us. Pure.

Whoever rings again and again costs as much as whoever talks for hours. Callers who withhold their number cannot be told apart, so
they are bounded by `MAX_CALLS` only.
"""

from __future__ import annotations

import re
from collections import deque

HOUR = 3600.0

MOST = 10_000
"""Numbers that are remembered; the one that called least lately is forgotten, and may call anew."""

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}|sip:.+", re.ASCII)


class CallerCaps:
    """Counts the calls of an hour by number.

    Args:
        per_hour: calls that one number may place in any hour.
    """

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        self._calls: dict[str, deque[float]] = {}

    def admit(self, number: str, now: float) -> bool:
        """Take a call in, or say that it is one too many; `now`: seconds, monotonic."""
        if _NUMBER.fullmatch(number) is None:
            return True
        calls = self._calls.pop(number, deque())
        while calls and calls[0] <= now - HOUR:
            calls.popleft()
        self._calls[number] = calls
        while len(self._calls) > MOST:
            del self._calls[next(iter(self._calls))]
        if len(calls) >= self._per_hour:
            return False
        calls.append(now)
        return True
