"""Plays a recorded call to today's machine: finds its files and its own lines, and feeds them to `agent.call.replay`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.audio.level import loudness, steady
from agent.audio.wav import read_wav
from agent.call.options import OwnLine, OwnLines
from agent.call.replay import Replay, find_lines
from agent.cli.parts.vectors import VectorWriter, opened
from agent.errors import StorageError, UserError
from agent.events import CallStarted, LineAudio, ModelAudio, Pcm24k
from agent.server.lines import SHIPPED
from agent.storage.flight_reader import Entry, read_flight, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator


class Replayed(NamedTuple):
    """A call that was replayed.

    Attributes:
        told: whether the record says which lines of its own the call had.
        lost: lines of its own that were said, and whose sound is nowhere.
        ended: whether the record has the call's end.
        vector: files of the vector that was saved.
    """

    started: CallStarted
    replay: Replay
    told: bool
    lost: list[str]
    ended: bool
    vector: list[Path]


def replay_folder(
    folder: Path,
    *,
    rendered: Path | None = None,
    until: float | None = None,
    mute: bool = False,
    vector: Path | None = None,
) -> Replayed:
    """Replay the call, or the vector, in `folder`.

    Args:
        folder: the call's.
        rendered: where own lines that a model has rendered are kept.
        until: seconds from the call's start; what came later is left out.
        mute: keep of the voices what a record without sound does: their length, and the caller's loudness.
        vector: where to save the call as a vector.

    Raises:
        UserError: there is no call, or today's version cannot read it.
    """
    with ExitStack() as stack:
        whole = stack.enter_context(opened(folder))
        entries = _entries(whole, until, mute=mute)
        first = next(entries, None)
        if first is None or not isinstance(first.event, CallStarted):
            raise UserError(f"{folder} has no call's start in its events.jsonl")
        sounds = () if mute else _sounds(whole, rendered)
        lines = find_lines(first.event.lines, sounds, _shipped())
        writer = None
        if vector is not None:
            room = stack.enter_context(tempfile.TemporaryDirectory())
            writer = VectorWriter(vector, Path(room), lines.own)
        try:
            keep = {"keep": writer.keep} if writer is not None else {}
            replay = Replay(first.event, lines, recorded, **keep)
        except msgspec.ValidationError as error:
            raise UserError(f"today's version has other options: {error}") from error
        saved: list[Path] = []
        ended = False
        try:
            replay.step(first)
            for entry in entries:
                replay.step(entry)
                ended = ended or any(command["kind"] == "finish" for command in entry.commands)
        finally:  # a call that brings today's machine down is the vector that is wanted most
            if writer is not None:
                saved = writer.finish(_said(replay, lines.own))
        lost = [line.name for line in _said(replay, lines.own) if line.name in lines.missing]
        return Replayed(first.event, replay, lines.told, lost, ended, saved)


def _entries(folder: Path, until: float | None, *, mute: bool) -> Iterator[Entry]:
    try:
        for entry in read_flight(folder):
            if until is not None and entry.t > until:
                return
            yield _muted(entry) if mute else entry
    except StorageError as error:
        raise UserError(str(error)) from error


def _muted(entry: Entry) -> Entry:
    match entry.event:
        case LineAudio(pcm=pcm):
            return entry._replace(
                event=LineAudio(type(pcm)(steady(loudness(pcm), pcm.samples))), silenced=True
            )
        case ModelAudio(pcm=pcm):
            return entry._replace(event=ModelAudio(Pcm24k(len(pcm))), silenced=True)
        case _:
            return entry


def _sounds(folder: Path, rendered: Path | None) -> Iterator[Pcm24k]:
    """All own lines that there are: the vector's, the shipped ones, and those that a model has rendered."""
    for path in sorted(folder.glob("line-*.pcm")):
        yield Pcm24k(path.read_bytes())
    for place in (SHIPPED, rendered):
        for path in sorted(place.glob("*.wav")) if place is not None else ():
            try:
                yield read_wav(path)
            except UserError:
                continue  # then it is not the one that was said


def _shipped() -> dict[str, OwnLine]:
    """The shipped lines; no command holds their words."""
    paths = {name: SHIPPED / f"{name}.en.wav" for name in OwnLines.__struct_fields__}
    return {
        name: OwnLine(name, name, read_wav(path)) for name, path in paths.items() if path.exists()
    }


def _said(replay: Replay, own: OwnLines) -> list[OwnLine]:
    said = {turn.agent for turn in replay.machine.turns.all if turn.own}
    lines: list[OwnLine | None] = [getattr(own, name) for name in OwnLines.__struct_fields__]
    return [line for line in lines if line is not None and line.text in said]
