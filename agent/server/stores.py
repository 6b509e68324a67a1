"""What the server keeps beside the records of its calls, in the same database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from agent.storage.attempts import Attempts
from agent.storage.callbacks import Callback, Callbacks
from agent.storage.campaigns import Campaigns
from agent.storage.database import Database, RecordRefused
from agent.storage.do_not_call import DoNotCall, OptOut as Refused
from agent.storage.effects import Effects
from agent.storage.messages import Message, Messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.tools.base import CallInfo
    from agent.tools.schedule_callback import Promise
    from agent.tools.take_message import LeftMessage


@dataclass(frozen=True)
class Stores:
    """The stores of one database; each opens it when it is first needed."""

    database: Database
    effects: Effects
    messages: Messages
    callbacks: Callbacks
    attempts: Attempts
    campaigns: Campaigns
    do_not_call: DoNotCall

    @classmethod
    def at(cls, url: str) -> Self:
        """Raises UserError for a URL that cannot work."""
        database = Database(url)
        return cls(
            database=database,
            effects=Effects(database),
            messages=Messages(database),
            callbacks=Callbacks(database),
            attempts=Attempts(database),
            campaigns=Campaigns(database),
            do_not_call=DoNotCall(database),
        )

    async def close(self) -> None:
        await self.database.close()


class Desk:
    """Where a call's messages and promised callbacks go: the database.

    Args:
        stores: of it.
        wall: tells seconds since 1970-01-01 UTC.
    """

    def __init__(self, stores: Stores, wall: Callable[[], float]) -> None:
        self._stores = stores
        self._wall = wall

    async def take(self, info: CallInfo, message: LeftMessage) -> None:
        kept = Message(
            id=message.id,
            call=info.id,
            agent=info.agent,
            taken_at=self._wall(),
            text=message.text,
            from_number=message.number or None,
            name=message.name or None,
            urgent=message.urgent,
        )
        await self._stores.messages.take(kept)

    async def opt_out(self, info: CallInfo, why: str) -> bool:
        """See `OptOuts.opt_out`."""
        refused = Refused(
            number=info.caller, since=self._wall(), why=why, agent=info.agent, call=info.id
        )
        try:
            await self._stores.do_not_call.add(refused)
        except RecordRefused:
            return False  # withheld, or no number
        return True

    async def schedule(self, info: CallInfo, promise: Promise) -> None:
        kept = Callback(
            id=promise.id,
            call=info.id,
            agent=info.agent,
            made_at=self._wall(),
            number=promise.number,
            at=promise.at,
            note=promise.note,
        )
        await self._stores.callbacks.schedule(kept)
