"""`pickup replay`: where it finds a call, what it says of it, and the vectors that it makes; once with a real call."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import __version__, events as e
from agent.call.machine import HANDLERS, CallMachine
from agent.call.options import CallOptions, OwnLines
from agent.cli import main
from agent.cli.parts import replayed
from agent.cli.replay import ReplayReport
from agent.config.agent_file import AgentFile
from agent.server.lines import LineStore
from agent.storage.flight_files import FlightFiles
from agent.storage.flight_format import Draft
from agent.storage.records import CallRecord, Records
from tests.call.calls import SILENCE, VOICE, speech

EXAMPLE = Path(__file__).parent / "examples" / "replay.json"
GREETING = "Greet the caller."


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def shipped(data: Path) -> OwnLines:
    agent = AgentFile.model_validate({"name": "front desk", "persona": "x", "greeting": "Hello."})
    return LineStore(data / "lines").lines_for(agent)


def happenings() -> list[tuple[float, e.AnyEvent]]:
    """A greeting, a question, the beginning of an answer, and a caller who hangs up."""
    frames = [(4.0 + 0.02 * n, e.LineAudio(VOICE if 20 <= n < 60 else SILENCE)) for n in range(100)]
    marks: list[tuple[float, e.AnyEvent]] = [
        (4.0 + 0.2 * n, e.LineMark(f"m{n}")) for n in range(1, 8)
    ]
    events: list[tuple[float, e.AnyEvent]] = [
        (0.3, e.ModelReady(0.3)),
        (0.5, e.AgentSaid("Hello.")),
        (0.5, e.ModelAudio(speech(1.0))),
        (0.6, e.GenerationComplete()),
        (3.5, e.LineStarted(1)),
        *frames,
        *marks,
        (5.3, e.CallerSaid("When do you open?")),
        (5.6, e.ModelAudio(speech(2.0))),
        (6.5, e.LineEnded("stopped")),
    ]
    return sorted(events, key=lambda each: each[0])


def record(folder: Path, own: OwnLines, *, sound: bool = True, tell: bool = True) -> Path:
    """Live the call and record it, as a server does."""
    options = CallOptions(greeting=GREETING)
    machine, draft, files = CallMachine(options, own), Draft(sound=sound), FlightFiles(folder)
    keys = own.keys() if tell else {}
    plain = msgspec.to_builtins(options)
    started = e.CallStarted("one", 1e9, 5.0, "0.0.9", "front_desk", "f", plain, keys)
    draft.record(0.0, started, machine.handle(started, 0.0))
    for t, event in happenings():
        while (due := machine.deadline()) is not None and due < t:
            at = max(due, draft._now) + 0.001
            draft.record(at, None, machine.tick(at))
        draft.record(t, event, machine.handle(event, t))
    assert machine.reason == "caller_hung_up"
    files.write(draft.take())
    files.finish(b"")
    return folder


@pytest.fixture
def call(data: Path) -> Path:
    return record(data / "calls" / "one", shipped(data))


async def remember(data: Path) -> None:
    records = await Records.open(f"sqlite:///{data}/pickup.db")
    for name in ("one", "unrecorded"):
        await records.create(
            CallRecord(
                id=name,
                provider="twilio",
                provider_call_id=f"CA-{name}",
                instance="i",
                alive_until=30.0,
                direction="inbound",
                agent="front_desk",
                started_at=0.0,
                version="0.0.9",
            )
        )
    await records.close()


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["replay", *map(str, words)])
    assert isinstance(left.value.code, int)
    return (left.value.code, *capsys.readouterr())


def reported(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    code, out, err = run(capsys, *words, "--json")
    assert err == ""
    assert out.count("\n") == 1
    return code, json.loads(out)


def change(call: Path, old: str, new: str) -> None:
    path = call / "events.jsonl"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# ---------------------------------------------------------------------------- what it says


def test_the_same_commands(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "one")
    assert (code, err) == (0, "")
    first, second, last = out.splitlines()
    assert first == f"call one, recorded by 0.0.9, replayed by {__version__}"
    assert second.startswith("6.5 s: 116 events, ")
    assert last == "identical"


def test_the_report_is_the_one_in_the_example(
    call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = reported(capsys, "one")
    assert code == 0
    example = msgspec.json.decode(EXAMPLE.read_bytes())
    assert msgspec.json.encode(msgspec.convert(example, ReplayReport)) == EXAMPLE.read_bytes()[:-1]
    assert report.keys() == example.keys()
    changing = {"folder", "replayed_by", "ticks", "commands", "differences", "vector"}
    assert all(report[name] == example[name] for name in example.keys() - changing)
    assert Path(report["folder"]) == call


def test_what_comes_out_otherwise_is_shown(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(call, GREETING, "Say hello.")
    lines = (call / "events.jsonl").read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if '"model_ready"' in line)
    lines[at] = lines[at].replace("Say hello.", GREETING)
    (call / "events.jsonl").write_text("".join(lines))
    code, out, _ = run(capsys, "one")
    assert code == 1
    assert out.splitlines()[2:] == [
        "    0.300 s  model_ready",
        f"             then   send_text text='{GREETING}'",
        "             today  send_text text='Say hello.'",
        out.splitlines()[-1],
    ]
    assert out.splitlines()[-1].startswith("1 of ")
    code, report = reported(capsys, "one")
    assert (code, report["identical"], report["differing"]) == (1, False, 1)
    (difference,) = report["differences"]
    assert difference["today"] == [{"kind": "send_text", "text": "Say hello."}]


def test_many_differences_are_counted(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(call, '"lead":0.4,"top_up":0.36', '"lead":0.1,"top_up":0.06')
    code, out, _ = run(capsys, "one")
    assert code == 1
    assert len(re.findall(r"(?m)^ +[0-9.]+ s  ", out)) == 20
    assert "more (--json has all)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_failing_core_is_named(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(call, '"kind":"line_started","leg":1', '"kind":"line_ended","reason":"stopped"')
    code, out, _ = run(capsys, "one")
    assert code == 1
    assert "today's core failed: a call that is ringing was told line_stopped" in out


def test_sound_that_was_not_kept_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(data / "calls" / "one", shipped(data), sound=False)
    code, report = reported(capsys, "one")
    assert report["sound_compared"] is False
    assert any("by its length only" in note for note in report["notes"])
    assert (code, report["differing"]) == (0, 0)


def test_a_record_that_breaks_off_is_said(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = call / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    code, out, _ = run(capsys, "one")
    assert code == 0
    assert "note: the record ends before the call did" in out


# ---------------------------------------------------------------------------- lines


def test_a_line_that_the_model_rendered_is_found(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, agent = (
        LineStore(data / "lines"),
        AgentFile.model_validate(
            {"name": "a", "persona": "x", "greeting": "Hello.", "disclosure": "I am no human."}
        ),
    )
    store.keep(agent, "I am no human.", "m", speech(0.8))
    (data / "lines" / "broken.wav").write_bytes(b"no sound")
    own = store.lines_for(agent)
    assert own.disclosure is not None
    assert own.disclosure.text == "I am no human."
    record(data / "calls" / "one", own)
    assert reported(capsys, "one")[1]["notes"] == []
    for path in (data / "lines").iterdir():
        path.unlink()
    code, report = reported(capsys, "one")
    assert (code, report["sound_compared"]) == (0, False)
    assert report["notes"][0].endswith("silence here: disclosure")


def test_an_older_record_does_not_tell_its_lines(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(data / "calls" / "one", shipped(data), tell=False)
    code, report = reported(capsys, "one")
    assert (code, report["sound_compared"]) == (0, True)
    assert len(report["notes"]) == 1
    assert "the shipped ones are taken" in report["notes"][0]


# ---------------------------------------------------------------------------- vectors


def test_a_vector_replays_by_itself(
    call: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, "one", "--save-vector", "bad_call")
    assert code == 0
    assert "voices" in out
    names = ("caller.pcm.gz", "events.jsonl.gz", "line-disclosure.pcm.gz", "model.pcm.gz")
    assert sorted(path.name for path in Path("bad_call").iterdir()) == list(names)
    before = {name: Path("bad_call", name).read_bytes() for name in names}
    code, report = reported(capsys, "bad_call", "--save-vector", "bad_call")  # onto itself
    assert report["vector"] == [str(Path("bad_call", name).absolute()) for name in names]
    assert {name: Path("bad_call", name).read_bytes() for name in names} == before
    (data / "no shipped lines").mkdir()
    monkeypatch.setattr(replayed, "SHIPPED", data / "no shipped lines")
    code, report = reported(capsys, "bad_call")
    assert (code, report["notes"], report["sound_compared"]) == (0, [], True)
    assert report["recorded_by"] == __version__


def test_a_vector_has_the_commands_of_today(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(call, '"lead":0.4,"top_up":0.36', '"lead":0.2,"top_up":0.16')
    assert run(capsys, "one", "--save-vector", "bad_call")[0] == 1
    assert run(capsys, "bad_call")[0] == 0


def test_only_the_beginning(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = reported(capsys, "one", "--until", "4.5", "--save-vector", "short")
    assert (code, report["notes"], report["ended"]) == (0, [], False)
    assert report["seconds"] <= 4.5
    assert len(gzip.decompress(Path("short/model.pcm.gz").read_bytes())) == 48000
    assert reported(capsys, "short")[1]["commands"] == report["commands"]


def test_a_vector_without_voices(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = reported(capsys, "one", "--mute", "--save-vector", "mute")
    assert report["notes"][0].startswith("muted")
    sounds = [gzip.decompress(path.read_bytes()) for path in Path("mute").glob("*.pcm.gz")]
    assert len(sounds) == 3
    assert sum(sound == bytes(len(sound)) for sound in sounds) == 2
    caller = gzip.decompress(Path("mute/caller.pcm.gz").read_bytes())
    frames = [caller[n : n + 320] for n in range(0, len(caller), 320)]
    assert all(frame == frame[:2] * (len(frame) // 2) for frame in frames)  # no word can be heard
    code, report = reported(capsys, "mute")
    assert (code, report["sound_compared"], report["notes"]) == (0, True, [])


def test_a_core_that_breaks_down_still_makes_the_vector(
    call: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CallMachine, event: e.CallerSaid, now: float) -> None:
        raise KeyError("a bug")

    monkeypatch.setitem(HANDLERS, e.CallerSaid, broken)
    with pytest.raises(KeyError):
        main(["replay", "one", "--save-vector", "bug"])
    last = gzip.decompress(Path("bug/events.jsonl.gz").read_bytes()).splitlines()[-1]
    assert json.loads(last)["kind"] == "caller_said"


# ---------------------------------------------------------------------------- mistakes


def test_a_call_is_found_by_each_of_its_names(
    call: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(remember(data))
    for name in ("one", call, "CA-one"):
        assert reported(capsys, name)[1]["folder"] == str(call)
    for name, why in (
        ("two", "there is no call 'two'"),
        ("no/such/folder", "there is no call 'no/such/folder'"),
        ("CA-unrecorded", "call unrecorded has no flight record"),
        ("unrecorded", "call unrecorded has no flight record"),
    ):
        code, out, err = run(capsys, name)
        assert (code, out) == (2, "")
        assert err.startswith(f"pickup: {why}")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"kind":"call_started"', '"kind":"line_digit","digit":"1"', "has no call's start"),
        ('"greeting":', '"hello":', "today's version has other options: "),
        ('"kind":"model_ready"', '"kind":"model_unheard_of"', "one/events.jsonl, line 2: "),
    ],
)
def test_a_record_that_cannot_be_played(
    call: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, why: str
) -> None:
    change(call, old, new)
    code, out, err = run(capsys, "one")
    assert (code, out) == (2, "")
    assert why in err
    assert err.count("\n") == 1


def test_folders_that_are_no_calls(
    call: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = run(capsys, "empty")
    assert (code, err) == (2, "pickup: empty is no folder of a call: there is no events.jsonl\n")
    (tmp_path / "empty" / "events.jsonl.gz").write_bytes(gzip.compress(b"x" * 100)[:-12])
    code, _, err = run(capsys, "empty")
    assert code == 2
    assert err.startswith("pickup: empty/events.jsonl.gz cannot be read: ")


def test_a_vector_takes_nobodys_place(call: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(call.iterdir())
    code, _, err = run(capsys, "one", "--save-vector", call)
    assert code == 2
    assert "has other files" in err
    assert sorted(call.iterdir()) == before
    code, _, err = run(capsys, "one", "--save-vector", call / "events.jsonl")
    assert code == 2
    assert "cannot be a vector's folder" in err


# ---------------------------------------------------------------------------- for real


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_demos_call_replays_with_identical_commands(tmp_path: Path) -> None:
    environ = os.environ | {"DATA_DIR": str(tmp_path / "data")}
    pickup = (sys.executable, "-m", "agent")
    demo = subprocess.run(
        [*pickup, "demo", "--json"], env=environ, stdout=subprocess.PIPE, check=False
    )
    call = json.loads(demo.stdout)["call_id"]
    done = subprocess.run(
        [*pickup, "replay", call, "--json"], env=environ, stdout=subprocess.PIPE, check=False
    )
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert report["notes"] == []
    assert (report["identical"], report["ended"], report["sound_compared"]) == (True, True, True)
    assert report["events"] > 1000
    assert report["commands"] > 1000
    assert done.returncode == 0
