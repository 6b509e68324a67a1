"""The server looks for sound that is too old at its start and every hour."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent.drive.tasks import Tasks
from agent.server import retention
from agent.storage.retention import keep_until

if TYPE_CHECKING:
    from pathlib import Path


async def until(holds: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await holds.wait()


def with_sound(calls: Path) -> set[str]:
    return {path.parent.name for path in calls.glob("*/call.wav")}


async def test_it_looks_again_and_again_and_tells_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVERY", 0.0)
    looked, looks = asyncio.Event(), 0

    def wall() -> float:
        nonlocal looks
        looks += 1
        if looks == 3:
            looked.set()
        return 1000.0

    for name in ("old", "new", "odd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "call.wav").write_bytes(b"x")
        keep_until(tmp_path / name, 2000.0 if name == "new" else 500.0)
    tasks = Tasks("server")
    with ThreadPoolExecutor(1) as disk, capture_logs() as log:
        tasks.start("retention", retention.keep_deleting(tmp_path, disk, wall))
        await until(looked)
        (tmp_path / "new" / "sound_until").write_text("soon")
        looked.clear()
        looks = 0
        await until(looked)
        await tasks.close()
    assert with_sound(tmp_path) == {"new"}
    assert log[0]["event"] == "old sound was deleted"
    assert log[0]["calls"] == 2
    assert log[-1]["event"] == "sound is kept longer than it should be"
    assert tasks.failures == []


def test_the_agents_file_says_how_long(tmp_path: Path) -> None:
    from agent.config.agent_yaml import parse_agent
    from tests.server.bench import Bench
    from tests.telephony.fakes import virtually

    async def scene() -> None:
        bench = Bench(tmp_path)
        text = "name: a\npersona: b\nrecording: {on: true, retention_days: 2}\n"
        days = parse_agent(text, "f")
        assert bench.wiring._sound_until(days) == bench.wiring.wall() + 2 * 86_400
        assert bench.wiring._sound_until(parse_agent("name: a\npersona: b\n", "f")) is None

    virtually(scene())
