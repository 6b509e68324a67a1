"""npm's `emulate`: Twilio's REST API and signed webhooks, by people who never saw our code."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

LOCK = Path(__file__).parent / "emulate"
"""package.json and the lock: exact versions (`latest` is another program's) and what each file must hash to."""
BUILD = Path(__file__).parents[2] / "build" / "emulate-0.8.0"
ACCOUNT = "AC" + "0" * 32
TOKEN = "twilio_test_auth_token"
NUMBER = "+15551234567"
NUMBER_SID = "PN" + "0" * 32


def installed() -> Path:
    """The emulator's program, fetched once for each lock; skips where there is no node."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("emulate@0.8.0 needs node and npm")
    program = BUILD / "node_modules" / "emulate" / "dist" / "index.js"
    files = {path.name: path.read_bytes() for path in LOCK.glob("*.json")}
    if program.exists() and all(_same(BUILD / name, held) for name, held in files.items()):
        return program
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, held in files.items():
        (BUILD / name).write_bytes(held)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    command = [npm, "ci", *options, "--prefix", str(BUILD)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return program


def _same(path: Path, held: bytes) -> bool:
    return path.exists() and path.read_bytes() == held


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Emulator:
    """The emulated Twilio at an origin."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def ask(self, path: str, **form: str) -> dict[str, Any]:
        request = urllib.request.Request(self.origin + path)
        basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        request.add_header("Authorization", f"Basic {basic}")
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(request, data, timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def number(self, **form: str) -> dict[str, Any]:
        """What the number has, after setting some of it."""
        return self.ask(
            f"/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers/{NUMBER_SID}.json", **form
        )

    def call(self) -> dict[str, Any]:
        """Somebody calls the number: its webhook is asked, and answers."""
        return self.ask("/_twilio/simulate/inbound-call", To=NUMBER, From="+15557654321")


@contextmanager
def emulated(program: Path) -> Iterator[Emulator]:
    port = free_port()
    command = ["node", str(program), "start", "--service", "twilio", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            emulator = Emulator(f"http://127.0.0.1:{port}")
            for _ in range(200):
                assert process.poll() is None, "the emulator has ended"
                try:
                    emulator.number()
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            yield emulator
        finally:
            process.kill()
