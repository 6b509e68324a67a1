"""Resumption handles: snapshots of conversations, and whether one may be taken up now.

A handle stands for its conversation as it was when the handle was issued: a session that resumes
from it knows nothing of what came later. It is good for 2 h after the conversation's last
connection ended (Google: Live API, Session management).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from agent.simulator.account import Memory, Thread
from agent.simulator.strict import RuleError

if TYPE_CHECKING:
    from random import Random

    from agent.simulator.brain import Brain

MOST_HANDLES = 10_000  # the oldest go stale
VALID_SECONDS = 7200.0


class Snapshot(NamedTuple):
    """A conversation at one moment.

    Attributes:
        brain: A copy of the model's mind.
        memory: What the caller had said, and the size of the context.
        session: Number of the session that it was in; 0: of none, it is a new conversation's.
    """

    thread: Thread
    brain: Brain
    memory: Memory = Memory()
    session: int = 0


class Handles:
    """All handles that one stand-in has issued."""

    def __init__(self) -> None:
        self._known: dict[str, Snapshot] = {}

    def issue(
        self, thread: Thread, brain: Brain, memory: Memory, session: int, dice: Random
    ) -> str:
        """Return a new handle for a conversation as it is now."""
        handle = f"{dice.getrandbits(128):032x}"
        if len(self._known) >= MOST_HANDLES:
            del self._known[next(iter(self._known))]
        self._known[handle] = Snapshot(thread, copy.copy(brain), memory, session)
        return handle

    def claim(self, handle: str, now: float) -> Snapshot:
        """Return the conversation to go on with; it may be claimed again.

        Raises:
            RuleError: the handle is stale, or its conversation still has a connection.
        """
        snapshot = self._known.get(handle)
        if snapshot is None:
            raise RuleError("handle_stale", f"no session has the handle {handle!r:.60}")
        thread = snapshot.thread
        if thread.live is not None:
            raise RuleError("handle_in_use", f"session {thread.live} is still connected")
        if now - thread.gone_at > VALID_SECONDS:
            raise RuleError("handle_stale", f"{now - thread.gone_at:.0f} s after its last session")
        return snapshot._replace(brain=copy.copy(snapshot.brain))
