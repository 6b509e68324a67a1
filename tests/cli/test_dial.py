"""`pickup dial`: what it asks a server for, and what it says of every answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent import cli
from agent.cli import dial
from agent.server.outbound.api import OrderedCall

EXAMPLE = json.loads((Path(__file__).parent / "examples" / "dial.json").read_text())
WAITS = EXAMPLE | {"state": "reserved", "tries": 0, "reason": None, "ended_at": None}
RINGS = WAITS | {"state": "placed", "tries": 1}


class Api:
    """Tells one state of the call after the other, and keeps what it was asked."""

    def __init__(self) -> None:
        self.tells: list[dict[str, Any]] = [WAITS, RINGS, EXAMPLE]
        self.status = 202
        self.body: Any = None
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((f"{request.method} {request.path}", dict(request.headers), body))
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status)
        told = self.body or (self.tells.pop(0) if len(self.tells) > 1 else self.tells[0])
        return web.json_response(told, status=self.status)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def origin(api: Api) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(dial, "LOOK_EVERY", 0.01)
    monkeypatch.setenv("API_TOKEN", "hush")
    monkeypatch.chdir(tmp_path)


async def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    def run() -> int:
        with pytest.raises(SystemExit) as left:
            cli.main(["dial", *words])
        return int(left.value.code or 0)

    status = await asyncio.to_thread(run)
    return (status, *capsys.readouterr())


def test_the_example_is_what_is_told() -> None:
    assert msgspec.to_builtins(msgspec.convert(EXAMPLE, OrderedCall)) == EXAMPLE


async def test_a_call_is_ordered_and_followed_to_its_end(
    api: Api, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["+1 (212) 555-1234", "--agent", "reminder", "--var", "patient=Ada=1", "--json"]
    status, out, err = await command(capsys, *words, "--server", origin)
    assert (status, json.loads(out)) == (0, EXAMPLE)
    assert [line.split("pickup: ")[1] for line in err.splitlines()] == [
        f"call {EXAMPLE['id']} waits to be dialled",
        f"call {EXAMPLE['id']} rings, or is on the line",
        "ended: caller_hung_up",
    ]
    (asked, headers, body), *looks = api.asked
    assert asked == "POST /api/calls"
    assert headers["Authorization"] == "Bearer hush"
    assert len(headers["Idempotency-Key"]) == 32
    assert body == {
        "to": "+12125551234",
        "agent": "reminder",
        "variables": {"patient": "Ada=1"},
        "wait": False,
    }
    assert {look for look, _, _ in looks} == {f"GET /api/calls/{EXAMPLE['id']}"}


async def test_nobody_waits_who_does_not_want_to(
    api: Api, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["+12125551234", "--agent", "a", "--no-wait", "--later", "--key", "k1"]
    status, out, _ = await command(capsys, *words, "--server", origin)
    assert (status, out) == (0, "")
    ((_, headers, body),) = api.asked
    assert (headers["Idempotency-Key"], body["wait"]) == ("k1", True)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (EXAMPLE | {"reason": "invalid_number"}, "ended: invalid_number"),
        (WAITS | {"tries": 1, "reason": "caller_busy"}, "not reached (caller_busy)"),
    ],
)
async def test_whoever_was_not_reached_is_said_so(
    told: dict[str, Any],
    line: str,
    api: Api,
    origin: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.tells = [RINGS, told]
    status, _, err = await command(capsys, "+12125551234", "--agent", "a", "--server", origin)
    assert line in err
    assert status == (1 if told["state"] == "ended" else 0)


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (409, {"error": {"why": "hours", "message": "outside the hours"}}, "not called: outside"),
        (401, {"error": {"why": "token", "message": "API_TOKEN"}}, "not called: API_TOKEN"),
        (404, "Not Found", "has no API of Pickup's: is API_TOKEN set for the server?"),
    ],
)
async def test_a_refusal_is_one_clear_line(
    status: int, body: Any, line: str, api: Api, origin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    api.status, api.body = status, body
    left, out, err = await command(capsys, "+12125551234", "--agent", "a", "--server", origin)
    assert (left, out) == (2, "")
    assert line in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["5551234", "--agent", "a"], "E.164"),
        (["+12125551234", "--agent", "a", "--var", "x"], "write name=value"),
        (["+12125551234", "--agent", "a", "--server", "http://127.0.0.1:9"], "no server answers"),
    ],
)
async def test_a_mistake_is_one_clear_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = await command(capsys, *words)
    assert status == 2
    assert line in err


async def test_without_a_token_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("API_TOKEN")
    status, _, err = await command(capsys, "+12125551234", "--agent", "a")
    assert status == 2
    assert "API_TOKEN is not set" in err


def test_the_server_is_where_serve_listens() -> None:
    from agent.config.settings import Settings

    def here(**environ: str) -> str:
        return dial._here(Settings.load(environ))

    assert here() == "http://127.0.0.1:8080"
    assert here(HOST="0.0.0.0", PORT="9000") == "http://127.0.0.1:9000"
    assert here(HOST="::1") == "http://[::1]:8080"
