"""Tasks that have an owner: the only place of the running system that calls `asyncio.create_task`.

A child's exception goes to its owner and never to its siblings: foreign code (a user's tool, a library that raises anything)
runs as a task whose exception is read here, which is why no catch-all `except` is needed anywhere.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Tasks:
    """Starts, names, awaits and closes the tasks of one owner.

    Args:
        name: the owner's name; children are `name/child`, which is what a debugger and the logs show.
        failed: told of each child that raised, with the child's name; by default the exception is kept in `failures`.
    """

    def __init__(
        self, name: str, failed: Callable[[str, BaseException], None] | None = None
    ) -> None:
        self.name = name
        self.failures: list[tuple[str, BaseException]] = []
        self._failed = failed or (lambda child, error: self.failures.append((child, error)))
        self._children: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._children)

    def start(self, child: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` beside its siblings."""
        task = asyncio.create_task(work, name=f"{self.name}/{child}")
        self._children.add(task)
        task.add_done_callback(self._ended)
        return task

    def start_read(self, child: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` whose outcome its starter reads from the task; the owner only sees to its end."""
        task = asyncio.create_task(work, name=f"{self.name}/{child}")
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    async def close(self, *, grace: float = 0.0) -> None:
        """Wait `grace` seconds for the children to end, cancel the rest, and wait until all are gone."""
        if grace > 0 and (children := self._others()):
            await asyncio.wait(children, timeout=grace)
        while children := self._others():  # one that leaves may start another
            for task in children:
                task.cancel()
            await asyncio.wait(children)

    def _others(self) -> set[asyncio.Task[Any]]:
        """The children, without the one that asks."""
        return self._children - {asyncio.current_task()}

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._children.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failed(task.get_name().removeprefix(f"{self.name}/"), error)
