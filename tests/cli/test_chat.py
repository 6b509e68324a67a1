"""`pickup chat`: a call in writing through a pipe, a terminal's reading, and what is shown of a call."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from agent import cli, events as e
from agent.cli.parts.chat_lines import AnyChatLine, ChatEnded, ChatNote, ChatSaid, Teller, in_words
from agent.cli.parts.text_model import fakes
from agent.cli.parts.typed_lines import LONGEST, TypedLines
from agent.config.settings import Settings
from agent.drive.tasks import Tasks
from agent.errors import Fate
from tests.cli.test_check import AGENT, CALL


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "agents" / "scenarios"
    folder.mkdir(parents=True)
    (tmp_path / "agents" / "desk.yaml").write_text(AGENT)
    (folder / "desk.yaml").write_text(CALL)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "PICKUP_AGENTS", "DATA_DIR", "GEMINI_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("agent.server.floor.AFTER_TOOL", 0.8)  # the stand-in answers after 0.25 s
    monkeypatch.chdir(tmp_path)


def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, *words: str
) -> tuple[int, str, str]:
    reads, writes = os.pipe()
    os.write(writes, typed.encode())
    os.close(writes)
    with os.fdopen(reads) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        with pytest.raises(SystemExit) as left:
            cli.main(["chat", "--agent", "desk", *words])
    return (int(left.value.code or 0), *capsys.readouterr())


def test_a_call_through_a_pipe_runs_its_tools_and_ends_where_the_agent_ends_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = "Tell them Ada called.\n\nBye.\nToo late.\n"
    status, out, err = command(capsys, monkeypatch, typed, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert lines[0]["kind"] == "started"
    assert lines[0]["answers"] == "stand-in"
    assert (Path(lines[0]["folder"]) / "transcript.json").exists()
    assert [(line["who"], line["text"]) for line in lines if line["kind"] == "said"] == [
        ("agent", "Hello."),
        ("caller", "Tell them Ada called."),
        ("agent", "Noted."),
        ("agent", "They have it."),
        ("caller", "Bye."),
        ("agent", "Goodbye."),
    ]
    called = [line["name"] for line in lines if line["kind"] == "tool_called"]
    assert called == [line["name"] for line in lines if line["kind"] == "tool_answered"]
    assert called == ["take_message", "end_call"]
    assert lines[-1] == {"kind": "ended", "v": 1, "t": lines[-1]["t"], "reason": "agent_hung_up"}
    assert "no GEMINI_API_KEY: the built-in stand-in for Gemini Live answers" in err
    assert "these tools run, and what they do is done: take_message" in err


@pytest.mark.slow
def test_the_end_of_what_is_typed_hangs_up_once_it_was_answered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = command(capsys, monkeypatch, "What is that?", "--stand-in")
    assert status == 0
    assert [line.split() for line in out.splitlines()][-2:] == [
        ["agent", "That", "is", "not", "in", "my", "script."],
        ["ended:", "caller", "hung", "up"],
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--var", "x"], "--var x: write name=value"),
        (["--var", "x=1"], "Desk has no variable 'x'"),
        (["--agent", "nobody"], "no agent 'nobody'"),
        (["--script", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, out, err = command(capsys, monkeypatch, "", *words)
    assert (status, out) == (2, "")
    assert told in err


def test_who_answers_follows_from_the_settings() -> None:
    assert fakes(Settings.load({}), stand_in=False) == "no GEMINI_API_KEY"
    assert fakes(Settings.load({"GEMINI_API_KEY": "k"}), stand_in=False) == ""
    assert fakes(Settings.load({"GEMINI_API_KEY": "k"}), stand_in=True) == "--stand-in"
    assert fakes(Settings.load({"GEMINI_URL": "ws://127.0.0.1:1"}), stand_in=False) == ""


async def test_lines_come_as_they_are_typed() -> None:
    reads, writes = os.pipe()
    try:
        with TypedLines(reads) as lines:
            os.write(writes, b"one\ntw")
            assert await lines.next() == "one"
            later = Tasks("test").start_read("line", lines.next())
            await asyncio.sleep(0.01)
            assert not later.done()
            os.write(writes, b"o\n\n  \n" + "ü".encode() * 3 + b"\nrest")
            assert await later == "two"
            assert await lines.next() == "üüü"
            os.close(writes)
            assert [await lines.next() for _ in range(3)] == ["rest", None, None]
    finally:
        os.close(reads)


async def test_a_plain_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("one\n" + "x" * (LONGEST + 5000) + "\n")
    with path.open() as file, TypedLines(file.fileno()) as lines:
        assert await lines.next() == "one"
        pieces = [await lines.next(), await lines.next(), await lines.next()]
    assert pieces[2] is None
    assert sum(len(piece or "") for piece in pieces) == LONGEST + 5000


def test_what_happens_to_a_call_is_told_in_its_order() -> None:
    told: list[AnyChatLine] = []
    teller = Teller(told.append)
    teller.own_said(0.1, "You are speaking with an assistant.")
    teller.saw(1.0, e.AgentSaid("You can"), [])
    teller.saw(1.2, e.Interrupted(), [])
    teller.saw(1.3, e.LineDigit("1"), [])
    teller.saw(1.4, e.AgentSaid("Well, "), [])
    teller.saw(1.5, e.CallerTyped("Stop."), [e.Tell("hop 1")])
    teller.saw(1.6, e.ModelEnded(Fate.RESUME, 1006, "gone"), [e.PutThrough("office")])
    teller.saw(1.7, None, [e.HangUp(), e.Finish("transferred")])
    assert told == [
        ChatSaid(t=0.1, who="pickup", text="You are speaking with an assistant."),
        ChatSaid(t=1.2, who="agent", text="You can ..."),
        ChatSaid(t=1.3, who="caller", text="[1]"),
        ChatSaid(t=1.5, who="agent", text="Well, ..."),
        ChatSaid(t=1.5, who="caller", text="Stop."),
        ChatNote(t=1.5, text="hop 1"),
        ChatNote(t=1.6, text="the model's session ended: gone"),
        ChatNote(t=1.6, text="the caller is put through to office"),
        ChatEnded(t=1.7, reason="transferred"),
    ]
    assert [in_words(line) for line in told][-2:] == [
        "        the caller is put through to office",
        "        ended: transferred",
    ]
    assert msgspec.json.decode(msgspec.json.encode(told[0]))["kind"] == "said"
