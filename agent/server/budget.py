"""What calls cost, and when they have cost enough. Pure.

A call costs the model's tokens by modality, where every turn bills its whole context again, and the carrier's minutes. Prices are the lists',
not anybody's contract.

Source: "Gemini API: pricing" (https://ai.google.dev/gemini-api/docs/pricing), Live models, read 2026-10-09.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.events import ModelUsage

MILLION = 1_000_000

DAY = 86_400.0


HEARD = {"TEXT": 0.75, "AUDIO": 3.00, "IMAGE": 1.00, "VIDEO": 1.00}
SAID = {"TEXT": 4.50, "AUDIO": 12.00}


class Prices(NamedTuple):
    """US dollars.

    Attributes:
        heard: per million tokens that the model is sent, by modality.
        said: per million tokens that it answers with.
        minute: per minute of the carrier's line; carriers bill begun minutes.
    """

    heard: Mapping[str, float] = HEARD
    said: Mapping[str, float] = SAID
    minute: float = 0.02

    def tokens(self, usage: ModelUsage) -> float:
        """One turn's tokens; those whose modality the model does not tell count as the dearest."""
        heard = _price(self.heard, usage.prompt, usage.prompt_by)
        return (heard + _price(self.said, usage.response, usage.response_by)) / MILLION

    def line(self, seconds: float) -> float:
        """The carrier's part."""
        return math.ceil(seconds / 60) * self.minute


def _price(prices: Mapping[str, float], total: int, by: Mapping[str, int]) -> float:
    dearest = max(prices.values())
    told = sum(prices.get(name, dearest) * count for name, count in by.items())
    return told + dearest * max(0, total - sum(by.values()))


class Ledger:
    """What the calls of a day have cost, those that go on too. A day is UTC's.

    Args:
        limit: US dollars a day; None: as much as they like.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self._day = 0
        self._ended = 0.0
        self._running: dict[str, float] = {}

    def runs(self, call: str, cost: float) -> None:
        """A call that goes on has cost this much so far."""
        self._running[call] = cost

    def ended(self, call: str, cost: float, wall: float) -> None:
        """A call has ended; `wall`: seconds since 1970-01-01 UTC."""
        self._turn(wall)
        self._running.pop(call, None)
        self._ended += cost

    def recorded(self, total: float, wall: float) -> None:
        """What the records say that today's calls of all processes have cost, those that have ended."""
        self._turn(wall)
        self._ended = total

    def spent(self, wall: float) -> float:
        """Today, so far."""
        self._turn(wall)
        return self._ended + sum(self._running.values())

    def over(self, wall: float) -> bool:
        return self.limit is not None and self.spent(wall) >= self.limit

    @staticmethod
    def begins(wall: float) -> float:
        """When the day began that `wall` is in."""
        return wall // DAY * DAY

    def _turn(self, wall: float) -> None:
        if (day := int(wall // DAY)) != self._day:
            self._day, self._ended = day, 0.0
