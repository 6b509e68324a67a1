"""The guard of a call: it ends what costs too much, and frees the line of whoever wants no more calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent import events as e
from agent.drive.tasks import Tasks
from agent.errors import StorageError
from agent.server.budget import Ledger, Prices
from agent.server.guard import Beat, Guard, Limits
from agent.tools.base import CallInfo
from tests.telephony.fakes import virtually

CHEAP, DEAR = e.ModelUsage(prompt=1_000, prompt_by={"AUDIO": 1_000}), e.ModelUsage(prompt=1_000_000)


class OptOuts:
    def __init__(self) -> None:
        self.noted: list[tuple[float, str]] = []
        self.down_until = 0.0
        self.known = True

    async def opt_out(self, info: CallInfo, why: str) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self.down_until:
            raise StorageError("down")
        self.noted.append((now, why))
        return self.known


class Watch:
    """A guard and what it did, each with its time."""

    def __init__(
        self,
        *,
        outbound: bool = True,
        cost: float | None = 1.0,
        key: str | None = "9",
        ledger: Ledger | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.acts: list[tuple[float, e.AnyEvent]] = []
        self.opt_outs = OptOuts()
        self.tasks = Tasks("server")
        self.ledger = ledger or Ledger()
        beat = Beat(
            Prices(minute=0.06), self.ledger, self.opt_outs, self.tasks, loop.time, loop.time
        )
        info = CallInfo("c1", "desk", "+12125551234", "outbound" if outbound else "inbound")
        self.guard = Guard(
            info, Limits(cost, key), beat, lambda event: self.acts.append((loop.time(), event))
        )

    async def talks(self, seconds: float) -> None:
        """The line carries sound for so long."""
        for _ in range(int(seconds * 2)):
            self.guard.saw(e.LineAudio(e.Pcm8k(b"\0\0")))
            await asyncio.sleep(0.5)


def scene(work: Callable[[], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await work()

    virtually(all_of_it())


def test_a_call_that_costs_too_much_ends_in_words_and_once() -> None:
    async def work() -> None:
        watch = Watch(cost=1.0)
        watch.guard.saw(e.LineStarted(1))
        watch.guard.saw(CHEAP)
        assert watch.acts == []
        watch.guard.saw(DEAR)
        watch.guard.saw(DEAR)
        await watch.talks(5)
        assert [act for _, act in watch.acts] == [e.EndPolitely("budget")]

    scene(work)


def test_minutes_of_silence_cost_too() -> None:
    async def work() -> None:
        watch = Watch(cost=0.30)  # five minutes
        watch.guard.saw(e.LineStarted(1))
        await watch.talks(600)
        ((at, act),) = watch.acts
        assert act == e.EndPolitely("budget")
        assert 240 <= at <= 242  # the fifth minute has begun

    scene(work)


def test_a_day_that_has_cost_enough_ends_the_calls_that_go_on() -> None:
    async def work() -> None:
        ledger = Ledger(10.0)
        watch = Watch(cost=None, ledger=ledger)
        watch.guard.saw(e.LineStarted(1))
        await watch.talks(5)
        assert watch.acts == []
        ledger.ended("another", 10.0, 5.0)
        await watch.talks(2)
        assert [act for _, act in watch.acts] == [e.EndPolitely("budget")]

    scene(work)


def test_what_a_call_has_cost_stays_in_the_ledger_once() -> None:
    async def work() -> None:
        watch = Watch()
        watch.guard.saw(e.LineStarted(1))
        watch.guard.saw(CHEAP)
        await watch.talks(61)
        watch.guard.left()
        watch.guard.saw(e.LineAudio(e.Pcm8k(b"\0\0")))
        by_hand = 0.003 + 2 * 0.06
        assert watch.guard.cost() == pytest.approx(by_hand)
        assert watch.ledger.spent(61.0) == pytest.approx(by_hand)

    scene(work)


@pytest.mark.parametrize(
    ("event", "why", "within"),
    [
        (e.LineDigit("9"), "key", 0.0),
        (e.CallerSaid("Stop calling me!"), "said_so", 4.0),
        (e.ToolCalled("t1", "opt_out", {}), "said_so", 4.0),
    ],
)
def test_whoever_wants_no_more_calls_is_noted_at_once_and_the_line_is_free_within_five_seconds(
    event: e.AnyEvent, why: str, within: float
) -> None:
    async def work() -> None:
        watch = Watch()
        await asyncio.sleep(10)
        watch.guard.saw(event)
        watch.guard.saw(event)
        await asyncio.sleep(6)
        assert watch.opt_outs.noted == [(10.0, why)]
        assert watch.acts == [(10.0 + within, e.CallAbandoned("opted_out"))]
        await watch.tasks.close()

    scene(work)


def test_an_opt_out_is_written_however_long_the_database_is_away() -> None:
    async def work() -> None:
        watch = Watch()
        watch.opt_outs.down_until = 30.0
        watch.guard.saw(e.LineDigit("9"))
        await asyncio.sleep(40)
        ((at, why),) = watch.opt_outs.noted
        assert (30.0 <= at <= 31.0, why) == (True, "key")
        await watch.tasks.close()

    scene(work)


@pytest.mark.parametrize("event", [e.LineDigit("9"), e.CallerSaid("Stop calling me!")])
def test_who_calls_us_may_press_and_say_what_they_like(event: e.AnyEvent) -> None:
    async def work() -> None:
        watch = Watch(outbound=False)
        watch.guard.saw(event)
        await asyncio.sleep(6)
        assert (watch.opt_outs.noted, watch.acts) == ([], [])

    scene(work)


def test_another_key_and_no_key_refuse_nothing() -> None:
    async def work() -> None:
        for watch in (Watch(key="9"), Watch(key=None)):
            watch.guard.saw(e.LineDigit("8"))
            await asyncio.sleep(6)
            assert (watch.opt_outs.noted, watch.acts) == ([], [])

    scene(work)


def test_a_number_that_is_withheld_leaves_nothing_to_note_and_still_ends_the_call() -> None:
    async def work() -> None:
        watch = Watch()
        watch.opt_outs.known = False
        watch.guard.saw(e.LineDigit("9"))
        await asyncio.sleep(6)
        assert [act for _, act in watch.acts] == [e.CallAbandoned("opted_out")]
        await watch.tasks.close()

    scene(work)
