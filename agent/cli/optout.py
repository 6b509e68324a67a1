"""`pickup optout`: who must not be called, by no agent and in no campaign."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from agent.storage.database import Database
    from agent.storage.do_not_call import OptOut

app = typer.Typer(no_args_is_help=True)

Numbers = Annotated[list[str], typer.Argument(help="Such as +15551234567.")]


class OptOutLine(msgspec.Struct, kw_only=True):
    """One number in `--json`: its last two digits, or whole; `since` is seconds since 1970-01-01 UTC."""

    number: str
    since: float
    why: str
    agent: str | None
    call: str | None


class OptOutList(msgspec.Struct, kw_only=True):
    """`pickup optout list --json`, the newest first."""

    v: int = 1
    numbers: list[OptOutLine]


@app.command("list")
def list_numbers(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on one line.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="Show whole phone numbers.")] = False,
) -> None:
    """List who must not be called."""
    from agent.storage.numbers import last_digits

    found = [
        OptOutLine(
            number=each.number if numbers else last_digits(each.number),
            since=each.since,
            why=each.why,
            agent=each.agent,
            call=each.call,
        )
        for each in _ask(limit)
    ]
    if as_json:
        typer.echo(msgspec.json.encode(OptOutList(numbers=found)).decode())
    elif not found:
        typer.echo("Everybody may be called.")
    for each in () if as_json else found:
        day = datetime.datetime.fromtimestamp(each.since, tz=datetime.UTC).astimezone().date()
        typer.echo("  ".join(filter(None, (each.number, str(day), each.why, each.agent))))


@app.command()
def add(
    numbers: Annotated[list[str] | None, typer.Argument(help="Such as +15551234567.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="More of them, one a line; what follows a comma is skipped.")
    ] = None,
) -> None:
    """Never call these numbers again; what was reserved for them is not dialled."""
    from agent.cli.parts.database import ask

    given = [(f"{number!r}", number) for number in numbers or ()] + _lines(file)
    wanted = _checked(given)
    added = ask(_url(), lambda database: _add(database, wanted))
    typer.echo(f"added {added}; {len(wanted) - added} were there")


@app.command()
def remove(numbers: Numbers) -> None:
    """These numbers may be called again, since their owners said so."""
    from agent.cli.parts.database import ask

    wanted = _checked([(f"{number!r}", number) for number in numbers])
    removed = ask(_url(), lambda database: _remove(database, wanted))
    typer.echo(f"removed {removed}; {len(wanted) - removed} were not there")


def _lines(file: Path | None) -> list[tuple[str, str]]:
    """The numbers of a file, each with where it stands; empty lines and a line that only names the column are skipped."""
    if file is None:
        return []
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    cells = [(f"{file}:{n}", line.split(",")[0].strip(" \"'")) for n, line in enumerate(lines, 1)]
    return [each for each in cells if each[1] and each[1].lower() != "number"]


def _checked(given: list[tuple[str, str]]) -> list[str]:
    """The numbers in E.164, each once. Raises UserError where one is none: no list is taken in part."""
    from agent.protocols.sip.address import callee
    from agent.protocols.twilio.number import e164

    found = {where: e164(number) or callee(number) for where, number in given}
    wrong = [where for where, number in found.items() if number is None]
    if wrong:
        raise UserError(
            f"{', '.join(wrong[:10])}: no number such as +15551234567 (E.164), nor a sip: address"
        )
    if not found:
        raise UserError("say which numbers, or --file")
    return list(dict.fromkeys(number for number in found.values() if number))


# ---- the database


def _url() -> str:
    from agent.config.settings import Settings, environment

    return Settings.load(environment(), Path(".env")).database


def _ask(limit: int) -> list[OptOut]:
    from agent.cli.parts.database import ask
    from agent.storage.do_not_call import DoNotCall

    return ask(_url(), lambda database: DoNotCall(database).recent(limit))


async def _add(database: Database, numbers: list[str]) -> int:
    from agent.server.clock import wall
    from agent.storage.do_not_call import DoNotCall, OptOut

    known = DoNotCall(database)
    now = wall()
    return sum(
        [await known.add(OptOut(number=each, since=now, why="operator")) for each in numbers]
    )


async def _remove(database: Database, numbers: list[str]) -> int:
    from agent.storage.do_not_call import DoNotCall

    known = DoNotCall(database)
    return sum([await known.remove(each) for each in numbers])
