"""Whose turn it is in a call that is held in writing, and what the agent has answered. Pure: told each step of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent import events as e

if TYPE_CHECKING:
    from collections.abc import Iterable

SETTLED = 0.3
"""Seconds after the model's turn in which it may begin another one of its own accord."""

AFTER_TOOL = 3.0
"""Seconds that a model may take to say something about a tool's result."""


class ToolUse(msgspec.Struct):
    """A tool that the model called in this call.

    Attributes:
        response: what the model was answered, as the call's record has it; None: nothing yet, or it was cancelled.
        seconds: from the call to the answer.
    """

    id: str
    name: str
    args: dict[str, Any]
    at: float
    response: dict[str, Any] | None = None
    seconds: float | None = None


class Floor:
    """Listens to the agent since the caller's last words. Times are the call's.

    Attributes:
        said: the agent's words, as the model transcribes them.
        tools: what it called.
        transferred: targets that the caller was put through to, in the whole call.
        stale: whether what the agent says still belongs to the turn that the caller broke into.
    """

    def __init__(self) -> None:
        self.said = ""
        self.tools: list[ToolUse] = []
        self.transferred: list[str] = []
        self.stale = False
        self._open: dict[str, ToolUse] = {}
        self._speaks = False
        self._spoke = False
        self._settled_at: float | None = None

    def begin(self) -> None:
        """The caller says something: what the agent says from now on answers that, once the turn that runs is over."""
        self.said, self.tools = "", []
        self.stale = self._speaks
        self._spoke, self._settled_at = False, None

    def saw(self, t: float, event: e.AnyEvent | None, commands: Iterable[e.AnyCommand]) -> None:
        """A step of the call."""
        match event:
            case e.AgentSaid(text=text) if not self.stale:
                self.said += text
            case e.ModelAudio() if not self.stale:
                self._speaks = self._spoke = True
                self._settled_at = None
            case e.TurnComplete() | e.ModelEnded():
                self.stale = self._speaks = False
                self.said = f"{self.said.strip()} ".lstrip()
                self._settle(t + SETTLED)
            case e.ToolCalled(id=id, name=name, args=args) if id not in self._open:
                use = self._open[id] = ToolUse(id, name, args, t)
                self.tools.append(use)
            case e.ToolsCancelled(ids=ids):
                for each in ids:
                    self._open.pop(each, None)
                self._settle(t + SETTLED)
            case _:
                pass
        for command in commands:
            if isinstance(command, e.SendToolResult):
                self._answered(command, t)
            elif isinstance(command, e.PutThrough):
                self.transferred.append(command.target)

    def open_at(self) -> float | None:
        """From when on the caller may speak, once the line is quiet; None: the agent has not finished, or not begun."""
        return None if self._open else self._settled_at

    @property
    def collects(self) -> bool:
        """Whether the agent waits for keys."""
        return any(use.name == "collect_digits" for use in self._open.values())

    def _answered(self, result: e.SendToolResult, t: float) -> None:
        use = self._open.pop(result.id, None)
        if use is not None:
            use.response, use.seconds = result.response, round(t - use.at, 3)
            self._settle(t + AFTER_TOOL)

    def _settle(self, at: float) -> None:
        if self._spoke:
            self._settled_at = max(at, self._settled_at or 0.0)
