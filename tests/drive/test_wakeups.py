"""Wake-ups: one timer for the process, whoever is due is woken, and nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, strategies as st

from agent.drive.wakeups import GRID, Wakeups

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer:
    """What `call_later` gives back."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop's timers and the time, moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0
        self.timers: list[Timer] = []
        self.made = 0
        self.wakeups = Wakeups(cast("asyncio.AbstractEventLoop", self), lambda: self.time)
        self.woken: list[tuple[str, float]] = []

    def call_later(self, delay: float, call: Callable[[], None]) -> Any:
        assert delay >= 0
        self.made += 1
        self.timers.append(Timer(self.time + delay, call))
        return self.timers[-1]

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def sleeper(self, name: str) -> Any:
        return self.wakeups.register(lambda now: self.woken.append((name, now)))

    def fire(self, early: float = 0.0) -> None:
        """Let the next timer fire, `early` seconds before its time."""
        timer = min(self.armed, key=lambda timer: timer.at)
        self.timers.remove(timer)
        self.time = max(self.time, timer.at - early)
        timer.call()

    def until(self, time: float) -> None:
        while any(timer.at <= time for timer in self.armed):
            self.fire()
        self.time = time

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.woken]


def test_nobody_is_woken_before_the_deadline_nor_much_after() -> None:
    clock = Clock()
    clock.sleeper("a").at(100.0123)
    clock.until(100.0122)
    assert clock.woken == []
    clock.until(101.0)
    ((name, at),) = clock.woken
    assert name == "a"
    assert 100.0123 <= at <= 100.0123 + GRID


def test_one_timer_serves_many() -> None:
    clock = Clock()
    for n in range(25):
        clock.sleeper(str(n)).at(100.021 + n * 0.0001)  # all within one step of the grid
    assert len(clock.armed) == 1
    made = clock.made
    clock.fire()
    assert clock.names == [str(n) for n in range(25)]
    assert clock.armed == []
    assert made == clock.made == 1


def test_an_earlier_deadline_moves_the_timer_and_a_later_one_does_not() -> None:
    clock = Clock()
    clock.sleeper("late").at(101.0)
    clock.sleeper("early").at(100.5)
    clock.sleeper("later").at(102.0)
    assert [round(timer.at, 3) for timer in clock.armed] == [100.5]
    assert clock.made == 2
    clock.until(103.0)
    assert clock.names == ["early", "late", "later"]


def test_a_timer_that_fires_early_wakes_nobody_and_is_set_again() -> None:
    clock = Clock()
    clock.sleeper("a").at(100.5)
    clock.fire(early=0.001)
    assert clock.woken == []
    assert [round(timer.at, 3) for timer in clock.armed] == [100.5]
    clock.fire()
    assert clock.names == ["a"]


def test_a_wakeup_that_is_moved_is_woken_once_at_its_new_time() -> None:
    clock = Clock()
    sleeper = clock.sleeper("a")
    sleeper.at(100.2)
    sleeper.at(100.4)
    clock.until(100.3)
    assert clock.woken == []
    sleeper.at(100.35)
    clock.until(101.0)
    assert [(name, round(at, 3)) for name, at in clock.woken] == [("a", 100.35)]


def test_a_wakeup_that_is_taken_out_is_not_woken() -> None:
    clock = Clock()
    sleeper = clock.sleeper("a")
    sleeper.at(100.2)
    sleeper.at(None)
    assert sleeper.deadline is None
    clock.until(101.0)
    assert clock.woken == []


def test_a_wakeup_can_be_taken_out_and_set_to_the_same_time_again() -> None:
    clock = Clock()
    sleeper = clock.sleeper("a")
    sleeper.at(100.2)
    sleeper.at(None)
    sleeper.at(100.2)
    sleeper.at(100.2)
    clock.until(101.0)
    assert clock.names == ["a"]


def test_whoever_is_woken_may_take_another_out_in_the_same_moment() -> None:
    clock = Clock()
    second = clock.sleeper("second")
    clock.wakeups.register(lambda now: second.at(None)).at(100.2)
    second.at(100.2)
    clock.until(101.0)
    assert clock.woken == []


def test_a_wakeup_arms_itself_again_from_its_own_call() -> None:
    clock = Clock()
    times: list[float] = []

    def again(now: float) -> None:
        times.append(round(now, 3))
        if len(times) < 3:
            wakeup.at(now + 0.02)

    wakeup = clock.wakeups.register(again)
    wakeup.at(100.02)
    clock.until(101.0)
    assert len(times) == 3
    for before, after in zip(times, times[1:], strict=False):
        assert 0.02 <= after - before + 1e-9 <= 0.02 + 2 * GRID


def test_whoever_raises_costs_the_others_nothing() -> None:
    clock = Clock()

    def fault(now: float) -> None:
        raise ZeroDivisionError

    clock.sleeper("before").at(100.2)
    clock.wakeups.register(fault).at(100.2)
    clock.sleeper("with").at(100.2)
    clock.sleeper("after").at(100.4)
    with pytest.raises(ZeroDivisionError):
        clock.fire()
    clock.until(101.0)
    assert clock.names == ["before", "with", "after"]


def test_one_that_is_always_due_does_not_keep_the_loop_from_turning() -> None:
    clock = Clock()
    times = 0

    def always(now: float) -> None:
        nonlocal times
        times += 1
        assert times < 100
        wakeup.at(now - 1.0)

    wakeup = clock.wakeups.register(always)
    wakeup.at(100.2)
    clock.sleeper("other").at(100.2)
    clock.fire()
    assert times == 1
    assert clock.names == ["other"]
    clock.fire()
    assert times == 2


def test_a_deadline_that_has_passed_wakes_at_once() -> None:
    clock = Clock()
    clock.sleeper("a").at(99.0)
    assert clock.armed[0].at == clock.time
    clock.fire()
    assert clock.names == ["a"]


def test_after_close_nobody_is_woken_and_no_timer_is_left() -> None:
    clock = Clock()
    sleeper = clock.sleeper("a")
    sleeper.at(100.2)
    clock.wakeups.close()
    assert clock.armed == []
    sleeper.at(100.1)
    clock.sleeper("b").at(100.3)
    assert clock.armed == []


def test_whoever_is_woken_may_close_the_schedule() -> None:
    clock = Clock()
    clock.wakeups.register(lambda now: clock.wakeups.close()).at(100.2)
    clock.sleeper("with").at(100.2)
    clock.sleeper("after").at(100.4)
    clock.fire()
    assert clock.woken == []
    assert clock.armed == []


def test_a_deadline_that_moves_with_every_message_leaves_no_pile_behind() -> None:
    clock = Clock()
    sleeper = clock.sleeper("silence")
    clock.sleeper("far").at(200.0)
    for n in range(10_000):
        sleeper.at(130.0 + n * 0.02)
    assert len(clock.wakeups._queue) < 100


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.one_of(st.none(), st.floats(100.0, 101.0))), max_size=40
    )
)
def test_everybody_is_woken_once_for_the_deadline_that_stood_last(
    moves: list[tuple[int, float | None]],
) -> None:
    clock = Clock()
    sleepers = [clock.sleeper(str(n)) for n in range(5)]
    last: dict[str, float | None] = {}
    for n, deadline in moves:
        sleepers[n].at(deadline)
        last[str(n)] = deadline
    clock.until(102.0)
    assert sorted(clock.names) == sorted(name for name, at in last.items() if at is not None)
    for name, at in clock.woken:
        wanted = last[name]
        assert wanted is not None
        assert wanted - 1e-6 <= at <= wanted + 2 * GRID
