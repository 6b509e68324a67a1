"""`pickup` itself: what it lists, how fast, and how it fails."""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import typer

import agent
from agent import cli
from agent.errors import UserError

FOLDER = Path(cli.__file__).parent

HEAVY = ("pydantic", "numpy", "sqlalchemy", "starlette", "twilio", "websockets", "aiohttp", "rich")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert isinstance(left.value.code, int)
    return (left.value.code, *capsys.readouterr())


def command(monkeypatch: pytest.MonkeyPatch, mistake: BaseException | None) -> None:
    """Put a command `calls` in place that ends as told."""
    module = types.ModuleType("agent.cli.calls")
    app = typer.Typer()

    @app.command()
    def calls() -> None:
        if mistake is not None:
            raise mistake

    monkeypatch.setattr(module, "app", app, raising=False)
    monkeypatch.setitem(sys.modules, "agent.cli.calls", module)


def test_every_file_is_a_command_and_every_command_a_file() -> None:
    files = [path for path in FOLDER.glob("[!_]*.py") if re.search(r"(?m)^app\b", path.read_text())]
    assert {path.stem for path in files} == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_shows_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: pickup {name} ")


def test_help_lists_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # what a line of help must fit into
    status, out, err = run(capsys, "--help")
    assert (status, err) == (0, "")
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines() if line]
    assert listed == list(cli.COMMANDS)
    for line in cli.COMMANDS.values():
        assert line in out


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom agent.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', *(name for name in {HEAVY} if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines()[-1] == "heavy:"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"pickup {agent.__version__}\n", "")


@pytest.mark.parametrize("words", [("smulate",), ("--nonsense",), ("init", "--nonsense"), ()])
def test_a_wrong_word_is_a_mistake_to_mend(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, *words)
    assert status == 2
    assert "Usage: pickup" in out + err


def test_a_near_miss_is_told_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'simulate'?" in run(capsys, "smulate")[2]


def test_a_mistake_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, UserError("PORT should be a number"))
    assert run(capsys, "calls") == (2, "", "pickup: PORT should be a number\n")


def test_success_is_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, None)
    assert run(capsys, "calls") == (0, "", "")


def test_ctrl_c_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, KeyboardInterrupt())
    assert run(capsys, "calls")[0] == 130


def test_ctrl_c_while_importing_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert run(capsys, "calls")[0] == 130


def test_any_other_error_is_a_bug_and_shows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.main(["calls"])


def test_the_words_come_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pickup", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().out.startswith("pickup ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for child processes")
def test_a_real_ctrl_c_ends_a_real_process() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "agent", "simulate", "gemini"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert "listening" in child.stdout.readline()
        child.send_signal(signal.SIGINT)
        began = time.monotonic()
        child.communicate(timeout=5)
        assert time.monotonic() - began < 5
        assert child.returncode in (0, 130)
    finally:
        child.kill()
        child.communicate()
