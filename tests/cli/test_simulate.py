"""`pickup simulate`: the stand-ins as programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from agent.cli.simulate import app

if TYPE_CHECKING:
    from pathlib import Path

RUN = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gemini", "--close", "1011@soon"], "'soon' is not a number of seconds"),
        (["gemini", "--fault", "gremlin"], "no fault 'gremlin'"),
        (["gemini", "--script", "nowhere.yaml"], "nowhere.yaml: cannot read the script"),
        (["gemini", "--speed", "0"], "--speed"),
        (["gemini", "--interrupts", "never"], "--interrupts"),
    ],
)
def test_a_mistake_is_one_clear_line_and_status_2(arguments: list[str], complaint: str) -> None:
    outcome = RUN.invoke(app, arguments)
    assert outcome.exit_code == 2
    assert complaint in outcome.output


def test_a_recording_that_cannot_be_read_is_the_users_mistake(tmp_path: Path) -> None:
    wav = tmp_path / "not.wav"
    wav.write_bytes(b"nothing")
    outcome = RUN.invoke(app, ["caller", "http://127.0.0.1:9", "--wav", str(wav)])
    assert outcome.exit_code == 2
    assert "not.wav" in outcome.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_where_it_listens_and_ends_when_told(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "agent.cli.simulate", "gemini", "--brain", "bench"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        origin = json.loads(program.stdout.readline())["listening"]
        assert origin.startswith("http://127.0.0.1:")
        with urlopen(f"{origin}/stats") as answer:
            assert json.load(answer)["opened"] == 0
        program.send_signal(number)
        assert program.wait(5) == 0
        assert program.stdout.read() == ""


@pytest.mark.slow
def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, agent.cli.simulate;"
        "print(sorted({'numpy', 'websockets', 'aiohttp', 'yaml', 'soxr'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True, timeout=9) == "[]\n"
