"""`pickup dev`: a number rings here and is put back, however it ends. Twilio is npm's `emulate`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from twilio.request_validator import RequestValidator

from agent.cli import main
from tests.cli.twilio_emulator import (
    ACCOUNT,
    NUMBER,
    TOKEN,
    Emulator,
    emulated,
    free_port,
    installed,
)

BEFORE = "https://before.example.com/voice"
TUNNEL = "https://some-quiet-words-here.trycloudflare.com"

FAKE_CLOUDFLARED = f"""#!{sys.executable}
import sys, time
assert sys.argv[1:4] == ["tunnel", "--no-autoupdate", "--url"]
assert not [name for name in __import__("os").environ if name.startswith(("TWILIO", "GEMINI"))]
print("2026-09-03T10:00:02Z INF |  {TUNNEL}  |", file=sys.stderr)
print("2026-09-03T10:00:03Z INF Registered tunnel connection connIndex=0", file=sys.stderr, flush=True)
time.sleep(120)
"""

# ---- mistakes


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A folder without `.env`, and an environment with only what the test sets."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("TWILIO", "GEMINI", "GOOGLE", "PUBLIC_URL", "DATA_DIR")):
            monkeypatch.delenv(name)

    def setting(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return setting


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["dev", *words])
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    return err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "say which number"),
        ([NUMBER, "--restore"], "say which number"),
        (["555-1234"], "'555-1234' is not a number such as +15551234567"),
        ([NUMBER], "TWILIO_ACCOUNT_SID is not set"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    line: str,
    here: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert line in complaint(capsys, *words)


def test_a_missing_token_is_one_line(
    here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    here(TWILIO_ACCOUNT_SID=ACCOUNT)
    assert "TWILIO_AUTH_TOKEN is not set" in complaint(capsys, NUMBER)


def test_twilio_out_of_reach_is_one_line(
    here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    here(TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN, TWILIO_API_URL=nowhere)
    assert f"{nowhere} cannot be asked" in complaint(capsys, NUMBER, "--stand-in")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "GEMINI_API_KEY is not set (or give --stand-in"),
        ({"PUBLIC_URL": "https://pickup.example.com"}, "GEMINI_API_KEY is not set"),
        ({"PUBLIC_URL": "http://127.0.0.1:8080"}, "PUBLIC_URL is this machine's own"),
    ],
)
def test_what_cannot_work_is_said_before_anybody_is_asked(
    more: dict[str, str],
    line: str,
    here: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    here(TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN, **more)
    assert line in complaint(capsys, NUMBER)


def test_a_key_for_the_api_does_not_check_signatures(
    here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    here(TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_API_KEY="SK" + "0" * 32, TWILIO_API_SECRET="secret")
    assert "TWILIO_AUTH_TOKEN is not set: without it nobody" in complaint(capsys, NUMBER)


def test_nothing_to_restore_is_no_mistake(
    here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    here(TWILIO_ACCOUNT_SID=ACCOUNT, TWILIO_AUTH_TOKEN=TOKEN)
    with pytest.raises(SystemExit) as left:
        main(["dev", "--restore"])
    assert not left.value.code
    assert capsys.readouterr().err == "pickup: there is nothing to put back\n"


# ---- whole runs


@pytest.fixture(scope="module")
def program() -> Path:
    return installed()


@pytest.fixture
def twilio(program: Path) -> Iterator[Emulator]:
    with emulated(program) as emulator:
        emulator.number(VoiceUrl=BEFORE, VoiceMethod="GET")
        yield emulator


class Run:
    """A `pickup` in a folder of its own."""

    def __init__(self, folder: Path, twilio: Emulator) -> None:
        self.folder = folder
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path.cwd()),
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "TWILIO_API_URL": twilio.origin,
        }
        self.environ |= {name: text for name, text in os.environ.items() if "COVERAGE" in name}

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "agent", *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @contextmanager
    def dev(self, *words: str) -> Iterator[Dev]:
        dev = Dev([sys.executable, "-m", "agent", "dev", NUMBER, *words], self.folder, self.environ)
        try:
            yield dev
        finally:
            dev.clean_up()


class Dev:
    """A running `pickup dev`."""

    def __init__(self, command: list[str], folder: Path, environ: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.family: list[psutil.Process] = []

    def ready(self) -> str:
        """Where it says that it is ready."""
        for _ in range(600):
            found = re.search(r"ready at (\S+):", self.text)
            if found:
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return found[1]
            assert self.process.poll() is None, self.text
            time.sleep(0.1)
        raise AssertionError(self.text)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def end(self, number: signal.Signals) -> int:
        if number is signal.SIGINT:
            os.killpg(self.process.pid, number)  # a terminal's Ctrl-C is for the server too
        else:
            self.process.send_signal(number)
        return self.left()

    def left(self) -> int:
        status = self.process.wait(40)
        self._reader.join(2)
        return status

    def clean_up(self) -> None:
        for process in [*self.family, psutil.Process()][:-1]:
            if process.is_running():
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())


@pytest.fixture
def run(tmp_path: Path, twilio: Emulator) -> Run:
    return Run(tmp_path, twilio)


def alive(process: psutil.Process) -> bool:
    """Whether it still does anything: one that has ended waits, as a zombie, until whoever adopted it looks."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_number_rings_here_until_it_is_told_to_end(
    run: Run, twilio: Emulator, number: signal.Signals
) -> None:
    port = free_port()
    run.environ |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
    with run.dev() as dev:
        url = dev.ready()
        found = twilio.number()
        assert found["voice_url"] == f"{url}/twilio/voice"
        assert found["voice_method"] == "POST"
        assert found["status_callback"] == f"{url}/twilio/status"
        twilio.call()  # signed by somebody else's code
        assert json.loads(fetched(f"{url}/readyz"))["calls"] == 1
        assert dev.end(number) == 0
        assert "the number's webhooks are what they were before" in dev.text
        assert NUMBER.removeprefix("+") not in dev.text
    found = twilio.number()
    assert (found["voice_url"], found["voice_method"]) == (BEFORE, "GET")
    assert not found["status_callback"]
    assert not [process for process in dev.family if alive(process)]


