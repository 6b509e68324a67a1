"""What an agent may look up: a folder of Markdown, text and PDF files as an index of passages (SQLite FTS5).

The index is a file that may be deleted at any time. It is brought up to date when it is asked: a file that has changed is read
again, one that is gone is forgotten, and one that cannot be read is told and costs the others nothing. Blocking; for a thread.

A question never reaches FTS5 as syntax: it is cut into words, and each word is quoted (SQLite: "FTS5 Extension", section 3.1).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.errors import StorageError
from agent.storage.passages import READERS, Unreadable, content_words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYOUT = 1
"""Raised when the tables or the splitting change: an index of another layout is made anew."""
MOST_FILES = 2000
LARGEST_FILE = 20_000_000
"""Bytes."""
MOST_PASSAGES = 50_000
BUSY_SECONDS = 5.0
HEADING_WEIGHT = 4.0
"""How much more a word counts in a heading than in the text below it (FTS5: bm25's weights)."""

TABLES = (
    "CREATE TABLE made_for (text TEXT)",
    "CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, problem TEXT)",
    "CREATE TABLE passages (id INTEGER PRIMARY KEY, path TEXT, heading TEXT, text TEXT)",
    "CREATE INDEX passages_path ON passages (path)",
    (
        "CREATE VIRTUAL TABLE words USING fts5"
        " (heading, text, content='passages', content_rowid='id', tokenize=\"{forms}unicode61 remove_diacritics 2\")"
    ),
    # FTS5, section 4.4.3: an index of another table's rows follows it by triggers.
    (
        "CREATE TRIGGER added AFTER INSERT ON passages BEGIN"
        " INSERT INTO words (rowid, heading, text) VALUES (new.id, new.heading, new.text); END"
    ),
    (
        "CREATE TRIGGER gone AFTER DELETE ON passages BEGIN"
        " INSERT INTO words (words, rowid, heading, text) VALUES ('delete', old.id, old.heading, old.text); END"
    ),
)


class Found(msgspec.Struct, frozen=True):
    """A passage that answers a question, perhaps.

    Attributes:
        source: the file's path below the folder.
        heading: where in it, such as `Prices > Cleaning` or `page 3`; empty where it has no headings.
    """

    source: str
    heading: str
    text: str


class KnowledgeIndex:
    """The passages of one folder.

    Args:
        folder: what may be looked up.
        file: where the index is kept.
        language: of the texts (BCP 47): English words are found in all their forms, others by their beginnings.
    """

    def __init__(self, folder: Path, file: Path, language: str = "en") -> None:
        self._folder = folder
        self._file = file
        self._language = language.lower().split("-")[0]

    def search(self, question: str, limit: int = 4) -> list[Found]:
        """The passages that fit best, the best first; none where no word of the question is anywhere.

        Raises:
            StorageError: the folder or the index cannot be used.
        """
        words = content_words(question, self._language)
        if not words:
            return []
        with self._open() as index:
            self._refresh(index)
            rows = index.execute(
                "SELECT path, passages.heading, passages.text FROM words JOIN passages ON passages.id = words.rowid"
                f" WHERE words MATCH ? ORDER BY bm25(words, {HEADING_WEIGHT}, 1.0), passages.id LIMIT ?",
                (" OR ".join(map(self._term, words)), limit),
            )
            return [Found(*row) for row in rows]

    def refresh(self) -> list[str]:
        """Bring the index up to date; a line for each file that cannot be read. Raises StorageError."""
        with self._open() as index:
            self._refresh(index)
            told = index.execute(
                "SELECT path, problem FROM files WHERE problem <> '' ORDER BY path"
            )
            return [f"{path}: {problem}" for path, problem in told]

    def _term(self, word: str) -> str:
        """One word, quoted; outside English the beginning of it, so that other endings are found too."""
        if self._language == "en" or len(word) < 6:
            return f'"{word}"'
        return f'"{word[:-2]}" *'

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=BUSY_SECONDS, isolation_level=None)
            with closing(connection) as index:
                self._make(index)
                yield index
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"knowledge: {type(error).__name__}: {error}") from error

    def _make(self, index: sqlite3.Connection) -> None:
        """Make the tables, or make them anew where they were made for something else."""
        wanted = f"{LAYOUT} {self._language} {self._folder.resolve()}"
        if _made_for(index) == wanted:
            return
        index.execute("BEGIN IMMEDIATE")
        if _made_for(index) != wanted:  # another one may have been faster
            for name in ("words", "passages", "files", "made_for"):
                index.execute(f"DROP TABLE IF EXISTS {name}")
            for table in TABLES:
                index.execute(table.format(forms="porter " if self._language == "en" else ""))
            index.execute("INSERT INTO made_for VALUES (?)", (wanted,))
        index.execute("COMMIT")

    def _refresh(self, index: sqlite3.Connection) -> None:
        there = self._files()
        known = {
            path: (size, changed)
            for path, size, changed in index.execute("SELECT path, size, changed FROM files")
        }
        changed = [path for path, state in there.items() if known.get(path) != state]
        gone = known.keys() - there.keys()
        if not changed and not gone:
            return
        index.execute("BEGIN IMMEDIATE")
        for path in (*changed, *gone):
            index.execute("DELETE FROM passages WHERE path = ?", (path,))
            index.execute("DELETE FROM files WHERE path = ?", (path,))
        for path in changed:
            self._read(index, path, there[path])
        index.execute("COMMIT")

    def _read(self, index: sqlite3.Connection, path: str, state: tuple[int, int]) -> None:
        problem = ""
        (room,) = index.execute("SELECT ? - count(*) FROM passages", (MOST_PASSAGES,)).fetchone()
        if state[0] > LARGEST_FILE:
            problem = f"it is larger than {LARGEST_FILE // 1_000_000} MB"
        else:
            try:
                passages = READERS[path.rpartition(".")[2].lower()](self._folder / path)
            except Unreadable as error:
                passages, problem = [], str(error)
            if len(passages) > room:
                problem = f"there are more than {MOST_PASSAGES} passages: the rest is left out"
            index.executemany(
                "INSERT INTO passages (path, heading, text) VALUES (?, ?, ?)",
                [(path, passage.heading, passage.text) for passage in passages[:room]],
            )
        index.execute("INSERT INTO files VALUES (?, ?, ?, ?)", (path, *state, problem))

    def _files(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of each file that can be read, by its path below the folder; links out of it are none."""
        if not self._folder.is_dir():
            raise StorageError(f"knowledge: there is no folder {self._folder}")
        root = self._folder.resolve()
        found: dict[str, tuple[int, int]] = {}
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder)
            if path.suffix[1:].lower() not in READERS or any(part[0] == "." for part in name.parts):
                continue
            if path.is_file() and path.resolve().is_relative_to(root) and len(found) < MOST_FILES:
                state = path.stat()
                found[name.as_posix()] = (state.st_size, state.st_mtime_ns)
        return found


def _made_for(index: sqlite3.Connection) -> str | None:
    there = index.execute("SELECT 1 FROM sqlite_schema WHERE name = 'made_for'").fetchone()
    found = index.execute("SELECT text FROM made_for").fetchone() if there else None
    return found[0] if found else None
