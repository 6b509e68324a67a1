"""The tool calls of one session that wait for their results, and the rules for the answers."""

from __future__ import annotations

from typing import Any

from agent.simulator.strict import RuleError

CANCELLED_GRACE_SECONDS = 1.0
"""A result that was under way when its call was cancelled is nobody's fault."""


class ToolDesk:
    """Hands out call ids and takes results.

    Attributes:
        blocking: Functions that were declared BLOCKING: the model waits for their results.
    """

    def __init__(self, blocking: frozenset[str] = frozenset()) -> None:
        self.blocking = blocking
        self._open: dict[str, str] = {}
        self._cancelled: dict[str, float] = {}
        self._count = 0

    def call(self, name: str) -> str:
        """Open a call and return its id."""
        self._count += 1
        call_id = f"function-call-{self._count}"
        self._open[call_id] = name
        return call_id

    @property
    def holding(self) -> bool:
        """Whether a blocking call waits for its result."""
        return any(name in self.blocking for name in self._open.values())

    @property
    def waiting(self) -> bool:
        """Whether any call waits for its result."""
        return bool(self._open)

    def cancel(self, now: float) -> list[str]:
        """Cancel all open calls and return their ids."""
        ids = list(self._open)
        self._cancelled |= dict.fromkeys(ids, now)
        self._open.clear()
        return ids

    def take(self, result: dict[str, Any], now: float) -> str | None:
        """Take one result: the function's name, or None where the call was just cancelled.

        Raises:
            RuleError: the result has no id or name, answers no open call, or is no object.
        """
        call_id, name = result.get("id", ""), result.get("name", "")
        if not call_id:
            raise RuleError("tool_id_missing", f"a result for {name!r:.60} has no id")
        if call_id in self._cancelled:
            late = now - self._cancelled[call_id]
            if late > CANCELLED_GRACE_SECONDS:
                raise RuleError("tool_cancelled", f"{call_id} was cancelled {late:.1f} s before")
            return None
        if call_id not in self._open:
            raise RuleError("tool_id_unknown", f"{call_id!r:.60} is not an open call")
        if not name:
            raise RuleError("tool_name_missing", f"the result of {call_id} has no name")
        if name != self._open[call_id]:
            raise RuleError("tool_name_wrong", f"{call_id} called {self._open[call_id]}")
        if "response" not in result:
            raise RuleError("tool_response_object", f"the result of {call_id} has no response")
        if not result.get("willContinue", False):
            del self._open[call_id]
        return str(name)
