"""What a call's tools do to the world is done at most once, and what nobody knows is said to be unknown.

The intent is written before a tool begins, its result after. What was begun and has no result, because the process ended, the tool
hung or raised something unforeseen, may have been done: it is not begun again, and the model is told that nobody knows.

A tool that has begun is not stopped when the model cancels its call, nor when the caller hangs up: to stop in the middle is the
surest way not to know. Its answer is kept, and given when the model asks for the same thing again.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec

from agent.errors import OutcomeUnknown, StorageError, ToolFailed
from agent.tools.base import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.drive.tasks import Tasks
    from agent.tools.base import Declaration


INTENT_WITHIN = 3.0
"""Seconds for the intent to be written; without it nothing is done."""


class Done(msgspec.Struct, frozen=True):
    """It was done, and this was its answer."""

    response: dict[str, Any]


class Unknown(msgspec.Struct, frozen=True):
    """It was begun, and nobody knows how it ended."""


class Journal(Protocol):
    """Remembers what was begun and how it ended, longer than this process lives."""

    async def begin(self, call: str, key: str, tool: str) -> Done | Unknown | None:
        """Write the intent; None: it is new, and may be carried out.

        Raises:
            StorageError: it could not be written, so nothing may be done.
        """
        ...

    async def finish(self, call: str, key: str, response: dict[str, Any]) -> None:
        """Write the result.

        Raises:
            StorageError: it could not be written: the outcome stays unknown to others.
        """
        ...


class MemoryJournal:
    """A journal that ends with its process: for a call that only tries an agent out."""

    def __init__(self) -> None:
        self.begun: dict[str, dict[str, Any] | None] = {}

    async def begin(self, call: str, key: str, tool: str) -> Done | Unknown | None:
        if key in self.begun:
            response = self.begun[key]
            return Unknown() if response is None else Done(response)
        self.begun[key] = None
        return None

    async def finish(self, call: str, key: str, response: dict[str, Any]) -> None:
        self.begun[key] = response


@runtime_checkable
class Effectful(Protocol):
    """A tool that does something which must not be done twice; run by `carry_out` and never by `run`."""

    @property
    def declaration(self) -> Declaration: ...

    async def run(self, args: dict[str, Any]) -> Answer: ...

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        """Do it; `key` names it wherever it is told (HTTP: `Idempotency-Key`).

        Raises:
            ToolFailed: it was not done.
            OutcomeUnknown: it may have been done.
        """
        ...


class Effects:
    """What the tools of one call do.

    Args:
        call: our id of the call.
        journal: where it is written.
        tasks: own what has begun; they outlive the call.
        failed: told of a result that could not be written.

    Attributes:
        unknown: names of the tools that may have done something, one for each time.
    """

    def __init__(
        self,
        call: str,
        journal: Journal,
        tasks: Tasks,
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self.unknown: list[str] = []
        self._call = call
        self._journal = journal
        self._tasks = tasks
        self._failed = failed
        self._times: dict[str, int] = {}  # how often a wish came to an end that is known
        self._running: dict[str, asyncio.Task[Answer]] = {}
        self._unattended: set[str] = set()  # running, and nobody waits for it
        self._kept: dict[str, Answer | ToolFailed] = {}  # ended, and nobody was told

    async def once(self, tool: Effectful, args: dict[str, Any], deadline: float) -> Answer:
        """Have a tool do this, unless it does or did it already and the model was not told.

        Raises:
            ToolFailed: it was not done.
            OutcomeUnknown: it may have been done.
        """
        name = tool.declaration.name
        hashed = hashlib.sha256(msgspec.json.encode(args, order="deterministic")).hexdigest()
        wish = f"{name} {hashed}"
        if (kept := self._kept.pop(wish, None)) is not None:
            if isinstance(kept, ToolFailed):
                raise kept
            return kept
        task = self._running.get(wish)
        if task is None:
            work = self._carry_out(tool, args, wish, deadline)
            task = self._running[wish] = self._tasks.start_read(f"effect {name}", work)
            task.add_done_callback(partial(self._ended, wish))
        self._unattended.discard(wish)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self._unattended.add(wish)
            raise

    async def _carry_out(
        self, tool: Effectful, args: dict[str, Any], wish: str, deadline: float
    ) -> Answer:
        name = tool.declaration.name
        times = self._times.get(wish, 0)
        key = hashlib.sha256(f"{self._call} {wish} {times}".encode()).hexdigest()[:32]
        try:
            async with asyncio.timeout(INTENT_WITHIN):
                past = await self._journal.begin(self._call, key, name)
        except (StorageError, TimeoutError) as error:
            said = f"{name} cannot be done just now, and nothing was done."
            raise ToolFailed(said) from error
        match past:
            case Done(response=response):
                return Answer(response)
            case Unknown():
                raise OutcomeUnknown(unknown(name, "was begun before"))
            case None:
                pass
        work = self._tasks.start_read(f"tool {name}", tool.carry_out(args, key))
        try:
            await asyncio.wait([work], timeout=deadline)
        finally:
            late = work.cancel()
        if late:
            raise OutcomeUnknown(unknown(name, "took too long"))
        return self._outcome(name, key, work)

    def _outcome(self, name: str, key: str, work: asyncio.Task[Answer]) -> Answer:
        """How it ended, which is written down beside: the model need not wait for the disk a second time."""
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        match error:
            case None:
                answer = work.result()
                self._write(name, key, answer.response)
                return answer
            case OutcomeUnknown():
                raise error
            case ToolFailed():
                self._write(name, key, {"error": str(error)})
                raise error
            case _:
                raise OutcomeUnknown(unknown(name, "failed half-way")) from error

    def _write(self, name: str, key: str, response: dict[str, Any]) -> None:
        self._tasks.start(f"result {name}", self._finish(name, key, response))

    async def _finish(self, name: str, key: str, response: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(INTENT_WITHIN):
                await self._journal.finish(self._call, key, response)
        except (StorageError, TimeoutError) as error:
            self._failed(name, error)

    def _ended(self, wish: str, task: asyncio.Task[Answer]) -> None:
        del self._running[wish]
        error = None if task.cancelled() else task.exception()
        known = not task.cancelled() and not isinstance(error, OutcomeUnknown)
        if known:
            self._times[wish] = self._times.get(wish, 0) + 1
        else:
            self.unknown.append(wish.partition(" ")[0])
        if wish in self._unattended:
            self._unattended.discard(wish)
            if known and error is None:
                self._kept[wish] = task.result()
            elif known and isinstance(error, ToolFailed):
                self._kept[wish] = error


def unknown(name: str, why: str) -> str:
    """What the model is told of something that may have been done."""
    return (
        f"{name} {why}: it is not known whether it was done. Do not try it again. Tell the caller that this is not "
        "certain and has to be looked into."
    )
