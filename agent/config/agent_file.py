"""What the agent is: one YAML file per agent, checked with line numbers, read again when it was saved.

    name: Harbour Dental        # who answers
    persona: |                  # the model's instruction
      You are the front desk of ...
    greeting: How can I help?   # the first words after the disclosure

Scalars are read as YAML 1.2's core schema reads them, less its numbers: `fallback_number: +15551234567` stays text and
`language: no` is Norwegian, not false. Only true, false and null are more than text.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

DISCLOSURE = "Hello. You are speaking with an automated assistant."
"""The first words of every call, unless the agent's file has others or waives them."""

EXAMPLES = Path(__file__).parent.parent / "examples"
"""The agents that come with Pickup; `pickup init` copies them out."""

LARGEST = 256 * 1024
"""Bytes. A persona that is longer would not fit a model's context anyhow."""


def _not_a_switch(text: str) -> str:
    """Refuse a word that was meant as a switch: it would be read aloud to callers."""
    if text.lower() in ("", "no", "off", "none", "false", "yes", "on", "true"):
        raise ValueError("write false to waive it")
    return text


Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
"""A line to be spoken."""


class AgentFile(BaseModel):
    """An agent as its file describes it; frozen, so that a call keeps the agent it began with."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    persona: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)
    ]
    greeting: Annotated[Line, Field(min_length=1)] = "How can I help you?"
    voice: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")] = "Kore"
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en-US"
    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None = None
    disclosure: Annotated[Line, AfterValidator(_not_a_switch)] | Literal[False] = DISCLOSURE
    recording: bool = False
    fallback_number: Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")] | None = None

    def digest(self) -> str:
        """Name this agent's very content, for the record of a call (SHA-256, hexadecimal)."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


SHOULD_BE = {
    "name": "the name of who answers, at most 80 characters",
    "persona": "the model's instruction, some text of at most 50000 characters",
    "greeting": "a line to be spoken, at most 500 characters",
    "voice": "a voice's name, such as Kore or Puck",
    "language": "a language tag such as en-US (BCP 47)",
    "model": "a model's name such as gemini-3.8-live",
    "disclosure": "a line to be spoken, at most 500 characters, or false to waive it",
    "recording": "true or false",
    "fallback_number": "a number such as +15551234567 (E.164)",
}
"""What each key should be, in words that finish the sentence "KEY should be ..."."""


CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
"""The only unquoted words that are more than text (YAML 1.2, 10.3.2)."""


class _Loader(yaml.BaseLoader):
    """YAML without aliases: ten lines of them can unfold to more than a machine holds."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.get_event()  # type: ignore[no-untyped-call]  # the stubs miss it
            raise yaml.MarkedYAMLError(
                problem="aliases are not taken", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def parse_agent(text: str, source: str) -> AgentFile:
    """Read an agent from its file's text.

    Args:
        text: the YAML.
        source: the file's name, as errors should show it.

    Raises:
        UserError: `source:line: what is wrong`, for the first mistake, and how many more there are.
    """
    data, lines = _read_mapping(text, source)
    try:
        return AgentFile.model_validate(data)
    except ValidationError as error:
        problems = sorted(
            (lines.get(key, 1), _complaint(key, problem["type"]))
            for key, problem in {str(p["loc"][0]): p for p in error.errors()}.items()
        )
    line, complaint = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise UserError(f"{source}:{line}: {complaint}{more}")


def _read_mapping(text: str, source: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the file's keys with their values, and with their lines (from 1)."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UserError(f"{source}:{line}: not YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{source}:{line}: not YAML: {error.reason}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{source}:1: should be `key: value` lines, beginning with `name:`")
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = str(_value(key_node))
        line = key_node.start_mark.line + 1
        if key in lines:  # YAML would take the last one without a word
            raise UserError(f"{source}:{line}: {key} is given twice (first in line {lines[key]})")
        lines[key] = line
        data[key] = _value(value_node)
    return data, lines


def _value(node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {str(_value(key)): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        return CONSTANTS.get(node.value.lower(), node.value)
    return node.value


def _complaint(key: str, kind: str) -> str:
    if kind == "missing":
        return f"{key} is missing: {SHOULD_BE[key]}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(key, AgentFile.model_fields, n=1)
        known = f"did you mean {near[0]}?" if near else f"known are {', '.join(SHOULD_BE)}"
        return f"unknown key {key}: {known}"
    return f"{key} should be {SHOULD_BE[key]}"


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
