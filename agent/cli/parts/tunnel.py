"""A tunnel that makes a port of this machine reachable for Twilio: Cloudflare's or ngrok's own program, as a child process."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STARTS_WITHIN = 40.0
"""Seconds until the tunnel must be up."""

ENDS_WITHIN = 5.0
"""Seconds between SIGTERM and SIGKILL."""

STEP = 0.1
"""Seconds between looks at a tunnel that is starting."""

KEPT_LINES = 200
"""The last lines that the program printed; older ones are dropped."""

INSTALL = (
    "no tunnel: set PUBLIC_URL to an https origin that reaches this machine, or install cloudflared "
    "(https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/downloads/) "
    "or ngrok (https://ngrok.com/download)"
)


class Watch(Protocol):
    """Reads what a program prints."""

    def feed(self, line: str) -> str | None:
        """Take the next line; the tunnel's URL once calls can come through it."""
        ...


class CloudflaredWatch:
    """Reads `cloudflared tunnel --url`.

    The URL is printed a second before the tunnel is connected, and its name is published only then: whoever asks for it
    earlier is told, and remembers, that there is no such name. So nobody is told the URL before the connection is registered.
    """

    URL = re.compile(r"https://(?!api\.)[a-z0-9-]+\.trycloudflare\.com\b")
    CONNECTED = re.compile(r"Registered tunnel connection|Connection [0-9a-f-]{36} registered")

    def __init__(self) -> None:
        self._url: str | None = None

    def feed(self, line: str) -> str | None:
        if self._url is None and (found := self.URL.search(line)):
            self._url = found[0]
        return self._url if self.CONNECTED.search(line) else None


class NgrokWatch:
    """Reads `ngrok http --log=stdout --log-format=logfmt` (ngrok: Agent CLI, `--log`)."""

    URL = re.compile(r"\burl=\"?(https://[^\s\"]+)")

    def feed(self, line: str) -> str | None:
        found = self.URL.search(line) if "started tunnel" in line else None
        return found[1].rstrip("/") if found else None


class Program(NamedTuple):
    """A program that makes tunnels."""

    name: str
    words: tuple[str, ...]
    watch: Callable[[], Watch]


PROGRAMS = (
    Program(
        "cloudflared",
        ("tunnel", "--no-autoupdate", "--url", "http://127.0.0.1:{port}"),
        CloudflaredWatch,
    ),
    Program(
        "ngrok", ("http", "127.0.0.1:{port}", "--log=stdout", "--log-format=logfmt"), NgrokWatch
    ),
)


class Tunnel:
    """A running tunnel.

    Args:
        path: the program's file.
        program: what it is.
        port: where on this machine it shall lead.
        environ: its environment; it gets none of our secrets.
    """

    def __init__(self, path: str, program: Program, port: int, environ: Mapping[str, str]) -> None:
        self.name = program.name
        self.url = ""
        self._watch = program.watch()
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._up = threading.Event()
        try:
            self._process = subprocess.Popen(
                [path, *(word.format(port=port) for word in program.words)],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C is for us: the tunnel ends after the number is put back
            )
        except OSError as error:
            raise UserError(f"{path} cannot be started: {error.strerror}") from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, stopping: Callable[[], bool]) -> None:
        """Wait until calls can come through, or until `stopping`.

        Raises:
            UserError: it has ended, or is not up in time.
        """
        for _ in range(round(STARTS_WITHIN / STEP)):
            if self._up.wait(STEP) or stopping():
                return
            if not self.running:
                self._reader.join(ENDS_WITHIN)
                status = self._process.returncode
                raise UserError(f"{self.name} ended with status {status}: {self._complaint()}")
        raise UserError(
            f"{self.name} made no tunnel within {STARTS_WITHIN:.0f} s: {self._complaint()}"
        )

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(ENDS_WITHIN)

    def _read(self) -> None:
        """Read for as long as it prints: a program whose pipe is full stands still."""
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                self._said.append(line.strip())
                if not self.url and (url := self._watch.feed(line)):
                    self.url = url
                    self._up.set()

    def _complaint(self) -> str:
        """The last line that names an error, or the last line."""
        lines = [line for line in self._said if line]
        telling = [line for line in lines if re.search(r"\bERR|(?i:error|fail)", line)]
        return (telling or lines or ["it said nothing"])[-1][:300]


def find(search_path: str | None = None) -> tuple[str, Program]:
    """The first program that is installed, and its file.

    Args:
        search_path: folders to look in, as in PATH; None: the environment's.

    Raises:
        UserError: none is.
    """
    for program in PROGRAMS:
        if path := shutil.which(program.name, path=search_path):
            return path, program
    raise UserError(INSTALL)
