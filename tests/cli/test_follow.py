"""Following a flight record while it is written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings, strategies as st

from agent.cli.parts.follow import Follower, Said

if TYPE_CHECKING:
    from pathlib import Path


def entry(t: float, kind: str, **fields: Any) -> str:
    return json.dumps({"v": 1, "t": t, "kind": kind, **fields}) + "\n"


TALK = [
    entry(0.0, "call_started", clock=50.5),
    entry(0.6, "model_ready", setup_seconds=0.59),
    entry(1.0, "line_started", leg=1),
    entry(1.1, "agent_said", text="Hello, "),
    entry(1.2, "agent_said", text="how can I help?"),
    entry(3.0, "turn_complete", reason=None),
    entry(3.1, "line_audio"),
    entry(3.1, "tick"),
    entry(5.0, "caller_said", text="When do you "),
    entry(5.2, "caller_said", text="open?"),
    entry(5.9, "model_audio"),
    entry(6.0, "model_audio"),
    entry(6.1, "agent_said", text="At eight in the"),
    entry(6.5, "interrupted"),
    entry(7.0, "caller_said", text="Thank you, goodbye."),
    entry(7.2, "tool_called", id="1", name="end_call", args={}),
    entry(7.3, "agent_said", text="Goodbye."),
    entry(9.0, "line_ended", reason="closed"),
]
TOLD = [
    Said(0.6, "", "the model is ready after 0.59 s"),
    Said(1.0, "", "the caller hears us"),
    Said(3.0, "agent", "Hello, how can I help?"),
    Said(5.9, "caller", "When do you open?"),
    Said(6.5, "agent", "At eight in the ..."),
    Said(6.5, "", "the caller interrupts"),
    Said(7.2, "caller", "Thank you, goodbye."),
    Said(7.2, "", "the model calls end_call"),
    Said(9.0, "agent", "Goodbye."),
    Said(9.0, "", "line ended: closed"),
]


def started(calls: Path) -> tuple[Follower, Path]:
    """A follower, and the folder of a call that has just begun."""
    follower = Follower(calls)
    (calls / "b").mkdir(parents=True)
    return follower, calls / "b" / "events.jsonl"


def test_a_call_is_told_as_it_was(tmp_path: Path) -> None:
    follower, path = started(tmp_path)
    path.write_text("".join(TALK))
    assert list(follower.news()) == TOLD
    assert list(follower.news()) == []
    assert follower.clock == 50.5
    assert follower.at("caller_said") == [5.0, 5.2, 7.0]
    assert follower.at("tick") == follower.at("line_audio") == []
    assert follower.folder == tmp_path / "b"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.integers(1, 400), max_size=30))
def test_however_the_file_grows_the_same_is_told(tmp_path: Path, sizes: list[int]) -> None:
    calls = tmp_path / str(len(list(tmp_path.iterdir())))
    follower, path = started(calls)
    told: list[Said] = []
    data = "".join(TALK).encode()
    with path.open("wb", buffering=0) as file:
        for size in [*sizes, len(data)]:
            file.write(data[:size])
            data = data[size:]
            told += follower.news()
    assert told == TOLD


def test_before_there_is_a_call_there_is_no_news(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "calls")
    assert list(follower.news()) == []
    (tmp_path / "calls" / "a").mkdir(parents=True)
    assert list(follower.news()) == []  # its record is not there yet
    (tmp_path / "calls" / "a" / "events.jsonl").write_text(TALK[1])
    assert [said.t for said in follower.news()] == [0.6]


def test_calls_that_were_there_before_are_not_followed(tmp_path: Path) -> None:
    old = tmp_path / "z"
    old.mkdir()
    (old / "events.jsonl").write_text("".join(TALK))
    follower, path = started(tmp_path)
    assert list(follower.news()) == []
    path.write_text(TALK[1])
    assert len(list(follower.news())) == 1
    (tmp_path / "a").mkdir()  # nor a later one
    (tmp_path / "a" / "events.jsonl").write_text("".join(TALK))
    assert list(follower.news()) == []


def test_words_that_nobody_answered_are_told_at_the_end(tmp_path: Path) -> None:
    follower, path = started(tmp_path)
    path.write_text(
        entry(5.0, "caller_said", text="Hello?") + entry(6.0, "line_ended", reason="stopped")
    )
    assert list(follower.news()) == [
        Said(6.0, "caller", "Hello?"),
        Said(6.0, "", "line ended: stopped"),
    ]


def test_each_end_says_which_it_was(tmp_path: Path) -> None:
    follower, path = started(tmp_path)
    path.write_text(
        entry(1.0, "model_ended", fate="fatal", code=1008, reason="quota")
        + entry(2.0, "call_abandoned", reason="server_stopped")
    )
    assert [said.text for said in follower.news()] == [
        "model ended: quota",
        "call abandoned: server_stopped",
    ]
