"""The folder of the agents' files: each is read again when it was saved, and the last good reading stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.config.agent_yaml import parse_agent
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config.agent_file import AgentFile

EXAMPLES = Path(__file__).parent.parent / "examples"
"""The agents that come with Pickup; `pickup init` copies them out."""

LARGEST = 256 * 1024
"""Bytes. A persona that is longer would not fit a model's context anyhow."""


def agents_folder(chosen: Path | None, here: Path) -> Path:
    """Say where the agents' files lie: what was chosen, else `agents` in `here`, else the examples."""
    if chosen is not None:
        return chosen
    own = here / "agents"
    return own if own.is_dir() else EXAMPLES


class _Kept(NamedTuple):
    """The last good reading of a file, and the state of the file at the last look."""

    agent: AgentFile
    seen: tuple[int, int] | None


class AgentFiles:
    """The agents of a folder by their files' names, each read again when its file has changed.

    A file that was saved broken, or vanished, does not break the next call: the last good one stays, and `report` is told once
    per change.

    Args:
        folder: where NAME.yaml lie.
        report: called with one line for each change that could not be taken.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self.folder = folder
        self._report = report
        self._kept: dict[str, _Kept] = {}

    def names(self) -> list[str]:
        """The agents that there are, by the names of their files."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def get(self, name: str) -> AgentFile:
        """Return the agent of NAME.yaml as it is now.

        Raises:
            UserError: there is no such file, or it is wrong and never was right.
        """
        path = self.folder / f"{name}.yaml"
        seen = _state(path)
        kept = self._kept.get(name)
        if kept is not None and kept.seen == seen:
            return kept.agent
        try:
            agent = self._load(path, name)
        except UserError as error:
            if kept is None:
                raise
            self._report(f"{error}; calls go on with the agent as it was before")
            agent = kept.agent
        self._kept[name] = _Kept(agent, seen)
        return agent

    def _load(self, path: Path, name: str) -> AgentFile:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or not path.is_file():
            known = ", ".join(self.names()) or "none"
            raise UserError(f"no agent {name!r} in {self.folder} (there: {known})")
        try:
            text = path.read_bytes()[: LARGEST + 1].decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None
        if len(text) > LARGEST:
            raise UserError(f"{path}: larger than {LARGEST // 1024} kB")
        return parse_agent(text, str(path))


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is saved: its time (ns) and size; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
