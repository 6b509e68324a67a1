"""Twilio's REST API as the command asks it: what is sent, and what becomes of every answer."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.cli.dev import _find
from agent.cli.parts.twilio_rest import connected
from agent.config.settings import Settings
from agent.errors import UserError
from agent.protocols.twilio.number import Webhooks
from agent.server.outbound.carrier import credentials
from agent.telephony import twilio_rest
from agent.telephony.twilio_rest import Credentials

ACCOUNT = "AC" + "a" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "SK" + "b" * 32
SID = "PN" + "c" * 32
BASE = f"/2010-04-01/Accounts/{ACCOUNT}"


class Twilio:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = {"sid": SID, "phone_number": "+15551234567", "voice_url": None}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.authorization = ""
        self.stalls = False

    async def handle(self, request: web.Request) -> web.Response:
        self.authorization = request.headers["Authorization"]
        form = dict(await request.post())
        self.asked.append((request.method, request.raw_path, form))
        if self.stalls:
            await asyncio.sleep(60)
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status)
        return web.json_response(self.body, status=self.status)

    def list_of(self, *numbers: dict[str, Any]) -> None:
        self.body = {"incoming_phone_numbers": list(numbers), "next_page_uri": None, "page": 0}


@pytest.fixture
def twilio() -> Twilio:
    return Twilio()


@pytest.fixture
async def given(twilio: Twilio) -> AsyncIterator[Credentials]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", twilio.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        yield Credentials(f"http://127.0.0.1:{server.port}", ACCOUNT, ACCOUNT, TOKEN)


def test_the_api_key_is_taken_where_there_is_one() -> None:
    environ = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": TOKEN}
    assert credentials(Settings.load(environ))[2:] == (ACCOUNT, TOKEN)
    both = Settings.load({**environ, "TWILIO_API_KEY": KEY, "TWILIO_API_SECRET": "hush"})
    assert credentials(both)[2:] == (KEY, "hush")
    assert credentials(both, by_token=True)[2:] == (ACCOUNT, TOKEN)


async def test_the_number_itself_is_found_and_not_one_that_begins_like_it(
    twilio: Twilio, given: Credentials
) -> None:
    longer = {"sid": "PN1", "phone_number": "+155512345678"}
    ours = {"sid": SID, "phone_number": "+15551234567", "voice_url": "https://a.example.com"}
    twilio.list_of(longer, ours)
    async with connected(given) as rest:
        found = await rest.find("+15551234567")
    assert found is not None
    assert (found.sid, found.trunk) == (SID, "")
    assert found.webhooks == Webhooks(voice_url="https://a.example.com")
    ((method, path, _),) = twilio.asked
    assert method == "GET"
    assert path.startswith(f"{BASE}/IncomingPhoneNumbers.json?")
    assert "PhoneNumber=%2B15551234567" in path
    assert (
        twilio.authorization == "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    )


async def test_webhooks_are_read_and_set(twilio: Twilio, given: Credentials) -> None:
    async with connected(given) as rest:
        assert await rest.webhooks(SID) == Webhooks()
        await rest.change(SID, {"voice_url": "https://a.example.com/?x=1", "status_callback": ""})
    assert twilio.asked[1] == (
        "POST",
        f"{BASE}/IncomingPhoneNumbers/{SID}.json",
        {"VoiceUrl": "https://a.example.com/?x=1", "StatusCallback": ""},
    )


async def test_a_number_that_is_gone_is_none(twilio: Twilio, given: Credentials) -> None:
    twilio.status, twilio.body = 404, {"code": 20404, "message": "not found"}
    async with connected(given) as rest:
        assert await rest.webhooks(SID) is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"code": 20003, "message": "Authenticate"}, r"refuses these credentials \(401\)"),
        (403, {"code": 20003, "message": "Forbidden"}, r"refuses these credentials \(403\)"),
        (500, {"code": 20500, "message": "sorry"}, "answered 500: .*sorry"),
        (429, {"code": 20429, "message": "too many"}, "answered 429: .*too many"),
        (200, "<html>captive portal</html>", "cannot be asked"),
    ],
)
async def test_every_other_answer_is_one_line(
    status: int, body: Any, words: str, twilio: Twilio, given: Credentials
) -> None:
    twilio.status, twilio.body = status, body
    async with connected(given) as rest:
        with pytest.raises(UserError, match=words):
            await rest.webhooks(SID)
        with pytest.raises(UserError) as refused:  # lists fail in a way of their own
            await rest.numbers()
    assert len(str(refused.value)) <= 300


async def test_a_server_that_does_not_answer_is_given_up(
    twilio: Twilio, given: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_rest, "PATIENCE", 0.1)
    twilio.stalls = True
    async with connected(given) as rest:
        with pytest.raises(UserError, match="cannot be asked: TimeoutError"):
            await rest.account_status()


async def test_a_number_on_a_trunk_cannot_ring_here(twilio: Twilio, given: Credentials) -> None:
    twilio.list_of({"sid": SID, "phone_number": "+15551234567", "trunk_sid": "TK1"})
    with pytest.raises(UserError, match="SIP trunk TK1"):
        await _find(given, "+15551234567")
    with pytest.raises(UserError, match=r"has no number \+15550000000"):
        await _find(given, "+15550000000")
