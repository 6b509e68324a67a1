"""`pickup calls`: which calls there were, and what happened in one of them."""

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import pytest

from agent.cli import main
from agent.storage.records import CallRecord, Records

NUMBER = "+15550001234"
HOP = {"at": 12.31, "planned": True, "ms": 412.3, "lost_ms": 0.0, "silence_ms": 0.2}
TURN = {"n": 1, "latency_ms": 812.0, "sent_ms": 20.0, "model_ms": 700.0, "out_ms": None}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def record(call: str, started_at: float, **fields: Any) -> CallRecord:
    base: dict[str, Any] = {
        "id": call,
        "provider": "twilio",
        "provider_call_id": f"CA-{call}",
        "instance": "i",
        "alive_until": started_at + 30,
        "direction": "inbound",
        "agent": "front_desk",
        "started_at": started_at,
        "version": "0.1.0",
        "from_number": NUMBER,
        "to_number": "+15550009876",
    }
    return CallRecord(**(base | fields))


async def fill(data: Path) -> None:
    records = await Records.open(f"sqlite:///{data}/pickup.db")
    await records.create(record("one", 1000.0))
    await records.answered("one", 1002.0)
    metrics = {"turns": [TURN], "hops": [HOP], "underruns": 0, "lost_ms": 1.5}
    await records.finish("one", "goodbye", 1077.4, legs=1, metrics=metrics)
    await records.create(record("two", 2000.0))
    await records.sweep(9000.0)
    await records.close()


@pytest.fixture
def calls(data: Path) -> Path:
    asyncio.run(fill(data))
    folder = data / "calls" / "one"
    folder.mkdir(parents=True)
    lines = [
        line("pickup", 0.4, "Hello."),
        line("caller", 3.25, "What time do you open?"),
        line("agent", 5.0, "We open at [eight], and close at six.", "We open at [eight],"),
        line("agent", None, "Nobody heard this.", ""),
    ]
    (folder / "transcript.json").write_text(json.dumps({"v": 1, "lines": lines}))
    (folder / "events.jsonl").write_text("")
    return data


def line(who: str, start: float | None, text: str, heard: str | None = None) -> dict[str, Any]:
    cut = heard is not None
    return {"who": who, "start": start, "text": text, "heard": heard if cut else text, "cut": cut}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["calls", *words])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_the_newest_call_comes_first(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(capsys).splitlines()
    at = {word: n for n, row in enumerate(rows) for word in ("one", "two") if f" {word} " in row}
    assert at["two"] < at["one"]
    assert "crash" in rows[at["two"]]
    assert "goodbye" in rows[at["one"]]
    assert "1:15" in rows[at["one"]]
    newest = run(capsys, "--limit", "1")
    assert " two " in newest
    assert " one " not in newest


def test_numbers_are_shown_only_when_asked_for(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((), ("--json",), ("show", "one"), ("show", "one", "--json")):
        hidden = run(capsys, *words)
        assert "…34" in hidden
        assert "0001234" not in hidden
        assert NUMBER in run(capsys, *words, "--numbers")


def test_the_list_as_json_is_one_line(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "--json")
    assert printed.count("\n") == 1
    report = json.loads(printed)
    assert report["v"] == 1
    assert [call["id"] for call in report["calls"]] == ["two", "one"]
    assert report["calls"][1] == {
        "id": "one",
        "provider": "twilio",
        "provider_call_id": "CA-one",
        "state": "ended",
        "direction": "inbound",
        "agent": "front_desk",
        "started_at": 1000.0,
        "answered_at": 1002.0,
        "ended_at": 1077.4,
        "end_reason": "goodbye",
        "from_number": "…34",
        "to_number": "…76",
        "number_hash": None,
        "legs": 1,
        "metrics": {"turns": [TURN], "hops": [HOP], "underruns": 0, "lost_ms": 1.5},
        "version": "0.1.0",
    }


@pytest.mark.parametrize("name", ["one", "CA-one"])
def test_one_call_with_its_words_its_times_and_its_files(
    calls: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shown = run(capsys, "show", name)
    rows = shown.splitlines()
    assert "   0.4  pickup  Hello." in rows
    assert "   3.2  caller  What time do you open?" in rows
    assert "   5.0  agent   We open at [eight], / and close at six." in rows
    assert "     -  agent    / Nobody heard this." in rows
    assert any(row.split("│")[1:3] == [" 1    ", " 812     "] for row in rows if "812" in row), rows
    assert "underruns" in shown
    assert rows[-2:] == [str(calls / "calls/one" / n) for n in ("transcript.json", "events.jsonl")]


def test_each_hop_stands_there_with_its_proof(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run(capsys, "show", "one")
    assert "  12.3  hop 412 ms, 0 ms of caller audio lost, 0 ms of silence added" in shown
    assert "planned" not in shown


def test_one_call_as_json(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(run(capsys, "show", "one", "--json"))
    assert report["v"] == 1
    assert report["call"]["id"] == "one"
    assert [spoken["who"] for spoken in report["transcript"]] == [
        "pickup",
        "caller",
        "agent",
        "agent",
    ]
    assert all(Path(path).is_absolute() and Path(path).exists() for path in report["files"])
    assert json.loads(run(capsys, "show", "two", "--json"))["transcript"] is None


def test_a_call_that_crashed_gets_its_recording_when_it_is_looked_at(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = calls / "calls" / "two"
    folder.mkdir()
    (folder / "caller.pcm").write_bytes(b"\1\0" * 800)
    (folder / "agent.pcm").write_bytes(b"\2\0" * 1600)
    report = json.loads(run(capsys, "show", "two", "--json"))
    assert report["files"] == [str(folder / "call.wav"), str(folder / "caller.pcm")]
    with wave.open(report["files"][0], "rb") as recording:
        assert (recording.getnchannels(), recording.getnframes()) == (2, 1600)


def test_without_calls_it_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys) == f"No calls yet in {data}.\n"
    assert json.loads(run(capsys, "--json")) == {"v": 1, "calls": []}


def test_a_recording_that_cannot_be_made_hides_nothing_else(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = calls / "calls" / "two"
    folder.mkdir()
    (folder / "caller.pcm").mkdir()
    with pytest.raises(SystemExit):
        main(["calls", "show", "two"])
    printed = capsys.readouterr()
    assert printed.err == "pickup: call.wav not written: Is a directory\n"
    assert "CA-two" in printed.out


def test_records_that_cannot_be_read_are_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.mkdir()
    (data / "pickup.db").write_text("no database" * 1000)
    with pytest.raises(SystemExit) as left:
        main(["calls"])
    assert left.value.code == 2
    assert "the records of the calls cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("transcript", "words", "message"),
    [
        (None, ["show", "three"], "there is no call 'three'"),
        ("{", ["show", "one"], "transcript.json cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    calls: Path,
    capsys: pytest.CaptureFixture[str],
    transcript: str | None,
    words: list[str],
    message: str,
) -> None:
    if transcript is not None:
        (calls / "calls/one/transcript.json").write_text(transcript)
    with pytest.raises(SystemExit) as left:
        main(["calls", *words])
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
