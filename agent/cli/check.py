"""`pickup check`: scripted callers hold calls with an agent, and say whether it did what was expected."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from agent.cli.parts.scenario_call import Case
    from agent.cli.parts.scenario_verdict import CheckedScenario, CheckReport
    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings

app = typer.Typer()

AT_ONCE = 4
"""Calls side by side: a model's quota is small, and so is this machine."""

FOLDER = "check"
"""In `DATA_DIR`: what scripted callers leave there reaches nobody."""


@app.command()
def check(
    scenario: Annotated[
        list[Path] | None,
        typer.Argument(help="Scenarios (YAML); without any, those in the agents' folder."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="Name of the agent's file, for all of them.")
    ] = None,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Have the built-in stand-in answer, key or not.")
    ] = False,
    at_once: Annotated[
        int, typer.Option("--concurrency", help="Calls side by side.", min=1, max=50)
    ] = AT_ONCE,
    junit: Annotated[Path | None, typer.Option(help="Write the results as JUnit XML.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a scenario, for editors.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
) -> None:
    """Hold scripted calls with an agent; status 1 where it did not do what was expected."""
    from agent.cli.parts.text_model import fakes
    from agent.config.agent_files import AgentFiles, agents_folder
    from agent.config.agent_schema import scenario_schema
    from agent.config.settings import Settings, environment
    from agent.drive.logs import configure

    if schema:
        print(scenario_schema(), end="")
        return
    settings = Settings.load(environment(), Path(".env"))
    agents = AgentFiles(agents_folder(settings.pickup_agents, Path.cwd()), _report)
    why = fakes(settings, stand_in=stand_in)
    cases = _cases(agents, scenario or [], agent, stand_in=bool(why))
    named = [secret for case in cases for secret in case.agent.secrets()]
    configure("error", settings.log_format, settings.secrets(named))
    answered_by = "stand-in" if why else settings.gemini_model
    _report(
        f"{why}: the built-in stand-in answers, from the scenarios: this tests tools and wiring, not the persona"
        if why
        else f"{answered_by} at {settings.gemini_url} answers, and is paid for it"
    )
    data = settings.data_dir / FOLDER
    settings = settings.model_copy(update={"data_dir": data, "database_url": None})
    held = _Checks(cases, settings, agents, at_once, stand_in=bool(why), shows=not as_json)
    junit = junit and junit.absolute()
    report = asyncio.run(held.run(answered_by, junit))
    _finish(report, junit, as_json=as_json)


def _cases(
    agents: AgentFiles, files: list[Path], agent: str | None, *, stand_in: bool
) -> list[Case]:
    """Read everything before the first call.

    Raises:
        UserError: a file is wrong, or nobody knows whom it is for.
    """
    from agent.cli.parts.scenario_call import prepared
    from agent.config.scenario import load_scenario

    chosen = files or sorted((agents.folder / "scenarios").glob("*.yaml"))
    if not chosen:
        raise UserError(f"no scenarios: name some, or put them into {agents.folder / 'scenarios'}")
    cases = []
    for file in chosen:
        scenario = load_scenario(file)
        name = agent or scenario.agent
        if name is None:
            raise UserError(f"{file}: says no agent: write `agent: NAME`, or give --agent")
        if not files and agent is not None and scenario.agent not in (None, agent):
            continue  # another agent's
        if stand_in and not scenario.scripted:
            raise UserError(
                f"{file}: a turn has no `stand_in`, so the stand-in cannot answer it: set GEMINI_API_KEY"
            )
        try:
            cases.append(prepared(file, scenario, agents.get(name), name))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    if not cases:
        raise UserError(f"no scenario is for the agent {agent}")
    return cases


class _Checks:
    """Holds the calls, a few at a time."""

    def __init__(
        self,
        cases: list[Case],
        settings: Settings,
        agents: AgentFiles,
        at_once: int,
        *,
        stand_in: bool,
        shows: bool,
    ) -> None:
        self._cases = cases
        self._settings = settings
        self._agents = agents
        self._room = asyncio.Semaphore(at_once)
        self._stand_in = stand_in
        self._shows = shows

    async def run(self, answered_by: str, junit: Path | None) -> CheckReport:
        from agent.cli.parts.scenario_verdict import CheckReport
        from agent.drive.tasks import Tasks
        from agent.drive.wakeups import Wakeups
        from agent.storage.database import Database

        now = Wakeups(asyncio.get_running_loop()).now
        began = now()
        self._settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        await (await Database.open(self._settings.database)).close()  # its tables, once for all
        tasks = Tasks("check")
        with ThreadPoolExecutor(4, "disk") as disk:
            held = [
                tasks.start_read(str(case.file), self._hold(case, disk)) for case in self._cases
            ]
            try:
                await asyncio.wait(held)
            finally:
                await tasks.close()
        scenarios = [each.result() for each in held]
        return CheckReport(
            ok=all(each.ok for each in scenarios),
            answered_by=answered_by,
            seconds=round(now() - began, 3),
            junit=None if junit is None else str(junit),
            scenarios=scenarios,
        )

    async def _hold(self, case: Case, disk: ThreadPoolExecutor) -> CheckedScenario:
        from agent.cli.parts.scenario_call import hold

        async with self._room:
            checked = await hold(case, self._settings, self._agents, disk, stand_in=self._stand_in)
        if self._shows:
            _show(checked)
        return checked


def _show(checked: CheckedScenario) -> None:
    from agent.cli.parts.junit import conversation, failures

    mark = "ok  " if checked.ok else "FAIL"
    first = checked.first_word_seconds
    heard = "-" if first is None else f"{first:.2f} s"
    print(
        f"{mark}  {checked.seconds:6.1f} s  first word {heard:>7}  {checked.agent}: {checked.name}",
        flush=True,
    )
    if not checked.ok:
        print(f"      {checked.file}; record: {checked.folder}")
        for wrong in failures(checked):
            print(f"      {wrong}")
        for line in conversation(checked):
            print(f"        {line}")


def _finish(report: CheckReport, junit: Path | None, *, as_json: bool) -> None:
    import msgspec

    from agent.cli.parts.junit import junit as as_junit

    if junit is not None:
        try:
            junit.write_bytes(as_junit(report))
        except OSError as error:
            raise UserError(f"cannot write {junit}: {error.strerror}") from None
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        good = sum(each.ok for each in report.scenarios)
        print(f"{good} of {len(report.scenarios)} scenarios in {report.seconds:.1f} s")
    if not report.ok:
        raise typer.Exit(1)


def _report(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
