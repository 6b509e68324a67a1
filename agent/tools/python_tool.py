"""Tools that are Python functions: marked with `@tool`, declared by their type hints and docstring.

    from agent.tools.python_tool import CallInfo, tool

    @tool(reads_only=True)
    def free_times(day: date, call: CallInfo) -> list[str]:
        "Look up when an appointment can be had."

The docstring says when to call it; a section `Args:` (Google's style) says what each argument is. A parameter of type `CallInfo` is filled in and not shown to the model. What a function cannot do it says by raising
`ToolFailed` with words that the model can say.
"""

from __future__ import annotations

import inspect
import re
from datetime import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints, overload

import msgspec

from agent.errors import ToolFailed, UserError
from agent.tools.answers import presentable
from agent.tools.base import Answer, CallInfo, Declaration
from agent.tools.docstring import read_docstring
from agent.tools.schema import joined, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.tools.threads import Threads

__all__ = ["CallInfo", "PythonFunction", "ToolFailed", "make_tool", "read_function", "tool"]

F = TypeVar("F", bound="Callable[..., Any]")

HH_MM = re.compile(r"[0-9]{2}:[0-9]{2}")

MARK = "__pickup_tool__"

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Marks(msgspec.Struct, frozen=True):
    """What `@tool` was given."""

    name: str | None = None
    reads_only: bool = False
    deadline: float | None = None


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *, name: str | None = None, reads_only: bool = False, deadline: float | None = None
) -> Callable[[F], F]: ...
def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    reads_only: bool = False,
    deadline: float | None = None,
) -> F | Callable[[F], F]:
    """Mark a function as a tool; it stays the function that it is.

    Args:
        function: takes arguments with type hints that JSON can carry; plain or async. A plain one runs in a thread.
        name: what the model calls it; the function's own name where not given.
        reads_only: it changes nothing, so it may run twice, be given up half-way, and needs no record.
        deadline: seconds that it may take; the agent's limit where not given.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, Marks(name, reads_only, deadline))
        return function

    return mark if function is None else mark(function)


class PythonFunction(msgspec.Struct, frozen=True):
    """A function, read once: what every call's tool is made of.

    Attributes:
        function: the function.
        declaration: what the model is told.
        arguments: a Struct of its arguments, to turn JSON into what the hints say.
        info: name of the parameter that takes the `CallInfo`; empty where it wants none.
        reads_only: whether it changes nothing.
    """

    function: Any
    declaration: Declaration
    arguments: Any
    info: str
    reads_only: bool

    def bind(self, args: dict[str, Any], info: CallInfo) -> Callable[[], Any]:
        """The function with its arguments.

        Raises:
            ToolFailed: the hints cannot be made of what the model sent.
        """
        try:
            bound = msgspec.convert(self._timed(args), self.arguments, str_keys=True)
        except msgspec.ValidationError as error:
            raise ToolFailed(f"{self.declaration.name} was not called right: {error}.") from None
        given = {key: getattr(bound, key) for key in self.arguments.__struct_fields__}
        given = {key: value for key, value in given.items() if value is not msgspec.UNSET}
        if self.info:
            given[self.info] = info
        return partial(self.function, **given)

    def _timed(self, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments with a time of day in full: people and models leave the seconds out (RFC 3339 wants them)."""
        times = {
            field.encode_name
            for field in msgspec.structs.fields(self.arguments)
            if time in (field.type, *get_args(field.type))
        }
        return {
            key: f"{value}:00"
            if key in times and isinstance(value, str) and HH_MM.fullmatch(value)
            else value
            for key, value in args.items()
        }


def is_marked(function: object) -> bool:
    return isinstance(getattr(function, MARK, None), Marks)


def read_function(function: Callable[..., Any]) -> PythonFunction:
    """Read what a marked function is as a tool.

    Raises:
        UserError: a model cannot be told of it: no docstring, no hint, or a hint that JSON does not carry.
    """
    marks = getattr(function, MARK, Marks())
    name = marks.name or function.__name__
    where = f"{_place(function)}: {name}"
    if not NAME.fullmatch(name):
        raise UserError(f"{where}: a tool's name has letters, digits and _, at most 64")
    doc = read_docstring(function.__doc__ or "")
    if not doc.does:
        raise UserError(f"{where} has no docstring: the model could not know when to call it")
    hints, info = _hints(function, where)
    fields: list[tuple[str, Any, Any]] = []
    required: list[tuple[str, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == info:
            continue
        hint = hints[parameter.name]
        if parameter.default is parameter.empty:
            required.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint | msgspec.UnsetType, msgspec.UNSET))
    arguments = msgspec.defstruct(name, [*required, *fields], kw_only=True)
    declaration = Declaration(
        name, doc.does, _parameters(arguments, doc.arguments, where), deadline=marks.deadline
    )
    return PythonFunction(function, declaration, arguments, info, marks.reads_only)


def _hints(function: Callable[..., Any], where: str) -> tuple[dict[str, Any], str]:
    """The type of each parameter, and which one takes the call."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise UserError(f"{where}: a type hint cannot be read: {error}") from None
    info = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UserError(f"{where}: {parameter} is no argument that a model could name")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UserError(f"{where}: {parameter.name} has no name that could be called")
        if parameter.name not in hints:
            raise UserError(f"{where}: {parameter.name} has no type hint")
        if hints[parameter.name] is CallInfo:
            info = parameter.name
    return hints, info


def _parameters(
    arguments: type[msgspec.Struct], said: dict[str, str], where: str
) -> dict[str, Any] | None:
    if not arguments.__struct_fields__:
        return None
    for name in arguments.__struct_fields__:
        hint = arguments.__annotations__[name]
        try:
            msgspec.json.schema(hint)
        except TypeError:
            raise UserError(
                f"{where}: {name} has a type that JSON does not carry: {hint}"
            ) from None
    (made,), parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    schema = plain({**made, "$defs": parts}, where, strict=True)
    schema.pop("description", None)  # msgspec's words on our Struct
    for name, each in schema["properties"].items():
        if name in said:
            each["description"] = joined([said[name], *filter(None, [each.get("description")])])
    return schema


def _place(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


class PythonTool:
    """One function as a tool of one call.

    Args:
        function: the function.
        info: the call.
        threads: where it runs, unless it is async.
    """

    def __init__(self, function: PythonFunction, info: CallInfo, threads: Threads) -> None:
        self.declaration = function.declaration
        self._function = function
        self._info = info
        self._threads = threads

    async def run(self, args: dict[str, Any]) -> Answer:
        """Call the function; what it returns goes to the model as JSON."""
        name = self.declaration.name
        work = self._function.bind(args, self._info)
        if inspect.iscoroutinefunction(inspect.unwrap(self._function.function)):
            try:
                return Answer(presentable(name, await work()))
            except SystemExit as error:  # in a task it would end the server
                raise RuntimeError("SystemExit was raised") from error
        return Answer(await self._threads.run(name, lambda: presentable(name, work())))


class PythonEffect(PythonTool):
    """A function that does something that must not be done twice."""

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        """Call the function; `key` names what is done, and a function does without."""
        return await self.run(args)


def make_tool(function: PythonFunction, info: CallInfo, threads: Threads) -> PythonTool:
    """A function as a tool of this call."""
    kind = PythonTool if function.reads_only else PythonEffect
    return kind(function, info, threads)
