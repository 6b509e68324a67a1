"""A real PostgreSQL server of the tests' own, on a Unix socket in a temporary folder."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = ("/usr/local/bin", "/usr/lib/postgresql/*/bin", "/opt/homebrew/bin")


def programs() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them out of the path."""
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
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._programs is not None
        if os.geteuid() == 0:  # initdb: "cannot be run as root"
            owner = pwd.getpwnam("nobody")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        data = self._folder / "data"
        self._run("initdb", "-D", data, "-A", "trust", "-U", "pickup", "-E", "UTF8", "--no-sync")
        # No TCP port, so none can be taken; fsync off, since these data end with the tests.
        settings = ("listen_addresses=", "fsync=off", "max_connections=60")
        words = [word for each in settings for word in ("-c", each)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, "-k", self._folder, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_end_with_us,
                **self._as_nobody(),
            )
        for _ in range(600):
            if self._is_ready(data / "postmaster.pid"):
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError((self._folder / "log").read_text())

    @staticmethod
    def _is_ready(lock: Path) -> bool:
        """Whether it takes connections (PostgreSQL: the eighth line of postmaster.pid)."""
        lines = lock.read_text().splitlines() if lock.exists() else []
        return len(lines) >= 8 and lines[7].strip() == "ready"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            self._process.wait()

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
        subprocess.run(
            [self._programs / program, *args],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **self._as_nobody(),
        )

    @staticmethod
    def _as_nobody() -> dict[str, Any]:
        return {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}


def _end_with_us() -> None:
    """A test run that is killed leaves no server behind (Linux: prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


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
