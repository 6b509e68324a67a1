"""The stand-ins' own clock and task owner: they share neither with the program they judge."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Any, Self


def now() -> float:
    """Return the stand-ins' time: seconds, monotonic, of no particular origin."""
    return time.monotonic()


def wall() -> float:
    """Return seconds since 1970: for reports that are compared across processes."""
    return time.time()


async def sleep_until(deadline: float) -> None:
    """Sleep until `now()` has reached `deadline`; yields once where it already has.

    An absolute deadline does not add up the lateness of earlier sleeps.
    """
    await asyncio.sleep(max(0.0, deadline - now()))
    while (left := deadline - now()) > 0:  # noqa: ASYNC110  # millisecond timers wake early
        await asyncio.sleep(left)


class Owner:
    """Starts named tasks, closes them, and hands the first failure of one to whoever waits.

    A task that fails leaves its siblings running: `wait` and `close` raise what it raised, and
    `on_failure` (where given) is told at once. Used as a context, it closes on the way out.
    """

    def __init__(self, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._on_failure = on_failure

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run `work` as a task called `name` until it ends or this owner closes."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._tasks)

    async def wait(self) -> None:
        """Wait until every task has ended or one has failed; raises the first failure."""
        while self._tasks and self._failure is None:
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Cancel what still runs and wait for it; raises the first failure, if one failed."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            await asyncio.sleep(0)  # let the done callbacks run, so that a failure is known
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except BaseException as failure:
            if error is None or error is failure:
                raise
            raise failure from error

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if task.cancelled() or (failure := task.exception()) is None:
            return
        if self._failure is None:
            self._failure = failure
        if self._on_failure is not None:
            self._on_failure(failure)
