"""One clock for many calls."""

from __future__ import annotations

import asyncio

import pytest

from agent.simulator.clock import now
from agent.simulator.ticker import PERIOD_S, SLOTS, Ticker


class Call:
    def __init__(self, ticks: int) -> None:
        self.deadlines: list[float] = []
        self.late: list[float] = []
        self.done = asyncio.Event()
        self.error: BaseException | None = None
        self._ticks = ticks

    def tick(self, deadline: float) -> None:
        self.deadlines.append(deadline)
        self.late.append(now() - deadline)
        if len(self.deadlines) == self._ticks:
            self.done.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


class Broken(Call):
    def tick(self, deadline: float) -> None:
        raise ValueError("broken tick")


async def test_every_call_ticks_every_20_ms_at_a_phase_of_its_own() -> None:
    calls = [Call(6) for _ in range(SLOTS)]
    async with Ticker() as ticker:
        for call in calls:
            ticker.add(call)
        for call in calls:
            await call.done.wait()
        for call in calls:
            ticker.remove(call)
            ticker.remove(call)
    phases = set()
    for call in calls:
        steps = [b - a for a, b in zip(call.deadlines, call.deadlines[1:], strict=False)]
        assert steps == pytest.approx([PERIOD_S] * len(steps))
        assert min(call.late) >= 0
        phases.add(round((call.deadlines[0] - calls[0].deadlines[0]) / PERIOD_S * SLOTS) % SLOTS)
    assert len(phases) == SLOTS


async def test_after_a_stall_the_missed_ticks_follow_at_once() -> None:
    call = Call(10)
    async with Ticker() as ticker:
        ticker.add(call)
        await asyncio.sleep(0.03)
        until = now() + 0.1
        while now() < until:
            pass
        await call.done.wait()
        ticker.remove(call)
    steps = [b - a for a, b in zip(call.deadlines, call.deadlines[1:], strict=False)]
    assert steps == pytest.approx([PERIOD_S] * len(steps))


async def test_a_ticker_rests_while_nobody_is_there_and_starts_again() -> None:
    async with Ticker() as ticker:
        for _ in range(2):
            call = Call(2)
            ticker.add(call)
            await call.done.wait()
            ticker.remove(call)
            await asyncio.sleep(0.03)


async def test_a_tick_that_fails_is_told_to_every_call_and_raised_at_the_end() -> None:
    call, broken = Call(1000), Broken(1)
    with pytest.raises(ValueError, match="broken tick"):
        async with Ticker() as ticker:
            ticker.add(call)
            ticker.add(broken)
            await call.done.wait()
    assert isinstance(call.error, ValueError)
