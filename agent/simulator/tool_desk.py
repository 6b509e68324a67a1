"""The tool calls of one session that wait for their results, and the rules for the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.simulator.strict import RuleError

if TYPE_CHECKING:
    from agent.simulator.records import ToolCounts

CANCELLED_GRACE_SECONDS = 1.0
"""A result that was under way when its call was cancelled is nobody's fault."""


class ToolDesk:
    """Hands out call ids and takes results.

    Attributes:
        blocking: Functions that were declared BLOCKING: the model waits for their results.
    """

    def __init__(
        self,
        counts: ToolCounts,
        made: set[tuple[str, bytes]],
        first_id: int = 1,
        blocking: frozenset[str] = frozenset(),
    ) -> None:
        """Open the desk.

        Args:
            counts: Filled in.
            made: Name and arguments of what the conversation has called, over all its sessions.
            first_id: The first call's number: ids are new in every session.
            blocking: Functions that were declared BLOCKING.
        """
        self.blocking = blocking
        self._counts = counts
        self._made = made
        self._next_id = first_id
        self._open: dict[str, str] = {}
        self._answered: set[str] = set()
        self._cancelled: dict[str, float] = {}

    def call(self, name: str, args: dict[str, Any]) -> str:
        """Open a call and return its id."""
        call_id = f"function-call-{self._next_id}"
        self._next_id += 1
        self._counts.issued += 1
        key = (name, msgspec.json.encode(args, order="deterministic"))
        if key in self._made:
            self._counts.reissued += 1
        self._made.add(key)
        self._open[call_id] = name
        return call_id

    def close(self) -> None:
        """The session is over: what is open stays unanswered."""
        self._counts.unanswered += len(self._open)
        self._open.clear()

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
        self._counts.cancelled += len(ids)
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
        if call_id in self._answered:
            self._counts.answered_twice += 1
            raise RuleError("tool_id_unknown", f"{call_id} was answered before")
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
            self._answered.add(call_id)
            self._counts.answered += 1
        return str(name)
