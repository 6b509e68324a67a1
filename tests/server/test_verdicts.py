"""What a model refused: kept for a day, by model, agent and version, across restarts."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import msgspec

from agent import __version__
from agent.server.verdicts import FILE, KEPT_SECONDS, MOST, Kept, Verdict, Verdicts, read

if TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 3600.0
NOTHING: frozenset[str] = frozenset()


def verdict(**other: Any) -> Verdict:
    fields: dict[str, Any] = {
        "model": "m",
        "agent": "digest",
        "name": "Desk",
        "left_out": ["voice"],
        "why": "no",
        "found_at": 1000.0,
    }
    return Verdict(**(fields | other))


def test_it_holds_for_a_day() -> None:
    verdicts = Verdicts()
    verdicts.keep(verdict())
    assert KEPT_SECONDS == DAY
    assert verdicts.left_out("m", "digest", 1000.0) == {"voice"}
    assert verdicts.left_out("m", "digest", 999.0 + DAY) == {"voice"}
    assert verdicts.left_out("m", "digest", 1000.0 + DAY) == NOTHING
    assert verdicts.left_out("m", "digest", 999.0) == NOTHING  # a clock that was set back


def test_another_model_agent_or_version_is_another_matter(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / FILE)
    verdicts.keep(verdict())
    verdicts.keep(verdict(agent="old", version="0.0.1"))
    assert verdicts.left_out("n", "digest", 1000.0) == NOTHING
    assert verdicts.left_out("m", "another", 1000.0) == NOTHING
    assert verdicts.left_out("m", "old", 1000.0) == NOTHING
    assert verdict().version == __version__


def test_it_survives_a_restart_and_the_last_word_counts(tmp_path: Path) -> None:
    path = tmp_path / FILE
    verdicts = Verdicts(path)
    verdicts.keep(verdict())
    verdicts.write()
    verdicts.keep(verdict(left_out=["tools", "voice"]))
    verdicts.write()
    assert Verdicts(path).left_out("m", "digest", 1500.0) == {"tools", "voice"}
    assert read(path) == [verdict(left_out=["tools", "voice"])]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [FILE]


def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text('{"v": 1, "verdicts": [{"model"')
    verdicts = Verdicts(path)
    assert verdicts.left_out("m", "digest", 1000.0) == NOTHING
    verdicts.keep(verdict())
    verdicts.write()
    assert msgspec.json.decode(path.read_bytes(), type=Kept).verdicts == [verdict()]


def test_a_disk_that_takes_nothing_costs_only_the_next_restart(tmp_path: Path) -> None:
    verdicts = Verdicts(tmp_path / "gone" / FILE)
    verdicts.keep(verdict())
    verdicts.write()
    assert verdicts.left_out("m", "digest", 1000.0) == {"voice"}


def test_the_oldest_is_forgotten() -> None:
    verdicts = Verdicts()
    for n in range(MOST + 1):
        verdicts.keep(verdict(agent=str(n)))
    assert verdicts.left_out("m", "0", 1000.0) == NOTHING
    assert verdicts.left_out("m", "1", 1000.0) == {"voice"}
