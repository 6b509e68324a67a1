"""Opens a database and brings its tables up to date; any number of processes may do so at once.

A database of our own making (SQLite) is a file with phone numbers in it: mode 0600 in a folder of mode 0700.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from agent.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0003"
"""The newest migration: a database that has it is opened without Alembic, a heavy import."""
ADVISORY_LOCK = 0x7069636B7570
"""Key of the lock that PostgreSQL holds while one process migrates ("pickup" in ASCII)."""
BUSY_MS = 5000
"""How long SQLite waits for another writer before it gives up, and PostgreSQL for a connection."""
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
}


class _Closing(sqlite3.Connection):
    """Closed also where a cancellation came while it was being opened: aiosqlite lets go of it then, still open.

    Its last holder may be another thread than the one that made it, hence `check_same_thread` is off; aiosqlite itself
    uses a connection in one thread only.
    """

    def __del__(self) -> None:
        with suppress(sqlite3.ProgrammingError):  # it was never opened
            self.close()


def make_engine(url: str) -> AsyncEngine:
    """An engine whose every statement is a transaction of its own: no operation of ours needs two.

    Raises UserError for a URL that is none, or whose driver is not there.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.drivername.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
            raise sa.exc.ArgumentError("no file")
        parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
        parsed, options = _dialled(parsed)
        engine = create_async_engine(
            parsed,
            isolation_level="AUTOCOMMIT",
            pool_size=3,
            max_overflow=2,
            pool_timeout=5,
            connect_args=options,
        )
    except ModuleNotFoundError as error:
        raise UserError(
            f"the database of DATABASE_URL needs {error.name}: pip install 'pickup[postgres]'"
        ) from error
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UserError(
            "DATABASE_URL should be like sqlite:///data/pickup.db or postgresql://host/name"
            f" ({type(error).__name__})"
        ) from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine


def _dialled(url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
    """The URL and what its driver is told: asyncpg gives up in time, and calls `ssl` what libpq calls `sslmode`."""
    if url.drivername == DRIVERS["sqlite"]:
        return url, {"factory": _Closing, "check_same_thread": False}
    if url.drivername != DRIVERS["postgresql"]:
        return url, {}
    options: dict[str, Any] = {"timeout": BUSY_MS / 1000, "command_timeout": 2 * BUSY_MS / 1000}
    if "sslmode" in url.query:
        options["ssl"] = url.query["sslmode"]
    return url.difference_update_query(["sslmode"]), options


async def migrate(engine: AsyncEngine) -> None:
    """Bring the tables up to date. Raises what the driver raises, and UserError for tables newer than this code."""
    if engine.dialect.name == "sqlite":
        await asyncio.to_thread(_make_private, engine.url.database or "")
    async with engine.connect() as connection:
        if await _version(connection) == HEAD:
            return
        await _lock(connection)
        try:
            await connection.run_sync(_upgrade)
        except BaseException:
            await _unlock(connection, commit=False)
            raise
        await _unlock(connection, commit=True)


async def _version(connection: AsyncConnection) -> str | None:
    """What Alembic noted, None for a database without tables."""
    try:
        noted = await connection.exec_driver_sql("SELECT version_num FROM alembic_version")
    except (sa.exc.OperationalError, sa.exc.ProgrammingError):
        return None
    return noted.scalar()


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name != "sqlite":
        await connection.exec_driver_sql("BEGIN")
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        return
    # Two processes that make a new file at once: the change to WAL does not wait for the other's lock
    # (SQLite: "Write-Ahead Logging", section 2.2), so it is tried again; it is done once in a file's life.
    for attempt in range(100):
        try:
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            break
        except sa.exc.OperationalError:
            if attempt == 99:
                raise
            await asyncio.sleep(0.05)
    await connection.exec_driver_sql("BEGIN IMMEDIATE")


async def _unlock(connection: AsyncConnection, *, commit: bool) -> None:
    await connection.exec_driver_sql("COMMIT" if commit else "ROLLBACK")


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise UserError(
            "DATABASE_URL: the database was made by a newer version of Pickup; update this one"
        ) from error


def _make_private(database: str) -> None:
    """Make an SQLite file that only its owner reads; its journals get the same mode (SQLite does that).

    A file that is there is not touched: to close it would take every lock of this process's other connections, and whoever
    looks at the database next would throw their log away (SQLite: "How To Corrupt An SQLite Database File", section 2.2).
    """
    path = Path(database)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    # FULL: what was acknowledged survives a loss of power, not only of the process (SQLite: PRAGMA synchronous).
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
