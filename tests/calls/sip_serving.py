"""The server with SIP, and the stand-in for Gemini, each in a process of its own, as they are delivered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.request import urlopen

import psutil

from agent.cli.parts.children import Child
from agent.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AGENT = "name: Test\npersona: You answer.\ndisclosure: false\ngreeting: Hi.\n"


class Probed(NamedTuple):
    """What the probe told, and what of a core the server took while it talked."""

    report: dict[str, Any]
    cpu: float


class Served:
    """A running pair."""

    def __init__(self, server: Child, stand_in: Child, data: Path) -> None:
        assert server.sip is not None
        self.server = server
        self.stand_in = stand_in
        self.data = data
        self.where = server.sip

    def stats(self) -> dict[str, Any]:
        """What the stand-in for Gemini saw."""
        with urlopen(f"{self.stand_in.url}/stats") as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    @property
    def memory(self) -> float:
        """What the server holds, in MB."""
        held: int = psutil.Process(self.server.process.pid).memory_info().rss
        return held / 1e6

    def probe(self, *options: str) -> Probed:
        """Calls by the probe, in a process of its own."""
        command = (
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "tests.calls.rtp_probe",
            "--to",
            self.where,
        )
        process = psutil.Process(self.server.process.pid)
        spent: list[tuple[float, float]] = []
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as probe:
            assert probe.stdout is not None
            told: dict[str, Any] = {}
            for line in probe.stdout:
                told = json.loads(line)
                if "now_s" in told:
                    times = process.cpu_times()
                    spent.append((told["now_s"], times.user + times.system))
        (begun, before), (ended, after) = spent
        return Probed(told, (after - before) / (ended - begun))


def bare() -> dict[str, str]:
    """The environment without settings of ours."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in ours}


@contextmanager
def sip_serving(
    folder: Path,
    *stand_in: str,
    agent: str = AGENT,
    errors: IO[bytes] | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Served]:
    """Calls can be placed to `where` as long as the context lasts.

    Args:
        folder: all that is written.
        stand_in: more words of the stand-in's command.
        agent: the agent's file.
        errors: where the server's stderr goes; None: with ours.
        settings: more of its environment.
    """
    agents, data = folder / "agents", folder / "data"
    agents.mkdir(exist_ok=True)
    (agents / "test.yaml").write_text(agent)
    environ = bare()
    model = Child(("simulate", "gemini", "--setup-seconds", "0.05", *stand_in), environ)
    try:
        environ |= {
            "DATA_DIR": str(data),
            "PICKUP_AGENTS": str(agents),
            "GEMINI_API_KEY": "stand-in",
            "GEMINI_URL": model.url.replace("http", "ws", 1),
            "TWILIO_AUTH_TOKEN": "stand-in",
            "SIP_LISTEN": "127.0.0.1:0",
            "MAX_CALLS": "40",
            "LOG_LEVEL": "warning",
            "DRAIN_SECONDS": "5",
        }
        environ |= settings
        server = Child(("serve", "--port", "0"), environ, errors, folder)
        try:
            yield Served(server, model, data)
        finally:
            server.stop()
    finally:
        model.stop()
