"""Threads for functions that block."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from agent.errors import ToolFailed
from agent.tools.threads import Threads
from tests.telephony.fakes import settle


async def test_a_function_that_blocks_does_not_block_the_loop() -> None:
    threads, gate = Threads(), threading.Event()
    async with asyncio.TaskGroup() as group:
        blocked = group.create_task(threads.run("waits", gate.wait))
        await asyncio.sleep(0)
        assert threads.busy == 1
        gate.set()
    assert blocked.result() is True
    assert threads.busy == 0


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ZeroDivisionError("x"), ZeroDivisionError),
        (SystemExit(3), RuntimeError),
        (KeyboardInterrupt(), RuntimeError),
        (StopIteration(), RuntimeError),
    ],
)
async def test_what_it_raises_is_raised_and_ends_no_process(
    error: BaseException, raised: type[BaseException]
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(raised):
        await Threads().run("fails", fail)


async def test_it_knows_what_its_caller_knows() -> None:
    call: contextvars.ContextVar[str] = contextvars.ContextVar("call")
    call.set("call-1")
    assert await Threads().run("asks", call.get) == "call-1"


async def test_one_more_than_may_be_busy_is_refused_and_who_gave_up_still_counts() -> None:
    threads, gate = Threads(most=1), threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await threads.run("hangs", gate.wait)
    with pytest.raises(ToolFailed, match="Too many tools are running"):
        await threads.run("one more", lambda: None)
    gate.set()
    while threads.busy:
        await settle()
    assert await threads.run("one more", lambda: 7) == 7


def test_a_function_that_outlives_its_loop_ends_in_silence() -> None:
    threads, gate, ended = Threads(), threading.Event(), threading.Event()

    def hang() -> None:
        gate.wait()
        ended.set()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await threads.run("hangs", hang)

    asyncio.run(leave())
    gate.set()
    assert ended.wait(5.0)
