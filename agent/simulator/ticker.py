"""One clock of 20 ms for many calls: absolute deadlines, and phones that do not tick in step.

Real callers' frames arrive spread over the 20 ms; so do these, over `SLOTS` phases. A call joins the
emptiest phase. When the process was late, the deadlines that it missed follow at once, in order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol as Port

from agent.simulator.clock import Owner, now, sleep_until

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PERIOD_S = 0.02
SLOTS = 10


class Ticking(Port):
    """What a ticker drives."""

    def tick(self, deadline: float) -> None:
        """20 ms have passed: this tick was due at `deadline` (seconds, monotonic)."""

    def fail(self, error: BaseException) -> None:
        """The ticker died of `error`: no tick will come any more."""


class Ticker:
    """Calls `tick` of everything that was added, every 20 ms, until it is closed."""

    def __init__(self) -> None:
        self._slots: list[list[Ticking]] = [[] for _ in range(SLOTS)]
        self._wanted = asyncio.Event()
        self._owner = Owner(on_failure=self._fail)

    def add(self, ticking: Ticking) -> None:
        """Tick `ticking` from its next deadline on."""
        min(self._slots, key=len).append(ticking)
        self._wanted.set()

    def remove(self, ticking: Ticking) -> None:
        """Tick `ticking` no more; nothing happens where it was not added."""
        for slot in self._slots:
            if ticking in slot:
                slot.remove(ticking)

    async def __aenter__(self) -> Self:
        self._owner.start(self._run(), "ticker")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self._owner.__aexit__(kind, error, at)

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            if not any(self._slots):
                await self._wanted.wait()
            await self._rounds()

    async def _rounds(self) -> None:
        """Go round while anybody is there."""
        begun = now()
        turn = 0
        while any(self._slots):
            for number, slot in enumerate(self._slots):
                if slot:
                    deadline = begun + (turn + number / SLOTS) * PERIOD_S
                    await sleep_until(deadline)
                    for ticking in tuple(slot):
                        ticking.tick(deadline)
            turn += 1

    def _fail(self, error: BaseException) -> None:
        for slot in self._slots:
            for ticking in tuple(slot):
                ticking.fail(error)
