"""The folder of the agents' files: each is read again when it was saved, and the last good reading stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.config.agent_yaml import parse_agent
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        self._passed_over: dict[str, tuple[int, int] | None] = {}

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

    def for_number(self, number: str) -> AgentFile:
        """The agent that a number or address reaches.

        The first whose `numbers` has it, else who has its user at any domain, else who has anybody at its domain (`sip:*@DOMAIN`), else `default.yaml`, else the first that claims no number, else the first. A file that was
        put there broken is passed over, so that it costs no caller the others.

        Raises:
            UserError: there is none that can be read.
        """
        agents, broken = self.readable()
        for name, error in broken.items():
            state = _state(self.folder / f"{name}.yaml")
            if self._passed_over.get(name) != state:
                self._passed_over[name] = state
                self._report(f"{error}; the file is passed over")
        if not agents:
            if broken:
                raise next(iter(broken.values()))
            return self.get("default")  # which says that there is none
        plain = _plain(number)
        user, _, domain = plain.partition("@")
        names = (plain, user, f"*@{domain}")  # `sip:desk` is desk at any domain
        claimed = (
            agent
            for name in names
            for agent in agents.values()
            if name in map(_plain, agent.numbers)
        )
        others = (agent for agent in agents.values() if not agent.numbers)
        first = next(iter(agents.values()))
        return next(claimed, None) or agents.get("default") or next(others, first)

    def users(self) -> set[str]:
        """The users of SIP addresses that agents claim at any domain, in small letters."""
        agents, _ = self.readable()
        named = (_plain(number) for agent in agents.values() for number in agent.numbers)
        return {name for name in named if re.fullmatch(r"[a-z0-9._~+-]+", name)}

    def check(self) -> dict[str, AgentFile]:
        """All agents, where nothing is wrong with them: for a start at which somebody looks.

        Raises:
            UserError: a file cannot be read, or two agents claim one number.
        """
        agents, broken = self.readable()
        if broken:
            raise next(iter(broken.values()))
        for name, index, owner in claimed_twice(agents):
            claimed = f"numbers[{index}] is claimed by {owner}.yaml too"
            raise UserError(f"{self.folder / name}.yaml: {claimed}: see `pickup agents check`")
        return agents

    def readable(self) -> tuple[dict[str, AgentFile], dict[str, UserError]]:
        """The agents that can be read, and what is wrong with the other files, by name."""
        agents: dict[str, AgentFile] = {}
        broken: dict[str, UserError] = {}
        for name in self.names():
            try:
                agents[name] = self.get(name)
            except UserError as error:
                broken[name] = error
        return agents, broken

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


def _plain(address: str) -> str:
    """An address without what does not tell it from others: case, port, parameters (RFC 3261, 19.1.4)."""
    found = re.match(r"(?:sips?:)?([^;?]*?)(?::[0-9]+)?(?:[;?].*)?$", address.strip().lower())
    return found[1] if found else address


def claimed_twice(agents: Mapping[str, AgentFile]) -> list[tuple[str, int, str]]:
    """The numbers that more than one agent claims: the later agent's name, the item's place (from 0), and who had it."""
    owners: dict[str, str] = {}
    found = []
    for name, agent in agents.items():
        for index, number in enumerate(agent.numbers):
            owner = owners.setdefault(_plain(number), name)
            if owner != name:
                found.append((name, index, owner))
    return found
