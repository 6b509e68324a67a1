"""The house rules that no linter knows: how large things may be, and who may start a task or read a clock."""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AGENT = sorted((ROOT / "agent").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FILE_LINES, TEST_LINES, FUNCTION_LINES, ATTRIBUTES = 600, 800, 90, 18
"""Where a review stops. The comfort is lower: about 400 lines, 60 lines and a dozen."""

TABLES = {("agent/server/metrics.py", "Metrics")}
"""Lists of things that stay what they are, one attribute each: no state, however long."""

TASK_OWNERS = {"agent/drive/tasks.py", "agent/simulator/clock.py"}
STARTS = {"create_task", "ensure_future"}

CLOCKS = {"agent/drive/wakeups.py", "agent/simulator/clock.py"}
WALL_CLOCKS = {"agent/server/clock.py"}
READS = {"time", "monotonic", "perf_counter", "process_time"}
READS |= {f"{name}_ns" for name in READS}

ENVIRONMENT = {"agent/config/settings.py"}
LOOKS = {"environ", "environb", "getenv", "getenvb"}

WATCHED = STARTS | READS | LOOKS

RECORDS = {"Struct", "NamedTuple", "BaseModel", "BaseSettings", "TypedDict", "Protocol"}
RECORDS |= {"Enum", "StrEnum", "IntEnum", "Event", "Command"}
"""Bases of classes that hold no state of their own: values, not things."""

ASKED_FOR = (
    ast.ClassDef,
    ast.ExceptHandler,
    ast.Call,
    ast.Attribute,
    ast.ImportFrom,
)

CONTAINERS = {"list", "dict", "set", "deque", "bytearray", "defaultdict", "Counter", "OrderedDict"}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


@cache
def tree(path: Path) -> ast.Module:
    gc.disable()  # a tree is a million things, and none of them garbage
    try:
        return ast.parse(path.read_text(), named(path))
    finally:
        gc.enable()


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """What a file consists of, as far as a rule asks for it: most of a tree are names and constants."""
    return tuple(node for node in ast.walk(tree(path)) if isinstance(node, ASKED_FOR))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a file, by its statements alone: an expression holds none, and expressions are most of a tree."""
    waiting: list[ast.AST] = [tree(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, block, [])
            waiting.extend(inner if isinstance(inner, list) else ())


def every(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    assert all(issubclass(kind, ASKED_FOR) for kind in kinds)
    return (node for node in nodes(path) if isinstance(node, kinds))


def too_long(path: Path) -> Iterator[str]:
    """A file fits a reader's head."""
    lines = len(path.read_text().splitlines())
    if lines > (FILE_LINES if path in AGENT else TEST_LINES):
        yield f"{lines} lines"


def long_functions(path: Path) -> Iterator[str]:
    """A function fits a screen."""
    for function in functions(path):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        first = function.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):  # its docstring
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{function.name} has {lines} lines"


def much_state(path: Path) -> Iterator[str]:
    """A class keeps no more state than one can hold in mind."""
    for kind in every(path, ast.ClassDef):
        assert isinstance(kind, ast.ClassDef)
        listed = (named(path), kind.name) in TABLES
        if not is_record(kind) and not listed and len(state := changing(kind)) > ATTRIBUTES:
            yield f"{kind.name} keeps {len(state)}: {', '.join(sorted(state))}"


def is_record(kind: ast.ClassDef) -> bool:
    """Frozen dataclasses, structs, models and enumerations are values, whatever their size."""
    bases = {ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in kind.bases}
    frozen = any("frozen=True" in ast.unparse(mark) for mark in kind.decorator_list)
    return frozen or bool(bases & RECORDS)


def changing(kind: ast.ClassDef) -> set[str]:
    """Names of what changes in an object's life: set after `__init__`, filled, or made there for others; a dataclass's fields."""
    found: set[str] = set()
    for method in kind.body:
        for node in ast.walk(method):
            if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            first = isinstance(method, ast.FunctionDef) and method.name == "__init__"
            names = {name for target in targets for name in own(target)}
            if not first or is_container(node.value):
                found |= names
            elif not isinstance(node.value, ast.Name):  # else an argument, kept as it came
                found |= {name for name in names if not name.startswith("_")}
        if (
            isinstance(method, ast.AnnAssign)
            and isinstance(method.target, ast.Name)
            and "ClassVar" not in ast.unparse(method.annotation)
            and any("dataclass" in ast.unparse(mark) for mark in kind.decorator_list)
        ):
            found.add(method.target.id)
    return found


def own(target: ast.expr) -> Iterator[str]:
    """The attributes of self that an assignment to `target` sets."""
    for part in ast.walk(target):
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
            yield part.attr


def is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in CONTAINERS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp)


