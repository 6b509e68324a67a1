"""`pickup agents`: whether the agents' files are right, and what they may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from agent.errors import UserError

app = typer.Typer(help="Check the agents' files; print what they may say.")


class Told(msgspec.Struct, frozen=True):
    """Something about a file; `line` is from 1, null where it concerns the file as a whole."""

    line: int | None
    text: str


class CheckedAgent(msgspec.Struct, frozen=True):
    """One agent's file."""

    name: str
    file: str
    ok: bool
    mistakes: list[Told]
    warnings: list[Told]


class AgentsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `pickup agents check --json` prints."""

    v: int = 1
    ok: bool
    folder: str
    agents: list[CheckedAgent]


@app.command()
def check(
    name: Annotated[str | None, typer.Argument(help="Only this agent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
) -> None:
    """Say every mistake in the agents' files, with its line and how to mend it; status 2 if there is one."""
    report = _report(name)
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        for agent in report.agents:
            _show(agent)
    if not report.ok:
        raise typer.Exit(2)


@app.command()
def schema(
    write: Annotated[
        Path | None, typer.Option(help="Write it to this file instead of printing it.")
    ] = None,
) -> None:
    """Print the JSON Schema of an agent's file, for editors."""
    from agent.config.agent_schema import agent_schema

    if write is None:
        print(agent_schema(), end="")
        return
    try:
        write.write_text(agent_schema())
    except OSError as error:
        raise UserError(f"cannot write: {error}") from None


def _report(name: str | None) -> AgentsReport:
    from agent.config.agent_files import AgentFiles, agents_folder
    from agent.config.settings import Settings, environment
    from agent.server.inspection import Remark, inspect
    from agent.server.lines import LineStore

    settings = Settings.load(environment(), Path(".env"))
    folder = agents_folder(settings.pickup_agents, Path.cwd()).absolute()
    files = AgentFiles(folder, lambda line: None)
    remarks = inspect(files, settings, LineStore(settings.data_dir / "lines"))
    if name is not None and name not in remarks:
        raise UserError(f"no agent {name!r} in {folder} (there: {', '.join(remarks) or 'none'})")
    if not remarks:
        raise UserError(f"no agent in {folder}: run `pickup init`, or set PICKUP_AGENTS")

    def told(some: list[Remark], *, grave: bool) -> list[Told]:
        return [Told(each.line or None, each.text) for each in some if each.grave is grave]

    agents = []
    for each, some in remarks.items():
        if name in (None, each):
            mistakes, warnings = told(some, grave=True), told(some, grave=False)
            file = str(folder / f"{each}.yaml")
            agents.append(CheckedAgent(each, file, not mistakes, mistakes, warnings))
    return AgentsReport(ok=all(each.ok for each in agents), folder=str(folder), agents=agents)


def _show(agent: CheckedAgent) -> None:
    for each, what in [(told, "") for told in agent.mistakes] + [
        (told, "warning: ") for told in agent.warnings
    ]:
        place = agent.file if each.line is None else f"{agent.file}:{each.line}"
        print(f"{place}: {what}{each.text}")
    if agent.ok:
        print(f"{agent.file}: ok")
