"""Sound is deleted when its time is over, and nothing else is."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent import events as e
from agent.drive.tasks import Tasks
from agent.errors import StorageError
from agent.storage.flight import FlightRecorder
from agent.storage.flight_reader import read_flight
from agent.storage.retention import SOUND, UNTIL, delete_old_sound, keep_until

DAY = 86_400.0


def recorded(calls: Path, call: str, until: float | None) -> Path:
    folder = calls / call
    folder.mkdir(parents=True)
    for name in (*SOUND, "transcript.json", "events.jsonl"):
        (folder / name).write_bytes(b"x")
    if until is not None:
        keep_until(folder, until)
    return folder


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_due_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old, new, kept = (
        recorded(tmp_path, name, until) for name, until in (("a", 100), ("b", 300), ("c", None))
    )
    assert delete_old_sound(tmp_path, 200.0) == ["a"]
    assert left(old) == {"transcript.json", "events.jsonl"}
    assert left(new) == {*SOUND, "transcript.json", "events.jsonl", UNTIL}
    assert left(kept) == {*SOUND, "transcript.json", "events.jsonl"}
    assert delete_old_sound(tmp_path, 200.0) == []
    assert delete_old_sound(tmp_path, 300.0) == ["b"]


def test_where_there_are_no_calls_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert delete_old_sound(tmp_path / "none", 0.0) == []


def test_what_cannot_be_deleted_is_told_after_the_rest_was(tmp_path: Path) -> None:
    stuck, odd, old = (recorded(tmp_path, name, 100) for name in "abc")
    (stuck / "model.pcm").unlink()
    (stuck / "model.pcm").mkdir()  # cannot be unlinked, not even by root
    (odd / UNTIL).write_text("soon")
    with pytest.raises(StorageError, match=r"a: .*; b: could not convert"):
        delete_old_sound(tmp_path, 200.0)
    assert UNTIL in left(stuck)
    assert left(old) == {"transcript.json", "events.jsonl"}
    (stuck / "model.pcm").rmdir()
    (odd / UNTIL).unlink()
    assert delete_old_sound(tmp_path, 200.0) == ["a"]


async def test_a_recorder_says_until_when_before_there_is_any_sound(tmp_path: Path) -> None:
    tasks, folder = Tasks("call"), tmp_path / "calls" / "one"
    with ThreadPoolExecutor(1) as disk:
        recorder = FlightRecorder(folder, tasks, sound=True, sound_until=1e9 + 0.4, disk=disk)
        recorder.record(0.0, e.LineAudio(e.Pcm8k(bytes(320))), [])
        await recorder.close()
        await tasks.close()
    assert (folder / UNTIL).read_text() == "1000000000\n"
    assert stat.S_IMODE((folder / UNTIL).stat().st_mode) == 0o600
    assert len(list(read_flight(folder))) == 1
    assert delete_old_sound(folder.parent, 1e9 + DAY) == ["one"]
    with pytest.raises(StorageError, match=r"line 1: .*caller.pcm is gone"):
        list(read_flight(folder))
