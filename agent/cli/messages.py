"""`pickup messages`: what callers left to be read, and who is to be called back."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config.settings import Settings
    from agent.storage.callbacks import Callback
    from agent.storage.database import Database
    from agent.storage.messages import Message

app = typer.Typer(invoke_without_command=True)


class MessageLine(msgspec.Struct, kw_only=True):
    """One message in `--json`. Times are seconds since 1970-01-01 UTC; numbers are their last two digits, or whole."""

    id: str
    call: str
    agent: str
    taken_at: float
    name: str | None
    from_number: str | None
    urgent: bool
    text: str


class CallbackLine(msgspec.Struct, kw_only=True):
    """One promised call in `--json`, likewise."""

    id: str
    call: str
    agent: str
    made_at: float
    at: float
    number: str | None
    note: str


class Report(msgspec.Struct, kw_only=True):
    """`pickup messages --json`: the newest messages, and the promised calls that are not settled, the next one first."""

    v: int
    messages: list[MessageLine]
    callbacks: list[CallbackLine]


class _Found(NamedTuple):
    messages: list[Message]
    callbacks: list[Callback]


@app.callback()
def messages(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many of each.", min=1, max=1000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole phone numbers.")] = False,
) -> None:
    """List what callers left, and who is to be called back; `pickup messages done ID` settles a callback."""
    if context.invoked_subcommand is not None:
        return
    from agent.cli.parts.database import ask

    settings = _settings()
    found = ask(settings.database, lambda database: _find(database, limit))
    report = _report(found, numbers=numbers)
    if as_json:
        typer.echo(msgspec.json.encode(report).decode())
    elif not (report.messages or report.callbacks):
        typer.echo(f"Nobody left a message yet in {settings.data_dir.absolute()}.")
    else:
        _print(report)


@app.command()
def done(
    callback: Annotated[str, typer.Argument(help="Id of a promised call, or its beginning.")],
) -> None:
    """A promised call was made, or is not wanted any more."""
    from agent.cli.parts.database import ask

    typer.echo(f"settled {ask(_settings().database, lambda database: _settle(database, callback))}")


async def _settle(database: Database, callback: str) -> str:
    from agent.storage.callbacks import Callbacks, CallbackState

    callbacks = Callbacks(database)
    meant = [each.id for each in await callbacks.open(1000) if each.id.startswith(callback)]
    if len(meant) != 1:
        there = "no promised call is open" if not meant else "several promised calls begin"
        raise UserError(f"{there} with {callback!r}: see `pickup messages`")
    await callbacks.settle(meant[0], CallbackState.DONE)
    return meant[0]


def _settings() -> Settings:
    from agent.config.settings import Settings, environment

    return Settings.load(environment(), Path(".env"))


async def _find(database: Database, limit: int) -> _Found:
    from agent.storage.callbacks import Callbacks
    from agent.storage.messages import Messages

    return _Found(await Messages(database).recent(limit), await Callbacks(database).open(limit))


def _report(found: _Found, *, numbers: bool) -> Report:
    from agent.storage.numbers import last_digits

    def shown(number: str | None) -> str | None:
        return number if numbers else last_digits(number) or None

    return Report(
        v=1,
        messages=[
            MessageLine(
                id=each.id,
                call=each.call,
                agent=each.agent,
                taken_at=each.taken_at,
                name=each.name,
                from_number=shown(each.from_number),
                urgent=each.urgent,
                text=each.text,
            )
            for each in found.messages
        ],
        callbacks=[
            CallbackLine(
                id=each.id,
                call=each.call,
                agent=each.agent,
                made_at=each.made_at,
                at=each.at,
                number=shown(each.number),
                note=each.note,
            )
            for each in found.callbacks
        ],
    )


# ---- for people


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for message in report.messages:
        who = " ".join(filter(None, (message.name, message.from_number))) or "somebody"
        urgent = "URGENT  " if message.urgent else ""
        head = f"{_clock(message.taken_at)}  {urgent}{who} to {message.agent} (call {message.call})"
        console.print(head, markup=False, soft_wrap=True)
        console.print(f"    {message.text}", markup=False, soft_wrap=True)
    if report.callbacks:
        table = Table("call back", "number", "about", "id")
        for each in report.callbacks:
            table.add_row(_clock(each.at), each.number or "", each.note, each.id[:8])
        console.print(table)


def _clock(seconds: float) -> str:
    """In this machine's time zone."""
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M")
