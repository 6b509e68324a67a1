"""An agent's file from its text: YAML with the line of every key, and each mistake in one line that says how to mend it.

Scalars are read as YAML 1.2's core schema reads them, less its numbers: `fallback_number: +15551234567` stays text and
`language: no` is Norwegian, not false. Only true, false and null are more than text; where JSON is asked for, numbers are too.
"""

from __future__ import annotations

import difflib
import re
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from agent.config.agent_checks import contradictions
from agent.config.agent_file import AgentFile
from agent.config.shapes import Plain, Shape
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pydantic_core import ErrorDetails

    from agent.config.agent_checks import Found

P = TypeVar("P", bound=BaseModel)

Path = tuple[str | int, ...]
"""Where something stands in the file: keys, and numbers of items from 0."""

CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
"""The only unquoted words that are more than text (YAML 1.2, 10.3.2)."""

DEEPEST = 30
"""Nested mappings and lists; deeper ones are no agent, and would exhaust the reader's stack."""


class Mistake(NamedTuple):
    """What is wrong with a file, and where (from 1)."""

    line: int
    text: str


class WrongFile(UserError):
    """A file that is not what it should be.

    Attributes:
        source: the file's name.
        mistakes: all that was found, by line.
    """

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.source = source
        self.mistakes = tuple(sorted(mistakes))
        first, more = self.mistakes[0], len(self.mistakes) - 1
        super().__init__(
            f"{source}:{first.line}: {first.text}" + (f" (and {more} more)" if more else "")
        )


class _Loader(yaml.BaseLoader):
    """YAML without aliases: ten lines of them can unfold to more than a machine holds."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs miss it
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not taken", problem_mark=mark)
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deep", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def parse_agent(text: str, source: str) -> AgentFile:
    """Read an agent from its file's text; see `parse`."""
    return parse(text, source, AgentFile, contradictions)


def parse(
    text: str, source: str, kind: type[P], contradictions: Callable[[P], Iterator[Found]]
) -> P:
    """Read a file's text as what it should be.

    Args:
        text: the YAML.
        source: the file's name, as errors should show it.
        kind: what it should be; each of its keys has a `Shape`.
        contradictions: what is wrong with one whose keys are right one by one.

    Raises:
        WrongFile: its text is `source:line: what is wrong`, for the first mistake, and how many more there are.
    """
    reading = _Reading(source)
    data = reading.mapping(text)
    try:
        read = kind.model_validate(data)
    except ValidationError as error:
        found = [_told(problem, reading.lines, kind) for problem in error.errors()]
        raise WrongFile(source, [*dict.fromkeys(found)]) from None
    wrong = [Mistake(_line(path, reading.lines), told) for path, told in contradictions(read)]
    if wrong:
        raise WrongFile(source, wrong)
    return read


def line_of(text: str, path: Path) -> int:
    """The line (from 1) of what stands at `path` in a file that can be read; of its parent where it does not."""
    reading = _Reading("")
    reading.mapping(text)
    return _line(path, reading.lines)


