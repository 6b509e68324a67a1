"""A call's model, whichever session it is just now: one after the other, never two at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from agent.errors import Fate, UserError
from agent.events import ModelEnded, ModelReady, OpenModel
from agent.server.setups import Setups

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.drive.tasks import Tasks
    from agent.events import ModelCommand, ModelEvent
    from agent.models.live import LiveSession

log = structlog.get_logger()

NO_CLOSE_FRAME = 1006
"""The peer said nothing at all (RFC 6455, section 7.4.1)."""


class Sessions:
    """The sessions of one call; has the shape of the call's `Model` port.

    The service refuses a second socket while the first one lives (1011), so the old one is closed before the new one is opened.
    What a session tells after it was replaced means nothing any more.

    Args:
        make: makes the session that an `OpenModel` asks for, told why the last setup was refused (empty: it was not).
        sink: takes the events of the session that there is.
        tasks: the call's.
        setups: what this call leaves out of its setups.
        watch: told when a session is ready or has ended, and (None) that one is opened in place of another.

    Attributes:
        last_sent: kinds and sizes of what was sent last, where that closed a session.
    """

    def __init__(
        self,
        make: Callable[[OpenModel, str, Callable[[ModelEvent], None]], LiveSession],
        sink: Callable[[ModelEvent], None],
        tasks: Tasks,
        setups: Setups | None = None,
        watch: Callable[[ModelReady | ModelEnded | None], None] = lambda _: None,
    ) -> None:
        self.last_sent: list[tuple[str, int]] = []
        self._setups = setups or Setups()
        self._watch = watch
        self._make = make
        self._sink = sink
        self._tasks = tasks
        self._current: LiveSession | None = None
        self._serial = 0
        self._switching = asyncio.Lock()
        self._refusal = ""

    def send(self, command: ModelCommand) -> None:
        """Carry out a command; never waits."""
        if isinstance(command, OpenModel):
            self._replace(command)
        elif self._current is not None:
            self._current.send(command)

    def figures(self) -> dict[str, Any]:
        """For the call's record: what its setups went without, and the last frames before a session that they closed."""
        return {"left_out": sorted(self._setups.left_out), "last_sent": self.last_sent}

    async def close(self) -> None:
        """Leave the session that there is."""
        self._serial += 1
        if self._current is not None:
            await self._current.close()

    def _replace(self, command: OpenModel) -> None:
        old = self._current
        if old is not None:
            self._watch(None)
        self._serial += 1
        serial = self._serial

        def sink(event: ModelEvent) -> None:
            if serial == self._serial:
                self._note(event)
                self._sink(event)

        try:
            new = self._make(command, self._refusal, sink)
        except UserError as error:
            log.error("the model's session cannot be set up", why=str(error))
            sink(ModelEnded(Fate.FATAL, None, str(error)))
            return
        self._current = new
        self._tasks.start("model switch", self._switch(old, new, serial))

    async def _switch(self, old: LiveSession | None, new: LiveSession, serial: int) -> None:
        async with self._switching:  # an earlier one may still be closing
            if old is not None:
                await old.close()
            if serial == self._serial:
                new.open()

    def _note(self, event: ModelEvent) -> None:
        if isinstance(event, ModelReady):
            self._refusal = ""
            self._setups.accepted()
            self._watch(event)
        elif isinstance(event, ModelEnded):
            self._refusal = event.reason if event.fate is Fate.STEP_DOWN else ""
            if event.fate is Fate.STEP_DOWN and event.code == NO_CLOSE_FRAME:
                self._setups.unanswered()
            self._watch(event)
            more = {"last_sent": event.last_sent} if event.last_sent else {}
            self.last_sent = event.last_sent or self.last_sent
            log.warning(
                "model session ended", fate=event.fate, code=event.code, why=event.reason, **more
            )
