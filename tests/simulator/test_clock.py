"""The stand-ins' clock and task owner."""

from __future__ import annotations

import asyncio

import pytest

from agent.simulator.clock import Owner, now, sleep_until, wall


async def test_sleeps_until_the_deadline_and_never_wakes_before_it() -> None:
    deadline = now() + 0.01
    await sleep_until(deadline)
    assert now() >= deadline
    await sleep_until(deadline - 1)
    assert wall() > 1_700_000_000


async def forever() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise ValueError("broken")


async def test_closing_cancels_what_still_runs() -> None:
    async with Owner() as owner:
        task = owner.start(forever(), "forever")
        assert len(owner) == 1
    assert task.cancelled()
    assert len(owner) == 0


async def test_waiting_ends_with_the_last_task() -> None:
    owner = Owner()
    owner.start(asyncio.sleep(0), "one")
    owner.start(asyncio.sleep(0.001), "two")
    await owner.wait()
    await owner.close()


async def test_a_failure_reaches_the_owner_and_spares_the_sibling() -> None:
    heard: list[BaseException] = []
    owner = Owner(heard.append)
    sibling = owner.start(forever(), "forever")
    owner.start(broken(), "broken")
    with pytest.raises(ValueError, match="broken"):
        await owner.wait()
    assert not sibling.done()
    assert [str(error) for error in heard] == ["broken"]
    with pytest.raises(ValueError, match="broken"):
        await owner.close()
    assert sibling.cancelled()


async def test_a_failure_inside_the_context_is_not_hidden_by_the_body() -> None:
    with pytest.raises(ValueError, match="broken") as caught:
        async with Owner() as owner:
            owner.start(broken(), "broken")
            await asyncio.sleep(0)
            raise KeyError("body")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_task_may_close_its_own_owner() -> None:
    owner = Owner()
    other = owner.start(forever(), "forever")
    await owner.start(owner.close(), "closer")
    assert other.cancelled()
