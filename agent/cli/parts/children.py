"""Child processes that say where they listen: `{"listening": "http://127.0.0.1:NNNN"}` is the first line they print.

Where calls by SIP come in stands beside it (`"sip": "127.0.0.1:NNNN"`), where they do.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

STARTS_WITHIN = 30.0
"""Seconds; a cold start on a slow machine imports for several."""

ENDS_WITHIN = 8.0
"""Seconds between SIGTERM and SIGKILL."""


class Child:
    """A `pickup` command that runs beside this one.

    Args:
        words: the command's words, without `pickup`.
        environ: its environment.
        errors: where its stderr goes; None: with ours.
        folder: its working folder, and so whose `.env` it reads; None: ours.

    Attributes:
        url: where it listens.
        sip: where it listens for SIP, `ADDRESS:PORT`; None where it does not.
    """

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        errors: IO[bytes] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.words = tuple(words)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agent", *words],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for us: we end it when its calls have ended
        )
        self.sip: str | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.url = self._listening()
        except BaseException:  # Ctrl-C too: nobody else knows of the child yet
            self.stop()
            raise

    @property
    def name(self) -> str:
        return "pickup " + " ".join(self.words[:2])

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def line(self, timeout: float) -> str | None:
        """The next line it prints; None where none comes in time, or it has ended."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self) -> int:
        """Ask it to end, and see to it that it does; returns its exit status."""
        if self.running:
            self.process.terminate()
        try:
            return self.process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _read(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                self._lines.put(line.decode(errors="replace").rstrip("\n"))
        self._lines.put(None)

    def _listening(self) -> str:
        line = self.line(STARTS_WITHIN)
        try:
            told = json.loads(line or "")
            self.sip = told.get("sip")
            return str(told["listening"])
        except (ValueError, KeyError, TypeError, AttributeError):
            status = self.stop()
            raise UserError(f"`{self.name}` did not start (exit status {status})") from None
