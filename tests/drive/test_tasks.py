"""Tasks and their owner: nothing is lost, nothing is left, one child's fault is nobody else's."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from agent.drive.tasks import Tasks
from tests.telephony.fakes import settle


async def forever(log: list[str] | None = None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if log is not None:
            log.append("left")


async def fails(error: BaseException) -> None:
    raise error


async def test_a_childs_exception_goes_to_the_owner_and_its_siblings_live_on() -> None:
    told: list[tuple[str, str]] = []
    tasks = Tasks("call 1", lambda child, error: told.append((child, str(error))))
    sibling = tasks.start("sibling", forever())
    tasks.start("line", fails(ValueError("broken")))
    await settle()
    assert told == [("line", "broken")]
    assert not sibling.done()
    assert len(tasks) == 1
    await tasks.close()


async def test_an_owner_that_does_not_say_keeps_the_failures() -> None:
    tasks = Tasks("test")
    tasks.start("line", fails(ValueError("broken")))
    await settle()
    ((child, error),) = tasks.failures
    assert (child, str(error)) == ("line", "broken")


async def test_tasks_are_named_after_owner_and_child() -> None:
    tasks = Tasks("call 1")
    assert tasks.start("line", forever()).get_name() == "call 1/line"
    await tasks.close()


async def test_a_child_that_was_cancelled_is_no_failure() -> None:
    tasks = Tasks("test")
    tasks.start("line", forever()).cancel()
    await settle()
    assert tasks.failures == []
    assert len(tasks) == 0


async def test_close_cancels_and_waits_until_everybody_has_left() -> None:
    log: list[str] = []

    async def slow_to_leave() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.01)
            log.append("slow left")

    tasks = Tasks("test")
    tasks.start("a", forever(log))
    tasks.start("b", slow_to_leave())
    await settle()
    await tasks.close()
    assert log == ["left", "slow left"]
    assert len(tasks) == 0


async def test_within_the_grace_children_end_by_themselves() -> None:
    log: list[str] = []

    async def soon() -> None:
        await asyncio.sleep(0.01)
        log.append("done")

    tasks = Tasks("test")
    tasks.start("soon", soon())
    tasks.start("never", forever(log))
    await tasks.close(grace=0.05)
    assert log == ["done", "left"]


async def test_a_child_that_is_started_while_others_leave_is_closed_too() -> None:
    log: list[str] = []
    tasks = Tasks("test")

    async def leaves_a_letter() -> None:
        try:
            await forever()
        finally:
            tasks.start("letter", forever(log))

    tasks.start("a", leaves_a_letter())
    await settle()
    await tasks.close()
    assert len(tasks) == 0
    assert log == [] or log == ["left"]  # cancelled before or after its first step


async def test_a_child_may_close_its_own_owner() -> None:
    tasks = Tasks("test")

    async def last_one() -> str:
        await tasks.close()
        return "closed"

    tasks.start("other", forever())
    assert await tasks.start("last", last_one()) == "closed"
    await settle()
    assert len(tasks) == 0


async def test_closing_an_owner_without_children_is_nothing() -> None:
    await Tasks("test").close(grace=5.0)


async def test_the_outcome_of_work_that_is_read_goes_to_its_starter_alone() -> None:
    told: list[Any] = []
    tasks = Tasks("test", lambda child, error: told.append(error))
    task = tasks.start_read("machine", fails(ValueError("broken")))
    await asyncio.wait([task])
    assert isinstance(task.exception(), ValueError)
    await settle()
    assert told == []
    assert len(tasks) == 0


async def test_the_owner_sees_to_the_end_of_work_that_is_read() -> None:
    tasks = Tasks("test")
    task = tasks.start_read("machine", forever())
    await tasks.close()
    assert task.cancelled()


async def test_work_that_nobody_refers_to_is_kept_alive() -> None:
    tasks = Tasks("test")
    log: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        log.append("done")

    tasks.start("a", work())
    gc.collect()
    await tasks.close(grace=1.0)
    assert log == ["done"]


@pytest.mark.parametrize("grace", [0.0, 0.01])
async def test_a_failure_while_closing_still_reaches_the_owner(grace: float) -> None:
    async def fails_when_told_to_leave() -> None:
        try:
            await forever()
        finally:
            raise ValueError("on the way out")

    tasks = Tasks("test")
    tasks.start("a", fails_when_told_to_leave())
    await settle()
    await tasks.close(grace=grace)
    await settle()
    assert [str(error) for _, error in tasks.failures] == ["on the way out"]
