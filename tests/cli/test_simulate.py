"""`pickup simulate`: the stand-ins as programs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner

from agent.cli.simulate import Mind, _mind, app
from agent.errors import UserError
from agent.simulator.brain import EchoBrain

if TYPE_CHECKING:
    from pathlib import Path

RUN = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gemini", "--close", "1011@soon"], "'soon' is not a number of seconds"),
        (["gemini", "--fault", "gremlin"], "no fault 'gremlin'"),
        (["gemini", "--refuse", "temperature"], "'temperature' is not a path in the setup"),
        (["caller", "http://127.0.0.1:9", "--fault", "loss"], "fault 'loss': loss takes SHARE"),
        (["gemini", "--script", "nowhere.yaml"], "nowhere.yaml: cannot read the script"),
        (["twilio", "--party", "+12025550191=elephant"], "no party 'elephant'"),
        (["twilio", "--party", "busy"], "is not NUMBER=PARTY"),
        (["twilio", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_a_mistake_is_one_clear_line(arguments: list[str], complaint: str) -> None:
    outcome = RUN.invoke(app, arguments)
    assert isinstance(outcome.exception, UserError)
    assert complaint in str(outcome.exception)


@pytest.mark.parametrize("option", [["--speed", "0"], ["--interrupts", "never"], ["--port", "x"]])
def test_an_option_out_of_range_is_named(option: list[str]) -> None:
    outcome = RUN.invoke(app, ["gemini", *option])
    assert outcome.exit_code == 2
    assert option[0] in outcome.output


def test_the_faults_are_listed() -> None:
    outcome = RUN.invoke(app, ["gemini", "--faults"])
    assert outcome.exit_code == 0
    assert "goaway-then-silence=SECONDS" in outcome.output
    assert "jitter" not in outcome.output
    outcome = RUN.invoke(app, ["caller", "--faults"])
    assert outcome.exit_code == 0
    assert "jitter=MS" in outcome.output


def test_a_recording_that_cannot_be_read_is_the_users_mistake(tmp_path: Path) -> None:
    wav = tmp_path / "not.wav"
    wav.write_bytes(b"nothing")
    outcome = RUN.invoke(app, ["caller", "http://127.0.0.1:9", "--wav", str(wav)])
    assert isinstance(outcome.exception, UserError)
    assert "not.wav" in str(outcome.exception)


def test_a_call_that_nobody_answers_is_reported_and_fails(tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    arguments = ["caller", "http://127.0.0.1:9", "--json", "--out", str(out), "--token", "secret"]
    outcome = RUN.invoke(app, arguments)
    assert outcome.exit_code == 1
    report = json.loads(outcome.stdout)
    assert report["ended"] == "webhook_failed"
    assert "calling http://127.0.0.1:9" in outcome.stderr
    assert "secret" not in outcome.output
    assert out.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_says_where_it_listens_and_ends_when_told(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "agent", "simulate", "gemini", "--brain", "bench"]
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
def test_twilios_api_is_served_with_who_is_at_each_number() -> None:
    account = "AC" + "0" * 32
    command = [sys.executable, "-m", "agent", "simulate", "twilio", "--token", "hush"]
    with subprocess.Popen(
        [*command, "--party", "+12025550107=busy:after=0"], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        origin = json.loads(program.stdout.readline())["listening"]
        calls = f"{origin}/2010-04-01/Accounts/{account}/Calls.json"
        login = {"Authorization": "Basic " + b64encode(f"{account}:hush".encode()).decode()}
        order = {"To": "+12025550107", "From": "+12025550100", "Url": "http://127.0.0.1:9/"}
        with urlopen(Request(calls, urlencode(order).encode(), login)) as answer:
            sid = json.load(answer)["sid"]
        with urlopen(Request(f"{origin}/ring", b"Url=http%3A%2F%2F127.0.0.1%3A9")) as answer:
            ringing = json.load(answer)["sid"]
        call: dict[str, str] = {}
        for _ in range(100):
            with urlopen(Request(calls, headers=login)) as answer:
                call = {one["sid"]: one["status"] for one in json.load(answer)["calls"]}
            if call == {sid: "busy", ringing: "failed"}:
                break
            time.sleep(0.05)
        with urlopen(f"{origin}/stats") as answer:
            stats = json.load(answer)
        assert call == {sid: "busy", ringing: "failed"}
        assert {one["sid"]: one["direction"] for one in stats["calls"]} == {
            sid: "outbound-api",
            ringing: "inbound",
        }
        program.send_signal(signal.SIGTERM)
        assert program.wait(5) == 0


@pytest.mark.slow
def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, agent.cli.simulate;"
        "print(sorted({'numpy', 'websockets', 'aiohttp', 'yaml', 'soxr'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True, timeout=9) == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "agent@nowhere"], "'agent@nowhere' is not sip:USER@HOST"),
        (["--to", "sip:a@127.0.0.1", "--dtmf", "1x"], "'1x' are not keys"),
        (["--to", "sip:a@127.0.0.1", "--header", "X-Id"], "'X-Id' is not NAME=VALUE"),
    ],
)
def test_a_softphone_that_is_told_nonsense_says_so(arguments: list[str], complaint: str) -> None:
    outcome = RUN.invoke(app, ["sip", *arguments])
    assert isinstance(outcome.exception, UserError)
    assert complaint in str(outcome.exception)


def test_the_echo_is_a_mind_of_the_model() -> None:
    assert _mind(Mind.ECHO, None, 4.0) is EchoBrain
