"""A real PostgreSQL server of the tests' own, on a Unix socket in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = ("/usr/local/bin", "/usr/lib/postgresql/*/bin", "/opt/homebrew/bin")


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of the path."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    for pattern in WHERE:
        for folder in sorted(Path("/").glob(pattern[1:]), reverse=True):
            if (folder / "initdb").exists():
                return folder
    return None


class Postgres:
    """A server that forgets all when it is closed; `database()` makes a new one each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self._programs = programs()

    def start(self) -> None:
        assert self._programs is not None
        if os.geteuid() == 0:  # initdb: "cannot be run as root"
            owner = pwd.getpwnam("nobody")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        data = self._folder / "data"
        self._run("initdb", "-D", data, "-A", "trust", "-U", "pickup", "-E", "UTF8", "--no-sync")
        # No TCP port, so none can be taken; fsync off, since these data end with the tests.
        options = f"-c listen_addresses='' -k {self._folder} -c fsync=off -c max_connections=60"
        log = self._folder / "log"
        self._run("pg_ctl", "start", "-w", "-s", "-D", data, "-l", log, "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", self._folder / "data")

    def database(self, like: str = "template1") -> str:
        """The name of a new database, a copy of another that nobody is connected to."""
        self._made += 1
        name = f"test{self._made}"
        asyncio.run(self._execute(f"CREATE DATABASE {name} TEMPLATE {like}"))
        return name

    def url(self, name: str) -> str:
        return f"postgresql://pickup@/{name}?host={self._folder}"

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(
            host=str(self._folder), user="pickup", database="postgres"
        )
        await connection.execute(statement)
        await connection.close()

    def _run(self, program: str, *args: str | Path) -> None:
        assert self._programs is not None
        root = os.geteuid() == 0
        subprocess.run(
            [self._programs / program, *args],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            user="nobody" if root else None,
            extra_groups=[] if root else None,
        )


def running() -> Iterator[Postgres]:
    """A server for as long as it is wanted."""
    # Not pytest's folder: that one is for its owner only, and a Unix socket's path is short.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
