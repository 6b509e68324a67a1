"""Which tools run for the model, so that each call is answered exactly once, also by a session that did not make it.

A session that goes on from a snapshot has forgotten the calls it made after it, and makes them again with new ids. The same name
with the same arguments is the same wish then: it gets the first one's answer, and the tool does not run twice. A model that grows
impatient asks again in the same session: it is told that the first call is still running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.events import CancelTool, SendToolResult, StartTool

if TYPE_CHECKING:
    from agent.events import AnyCommand, ToolCalled, ToolFinished


STILL_RUNNING = {
    "status": "still running",
    "message": "The same call is still running. Its answer comes by itself: wait, and do not call again.",
}
"""What a call is answered with that repeats one which runs."""


class Wish(NamedTuple):
    """A tool call without its id: its name and canonical arguments."""

    name: str
    args: bytes


class _Done(NamedTuple):
    """An answer that was given, and whether a record must not have it."""

    response: dict[str, Any]
    secret: bool


class ToolCalls:
    """The tool calls of one call.

    Attributes:
        answered: calls that were answered.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._running: dict[str, Wish] = {}  # by the id that the tool was started with
        self._answer_to: dict[str, str] = {}  # that id -> the id the present session knows it by
        self._orphans: set[str] = (
            set()
        )  # started for a session that is gone, and not asked for again
        self._done: dict[Wish, _Done] = {}  # answered since the last snapshot
        self._repeats = False  # whether the present session may ask again for what is done
        self._told: set[str] = set()  # ids of the present session that were answered or cancelled

    def __len__(self) -> int:
        return len(self._running)

    def called(self, event: ToolCalled) -> list[AnyCommand]:
        """The model wants a tool."""
        if event.id and (event.id in self._told or event.id in self._asked()):
            return []  # told twice
        wish = Wish(event.name, msgspec.json.encode(event.args, order="sorted"))
        if self._repeats and wish in self._done:
            return [self._answer(event.id, event.name, *self._done[wish])]
        for orphan in sorted(self._orphans):
            if self._running[orphan] == wish:
                self._orphans.discard(orphan)
                self._answer_to[orphan] = event.id
                return []
        if wish in self._running.values():
            answer = self._answer(event.id, event.name, STILL_RUNNING)
            return [msgspec.structs.replace(answer, silent=True)]
        started = event.id
        while started in self._running:  # an id of a session that is gone, or none
            started += "+"
        self._running[started] = wish
        self._answer_to[started] = event.id
        return [StartTool(started, event.name, event.args)]

    def cancelled(self, ids: list[str]) -> list[AnyCommand]:
        """The model wants no answer to these; unknown ids are nobody's."""
        known = self._asked()
        stopped: list[AnyCommand] = []
        self._told.update(filter(None, ids))
        for started in (known[each] for each in dict.fromkeys(ids) if each in known):
            self._forget(started)
            stopped.append(CancelTool(started))
        return stopped

    def runs(self, started: str) -> bool:
        """Whether an answer of this call is still wanted."""
        return started in self._running

    def finished(
        self, event: ToolFinished, *, secret: bool = False
    ) -> tuple[bool, list[AnyCommand]]:
        """A tool has an answer; says whether it still counts, and what the model is sent."""
        wish = self._running.get(event.id)
        if wish is None:
            return False, []
        asked_by, orphaned = self._answer_to[event.id], event.id in self._orphans
        self._forget(event.id)
        self._done[wish] = _Done(event.response, secret)
        if orphaned:
            return True, []  # nobody to tell; told when it is asked for again
        return True, [self._answer(asked_by, event.name, event.response, secret)]

    def session_gone(self) -> None:
        """The session that asked is gone; its tools run on, since what they do is done once."""
        self._orphans |= self._running.keys()
        self._repeats = True
        self._told.clear()  # another session's ids are its own

    def snapshot(self) -> None:
        """The model remembers all answers up to here."""
        self._done.clear()
        self._repeats = False

    def stop(self) -> list[AnyCommand]:
        """The call is over."""
        stopped: list[AnyCommand] = [CancelTool(started) for started in sorted(self._running)]
        self._running.clear()
        self._answer_to.clear()
        self._orphans.clear()
        return stopped

    def _asked(self) -> dict[str, str]:
        """The calls of the present session that run: what it knows each by, and what each was started with."""
        return {
            asked_by: started
            for started, asked_by in self._answer_to.items()
            if asked_by and started not in self._orphans
        }

    def _answer(
        self, asked_by: str, name: str, response: dict[str, Any], secret: bool = False
    ) -> SendToolResult:
        self.answered += 1
        if asked_by:  # some services give no ids
            self._told.add(asked_by)
        return SendToolResult(asked_by, name, response, secret)

    def _forget(self, started: str) -> None:
        del self._running[started]
        del self._answer_to[started]
        self._orphans.discard(started)
