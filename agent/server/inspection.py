"""What is wrong with the agents' files beyond each one's own words: what only the deployment, its folders and the model can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.config.agent_files import claimed_twice
from agent.config.agent_yaml import WrongFile, line_of
from agent.errors import UserError
from agent.protocols.gemini.setup import DEVELOPER_API, check
from agent.server.outside_tools import http_spec
from agent.server.providers import Order, gemini_options
from agent.tools.python_files import PythonFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.server.lines import LineStore

Where = tuple[str | int, ...]


class Remark(NamedTuple):
    """Something about an agent's file.

    Attributes:
        line: where, from 1; 0 where it concerns the file as a whole.
        text: what is wrong, and what to do.
        grave: whether it is a mistake; otherwise calls do without and the operator should know.
    """

    line: int
    text: str
    grave: bool = True


def inspect(files: AgentFiles, settings: Settings, lines: LineStore) -> dict[str, list[Remark]]:
    """Look at every agent's file; each has its remarks by line, none where all is well.

    It runs the modules that the agents name, as calls would.
    """
    agents, broken = files.readable()
    remarks: dict[str, list[Remark]] = {name: [] for name in files.names()}
    for name, error in broken.items():
        if isinstance(error, WrongFile):
            remarks[name] = [Remark(line, text) for line, text in error.mistakes]
        else:
            remarks[name] = [Remark(0, str(error))]
    for name, agent in agents.items():
        path = files.folder / f"{name}.yaml"
        text = path.read_text()
        found = _found(agent, files.folder, settings)
        remarks[name] = [Remark(line_of(text, where), told) for where, told in found]
        remarks[name] += [
            Remark(line_of(text, where), told, grave=False)
            for where, told in _silent(agent, settings, lines)
        ]
    for name, index, owner in claimed_twice(agents):
        line = line_of((files.folder / f"{name}.yaml").read_text(), ("numbers", index))
        told = f"numbers[{index}] is claimed by {owner}.yaml too: a number reaches one agent"
        remarks[name].append(Remark(line, told))
    return {name: sorted(each) for name, each in remarks.items()}


def _found(agent: AgentFile, folder: Path, settings: Settings) -> Iterator[tuple[Where, str]]:
    """The mistakes of one agent."""
    for index, entry in enumerate(agent.tools):
        for name in entry.secrets():
            if settings.secret(name) is None:
                yield ("tools", index), f"tools[{index}] needs {name}: set it in the environment"
        if entry.python is not None:
            try:
                PythonFiles(folder, lambda line: None).functions(entry.python)
            except UserError as error:
                yield ("tools", index), f"tools[{index}].python: {error}"
        if entry.http is not None:
            try:
                http_spec(entry.http).declaration()
            except UserError as error:
                yield ("tools", index), f"tools[{index}].http: {error}"
    if agent.knowledge is not None and not (folder / agent.knowledge).is_dir():
        yield ("knowledge",), f"knowledge: no folder {folder / agent.knowledge}"
    try:
        options = gemini_options(settings, agent, Order((), ""))
        check(options, DEVELOPER_API, settings.gemini_api_version)
    except UserError as error:
        option = str(error).partition(":")[0]
        yield ("model_options", option), f"model_options.{error}"


def _silent(agent: AgentFile, settings: Settings, lines: LineStore) -> Iterator[tuple[Where, str]]:
    """The agent's own sentences that have no sound yet."""
    model = agent.model or settings.gemini_model
    for name, _ in lines.wanted(agent, model):
        where = ("lines", name) if name in type(agent.lines).model_fields else (name,)
        shown = ".".join(where)
        yield where, f"{shown} has no sound yet: until the model has read it, Pickup's own is said"
