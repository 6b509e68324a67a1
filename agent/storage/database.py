"""One database for all that outlives a call: SQLite, or PostgreSQL by another `DATABASE_URL`.

It is connected to, and its tables are brought up to date, by the first operation that needs it, so that a process starts also
while the database is down. The driver's errors leave here as StorageError.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from agent.errors import StorageError
from agent.storage.migrate import make_engine, migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


S = TypeVar("S", bound=msgspec.Struct)


class RecordRefused(StorageError):
    """The database answered and will never take this: trying again is no use."""

    retry = False


@contextmanager
def translated() -> Iterator[None]:
    """Make StorageError of what SQLAlchemy and its drivers raise; their text may quote data, so it is left out."""
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        raise RecordRefused(f"database: {type(error).__name__}") from error
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise StorageError(f"database: {type(error).__name__}") from error


def struct(kind: type[S], row: sa.Row[Any]) -> S:
    """The struct whose fields are named like the row's columns; enumerations come back as such."""
    return msgspec.convert({name: row._mapping[name] for name in kind.__struct_fields__}, kind)


class Transaction:
    """Several statements that happen together or not at all."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def write(self, statement: Any) -> int:
        """Rows that changed."""
        result = await self._connection.execute(statement)
        return result.rowcount

    async def rows(self, query: Any) -> list[Any]:
        return list(await self._connection.execute(query))

    async def alone(self, key: int) -> None:
        """Until the end of this transaction no other one gets past here with the same key.

        SQLite has one writer at a time in any case; PostgreSQL: "Explicit Locking", section "Advisory Locks".
        """
        if self._connection.dialect.name == "postgresql":
            await self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


class Database:
    """The statements of the stores that share it.

    Raises UserError for a URL that cannot work, and every operation StorageError.
    """

    def __init__(self, url: str) -> None:
        self.engine: AsyncEngine = make_engine(url)
        self._ready = False
        self._opening = asyncio.Lock()

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect at once. Raises StorageError where the database is down, UserError for one that cannot be used."""
        database = cls(url)
        try:
            await database.ready()
        except BaseException:
            await database.close()
            raise
        return database

    async def ready(self) -> None:
        """Bring the tables up to date, once."""
        if self._ready:
            return
        async with self._opening:
            if not self._ready:
                with translated():
                    await migrate(self.engine)
                self._ready = True

    async def close(self) -> None:
        await self.engine.dispose()

    def insert(self, table: sa.Table) -> Any:
        """An INSERT that knows ON CONFLICT, which both engines write alike."""
        of_engine: Any = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        return of_engine.insert(table)

    async def write(self, statement: Any) -> int:
        """One statement, a transaction of its own; the rows that changed."""
        await self.ready()
        with translated():
            async with self.engine.connect() as connection:
                result = await connection.execute(statement)
                return result.rowcount

    async def rows(self, query: Any) -> list[Any]:
        await self.ready()
        with translated():
            async with self.engine.connect() as connection:
                return list(await connection.execute(query))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """What happens inside happens together; an error or a cancellation undoes it."""
        await self.ready()
        with translated():
            async with self.engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execution_options(isolation_level="READ COMMITTED")
                    async with connection.begin():
                        yield Transaction(connection)
                    return
                # The lock is taken before the first read: two that read and then write would refuse each other
                # (SQLite: "Transaction", section 2.1).
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    yield Transaction(connection)
                except BaseException:
                    # A connection that was cancelled in the middle of a statement is gone, and its transaction with it. What
                    # happened must not become an error of the database: a cancellation would be lost.
                    with suppress(sa.exc.SQLAlchemyError):
                        await connection.exec_driver_sql("ROLLBACK")
                    raise
                await connection.exec_driver_sql("COMMIT")
