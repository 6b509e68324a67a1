"""Messages that callers left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from agent.storage.database import struct
from agent.storage.tables import messages

if TYPE_CHECKING:
    from agent.storage.database import Database


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message.

    Attributes:
        id: the same for the same message of the same call, so that it is stored once.
        taken_at: seconds since 1970-01-01 UTC.
        from_number: whom to answer, None where nobody knows.
        name: who left it, as the caller gave it.
    """

    id: str
    call: str
    agent: str
    taken_at: float
    text: str
    from_number: str | None = None
    name: str | None = None
    urgent: bool = False


class Messages:
    """The messages in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, message: Message) -> bool:
        """Store a message; False where it is there already."""
        row = msgspec.structs.asdict(message)
        insert = self._database.insert(messages).values(row).on_conflict_do_nothing()
        return await self._database.write(insert) == 1

    async def recent(self, limit: int = 50, call: str | None = None) -> list[Message]:
        """The newest first; of one call where one is named."""
        query = sa.select(messages).order_by(messages.c.taken_at.desc(), messages.c.id).limit(limit)
        if call is not None:
            query = query.where(messages.c.call == call)
        return [struct(Message, row) for row in await self._database.rows(query)]
