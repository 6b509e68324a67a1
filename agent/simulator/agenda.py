"""Things to do later, in order of their time. Pure: time is an argument."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Actions with a time each; those of one time run in the order they were added."""

    def __init__(self) -> None:
        self._items: list[tuple[float, int, Callable[[float], None]]] = []
        self._added = 0

    def at(self, time: float, action: Callable[[float], None]) -> None:
        """Do `action(now)` once `time` has come."""
        self._added += 1
        heapq.heappush(self._items, (time, self._added, action))

    @property
    def due(self) -> float:
        """When the next action is due; infinite where there is none."""
        return self._items[0][0] if self._items else float("inf")

    def run(self, now: float) -> None:
        """Do the next action, which is due."""
        heapq.heappop(self._items)[2](now)

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()
