"""Runs a call's tools beside its conversation: each call of a tool is answered exactly once, unless it is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.errors import ToolFailed
from agent.events import CancelTool, StartTool, ToolFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.drive.tasks import Tasks
    from agent.events import ToolCommand
    from agent.tools.base import Answer, Tool

DEADLINE = 10.0
"""Seconds that a tool may take; the model waits in silence meanwhile."""

AT_ONCE = 16
"""Tools of one call that may run at once; one more is refused with an error that the model can say."""


class Toolbox:
    """The tools of one call.

    Args:
        tools: what there is.
        sink: takes each `ToolFinished`.
        tasks: the call's tasks; each running tool is one of them.
        failed: told of a tool that raised something unforeseen, for the log.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        sink: Callable[[ToolFinished], None],
        tasks: Tasks,
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._tools = {tool.declaration.name: tool for tool in tools}
        self._sink = sink
        self._tasks = tasks
        self._failed = failed
        self._running: dict[str, asyncio.Task[Answer]] = {}

    def send(self, command: ToolCommand) -> None:
        """Start or cancel; never waits."""
        match command:
            case StartTool():
                self._start(command)
            case CancelTool(id=call):
                if (task := self._running.pop(call, None)) is not None:
                    task.cancel()

    def _start(self, command: StartTool) -> None:
        tool = self._tools.get(command.name)
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            self._error(command, f"There is no tool named {command.name}. There are: {known}.")
        elif len(self._running) >= AT_ONCE:
            self._error(command, "Too many tools are running. Try again in a moment.")
        elif command.id not in self._running:
            task = self._tasks.start_read(f"tool {command.name}", self._run(tool, command.args))
            self._running[command.id] = task
            task.add_done_callback(partial(self._ended, command))

    async def _run(self, tool: Tool, args: dict[str, Any]) -> Answer:
        async with asyncio.timeout(DEADLINE):
            return await tool.run(args)

    def _ended(self, command: StartTool, task: asyncio.Task[Answer]) -> None:
        if self._running.get(command.id) is not task:
            if not task.cancelled():
                task.exception()  # read, so that nobody warns of it: the call was cancelled
            return
        del self._running[command.id]
        if task.cancelled():
            return
        match task.exception():
            case None:
                answer = task.result()
                self._sink(ToolFinished(command.id, command.name, answer.response, answer.effect))
            case ToolFailed() as error:
                self._error(command, str(error))
            case TimeoutError():
                self._error(command, f"{command.name} took too long and was given up.")
            case error:
                self._failed(command.name, error)
                self._error(command, f"{command.name} failed.")

    def _error(self, command: StartTool, message: str) -> None:
        self._sink(ToolFinished(command.id, command.name, {"error": message}))
