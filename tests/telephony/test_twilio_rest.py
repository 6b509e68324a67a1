"""Calls placed, found and ended over Twilio's REST API: what is sent, and what becomes of every answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agent.errors import CarrierRefused, CarrierSilent
from agent.protocols.door import CallOrder
from agent.telephony import twilio_rest
from agent.telephony.twilio_rest import Credentials, TwilioCalls, calls

ACCOUNT, CALL = "AC" + "a" * 32, "CA" + "c" * 32
PUBLIC = "https://pickup.example.com"
ORDER = CallOrder("o1", "+12125551234", "+15551234567")
NOW = 1_800_000_000.0


class Account:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 201
        self.body: Any = {"sid": CALL}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.stalls = False

    async def handle(self, request: web.Request) -> web.Response:
        form = await request.post()
        fields = {name: ",".join(map(str, form.getall(name))) for name in form}
        self.asked.append((request.method, request.path_qs, fields))
        if self.stalls:
            await asyncio.sleep(60)
        if isinstance(self.body, str):
            return web.Response(text=self.body, status=self.status)
        return web.json_response(self.body, status=self.status)

    def made(self, **call: Any) -> dict[str, Any]:
        """One call as the list shows it."""
        at = format_datetime(datetime.fromtimestamp(call.pop("at", NOW), UTC))
        return {"sid": CALL, "from": ORDER.caller_id, "to": ORDER.to, "date_created": at} | call


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
async def twilio(account: Account) -> AsyncIterator[TwilioCalls]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", account.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        given = Credentials(f"http://127.0.0.1:{server.port}", ACCOUNT, ACCOUNT, "hush")
        async with calls(given, PUBLIC) as them:
            yield them


async def test_a_call_is_placed_with_everything_that_was_ordered(
    account: Account, twilio: TwilioCalls
) -> None:
    assert await twilio.place(ORDER) == CALL
    ((method, path, fields),) = account.asked
    assert (method, path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json")
    assert fields["To"] == "+12125551234"
    assert fields["From"] == "+15551234567"
    assert fields["Url"] == f"{PUBLIC}/twilio/voice?order=o1"
    assert fields["StatusCallbackEvent"] == "initiated,ringing,answered,completed"
    assert fields["AsyncAmd"] == "true"
    assert (fields["Timeout"], fields["TimeLimit"]) == ("30", "3600")


@pytest.mark.parametrize(
    ("status", "body", "reason", "blame"),
    [
        (400, {"code": 21211, "message": "+12125551234 is not"}, "invalid_number", "number"),
        (400, {"code": 21215, "message": "geo"}, "country_denied", "number"),
        (401, {"code": 20003, "message": "Authenticate"}, "carrier_denied", "us"),
        (429, {"code": 20429, "message": "too many"}, "carrier_busy", "moment"),
        (404, "<html>nothing here</html>", "carrier_denied", "us"),
        (
            400,
            {"type": "u", "title": "t", "status": 400, "code": 21216, "detail": "+12125551234"},
            "number_blocked",
            "number",
        ),
    ],
)
async def test_a_refusal_is_told_without_the_number(
    status: int, body: Any, reason: str, blame: str, account: Account, twilio: TwilioCalls
) -> None:
    account.status, account.body = status, body
    with pytest.raises(CarrierRefused) as refused:
        await twilio.place(ORDER)
    assert not isinstance(refused.value, CarrierSilent)
    assert (refused.value.reason, refused.value.blame) == (reason, blame)
    assert "2125551234" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"code": 20500, "message": "sorry"}), (503, "<html>"), (201, "<html>captive portal")],
)
async def test_an_answer_that_says_nothing_leaves_open_whether_it_rings(
    status: int, body: Any, account: Account, twilio: TwilioCalls
) -> None:
    account.status, account.body = status, body
    with pytest.raises(CarrierSilent):
        await twilio.place(ORDER)


async def test_no_answer_in_time_leaves_open_whether_it_rings(
    account: Account, twilio: TwilioCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio_rest, "PATIENCE", 0.1)
    account.stalls = True
    with pytest.raises(CarrierSilent):
        await twilio.place(ORDER)


async def test_where_nobody_listens_nothing_was_placed() -> None:
    async with calls(Credentials("http://127.0.0.1:9", ACCOUNT, ACCOUNT, "hush"), PUBLIC) as twilio:
        with pytest.raises(CarrierRefused, match="cannot be reached") as refused:
            await twilio.place(ORDER)
    assert not isinstance(refused.value, CarrierSilent)
    assert refused.value.blame == "moment"


async def test_a_call_that_was_placed_in_silence_is_found(
    account: Account, twilio: TwilioCalls
) -> None:
    account.status = 200
    account.body = {"calls": [account.made()], "next_page_uri": None, "page": 0}
    assert await twilio.find(ORDER, NOW - 5) == CALL
    assert "To=%2B12125551234" in account.asked[0][1]


@pytest.mark.parametrize("other", [{"at": NOW - 3600}, {"from": "+15550000000"}])
async def test_an_earlier_call_or_somebody_else_s_is_not_ours(
    other: dict[str, Any], account: Account, twilio: TwilioCalls
) -> None:
    account.status = 200
    account.body = {"calls": [account.made(**other)], "next_page_uri": None, "page": 0}
    assert await twilio.find(ORDER, NOW - 5) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("busy", "caller_busy"),
        ("no-answer", "no_answer"),
        ("failed", "call_failed"),
        ("completed", None),
        ("canceled", None),
        ("ringing", None),
    ],
)
async def test_a_call_that_nobody_took_is_known_from_one_that_may_have_been(
    status: str, reason: str | None, account: Account, twilio: TwilioCalls
) -> None:
    account.status, account.body = 200, account.made(status=status)
    assert await twilio.unreached(CALL) == reason
    assert account.asked[0][:2] == ("GET", f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json")


async def test_a_call_is_ended_and_redirected(account: Account, twilio: TwilioCalls) -> None:
    account.status = 200
    assert await twilio.hang_up(CALL)
    assert await twilio.redirect(CALL, "<Response/>")
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
    assert account.asked == [
        ("POST", path, {"Status": "completed"}),
        ("POST", path, {"Twiml": "<Response/>"}),
    ]


@pytest.mark.parametrize(("status", "code"), [(404, 20404), (400, 21220)])
async def test_a_call_that_is_over_needs_no_end(
    status: int, code: int, account: Account, twilio: TwilioCalls
) -> None:
    account.status, account.body = status, {"code": code, "message": "over"}
    assert not await twilio.hang_up(CALL)


async def test_an_end_that_is_refused_is_an_error(account: Account, twilio: TwilioCalls) -> None:
    account.status, account.body = 401, {"code": 20003, "message": "Authenticate"}
    with pytest.raises(CarrierRefused):
        await twilio.hang_up(CALL)
