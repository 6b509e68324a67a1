"""`pickup replay`: a recorded call, played again to the core of today, and each command compared with what was done then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from agent import __version__
from agent.call.replay import Difference
from agent.errors import StorageError, UserError

if TYPE_CHECKING:
    from agent.cli.parts.replayed import Replayed
    from agent.config.settings import Settings

app = typer.Typer()

SHOWN = 20
"""Differences that are printed for people: the first of them are what matters, the rest follows from them."""
WIDTH = 96
"""Columns of a command that are printed."""


class ReplayReport(msgspec.Struct, kw_only=True):
    """`pickup replay CALL --json`.

    Attributes:
        folder: absolute path of the call's files, or of the vector's.
        recorded_by: version that recorded it.
        replayed_by: version of today.
        seconds: what was replayed, from the call's start.
        ended: whether the record has the call's end.
        commands: how many today's core gave.
        identical: whether all of them are those of the record.
        sound_compared: whether that holds for the sound in them; it was not kept where this is false.
        differing: steps that differ.
        differences: all of them, with the commands of then and now.
        fault: how today's core failed, null where it did not.
        notes: what else one must know to judge this.
        vector: absolute paths of the vector's files, where one was saved.
    """

    v: int
    call: str
    folder: str
    recorded_by: str
    replayed_by: str
    seconds: float
    ended: bool
    events: int
    ticks: int
    commands: int
    identical: bool
    sound_compared: bool
    differing: int
    differences: list[Difference]
    fault: str | None
    notes: list[str]
    vector: list[str]


@app.command()
def replay(
    call: Annotated[
        str, typer.Argument(help="The call's id, its folder, or the provider's id (CallSid).")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    save_vector: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Save the call as a test vector (tests/vectors/calls/NAME), with today's commands.",
        ),
    ] = None,
    until: Annotated[
        float | None, typer.Option(help="Replay only the first SECONDS.", metavar="SECONDS", min=0)
    ] = None,
    mute: Annotated[
        bool, typer.Option("--mute", help="Without the voices: a vector that holds none.")
    ] = False,
) -> None:
    """Play a recorded call to today's core, and compare what it does with what was done.

    The exit status is 0 only if every command is the same.
    """
    from agent.cli.parts.replayed import replay_folder
    from agent.config.settings import Settings, environment

    settings = Settings.load(environment(), Path(".env"))
    folder = _folder(settings, call)
    rendered = settings.data_dir / "lines"
    done = replay_folder(folder, rendered=rendered, until=until, mute=mute, vector=save_vector)
    outcome = _report(folder.absolute(), done, list(_notes(done, whole=until is None, mute=mute)))
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        for line in _lines(outcome):
            print(line)
    if not outcome.identical:
        raise typer.Exit(1)


def _folder(settings: Settings, call: str) -> Path:
    """Where the call's files are."""
    calls = settings.data_dir / "calls"
    if "/" not in call and (calls / call).is_dir():
        return calls / call
    if Path(call).is_dir():
        return Path(call)
    found = None if "/" in call else asyncio.run(_by_provider(settings, call))
    if found is None:
        raise UserError(f"there is no call {call!r}: see `pickup calls`")
    if not (calls / found).is_dir():
        raise UserError(f"call {found} has no flight record in {calls.absolute()}")
    return calls / found


async def _by_provider(settings: Settings, call: str) -> str | None:
    from agent.storage.records import Records

    try:
        records = await Records.open(settings.database)
        try:
            record = await records.by_provider_id(call) or await records.get(call)
            return record.id if record is not None else None
        finally:
            await records.close()
    except StorageError as error:
        raise UserError(f"the records of the calls cannot be read ({error})") from error


def _report(folder: Path, done: Replayed, notes: list[str]) -> ReplayReport:
    played = done.replay
    return ReplayReport(
        v=1,
        call=done.started.call,
        folder=str(folder),
        recorded_by=done.started.version,
        replayed_by=__version__,
        seconds=round(played.t, 3),
        ended=done.ended,
        events=played.events,
        ticks=played.ticks,
        commands=played.commands,
        identical=not played.differences,
        sound_compared=played.sound,
        differing=len(played.differences),
        differences=played.differences,
        fault=played.fault or None,
        notes=notes,
        vector=[str(path.absolute()) for path in done.vector],
    )


def _notes(done: Replayed, *, whole: bool, mute: bool) -> Iterator[str]:
    if mute:
        yield "muted: of the voices there is their length, and the caller's loudness"
    elif done.lost:
        names = ", ".join(done.lost)
        yield f"said, but neither shipped nor rendered any more, and so silence here: {names}"
    if not done.told:
        yield "the record does not say which lines of its own the call had: the shipped ones are taken"
    if not done.replay.sound:
        yield "sound is compared by its length only, as not all of it is known"
    if whole and not done.ended:
        yield "the record ends before the call did"


def _lines(outcome: ReplayReport) -> Iterator[str]:
    """What people see."""
    yield (
        f"call {outcome.call}, recorded by {outcome.recorded_by}, replayed by {outcome.replayed_by}"
    )
    yield (
        f"{outcome.seconds:.1f} s: {outcome.events} events, {outcome.ticks} ticks,"
        f" {outcome.commands} commands"
    )
    for each in outcome.differences[:SHOWN]:
        yield f"{each.t:9.3f} s  {each.event}"
        yield from _commands("then", each.recorded)
        yield from _commands("today", each.today)
    if outcome.differing > SHOWN:
        yield f"           and {outcome.differing - SHOWN} more (--json has all)"
    for note in outcome.notes:
        yield f"note: {note}"
    for path in outcome.vector:
        yield f"vector: {path}"
    if outcome.vector:
        yield "note: the words of the call are in the vector, and its voices where they were not muted"
    if outcome.fault is not None:
        yield f"today's core failed: {outcome.fault}"
    steps = outcome.events + outcome.ticks
    yield f"{outcome.differing} of {steps} steps differ" if outcome.differing else "identical"


def _commands(when: str, commands: list[dict[str, Any]]) -> Iterator[str]:
    for command in commands or [{"kind": "nothing"}]:
        fields = (f"{name}={value!r}" for name, value in command.items() if name != "kind")
        yield f"             {when:<5}  {' '.join((command['kind'], *fields))}"[:WIDTH]
