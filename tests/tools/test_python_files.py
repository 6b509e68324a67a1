"""Python files beside the agents: found, read again when saved, and never the end of a call when they are broken."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from agent.errors import UserError
from agent.tools.python_files import PythonFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = "from agent.tools.python_tool import CallInfo, tool\n\n"
ONE = HEAD + '@tool\ndef book(party: int) -> str:\n    """Book."""\n    return "v1"\n'
TWO = ONE + '\n@tool\ndef free(day: str) -> str:\n    """Look."""\n    return "none"\n'


class Folder:
    """A folder of agents, and what was reported of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[str] = []
        self.files = PythonFiles(path, self.told.append)
        self._saved = 0

    def save(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        self._saved += 1
        os.utime(file, ns=(self._saved * 10**9, self._saved * 10**9))  # later than the last one

    def names(self, source: str) -> list[str]:
        return [each.declaration.name for each in self.files.functions(source)]

    def error(self, source: str) -> str:
        with pytest.raises(UserError) as raised:
            self.files.functions(source)
        return str(raised.value).replace(str(self.path), "FOLDER")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    paths, modules = list(sys.path), set(sys.modules)
    yield Folder(tmp_path)
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_a_module_a_function_and_a_folder(folder: Folder) -> None:
    folder.save("desk.py", TWO)
    folder.save("more/late.py", ONE)
    folder.save("more/early.py", TWO.replace("book", "reserve"))
    assert folder.names("desk") == ["book", "free"]
    assert folder.names("desk:free") == ["free"]
    assert folder.names("more") == ["reserve", "free", "book"]
    assert folder.names("more.late") == ["book"]


def test_only_what_a_module_marks_itself_is_a_tool(folder: Folder) -> None:
    folder.save("desk.py", ONE)
    folder.save("other.py", "from desk import book\n" + TWO.replace("book", "own"))
    folder.save("none.py", "def book(party: int) -> None:\n    pass\n")
    assert folder.names("other") == ["own", "free"]
    assert folder.error("none") == "none has no function that is marked with @tool"
    assert folder.error("none:book") == (
        "none has no tool book (there: none); is it marked with @tool?"
    )
    assert folder.error("desk:buy") == (
        "desk has no tool buy (there: book); is it marked with @tool?"
    )


def test_a_file_beside_the_agents_hides_no_module_and_is_found_before_one(folder: Folder) -> None:
    folder.save("json.py", ONE)
    assert folder.names("json") == ["book"]
    assert sys.modules["json"].__file__ != str(folder.path / "json.py")


def test_what_is_installed_is_found_too() -> None:
    files = PythonFiles(None, lambda line: None)
    with pytest.raises(UserError, match="json has no function that is marked"):
        files.functions("json")
    with pytest.raises(UserError, match="module nowhere_at_all: cannot be loaded: ModuleNotFound"):
        files.functions("nowhere_at_all")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\ny = x / 0\n", "FOLDER/desk.py:2: cannot be loaded: ZeroDivisionError: division"),
        ("def f(:\n", "FOLDER/desk.py:1: cannot be loaded: SyntaxError: invalid syntax"),
        ("import nowhere_at_all\n", "FOLDER/desk.py:1: cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit\n", "FOLDER/desk.py:1: cannot be loaded: SystemExit"),
        (HEAD + "@tool\ndef f() -> None: ...\n", "FOLDER/desk.py:3: f has no docstring"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(
    folder: Folder, text: str, why: str
) -> None:
    folder.save("desk.py", text)
    assert folder.error("desk").startswith(why)


def test_a_file_is_read_again_when_it_was_saved_and_only_then(folder: Folder) -> None:
    folder.save("desk.py", ONE)
    (first,) = folder.files.functions("desk")
    assert folder.files.functions("desk") == [first]
    folder.save("desk.py", ONE.replace("v1", "v2"))
    (second,) = folder.files.functions("desk")
    assert (first.function(2), second.function(2)) == ("v1", "v2")


def test_a_file_that_was_saved_broken_leaves_the_tools_as_they_were(folder: Folder) -> None:
    folder.save("desk.py", ONE)
    folder.names("desk")
    folder.save("desk.py", "def f(:\n")
    assert folder.names("desk") == ["book"]
    assert folder.names("desk") == ["book"]
    (told,) = folder.told
    assert told.endswith("calls go on with the tools as they were before")
    folder.save("desk.py", TWO)
    assert folder.names("desk") == ["book", "free"]
    (folder.path / "desk.py").unlink()
    assert folder.error("desk").startswith("module desk: cannot be loaded: ModuleNotFoundError")


def test_hints_that_need_their_module_are_read(folder: Folder) -> None:
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HEAD
    text += "@dataclass\nclass Guest:\n    name: str\n\n"
    text += '@tool\ndef greet(guest: Guest, call: CallInfo) -> str:\n    """Greet."""\n'
    folder.save("desk.py", text)
    (greet,) = folder.files.functions("desk")
    assert greet.info == "call"
    assert greet.declaration.parameters is not None
    assert greet.declaration.parameters["properties"]["guest"]["required"] == ["name"]
