"""Runs a call's tools beside its conversation: each call of a tool is answered exactly once, unless it is cancelled.

What a model sends is held against the tool's schema first: a tool never sees arguments that it did not declare. Every answer is
an object of plain JSON, at most 64 kB; what went wrong is a sentence under `error` that the model can act on.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from agent.errors import ToolFailed
from agent.events import CancelTool, StartTool, ToolFinished
from agent.tools.answers import presentable
from agent.tools.arguments import fit
from agent.tools.effects import Effectful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.drive.tasks import Tasks
    from agent.events import ToolCommand
    from agent.tools.base import Tool
    from agent.tools.effects import Effects

DEADLINE = 10.0
"""Seconds that a tool may take where neither it nor the agent's file says."""

LONGEST_ERROR = 2_000
"""Characters of a failure's words; a sentence is enough."""

AT_ONCE = 16
"""Tools of one call that may run at once; one more is refused with an error that the model can say."""


class Toolbox:
    """The tools of one call.

    Args:
        tools: what there is.
        sink: takes each `ToolFinished`.
        tasks: the call's tasks; each running tool is one of them.
        failed: told of a tool that raised something unforeseen, for the log.
        effects: carries out what must not be done twice.
        deadline: seconds that a tool may take which does not say.
    """

    def __init__(
        self,
        tools: Iterable[Tool],
        sink: Callable[[ToolFinished], None],
        tasks: Tasks,
        failed: Callable[[str, BaseException], None],
        effects: Effects,
        *,
        deadline: float = DEADLINE,
    ) -> None:
        self._tools = {tool.declaration.name: tool for tool in tools}
        self._sink = sink
        self._tasks = tasks
        self._failed = failed
        self._effects = effects
        self._deadline = deadline
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
            task = self._tasks.start_read(f"tool {command.name}", self._run(tool, command))
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
                if error.__cause__ is not None:
                    self._failed(command.name, error.__cause__)
                self._error(command, str(error))
            case TimeoutError():
                self._error(command, f"{command.name} took too long and was given up.")
            case _:
                self._failed(command.name, error)
                self._error(command, f"{command.name} failed.")

    async def _run(self, tool: Tool, command: StartTool) -> ToolFinished:
        """The tool's answer as plain data; what is none of that is the tool's fault, and fails in here."""
        declared = tool.declaration
        args, complaints = fit(declared.parameters, command.args)
        if complaints:
            wrong = "; ".join(complaints)
            raise ToolFailed(
                f"{declared.name} was not called right, and nothing was done: {wrong}."
            )
        deadline = declared.deadline or self._deadline
        if isinstance(tool, Effectful):
            answer = await self._effects.once(tool, args, deadline)
        else:
            async with asyncio.timeout(deadline):
                answer = await tool.run(args)
        response = presentable(declared.name, answer.response)
        return ToolFinished(command.id, command.name, response, answer.effect)

    def _error(self, command: StartTool, message: str) -> None:
        self._sink(ToolFinished(command.id, command.name, {"error": message[:LONGEST_ERROR]}))
