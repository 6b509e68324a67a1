"""`pickup campaign`: have the running server call everybody in a file, at a rate and a few at a time.

The database holds the campaign: the server dials what it finds there, and this command writes it down and looks. So a campaign
goes on when this command or the server is killed, and `run` with the same file takes it up where it is.
"""

from __future__ import annotations

import asyncio
import datetime
import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress as Bar

    from agent.cli.parts.campaign_file import CampaignFile
    from agent.config.settings import Settings
    from agent.storage.attempts import Wanted
    from agent.storage.campaigns import Campaign, Campaigns, Progress
    from agent.storage.database import Database

app = typer.Typer(no_args_is_help=True)

LOOK_EVERY = 0.5
"""Seconds between looks at the database."""
QUIET = 20.0
"""Seconds in which something is due and nothing is dialled, after which a server is missed."""

Json = Annotated[bool, typer.Option("--json", help="One JSON object on one line.")]
Id = Annotated[str, typer.Argument(help="The campaign's id, as `pickup campaign list` shows it.")]


class Standing(msgspec.Struct, kw_only=True):
    """How a campaign stands, in `--json`.

    Attributes:
        waiting: rows that are still to be dialled, now or again later.
        active: rows that are dialled, or on the line.
        ended: rows that are done with, by reason.
        results: absolute path of the results, null where none were written.
    """

    v: int = 1
    id: str
    agent: str
    state: str
    rate: float
    concurrency: int
    total: int
    waiting: int
    active: int
    ended: dict[str, int]
    results: str | None


class Standings(msgspec.Struct, kw_only=True):
    """`pickup campaign list --json`."""

    v: int = 1
    campaigns: list[Standing]


