"""Which options a model refused an agent, kept for a day: the next call begins with what was accepted.

One small file beside the records, so that a restart does not cost callers the search again. Whatever could have changed the
answer is part of the key: the model, the agent's very content, and our own version.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec
import structlog

from agent import __version__
from agent.storage.disk import write_private

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger()

KEPT_SECONDS = 24 * 3600.0
"""After so long the whole setup is tried again: the service may have been mended."""

MOST = 1000
"""Verdicts that are kept; the oldest is forgotten, which costs its agent's next call one search."""

FILE = "setups.json"
"""In `DATA_DIR`."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One agent's setup, as far as its model did not take it.

    Attributes:
        model: the model's name.
        agent: digest of the agent's file.
        name: the agent's name, for people.
        version: ours, when it was found.
        left_out: names of options.
        why: the service's words.
        found_at: seconds since 1970-01-01 UTC.
    """

    model: str
    agent: str
    name: str
    left_out: list[str]
    why: str
    found_at: float
    version: str = __version__

    def holds(self, wall: float) -> bool:
        """Whether it is young enough, and ours."""
        return self.version == __version__ and 0 <= wall - self.found_at < KEPT_SECONDS


class Kept(msgspec.Struct):
    """The file."""

    v: int
    verdicts: list[Verdict]


def read(path: Path) -> list[Verdict]:
    """What the file holds; a file that cannot be read costs one search per agent and is replaced by it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept).verdicts
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        log.warning("what models refused is forgotten", file=str(path), why=str(error))
        return []


class Verdicts:
    """All that hold, by model and agent.

    Args:
        path: the file; None keeps them in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._writing = threading.Lock()
        found = [] if path is None else read(path)
        self._kept = {(each.model, each.agent): each for each in found}

    def left_out(self, model: str, agent: str, wall: float) -> frozenset[str]:
        """What to leave out of this agent's setup from the start.

        Args:
            model: the model's name.
            agent: digest of the agent's file.
            wall: seconds since 1970-01-01 UTC.
        """
        kept = self._kept.get((model, agent))
        return frozenset(kept.left_out) if kept is not None and kept.holds(wall) else frozenset()

    def keep(self, verdict: Verdict) -> None:
        """Remember it, in place of an older one; `write` makes it last."""
        self._kept.pop((verdict.model, verdict.agent), None)
        self._kept[verdict.model, verdict.agent] = verdict
        while len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def write(self) -> None:
        """Replace the file; blocking. Where the disk does not take it, this process remembers all the same."""
        if self._path is None:
            return
        with self._writing:
            data = msgspec.json.encode(Kept(1, list(self._kept.values())))
            try:
                write_private(self._path, data)
            except OSError as error:
                log.warning("what a model refused is not kept on disk", why=str(error))
