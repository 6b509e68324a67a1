"""Resumption handles: which conversation each stands for, and whether it may be taken up now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulator.strict import RuleError

if TYPE_CHECKING:
    from random import Random

    from agent.simulator.brain import Brain

MOST_HANDLES = 10_000  # the oldest go stale


class Handles:
    """All handles that one stand-in has issued."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Brain]] = {}
        self._live: set[int] = set()

    def opened(self, session: int) -> None:
        self._live.add(session)

    def closed(self, session: int) -> None:
        self._live.discard(session)

    def issue(self, session: int, brain: Brain, dice: Random) -> str:
        """Return a new handle for a session's conversation."""
        handle = f"{dice.getrandbits(128):032x}"
        if len(self._known) >= MOST_HANDLES:
            del self._known[next(iter(self._known))]
        self._known[handle] = (session, brain)
        return handle

    def claim(self, handle: str) -> Brain:
        """Return the conversation to go on with.

        Raises:
            RuleError: the handle is stale, or its session still has a connection.
        """
        if handle not in self._known:
            raise RuleError("handle_stale", f"no session has the handle {handle!r:.60}")
        session, brain = self._known[handle]
        if session in self._live:
            raise RuleError("handle_in_use", f"session {session} is still connected")
        return brain