@app.command()
def run(
    file: Annotated[
        Path, typer.Argument(help="CSV: a column `number`, and one for each variable.")
    ],
    agent: Annotated[str, typer.Option("--agent", help="Name of the agent's file.")],
    rate: Annotated[float, typer.Option(help="Calls begun in a second.", min=0.001, max=100)] = 1.0,
    concurrency: Annotated[int, typer.Option(help="Calls at a time.", min=1, max=10_000)] = 5,
    results: Annotated[
        Path | None, typer.Option(help="Where the results go; FILE.results.csv where not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Call everybody in a file. The same file again goes on where it was; Ctrl-C pauses."""
    settings = _settings()
    found = _read(settings, file, agent)
    wanted = (rate, concurrency)
    for line in _slower(settings, len(found.rows), rate, concurrency):
        _tell(line)
    where = results or file.with_name(f"{file.stem}.results.csv")
    standing, paused = asyncio.run(_run(settings, found, agent, wanted, where))
    if as_json:
        typer.echo(msgspec.json.encode(standing).decode())
    ended = ", ".join(f"{many} {why}" for why, many in sorted(standing.ended.items()))
    _tell(f"{standing.state}: {ended or 'nobody was called'}; results: {where}")
    if paused:
        _tell("on the line is finished; the same command goes on where this one stopped")
        raise typer.Exit(130)
    if standing.waiting or standing.active:
        raise typer.Exit(1)


@app.command("list")
def list_campaigns(as_json: Json = False) -> None:
    """List the campaigns, the newest first."""
    from agent.cli.parts.database import ask

    standings = ask(_settings().database, _every)
    if as_json:
        typer.echo(msgspec.json.encode(Standings(campaigns=standings)).decode())
    elif not standings:
        typer.echo("No campaigns yet.")
    else:
        _print(standings)


@app.command()
def pause(campaign: Id) -> None:
    """Dial nobody else for now; what is on the line is finished."""
    _change(campaign, "paused")


@app.command()
def resume(campaign: Id) -> None:
    """Go on with a campaign that was paused or stopped."""
    _change(campaign, "running")


@app.command()
def stop(campaign: Id) -> None:
    """Dial nobody else, also when `run` is asked again; what is on the line is finished."""
    _change(campaign, "stopped")


def _change(campaign: str, state: str) -> None:
    from agent.cli.parts.database import ask

    typer.echo(ask(_settings().database, lambda database: _set(database, campaign, state)))


async def _set(database: Database, campaign: str, state: str) -> str:
    from agent.storage.campaigns import Campaigns, CampaignState

    if not await Campaigns(database).change(campaign, CampaignState(state)):
        raise UserError(f"there is no campaign {campaign!r}: see `pickup campaign list`")
    return f"{campaign} is {state}"


def _settings() -> Settings:
    from agent.config.settings import Settings, environment

    return Settings.load(environment(), Path(".env"))


def _read(settings: Settings, file: Path, agent: str) -> CampaignFile:
    from agent.cli.parts.campaign_file import read
    from agent.config.agent_files import AgentFiles, agents_folder
    from agent.server.clock import wall
    from agent.server.outbound.orders import Orders
    from agent.server.outbound.outbound import caps, destinations, ways
    from agent.storage.attempts import Attempts
    from agent.storage.database import Database

    agents = AgentFiles(agents_folder(settings.pickup_agents, Path.cwd()), _tell)
    agents.get(agent)  # its own mistakes are told once, and not for each row
    allowed = destinations(settings, agents)
    orders = Orders(
        attempts=Attempts(Database(settings.database)),
        agents=agents,
        destinations=lambda: allowed,
        caller_id=settings.caller_id,
        caps=caps(settings),
        ways=ways(settings),
    )
    return read(file, agent, orders.check, wall())


def _slower(settings: Settings, people: int, rate: float, concurrency: int) -> Iterator[str]:
    """What will hold the campaign back; the server's settings are most likely these."""
    for name, limit, wanted in (
        ("CALLS_PER_SECOND", settings.calls_per_second, rate),
        ("MAX_CALLS", settings.max_calls, concurrency),
        ("CALLS_PER_HOUR", settings.calls_per_hour, people),
        ("CALLS_PER_DAY", settings.calls_per_day, people),
    ):
        if wanted > limit:
            yield f"{name} is {limit:g}, which holds this campaign back"


# ---- one campaign


async def _run(
    settings: Settings,
    found: CampaignFile,
    agent: str,
    wanted: tuple[float, int],
    results: Path,
) -> tuple[Standing, bool]:
    """Until it has ended, or somebody paused it: how it stands then, and whether that was we."""
    from agent.cli.parts.campaign_file import write_results
    from agent.errors import StorageError
    from agent.storage.campaigns import Campaigns, CampaignState
    from agent.storage.database import Database

    database = Database(settings.database)
    campaigns = Campaigns(database)
    enough = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, enough.set)
    try:
        campaign = await _begin(campaigns, found, agent, wanted)
        await _watch(campaigns, campaign, enough)
        if enough.is_set():
            await campaigns.change(campaign, CampaignState.PAUSED)
        write_results(results, found.columns, await campaigns.rows(campaign))
        now = await campaigns.get(campaign)
        assert now is not None  # campaigns are never deleted
        standing = _standing(now, await campaigns.progress(campaign), results)
        return standing, enough.is_set()
    except StorageError as error:
        raise UserError(
            f"the database does not answer ({error}); the same command goes on"
        ) from error
    finally:
        await database.close()


async def _begin(
    campaigns: Campaigns, found: CampaignFile, agent: str, wanted: tuple[float, int]
) -> str:
    """Write the campaign down, or take it up where it is; its id."""
    from agent.server.clock import wall
    from agent.storage.campaigns import Campaign, CampaignState

    campaign = Campaign(
        id=found.digest[:12],
        digest=found.digest,
        agent=agent,
        rate=wanted[0],
        concurrency=wanted[1],
        begun_at=wall(),
    )
    if await campaigns.begin(campaign, _rows(campaign.id, found, agent)):
        _tell(f"campaign {campaign.id}: {len(found.rows)} to be called")
        return campaign.id
    known = await campaigns.get(campaign.id)
    if known is not None and known.state is CampaignState.STOPPED:
        raise UserError(f"this campaign was stopped: `pickup campaign resume {campaign.id}` first")
    await campaigns.change(campaign.id, CampaignState.RUNNING, *wanted)
    _tell(f"campaign {campaign.id} goes on")
    return campaign.id


def _rows(campaign: str, found: CampaignFile, agent: str) -> list[Wanted]:
    from agent.storage.attempts import Wanted

    return [
        Wanted(
            id=f"{campaign}{row.n:06}",
            idempotency_key=f"campaign {campaign} {row.n}",
            number=row.number,
            agent=agent,
            not_before=row.not_before,
            variables=row.variables,
            campaign=campaign,
            row=row.n,
        )
        for row in found.rows
    ]


async def _watch(campaigns: Campaigns, campaign: str, enough: asyncio.Event) -> None:
    """Show how far it is, until it has ended, is paused from elsewhere, or it is enough."""
    from agent.server.clock import wall
    from agent.storage.campaigns import CampaignState

    quiet, before = 0.0, None
    with _bar() as bar:
        task = bar.add_task("")
        while not enough.is_set():
            progress = await campaigns.progress(campaign)
            done = sum(progress.ended.values())
            told = _told(progress, wall())
            bar.update(task, total=progress.total, completed=done, description=told)
            if not (progress.waiting or progress.active):
                return
            known = await campaigns.get(campaign)
            if (
                known is not None
                and known.state is not CampaignState.RUNNING
                and not progress.active
            ):
                return
            due = progress.next_at is not None and progress.next_at <= wall()
            quiet = (
                quiet + LOOK_EVERY if due and progress == before and not progress.active else 0.0
            )
            if quiet >= QUIET:
                quiet = -math.inf  # once is enough
                _tell(
                    "nothing is dialled: is `pickup serve` running with this database, and allowed to call?"
                )
            before = progress
            await _pause(enough)


async def _pause(enough: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(LOOK_EVERY):
            await enough.wait()
    except TimeoutError:
        return


async def _every(database: Database) -> list[Standing]:
    from agent.storage.campaigns import Campaigns

    campaigns = Campaigns(database)
    return [
        _standing(each, await campaigns.progress(each.id), None) for each in await campaigns.every()
    ]


def _standing(campaign: Campaign, progress: Progress, results: Path | None) -> Standing:
    return Standing(
        id=campaign.id,
        agent=campaign.agent,
        state="ended" if not (progress.waiting or progress.active) else campaign.state.value,
        rate=campaign.rate,
        concurrency=campaign.concurrency,
        total=progress.total,
        waiting=progress.waiting,
        active=progress.active,
        ended=progress.ended,
        results=None if results is None else str(results.absolute()),
    )


# ---- for people


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=Console(stderr=True))


def _told(progress: Progress, now: float) -> str:
    """`3 on the line; 12 caller_busy; next 08:00`, in this machine's time zone."""
    parts = [f"{progress.active} on the line"]
    parts += [f"{many} {why}" for why, many in sorted(progress.ended.items())]
    if progress.next_at is not None and progress.next_at > now:
        at = datetime.datetime.fromtimestamp(progress.next_at, tz=datetime.UTC).astimezone()
        parts.append(f"next {at:%a %H:%M}")
    return "; ".join(parts)


def _print(standings: list[Standing]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "agent", "state", "called", "on the line", "of", "ended")
    for each in standings:
        done = sum(each.ended.values())
        ended = ", ".join(f"{many} {why}" for why, many in sorted(each.ended.items()))
        counts = (str(done), str(each.active), str(each.total))
        table.add_row(each.id, each.agent, each.state, *counts, ended)
    Console(highlight=False).print(table)


def _tell(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
