"""The documents that agents look things up in: a folder per agent, an index of it in `DATA_DIR/knowledge`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import structlog

from agent.errors import StorageError
from agent.storage.knowledge import KnowledgeIndex
from agent.tools.look_up import Quote
from agent.tools.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.config.agent_file import AgentFile

READERS = 4
"""Threads that read or ask at once; one more is told to try again."""

log = structlog.get_logger()


class Documents:
    """One folder of documents.

    Args:
        folder: of the documents.
        indexes: the folder of the indexes; each may be deleted at any time.
        language: of the documents (BCP 47).
        threads: where files are read and the index is asked.
    """

    def __init__(self, folder: Path, indexes: Path, language: str, threads: Threads) -> None:
        name = hashlib.sha256(f"{folder.absolute()} {language}".encode()).hexdigest()[:16]
        self._index = KnowledgeIndex(folder, indexes / f"{name}.db", language)
        self._threads = threads

    async def search(self, question: str, limit: int) -> list[Quote]:
        """What fits best, the best first. Raises StorageError."""
        found = await self._threads.run("look_up", lambda: self._index.search(question, limit))
        return [
            Quote(", ".join(filter(None, (each.source, each.heading))), each.text) for each in found
        ]

    async def prepare(self) -> None:
        """Read the documents before the first caller asks; what cannot be read is told to the operator."""
        try:
            problems = await self._threads.run("look_up", self._index.refresh)
        except StorageError as error:
            problems = [str(error)]
        for problem in problems:
            log.error("a document cannot be looked up", why=problem)


class Libraries:
    """The documents of all agents.

    Args:
        agents: the folder of the agents' files, to which theirs are relative.
        indexes: the folder of the indexes.
    """

    def __init__(self, agents: Path, indexes: Path) -> None:
        self._agents = agents
        self._indexes = indexes
        self._threads = Threads(READERS)

    def of(self, agent: AgentFile) -> Documents:
        """Those of one agent; its file says where they are, else in `knowledge` beside it."""
        folder = self._agents / (agent.knowledge or "knowledge")
        return Documents(folder, self._indexes, agent.language, self._threads)

    async def prepare(self, agents: Iterable[AgentFile]) -> None:
        """Read the documents of all that may look something up, before the first caller asks."""
        for agent in agents:
            if any(entry.builtin == "look_up" for entry in agent.tools):
                await self.of(agent).prepare()
