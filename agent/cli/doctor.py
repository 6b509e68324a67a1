"""`pickup doctor`: checks what can be checked, and says how to mend what fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.cli.parts.checks import Check, Finding, Patient
    from agent.config.settings import Settings
    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups

app = typer.Typer()


class Checked(msgspec.Struct, kw_only=True):
    """One check in `--json`.

    Attributes:
        verdict: ok, warn, fail, or skip where there was nothing to look at.
        mend: what to do; null where nothing is to be done.
        ms: how long it took, in milliseconds.
    """

    name: str
    verdict: str
    text: str
    mend: str | None
    ms: float


class LiveSetup(msgspec.Struct, kw_only=True):
    """What a model takes of one agent's setup, in `--live --json`; options by name.

    Attributes:
        refused: the smallest setup that is refused; null: the whole is accepted, or none was refused for its options.
        accepted: the largest setup that is accepted; null: none.
        sessions: how many were opened to find out.
        why: the service's words about the whole setup; null: it is accepted.
    """

    agent: str
    model: str
    refused: list[str] | None
    accepted: list[str] | None
    sessions: int
    why: str | None


class DoctorReport(msgspec.Struct, kw_only=True):
    """`pickup doctor --json`.

    Attributes:
        ok: nothing failed; warnings may be among the checks.
        live: with `--live`, what each agent's model takes of its setup.
    """

    v: int
    ok: bool
    checks: list[Checked]
    live: list[LiveSetup] = []


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Open sessions, and find what a model refuses.")
    ] = False,
) -> None:
    """Check settings, agents, disk, Gemini, Twilio and the way to here, and say how to mend what fails."""
    from agent.config.settings import Settings, environment

    try:
        settings = Settings.load(environment(), Path(".env"))
    except UserError as error:
        mend = "correct it in the environment or in .env: the rest is checked then"
        wrong = Checked(name="settings", verdict="fail", text=str(error), mend=mend, ms=0.0)
        report = DoctorReport(v=1, ok=False, checks=[wrong])
    else:
        report = asyncio.run(examine(settings, Path.cwd(), live=live))
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        for checked in report.checks:
            _show(checked)
    if not report.ok:
        raise typer.Exit(1)


def _show(checked: Checked) -> None:
    colors = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
    verdict = typer.style(f"{checked.verdict:<4}", fg=colors[checked.verdict])
    mend = f" -> {checked.mend}" if checked.mend else ""
    typer.echo(f"{verdict}  {checked.name:<14}  {checked.text}{mend}")


async def examine(settings: Settings, here: Path, *, live: bool = False) -> DoctorReport:
    """Make all checks, side by side.

    Args:
        settings: the deployment's.
        here: the working folder.
        live: open sessions with the agents' setups too.
    """
    import aiohttp

    from agent.cli.parts.checks import LOCAL_CHECKS, PATIENCE, Patient
    from agent.cli.parts.checks_outside import OUTSIDE_CHECKS
    from agent.cli.parts.checks_sip import sip_checks
    from agent.drive.logs import Redactor
    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups

    wakeups = Wakeups(asyncio.get_running_loop())
    tasks = Tasks("doctor")
    redact = Redactor(settings.secrets()).text
    first = Checked(name="settings", verdict="ok", text="all are valid", mend=None, ms=0.0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as http:
        patient = Patient(settings, here, http, wakeups.now)
        table = (*LOCAL_CHECKS, *sip_checks(settings), *OUTSIDE_CHECKS)
        running = [tasks.start_read(check.name, _timed(check, patient)) for check in table]
        await asyncio.wait(running)
    checks = [first]
    for check, task in zip(table, running, strict=True):
        # A check that broke must not hide what the others found.
        finding, ms = (_broken(error), 0.0) if (error := task.exception()) else task.result()
        checks.append(
            Checked(
                name=check.name,
                verdict=finding.verdict.value,
                text=redact(finding.text),
                mend=redact(finding.mend) or None,
                ms=round(ms, 1),
            )
        )
    seen = await _setups(settings, here, wakeups, tasks, checks, redact) if live else []
    await tasks.close()
    wakeups.close()
    ok = all(each.verdict != "fail" for each in checks)
    return DoctorReport(v=1, ok=ok, checks=checks, live=seen)


async def _setups(
    settings: Settings,
    here: Path,
    wakeups: Wakeups,
    tasks: Tasks,
    checks: list[Checked],
    redact: Callable[[str], str],
) -> list[LiveSetup]:
    """Have each agent's setup judged by its model, one after the other; adds a line to `checks` for each."""
    from pydantic import SecretStr

    from agent.cli.parts.checks import readable_agents, skipped, stand_in
    from agent.cli.parts.live_setup import Probe, finding, look
    from agent.cli.serve import STAND_IN_KEY
    from agent.config.agent_files import agents_folder
    from agent.server.toolkit import Toolkit
    from agent.tools.base import CallInfo

    agents = readable_agents(settings, here)
    toolkit = Toolkit(agents_folder(settings.pickup_agents, here), secret=settings.secret)
    found: list[tuple[str, Finding, float]] = []
    seen = []
    if settings.api_key is None and not stand_in(settings):
        found.append(("live", skipped("wants GEMINI_API_KEY"), 0.0))
        agents = {}
    if settings.api_key is None:
        settings = settings.model_copy(update={"gemini_api_key": SecretStr(STAND_IN_KEY)})
    try:
        for name, agent in agents.items():
            begun = wakeups.now()
            tools = await toolkit.tools(agent, CallInfo("doctor", agent.name))
            probe = Probe(settings, agent, tools, wakeups, tasks)
            judged = await look(probe, agent, agent.model or settings.gemini_model)
            why = None if judged.why is None else redact(judged.why)
            seen.append(LiveSetup(**judged._replace(why=why)._asdict()))
            found.append((f"live {name}", finding(judged), 1000 * (wakeups.now() - begun)))
    finally:
        await toolkit.close()
    for name, each, ms in found:
        checks.append(
            Checked(
                name=name,
                verdict=each.verdict.value,
                text=redact(each.text),
                mend=redact(each.mend) or None,
                ms=round(ms, 1),
            )
        )
    return seen


async def _timed(check: Check, patient: Patient) -> tuple[Finding, float]:
    """What a check found, and how many milliseconds it took."""
    from agent.cli.parts.checks import PATIENCE, bad

    begun = patient.clock()
    try:
        async with asyncio.timeout(PATIENCE):
            finding = await check.look(patient)
    except TimeoutError:
        finding = bad(
            f"no answer within {PATIENCE:.0f} s", "check the network, proxies and the disk"
        )
    return finding, 1000 * (patient.clock() - begun)


def _broken(error: BaseException) -> Finding:
    from agent.cli.parts.checks import bad

    return bad(
        f"the check itself broke: {type(error).__name__}: {error}", "please report this as a bug"
    )