def blind_catches(path: Path) -> Iterator[str]:
    """No error is caught that nobody named, unless it goes on after the clean-up."""
    for node in every(path, ast.ExceptHandler, ast.Call):
        if isinstance(node, ast.ExceptHandler):
            goes_on = isinstance(node.body[-1], ast.Raise)
            if (node.type is None or catches_all(node.type)) and not goes_on:
                yield f"line {node.lineno} catches everything"
        elif isinstance(node, ast.Call):
            suppresses = isinstance(node.func, ast.Attribute) and node.func.attr == "suppress"
            if suppresses and any(map(catches_all, node.args)):
                yield f"line {node.lineno} suppresses everything"


def catches_all(kinds: ast.expr) -> bool:
    names = (part.id for part in ast.walk(kinds) if isinstance(part, ast.Name))
    return any(name in ("Exception", "BaseException") for name in names)


def uses(path: Path) -> Iterator[tuple[int, str, str]]:
    """Every `owner.name` that a file uses or imports, with its line."""
    for node in every(path, ast.Attribute, ast.ImportFrom):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and node.attr in WATCHED:
            yield node.lineno, ast.unparse(node.value), node.attr


def is_loop(owner: str) -> bool:
    return owner.lower().endswith(("loop", "get_running_loop()", "get_event_loop()"))


def stray_tasks(path: Path) -> Iterator[str]:
    """Only an owner starts tasks."""
    for line, owner, name in uses(path) if named(path) not in TASK_OWNERS else ():
        if name in STARTS and (owner == "asyncio" or is_loop(owner)):
            yield f"line {line}: {owner}.{name}: tasks have an owner"


def stray_clocks(path: Path) -> Iterator[str]:
    """Only the clock is read."""
    for line, owner, name in uses(path) if named(path) not in CLOCKS else ():
        wall = name == "time" and named(path) in WALL_CLOCKS
        if not wall and (
            (owner == "time" and name in READS) or (name == "time" and is_loop(owner))
        ):
            yield f"line {line}: {owner}.{name}: time is an argument"


def stray_environment(path: Path) -> Iterator[str]:
    """Only the settings look at the environment."""
    for line, owner, name in uses(path) if named(path) not in ENVIRONMENT else ():
        if owner == "os" and name in LOOKS:
            yield f"line {line}: {owner}.{name}: settings are passed down"


def busy_packages(path: Path) -> Iterator[str]:
    """A package says what it is, and hides nothing in its `__init__`."""
    if path.name != "__init__.py" or named(path) == "agent/cli/__init__.py":
        return  # the command itself lives in agent/cli
    if not ast.get_docstring(tree(path)):
        yield "has no docstring"
    allowed = ["__version__"] if named(path) == "agent/__init__.py" else []
    body = [ast.unparse(node) for node in tree(path).body if not isinstance(node, ast.Expr)]
    if [line.partition(" ")[0] for line in body] != allowed:
        yield f"holds {body}"


Rule = Callable[[Path], Iterator[str]]
EVERYWHERE: list[Rule] = [too_long, long_functions]
IN_AGENT: list[Rule] = [
    much_state,
    blind_catches,
    stray_tasks,
    stray_clocks,
    stray_environment,
    busy_packages,
]


@pytest.mark.timeout(60)  # the first one reads every file
@pytest.mark.parametrize("rule", [*EVERYWHERE, *IN_AGENT], ids=lambda rule: str(rule.__name__))
def test_the_house_rule_holds(rule: Rule) -> None:
    paths = AGENT + TESTS if rule in EVERYWHERE else AGENT
    assert not [f"{named(path)}: {broken}" for path in paths for broken in rule(path)]


BROKEN = """
import asyncio, os, time, contextlib
class Big:
    def __init__(self):
        self.options = self.clock = options
        self.tape = []
        self.part = Part()
        self._part = Part()
    def work(self):
        self.a = self.b = 0
        self.c, self.d = 1, 2
        self.e += 3
async def work():
    asyncio.create_task(x()); asyncio.get_running_loop().create_task(x()); self._loop.create_task(x())
    time.monotonic(); self._loop.time(); time.time(); os.environ['X']
    try: pass
    except (ValueError, Exception):
        with contextlib.suppress(Exception): pass
    except BaseException: clean(); raise
    except: pass
"""


@pytest.mark.parametrize(
    ("rule", "count"),
    [(blind_catches, 3), (stray_tasks, 3), (stray_clocks, 3), (stray_environment, 1)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_house_rule_finds_what_it_looks_for(tmp_path: Path, rule: Rule, count: int) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    assert len(list(rule(path))) == count


def test_sizes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    (big,) = (node for node in ast.parse(BROKEN).body if isinstance(node, ast.ClassDef))
    assert changing(big) == {"tape", "part", *"abcde"}
    for name, limit in (("ATTRIBUTES", 5), ("FUNCTION_LINES", 3), ("TEST_LINES", 10)):
        monkeypatch.setitem(globals(), name, limit)
    assert [len(list(rule(path))) for rule in (much_state, long_functions, too_long)] == [1, 3, 1]
    package = tmp_path / "__init__.py"
    package.write_text("import os\n")
    assert list(busy_packages(package)) == ["has no docstring", "holds ['import os']"]