@pytest.mark.slow
def test_the_doctor_finds_nothing_wrong_while_it_rings_here(run: Run, twilio: Emulator) -> None:
    port = free_port()
    run.environ |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
    with run.dev() as dev:
        dev.ready()
        done = run.command("doctor", "--json")
        assert done.stderr == ""
        found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        for name in ("settings", "agents", "data", "database", "port", "public url", "clock"):
            assert found[name]["verdict"] == "ok", found[name]
        assert found["signature"]["text"] == "a signed webhook is taken, an unsigned one is refused"
        assert found["twilio account"]["text"] == "the account is active, the token is right"
        assert found["twilio number"]["text"] == "…67 rings here"
        assert found["gemini key"]["verdict"] == "warn"
        assert done.returncode == 0
        run.environ["TWILIO_AUTH_TOKEN"] = "another"
        done = run.command("doctor", "--json")
        found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
        for name in ("signature", "twilio account", "twilio number"):
            assert found[name]["verdict"] == "fail", found[name]
        assert done.returncode == 1
        assert dev.end(signal.SIGINT) == 0
        assert "Traceback" not in dev.text


@pytest.mark.slow
def test_after_a_crash_the_number_is_put_back_by_hand_or_by_the_next_run(
    run: Run, twilio: Emulator
) -> None:
    port = free_port()
    run.environ |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
    for words in (["--restore"], ["+15550000000"]):  # the latter number is not the account's
        with run.dev() as dev:
            dev.ready()
            assert run.command("dev", "--restore").returncode == 2  # another one runs
            assert dev.end(signal.SIGKILL) == -signal.SIGKILL
        assert twilio.number()["voice_url"] != BEFORE
        done = run.command("dev", *words)
        assert "what they were before" in done.stderr
        assert done.returncode == (0 if words == ["--restore"] else 2)
        assert twilio.number()["voice_url"] == BEFORE
        assert ("has no number" in done.stderr) is (done.returncode == 2)


@pytest.mark.slow
def test_a_tunnel_is_made_where_there_is_no_public_url(run: Run, twilio: Emulator) -> None:
    folder = run.folder / "bin"
    folder.mkdir()
    (folder / "cloudflared").write_text(FAKE_CLOUDFLARED)
    (folder / "cloudflared").chmod(0o700)
    run.environ["PATH"] = f"{folder}:{run.environ['PATH']}"
    port = free_port()
    with run.dev("--port", str(port), "--stand-in") as dev:
        assert dev.ready() == TUNNEL
        assert twilio.number()["voice_url"] == f"{TUNNEL}/twilio/voice"
        # What the tunnel would hand on: signed for the public name, sent to the local port.
        form = {"CallSid": "CA" + "1" * 32, "AccountSid": ACCOUNT, "CallStatus": "ringing"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/twilio/status", urllib.parse.urlencode(form).encode()
        )
        sign = RequestValidator(TOKEN).compute_signature(f"{TUNNEL}/twilio/status", form)
        request.add_header("X-Twilio-Signature", sign)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 204
        (tunnel,) = (each for each in dev.family if "cloudflared" in " ".join(each.cmdline()))
        tunnel.kill()
        assert dev.left() == 1
        assert "the cloudflared has ended" in dev.text
    assert twilio.number()["voice_url"] == BEFORE


@pytest.mark.slow
def test_what_twilio_refuses_is_one_line(run: Run, twilio: Emulator) -> None:
    done = run.command("dev", NUMBER)
    assert (done.returncode, done.stdout) == (2, "")
    assert "GEMINI_API_KEY is not set (or give --stand-in" in done.stderr
    run.environ["PATH"] = str(run.folder)
    done = run.command("dev", NUMBER, "--stand-in")
    assert done.returncode == 2
    assert "no tunnel: set PUBLIC_URL" in done.stderr
    run.environ["TWILIO_AUTH_TOKEN"] = "wrong"
    done = run.command("dev", NUMBER, "--stand-in")
    assert done.returncode == 2
    assert "Twilio refuses these credentials (401)" in done.stderr
    assert twilio.number()["voice_url"] == BEFORE
