"""`pickup demo`: its mistakes, what it hands to its children, and once the whole of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from agent import cli
from agent.cli import demo
from agent.cli.parts.demo_report import DemoReport, Step
from agent.cli.parts.follow import Said
from agent.config.settings import Settings
from agent.errors import UserError
from agent.simulator.caller import SPEECH

if TYPE_CHECKING:
    from agent.cli.parts.children import Child

EXAMPLE = json.loads((Path(__file__).parent / "examples" / "demo.json").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and no settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(demo, "Child", refuse)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["demo", *words])
    assert isinstance(left.value.code, int)
    return (left.value.code, *capsys.readouterr())


def screen() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=60, highlight=False), text


class FakeChild:
    url = "http://127.0.0.1:1234"


# ---- mistakes


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize("data", [b"", b"ID3 an mp3", b"RIFF\x04\x00\x00\x00WAVE"])
def test_a_recording_that_cannot_be_read_is_met_with_the_line_that_converts_it(
    here: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (here / "mine.wav").write_bytes(data)
    status, out, err = run(capsys, "--json", "--wav", "mine.wav")
    assert (status, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("pickup: ")
    assert "mine.wav" in line
    assert "ffmpeg -i" in line


@pytest.mark.usefixtures("no_child")
def test_a_recording_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--wav", "nowhere.wav")
    assert (status, out) == (2, "")
    assert "nowhere.wav" in err


@pytest.mark.usefixtures("no_child")
def test_live_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "--live")
    assert (status, "GEMINI_API_KEY" in err) == (2, True)


def test_a_child_that_does_not_start_shows_its_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(words: object, environ: object, log: Any, folder: Path) -> Child:
        log.write(b"[no] such module\n")
        raise UserError("`pickup simulate gemini` did not start (exit status 1)")

    monkeypatch.setattr(demo, "Child", fails)
    status, out, err = run(capsys, "--json")
    assert (status, out) == (2, "")
    assert "[no] such module" in err
    assert err.splitlines()[-1] == "pickup: `pickup simulate gemini` did not start (exit status 1)"


# ---- what the children get


def test_an_exported_key_does_not_turn_the_demo_into_a_paid_call(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "GEMINI_API_KEY": "paid",
        "GOOGLE_API_KEY": "paid",
        "PUBLIC_URL": "https://pickup.example.com",
        "DATABASE_URL": "sqlite:///elsewhere.db",
        "HOST": "0.0.0.0",
    }.items():
        monkeypatch.setenv(name, value)
    child: Any = FakeChild()
    environ = demo._server_environment(Settings.load({}), here, "token", child)
    assert "paid" not in environ.values()
    assert not {"GOOGLE_API_KEY", "PUBLIC_URL", "DATABASE_URL", "HOST"} & set(environ)
    assert environ["GEMINI_URL"] == "ws://127.0.0.1:1234"
    assert environ["DATA_DIR"] == str(here)
    assert environ["PATH"] == os.environ["PATH"]
    Settings.load(environ)  # all of it is as it should be


def test_live_takes_key_model_and_address_along(here: Path) -> None:
    settings = Settings.load({"GOOGLE_API_KEY": "paid", "GEMINI_MODEL": "gemini-4-live"})
    found = Settings.load(demo._server_environment(settings, here, "token", None))
    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "paid"
    assert found.gemini_model == "gemini-4-live"
    assert found.gemini_url == settings.gemini_url


# ---- what is shown


def test_what_is_said_is_shown_on_one_line_and_as_it_is() -> None:
    console, text = screen()
    demo._say(console, Said(9.87, "caller", "Hi [bold]there[/bold], " + "very " * 20))
    demo._say(console, Said(16.75, "", "the caller interrupts"))
    first, second = text.getvalue().splitlines()
    assert first.startswith("  9.87 s  caller  Hi [bold]there[/bold], very")
    assert second.split() == ["16.75", "s", "the", "caller", "interrupts"]


def test_the_table_has_a_row_for_each_turn_and_says_where_the_files_are() -> None:
    console, text = screen()
    report = msgspec.convert(EXAMPLE, DemoReport)
    turns = [turn | {"frame_ms": 3.0} for turn in EXAMPLE["turns"]]
    demo._show(console, report, [Step("a", True, ""), Step("b", False, "")], turns)
    shown = text.getvalue()
    assert "780" in shown
    assert "1 of 2 steps happened" in shown
    assert f"recording: {EXAMPLE['recording']}" in shown
    assert f" {EXAMPLE['recording']}" in shown.rpartition("listen: ")[2]


def test_what_did_not_happen_is_a_dash() -> None:
    console, text = screen()
    report = msgspec.convert(
        EXAMPLE | {"first_word_ms": None, "recording": None, "turns": []}, DemoReport
    )
    demo._show(console, report, [], [])
    assert "first word - after the answer" in text.getvalue()
    assert "listen:" not in text.getvalue()


def test_the_first_player_that_is_there_plays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    played: list[list[str]] = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: played.append(words))
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "aplay" else None)
    demo._play("/call.wav")
    assert played == [["aplay", "-q", "/call.wav"]]
    assert demo._player() == "aplay -q"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    demo._play("/call.wav")
    assert "no player found" in capsys.readouterr().err
    assert demo._player().startswith("ffplay")


# ---- the whole of it


def whole(folder: Path, *words: str) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    environ = {**os.environ, "GEMINI_API_KEY": "must-not-be-used"}
    command = [sys.executable, "-m", "agent", "demo", "--json", *words]
    done = subprocess.run(
        command, env=environ, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found, done


def check_call(found: dict[str, Any], folder: Path) -> float:
    """What holds for every demo; returns the call's length in seconds."""
    msgspec.convert(found, DemoReport, strict=True)
    assert set(found) == set(EXAMPLE)
    assert (found["v"], found["ok"], found["failed"]) == (1, True, [])
    assert (found["lost_ms"], found["underruns"]) == (0.0, 0)
    assert 0.0 < found["first_word_ms"] < 1000.0
    call = folder / "data" / "calls" / found["call_id"]
    assert found["recording"] == str(call / "call.wav")
    assert found["transcript"] == str(call / "transcript.json")
    assert found["events"] == str(call / "events.jsonl")
    assert json.loads(Path(found["transcript"]).read_text())["end_reason"] == "agent_hung_up"
    assert Path(found["events"]).read_text().startswith("{")
    for turn in found["turns"]:
        assert set(turn) == set(EXAMPLE["turns"][0])
        if turn["n"]:
            assert 0 < turn["latency_ms"] < 3000
            parts = turn["sent_ms"] + turn["model_ms"] + turn["out_ms"]
            assert turn["latency_ms"] == pytest.approx(parts, abs=1.0)
    with wave.open(found["recording"]) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        assert (np.abs(sound.astype(int)).max(axis=0) > 2000).all()  # both are heard
        return float(len(sound) / file.getframerate())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_demo_is_a_telephone_call_from_greeting_to_goodbye(here: Path) -> None:
    found, done = whole(here)
    assert check_call(found, here) <= 35.0
    for turn, example in zip(found["turns"], EXAMPLE["turns"], strict=True):
        assert (turn["n"], turn["caller"]) == (example["n"], example["caller"])
        if turn["n"] != 2:  # the one that is interrupted
            assert turn["agent"] == turn["heard"] == example["agent"]
    heard, said = found["turns"][2]["heard"], found["turns"][2]["agent"]
    assert said.startswith(heard)
    assert 3 <= len(heard.split()) < len(said.split())
    assert 0.0 <= found["barge_in"]["clear_ms"] < 50.0
    assert found["barge_in"]["stale_ms"] == 0.0
    assert "the caller interrupts" in done.stderr
    assert "must-not-be-used" not in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_recording_of_ones_own_is_the_caller(here: Path) -> None:
    with wave.open(str(SPEECH / "caller_park.wav")) as file:
        clip = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    times = np.arange(len(clip) * 441 // 80) * 80 / 441
    mono = np.interp(times, np.arange(len(clip)), clip).astype("<i2")
    with wave.open(str(here / "mine.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(np.stack([mono, mono], axis=1).tobytes())
    found, _ = whole(here, "--wav", "mine.wav")
    assert check_call(found, here) <= 35.0
    _, parking, goodbye = found["turns"]
    assert parking["caller"] == "And where can I park my car?"  # heard, whatever its rate
    assert parking["heard"] == parking["agent"]
    assert goodbye["agent"] == goodbye["heard"] == EXAMPLE["turns"][-1]["agent"]
    assert found["barge_in"] == {"clear_ms": None, "stale_ms": None}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_same_conversation_is_held_by_sip(here: Path) -> None:
    found, _ = whole(here, "--sip")
    assert (found["ok"], found["failed"], found["lost_ms"]) == (True, [], 0.0)
    for turn, example in zip(found["turns"], EXAMPLE["turns"], strict=True):
        assert (turn["n"], turn["caller"]) == (example["n"], example["caller"])
        if turn["n"] != 2:  # the one that is interrupted
            assert turn["agent"] == turn["heard"] == example["agent"]
    assert len(found["turns"][2]["heard"]) < len(found["turns"][2]["agent"])
    assert found["barge_in"]["clear_ms"] < 300.0
