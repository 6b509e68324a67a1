"""Caddy in front of the server: calls pass, also long ones; what is not Twilio's does not."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from annotated_types import Le

from agent.cli.parts.children import Child
from agent.config.settings import Settings, environment
from agent.simulator.brain import BenchBrain
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.gemini import Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.report import Ended
from tests.infra.recipe import ROOT, program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

CADDYFILE = ROOT / "infra" / "Caddyfile"
TOKEN = "a-token-that-only-twilio-has"


def caddy(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("caddy"), *words],
        env={**environment(), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_caddy_takes_the_file_and_has_nothing_to_mend() -> None:
    public = {"PUBLIC_URL": "https://pickup.example.com"}
    given = ("--config", str(CADDYFILE), "--adapter", "caddyfile")
    valid = caddy("validate", *given, **public)
    assert valid.returncode == 0, valid.stderr
    assert caddy("fmt", str(CADDYFILE)).stdout == CADDYFILE.read_text()
    proxy = next(handlers(json.loads(caddy("adapt", *given, **public).stdout), "reverse_proxy"))
    assert proxy["upstreams"] == [{"dial": "pickup:8080"}]
    limits = Settings.model_fields["max_call_seconds"].metadata
    (longest,) = (limit.le for limit in limits if isinstance(limit, Le))
    assert isinstance(longest, int)
    for way in ("read_timeout", "write_timeout"):  # nanoseconds
        assert proxy["transport"][way] > longest * 10**9


def handlers(tree: Any, name: str) -> Any:
    """Every handler of this name in Caddy's configuration."""
    if isinstance(tree, dict):
        if tree.get("handler") == name:
            yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from handlers(part, name)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def behind_caddy(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A server and Caddy before it; yields Caddy's origin, which is PUBLIC_URL, and the server's own."""
    public = f"http://127.0.0.1:{free_port()}"
    conduct = Conduct(setup_seconds=0.1, speed=20.0)
    async with serving(Options(conduct=conduct), lambda: BenchBrain(1.0)) as (_, gemini):
        environ = environment() | {
            "PUBLIC_URL": public,
            "GEMINI_URL": gemini.replace("http", "ws"),
            "GEMINI_API_KEY": "a-key-that-nobody-has",
            "TWILIO_AUTH_TOKEN": TOKEN,
            "DATA_DIR": str(folder),
        }
        server = await asyncio.to_thread(Child, ("serve", "--port", "0"), environ, None, folder)
        proxy = subprocess.Popen(  # noqa: ASYNC220  # takes milliseconds
            [program("caddy"), "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"],
            env={**environ, "UPSTREAM": server.url.removeprefix("http://"), "HOME": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        try:
            await listening(public)
            yield public, server.url
        finally:
            proxy.terminate()
            proxy.wait()
            with server.process:  # closes its pipe
                await asyncio.to_thread(server.stop)


async def listening(url: str) -> None:
    async with asyncio.timeout(10), aiohttp.ClientSession() as http:
        while True:
            try:
                await http.get(url)
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.timeout(60)
async def test_a_call_passes_through_caddy_and_metrics_do_not(tmp_path: Path) -> None:
    async with behind_caddy(tmp_path) as (public, server), aiohttp.ClientSession() as http:
        report = await run_caller(
            CallerOptions(
                url=public, auth_token=TOKEN, status_path="/twilio/status", max_seconds=3.0
            )
        )
        assert report.ended is Ended.CALLER_HUNG_UP
        assert report.violations == []
        assert report.notices == []
        assert report.heard
        assert report.underruns == []
        for path in ("/metrics", "/livez", "/readyz", "/", "/twilio/../metrics", "/twilio"):
            async with http.get(public + path) as answer:
                assert answer.status == 404, path
        async with http.get(server + "/metrics") as answer:
            assert "pickup_calls_ended_total" in await answer.text()
