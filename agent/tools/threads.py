"""Threads for functions that block: bounded, and never waited for by a process that wants to end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from agent.errors import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST = 32
"""Functions that may block at once in this process; one more is refused with words for the model, since it would wait for those
that hang."""


class Threads:
    """Runs each function in a thread of its own.

    A thread cannot be stopped: who gives up waiting leaves it to end by itself, and it counts as busy until then. The threads of a
    pool would be joined when the interpreter ends, so one function that hangs would keep the server alive; these are not.

    Args:
        most: how many at once.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._busy = 0

    @property
    def busy(self) -> int:
        return self._busy

    async def run(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns, or raises.

        Raises:
            ToolFailed: too many are busy.
        """
        if self._busy >= self._most:
            raise ToolFailed("Too many tools are running. Try again in a moment.")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        target = partial(context.run, self._work, loop, done, work)
        self._busy += 1
        threading.Thread(target=target, name=f"tool {name}", daemon=True).start()
        return await done

    def _work(
        self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], work: Callable[[], T]
    ) -> None:
        outcome: Outcome[T] = Outcome()
        with outcome:
            outcome.result = work()

        def tell() -> None:
            self._busy -= 1
            outcome.give_to(done)

        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(tell)


class Outcome(Generic[T]):
    """What somebody else's function returned, or raised: all of it belongs to the one who asks, nothing to the thread.

    Attributes:
        result: what it returned.
        error: what it raised, None where it did not.
    """

    result: T

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        self.error = error
        return True

    def give_to(self, done: asyncio.Future[T]) -> None:
        if done.done():  # given up
            return
        if self.error is None:
            done.set_result(self.result)
        elif isinstance(self.error, Exception) and not isinstance(self.error, StopIteration):
            done.set_exception(self.error)
        else:  # those would end the loop, or cannot be passed on
            foreign = RuntimeError(f"{type(self.error).__name__} was raised")
            foreign.__cause__ = self.error
            done.set_exception(foreign)