class _Reading:
    """A file's values, and the lines at which they are given."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Path, int] = {}
        self._source = source

    def mapping(self, text: str) -> dict[str, Any]:
        """The file's keys with their values."""
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._wrong(mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self._wrong(line, f"not YAML: {error.reason}") from None
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(1, "should be `key: value` lines, beginning with `name:`")
        return self._keys(node, ())

    def _keys(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                shown = shown_path(path) or "this"
                raise self._wrong(line, f"{shown}: put text with braces or brackets in quotes")
            here = (*path, key_node.value)
            if here in self.lines:  # YAML would take the last one without a word
                told = f"{shown_path(here)} is given twice (first in line {self.lines[here]})"
                raise self._wrong(line, told)
            self.lines[here] = line
            found[key_node.value] = self._value(value_node, here)
        return found

    def _value(self, node: yaml.Node, path: Path) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._keys(node, path)
        if isinstance(node, yaml.SequenceNode):
            items: list[object] = []
            for index, item in enumerate(node.value):
                here = (*path, index)
                self.lines[here] = item.start_mark.line + 1
                items.append(self._value(item, here))
            return items
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            return CONSTANTS.get(node.value.lower(), Plain(node.value))
        return node.value

    def _wrong(self, line: int, text: str) -> WrongFile:
        return WrongFile(self._source, [Mistake(line, text)])


# ---- where, and what


def shown_path(path: Path) -> str:
    """A path as people write it: tools[2].http.url."""
    return "".join(
        f"[{key}]" if isinstance(key, int) else f".{key if key.isprintable() else repr(key)}"
        for key in path
    ).removeprefix(".")


def _known(path: Path, lines: dict[Path, int]) -> Path:
    """As much of a path as stands in the file; the rest is what a short form stands for."""
    while path and path not in lines:
        path = path[:-1]
    return path


def _line(path: Path, lines: dict[Path, int]) -> int:
    return lines.get(_known(path, lines), 1)


def _told(problem: ErrorDetails, lines: dict[Path, int], whole: type[BaseModel]) -> Mistake:
    """A mistake in words."""
    where, kind = tuple(problem["loc"]), problem["type"]
    known = _known(where, lines)
    line = lines.get(known, 1)
    if kind == "missing":
        absent = shown_path((*known, where[-1]))
        return Mistake(line, f"{absent} is missing: {_shape(where, whole)}")
    if kind == "extra_forbidden":
        return Mistake(line, f"unknown key {shown_path(known)}: {_instead(where, whole)}")
    if kind == "told":
        return Mistake(line, f"{shown_path(known)} {problem['msg']}")
    if where[-1:] == ("[key]",):
        return Mistake(
            line, f"{shown_path(known)} should be called by {_shape((*where[:-2], '[key]'), whole)}"
        )
    told = f"{shown_path(known)} should be {_shape(where, whole)}"
    if kind == "literal_error" and isinstance(problem["input"], str):
        choice = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return Mistake(line, told + _meant(problem["input"], choice))
    return Mistake(line, told)


def _meant(word: str, choice: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, choice, n=1)
    return f": did you mean {near[0]}?" if near else f" (known are {', '.join(choice)})"


def _instead(where: Path, whole: type[BaseModel]) -> str:
    """What an unknown key may have been meant to be."""
    kind = next((kind for kind in _walk(where[:-1], whole) if _is_part(kind)), whole)
    choice = list(kind.model_fields)
    near = difflib.get_close_matches(str(where[-1]), choice, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(choice)}"


def _shape(where: Path, whole: type[BaseModel]) -> str:
    """What stands there should be: in the words of the innermost key that has some."""
    shapes = [each for each in _walk(where, whole) if isinstance(each, Shape)]
    return shapes[0].text


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _walk(where: Path, whole: type[BaseModel]) -> list[Any]:
    """The types and shapes that a path leads through, the innermost first."""
    found: list[Any] = [whole]
    kinds: list[Any] = [whole]
    for key in where:
        kinds = [part for kind in kinds for part in _inside(kind, key)]
        if not kinds:
            break
        found[:0] = kinds
    return found


def _inside(kind: Any, key: str | int) -> Iterator[Any]:
    """What a type says of the key or item: its shape first, then its types."""
    if _is_part(kind):
        field = kind.model_fields.get(key)
        if field is not None:
            yield from (each for each in field.metadata if isinstance(each, Shape))
            yield from _flat(field.annotation)
    elif get_origin(kind) is dict:
        yield from _flat(get_args(kind)[0 if key == "[key]" else 1])
    elif get_origin(kind) is tuple and isinstance(key, int):
        yield from _flat(get_args(kind)[0])


def _flat(annotation: Any) -> Iterator[Any]:
    """An annotation's shapes and types, also inside `X | None`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *details = get_args(annotation)
        yield from (each for each in details if isinstance(each, Shape))
        yield from _flat(kind)
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _flat(part)
    else:
        yield annotation
