"""Runs a call's tools beside its conversation: each call of a tool is answered exactly once, unless it is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from agent.errors import ToolFailed
from agent.events import CancelTool, StartTool, ToolFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.drive.tasks import Tasks
    from agent.events import ToolCommand
    from agent.tools.base import Tool

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
        self._running: dict[str, asyncio.Task[ToolFinished]] = {}

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
        if command.id in self._running:
            return
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            self._error(command, f"There is no tool named {command.name}. There are: {known}.")
        elif len(self._running) >= AT_ONCE:
            self._error(command, "Too many tools are running. Try again in a moment.")
        else:
            task = self._tasks.start_read(f"tool {command.name}", _run(tool, command))
            self._running[command.id] = task
            task.add_done_callback(partial(self._ended, command))

    def _ended(self, command: StartTool, task: asyncio.Task[ToolFinished]) -> None:
        error = task.exception() if not task.cancelled() else asyncio.CancelledError()
        if self._running.get(command.id) is not task:
            return  # the call was cancelled
        del self._running[command.id]
        match error:
            case None:
                self._sink(task.result())
            case ToolFailed():
                self._error(command, str(error))
            case TimeoutError():
                self._error(command, f"{command.name} took too long and was given up.")
            case _:
                self._failed(command.name, error)
                self._error(command, f"{command.name} failed.")

    def _error(self, command: StartTool, message: str) -> None:
        self._sink(ToolFinished(command.id, command.name, {"error": message}))


async def _run(tool: Tool, command: StartTool) -> ToolFinished:
    """The tool's answer as plain data; what is none of that is the tool's fault, and fails in here."""
    async with asyncio.timeout(DEADLINE):
        answer = await tool.run(command.args)
    response = msgspec.to_builtins(answer.response)
    return ToolFinished(command.id, command.name, response, answer.effect)
