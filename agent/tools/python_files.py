"""Finds the functions that an agent's file names: `module`, `module:function`, or a folder of modules.

Modules beside the agents' files come first and are read again when they were saved; a file that was saved broken does not break
the next call: what it last was stays, and the operator is told. A live call keeps the functions it began with.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agent.errors import UserError
from agent.tools.python_tool import is_marked, read_function
from agent.tools.threads import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.tools.python_tool import PythonFunction


T = TypeVar("T")


class _Kept(NamedTuple):
    """A file's last good reading, and its time (ns) and size at the last look."""

    functions: list[PythonFunction]
    seen: tuple[int, int] | None


class PythonFiles:
    """The functions of a folder's modules, and of those that are installed.

    Args:
        folder: where the agents' files lie; None: only what is installed.
        report: told in one line of a file that could not be taken, once per change.
    """

    def __init__(self, folder: Path | None, report: Callable[[str], None]) -> None:
        self._folder = folder
        self._report = report
        self._kept: dict[Path, _Kept] = {}

    def functions(self, source: str) -> list[PythonFunction]:
        """The tools that `source` names.

        Blocks while a module is read that has changed, and runs it: call it in a thread.

        Raises:
            UserError: there are none, or one cannot be read.
        """
        name, _, wanted = source.partition(":")
        found = self._of_module(name)
        if not wanted:
            if not found:
                raise UserError(f"{name} has no function that is marked with @tool")
            return found
        chosen = [each for each in found if each.function.__name__ == wanted]
        if not chosen:
            there = ", ".join(each.function.__name__ for each in found) or "none"
            raise UserError(
                f"{name} has no tool {wanted} (there: {there}); is it marked with @tool?"
            )
        return chosen

    def _of_module(self, name: str) -> list[PythonFunction]:
        if self._folder is not None:
            path = self._folder.joinpath(*name.split("."))
            file = path.parent / f"{path.name}.py"
            if file.is_file():
                return self._of_file(file)
            if path.is_dir():
                return [each for file in sorted(path.glob("*.py")) for each in self._of_file(file)]
        module = _foreign(lambda: importlib.import_module(name), f"module {name}")
        return _marked(module)

    def _of_file(self, path: Path) -> list[PythonFunction]:
        seen = _state(path)
        kept = self._kept.get(path)
        if kept is not None and kept.seen == seen:
            return kept.functions
        try:
            functions = _marked(self._load(path))
        except UserError as error:
            if kept is None:
                raise
            self._report(f"{error}; calls go on with the tools as they were before")
            functions = kept.functions
        self._kept[path] = _Kept(functions, seen)
        return functions

    def _load(self, path: Path) -> ModuleType:
        """Run a file as a module of a name that no installed one has; it may import its neighbours."""
        folder = str(self._folder)
        if folder not in sys.path:
            sys.path.append(
                folder
            )  # behind everything: a neighbour must not hide what is installed
        module = ModuleType(f"tools_of_agents.{path.stem}")
        module.__file__ = str(path)
        before = sys.modules.get(module.__name__)
        sys.modules[module.__name__] = module  # dataclasses look themselves up there

        def run() -> None:
            code = SourceFileLoader(module.__name__, str(path)).source_to_code(
                path.read_bytes(), str(path)
            )
            exec(code, module.__dict__)

        try:
            _foreign(run, str(path))
        except UserError:
            if before is not None:
                sys.modules[module.__name__] = before
            raise
        return module


def _marked(module: ModuleType) -> list[PythonFunction]:
    """A module's own tools, in the order of its text."""
    own = [
        each
        for each in vars(module).values()
        if inspect.isfunction(each) and is_marked(each) and each.__module__ == module.__name__
    ]
    return [read_function(each) for each in own]


def _foreign(work: Callable[[], T], what: str) -> T:
    """Run somebody else's module; whatever it raises is a mistake in it.

    Raises:
        UserError: it raised something; the text says what, and where.
    """
    outcome: Outcome[T] = Outcome()
    with outcome:
        outcome.result = work()
    if (error := outcome.error) is None:
        return outcome.result
    where = what
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == what:
            where = f"{what}:{frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename == what:
        where = f"{what}:{error.lineno}"
    raise UserError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from None


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
