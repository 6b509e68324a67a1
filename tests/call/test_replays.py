"""Calls that were recorded, each run again by today's core: a bad call becomes a test in one command.

    pickup replay CALL --save-vector tests/vectors/calls/NAME

A core that is meant to act otherwise is told so by the same command with the vector's folder as CALL, once the differences that
`pickup replay tests/vectors/calls/NAME` prints are the wanted ones. Words and voices are in a vector; the ones here are the
stand-in's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.parts.replayed import replay_folder

VECTORS = Path(__file__).parent.parent / "vectors" / "calls"
CALLS = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())
LARGEST = 300_000
"""Bytes of one vector; `--until` and `--mute` make it smaller."""


def test_there_are_calls() -> None:
    assert CALLS


@pytest.mark.parametrize("name", CALLS)
def test_todays_core_does_what_it_did(name: str) -> None:
    done = replay_folder(VECTORS / name)
    assert done.replay.fault == ""
    assert done.replay.differences == [], f"see pickup replay {VECTORS / name}"
    assert done.replay.sound
    assert done.replay.commands > 0


@pytest.mark.parametrize("name", CALLS)
def test_a_vector_is_small(name: str) -> None:
    assert sum(path.stat().st_size for path in (VECTORS / name).iterdir()) <= LARGEST
