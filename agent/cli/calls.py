"""`pickup calls`: which calls there were, and what happened in one of them."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from agent.call.hops import Hop
from agent.errors import StorageError, UserError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rich.console import Console
    from rich.table import Table

    from agent.config.settings import Settings
    from agent.storage.records import CallRecord, Records

app = typer.Typer(invoke_without_command=True)

T = TypeVar("T")

FILES = ("call.wav", "transcript.json", "events.jsonl", "caller.pcm", "model.pcm")

Json = Annotated[bool, typer.Option("--json", help="One JSON object on one line.")]
Numbers = Annotated[bool, typer.Option("--numbers", help="Show whole phone numbers.")]


class Call(msgspec.Struct, kw_only=True):
    """One call in `--json`. Times are seconds since 1970-01-01 UTC; numbers are their last two digits, or whole."""

    id: str
    provider: str
    provider_call_id: str | None
    state: str
    direction: str
    agent: str
    started_at: float
    answered_at: float | None
    ended_at: float | None
    end_reason: str | None
    from_number: str | None
    to_number: str | None
    number_hash: str | None
    legs: int
    metrics: dict[str, Any]
    version: str


class CallList(msgspec.Struct, kw_only=True):
    """`pickup calls --json`."""

    v: int
    calls: list[Call]


class CallReport(msgspec.Struct, kw_only=True):
    """`pickup calls show ID --json`.

    Attributes:
        transcript: the lines of `transcript.json`, null where there is none.
        files: absolute paths of what was kept.
    """

    v: int
    call: Call
    transcript: list[dict[str, Any]] | None
    files: list[str]


class Transcript(msgspec.Struct):
    """What this command reads of `transcript.json`."""

    lines: list[dict[str, Any]]


@app.callback()
def list_calls(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 20,
    as_json: Json = False,
    numbers: Numbers = False,
) -> None:
    """List the newest calls; `pickup calls show ID` shows one."""
    if context.invoked_subcommand is not None:
        return
    settings = _settings()
    records = asyncio.run(_ask(settings, lambda database: database.recent(limit)))
    calls = [_call(record, numbers=numbers) for record in records]
    if as_json:
        _print_json(CallList(v=1, calls=calls))
    elif not calls:
        typer.echo(f"No calls yet in {settings.data_dir.absolute()}.")
    else:
        _console().print(_call_table(calls))


@app.command()
def show(
    call: Annotated[str, typer.Argument(help="The call's id, or the provider's (CallSid).")],
    as_json: Json = False,
    numbers: Numbers = False,
) -> None:
    """Show one call: its record, who said what, how long each turn took, and where its files are."""
    settings = _settings()
    record = asyncio.run(_ask(settings, lambda database: _find(database, call)))
    if record is None:
        raise UserError(f"there is no call {call!r}: see `pickup calls`")
    folder = settings.data_dir.absolute() / "calls" / record.id
    _make_recording(record, folder)
    report = CallReport(
        v=1,
        call=_call(record, numbers=numbers),
        transcript=_transcript(folder / "transcript.json"),
        files=[str(folder / name) for name in FILES if (folder / name).exists()],
    )
    if as_json:
        _print_json(report)
    else:
        _print_report(report)


def _settings() -> Settings:
    from agent.config.settings import Settings, environment

    return Settings.load(environment(), Path(".env"))


async def _ask(settings: Settings, question: Callable[[Records], Awaitable[T]]) -> T:
    from agent.storage.records import Records

    try:
        records = await Records.open(settings.database)
        try:
            return await question(records)
        finally:
            await records.close()
    except StorageError as error:
        raise UserError(f"the records of the calls cannot be read ({error})") from error


async def _find(records: Records, call: str) -> CallRecord | None:
    return await records.get(call) or await records.by_provider_id(call)


def _call(record: CallRecord, *, numbers: bool) -> Call:
    from agent.storage.numbers import last_digits

    fields = {name: getattr(record, name) for name in Call.__struct_fields__}
    fields["state"] = record.state.name.lower()
    if not numbers:
        fields["from_number"] = last_digits(record.from_number) or None
        fields["to_number"] = last_digits(record.to_number) or None
    return Call(**fields)


def _make_recording(record: CallRecord, folder: Path) -> None:
    """A call whose process was killed left its sound, and no recording yet."""
    from agent.storage.records import State

    if record.state is State.CRASHED and not (folder / "call.wav").exists():
        from agent.storage.flight_files import salvage

        try:
            salvage(folder)
        except StorageError as error:
            typer.echo(f"pickup: {error}", err=True)


def _transcript(path: Path) -> list[dict[str, Any]] | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Transcript).lines
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


# ---- for people


def _print_json(report: CallList | CallReport) -> None:
    typer.echo(msgspec.json.encode(report).decode())


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _call_table(calls: list[Call]) -> Table:
    from rich.table import Table

    table = Table("began", "id", "agent", "from", "to", "lasted", "end")
    for call in calls:
        table.add_row(
            _clock(call.started_at),
            call.id,
            call.agent,
            call.from_number or "",
            call.to_number or "",
            _lasted(call),
            call.end_reason or call.state,
        )
    return table


def _print_report(report: CallReport) -> None:
    console = _console()
    console.print(_record_table(report.call))
    for line in report.transcript or []:
        console.print(_spoken(line), markup=False, soft_wrap=True)
    for hop in report.call.metrics.get("hops", []):
        console.print(_hop(hop), markup=False, soft_wrap=True)
    turns = report.call.metrics.get("turns")
    if turns:
        console.print(_latency_table(turns))
    for path in report.files:
        console.print(path, markup=False, soft_wrap=True)


def _record_table(call: Call) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    rows = {
        "call": call.id,
        "at the provider": f"{call.provider} {call.provider_call_id or ''}",
        "agent": call.agent,
        "direction": call.direction,
        "from": call.from_number or "",
        "to": call.to_number or "",
        "began": _clock(call.started_at),
        "lasted": _lasted(call),
        "end": call.end_reason or call.state,
        "streams": str(call.legs),
    }
    apart = {"turns", "hops"}
    counters = {name: str(value) for name, value in call.metrics.items() if name not in apart}
    for name, text in (rows | counters).items():
        table.add_row(name, text)
    return table


def _latency_table(turns: list[dict[str, Any]]) -> Table:
    """One row per turn, in milliseconds from the last sample of the caller's speech."""
    from rich.table import Table

    columns = [name for name in turns[0] if name.endswith("_ms")]
    table = Table("turn", *(name.removesuffix("_ms").replace("_", " ") for name in columns))
    for n, turn in enumerate(turns):
        figures = (turn.get(name) for name in columns)
        cells = ("" if figure is None else f"{figure:.0f}" for figure in figures)
        table.add_row(str(turn.get("n", n)), *cells)
    table.caption = "milliseconds"
    return table


def _spoken(line: dict[str, Any]) -> str:
    """`  12.3  agent   We open at eight / and we close`: what was cut off stands behind the stroke."""
    start, text, heard = line.get("start"), line.get("text", ""), line.get("heard", "")
    time = "     -" if start is None else f"{start:6.1f}"
    unheard = text.removeprefix(heard).strip()
    shown = f"{heard} / {unheard}" if line.get("cut") and unheard else text
    return f"{time}  {line.get('who', ''):<7} {shown}"


def _hop(hop: dict[str, Any]) -> str:
    """`  12.3  hop 412 ms, 0 ms of caller audio lost, 0 ms of silence added`."""
    proof = msgspec.convert(hop, Hop)
    return f"{proof.at:6.1f}  {proof}"


def _clock(seconds: float) -> str:
    """In this machine's time zone."""
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _lasted(call: Call) -> str:
    if call.answered_at is None or call.ended_at is None:
        return ""
    seconds = round(call.ended_at - call.answered_at)
    return f"{seconds // 60}:{seconds % 60:02d}"
