"""Who is no caller of Twilio's is turned away, and nothing is opened for them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from itertools import product
from typing import TYPE_CHECKING

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from agent.protocols.token import TOKEN_SECONDS, issue
from agent.server.streams import STRANGERS
from agent.simulator.report import Ended
from agent.simulator.signature import sign
from tests.calls.exchange import ACCOUNT, AUTH_TOKEN, Exchange, exchange, token_key, within

if TYPE_CHECKING:
    from pathlib import Path

SID, OTHER = "CA" + "1" * 32, "CA" + "2" * 32


async def test_a_webhook_that_twilio_did_not_sign_is_forbidden(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        paths, tokens = ("voice", "after", "status"), (None, "another token", "")
        for path, token in product(paths, tokens):
            status, _ = await here.post(f"/twilio/{path}", SID, signed_with=token)
            assert status == 403, (path, token)
        assert here.opened == 0
        assert here.rows(SID) == []
        assert await here.metric('pickup_forged_total{where="webhook"}') == 9


async def test_a_signature_of_other_fields_or_of_another_path_is_forbidden(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here, aiohttp.ClientSession() as http:
        form = {"CallSid": SID, "AccountSid": ACCOUNT, "From": "+12025550111", "To": ""}
        url = f"{here.url}/twilio/voice"
        good = sign(AUTH_TOKEN, url, form)
        tries = [
            (form | {"From": "+12025550112"}, url, good),
            (form | {"More": ""}, url, good),
            (form, f"{here.url}/twilio/after", good),
            (form, f"{url}?x=1", good),
            *((form, url, odd) for odd in ("", "é", "x" * 5000, good[:-1])),
        ]
        for sent, where, signature in tries:
            headers = {"X-Twilio-Signature": signature}
            async with http.post(where, data=sent, headers=headers) as answer:
                assert answer.status == 403, (sent, where, signature)
        assert here.opened == 0


async def test_a_signed_webhook_that_is_no_call_is_refused_with_what_is_wrong(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path, TWILIO_ACCOUNT_SID=ACCOUNT) as here:
        for form, status in (
            ({"CallSid": "../../etc/passwd"}, 400),
            ({"AccountSid": ""}, 400),
            ({"AccountSid": "AC" + "1" * 32}, 400),
            ({"Padding": "x" * 70_000}, 413),
        ):
            assert (await here.post("/twilio/voice", SID, **form))[0] == status, form
        assert here.opened == 0
        assert await here.metric("pickup_calls_started_total") == 0


@pytest.mark.parametrize("upgrade_token", ["", "another token"])
async def test_a_stream_that_twilio_did_not_sign_is_forbidden_before_it_is_accepted(
    tmp_path: Path, upgrade_token: str
) -> None:
    async with exchange(tmp_path) as here:
        heard = await here.dial(SID, "1.1.x.y", upgrade_token=upgrade_token)
        assert heard.report.ended is Ended.STREAM_REFUSED
        assert "403" in heard.report.notices[0].detail
        assert here.opened == 0
        assert await here.metric('pickup_forged_total{where="stream"}') == 1


async def test_streams_that_only_wait_are_counted_and_the_next_is_turned_away(
    tmp_path: Path,
) -> None:
    async with exchange(tmp_path, MAX_CALLS="1") as here, AsyncExitStack() as open_ones:
        url = f"{here.url.replace('http', 'ws')}/twilio/media"
        headers = {"X-Twilio-Signature": sign(AUTH_TOKEN, url)}

        async def opened() -> ClientConnection:
            socket = connect(url, additional_headers=headers, compression=None)
            return await open_ones.enter_async_context(socket)

        waiting = [await opened() for _ in range(2 + STRANGERS)]
        with pytest.raises(InvalidStatus):
            await opened()
        await waiting[0].close()
        await within(2.0, lambda: waiting[0].close_code, "the server does not close")
        await asyncio.sleep(0.05)
        await opened()
        assert here.opened == 0


async def test_a_token_that_is_missing_or_wrong_opens_nothing(tmp_path: Path) -> None:
    key, nonce, wall = token_key(), bytes(16), time.time()
    tokens = {
        "missing": None,
        "empty": "",
        "malformed": "1.2.3",
        "foreign": issue(b"somebody else's key", SID, 1, nonce, wall),
        "another call's": issue(key, OTHER, 1, nonce, wall),
        "expired": issue(key, SID, 1, nonce, wall - 2 * TOKEN_SECONDS),
        "of no call here": issue(key, SID, 1, nonce, wall),
    }
    async with exchange(tmp_path) as here:
        calls = await asyncio.gather(*(here.dial(SID, token) for token in tokens.values()))
        for name, heard in zip(tokens, calls, strict=True):
            assert heard.codes == [1008], name  # accepted, and closed at `start`
            assert heard.report.heard == []
        assert here.opened == 0
        assert here.rows(SID) == []
        assert await here.metric('pickup_refused_total{why="token"}') == len(tokens)


@pytest.mark.slow
async def test_a_token_of_another_call_does_not_get_into_this_one(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        mine, theirs = await asyncio.gather(here.ring(SID), here.ring(OTHER))
        assert here.opened == 2
        assert (await here.dial(SID, theirs)).codes == [1008]
        assert (await here.dial(SID, mine, account_sid="AC" + "1" * 32)).codes == [1008]
        heard = await here.dial(SID, mine, max_seconds=0.6)  # both refusals left it unspent
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert heard.report.heard
        await over(here, SID, OTHER)


@pytest.mark.slow
async def test_a_spent_token_opens_nothing_while_the_call_lives_or_after(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        token = await here.ring(SID)
        first = asyncio.gather(here.dial(SID, token, max_seconds=0.8))
        await asyncio.sleep(0.4)
        assert (await here.dial(SID, token)).codes == [1008]
        (heard,) = await first
        assert heard.report.ended is Ended.CALLER_HUNG_UP  # the call noticed nothing
        assert (await here.record(SID)).legs == 1
        assert (await here.dial(SID, token)).codes == [1008]
        assert here.opened == 1


@pytest.mark.slow
async def test_of_ten_streams_with_one_token_one_wins(tmp_path: Path) -> None:
    async with exchange(tmp_path) as here:
        token = await here.ring(SID)
        racers = await asyncio.gather(*(here.dial(SID, token, max_seconds=0.8) for _ in range(10)))
        codes = Counter(code for heard in racers for code in heard.codes)
        assert codes == {1008: 9, 1000: 1}
        (winner,) = [heard for heard in racers if heard.report.heard]
        assert winner.report.ended is Ended.CALLER_HUNG_UP
        assert here.opened == 1
        assert (await here.record(SID)).end_reason == "caller_hung_up"


async def over(here: Exchange, *call_sids: str) -> None:
    """Twilio says that these calls have ended."""
    for call_sid in call_sids:
        status, _ = await here.post("/twilio/status", call_sid, CallStatus="completed")
        assert status == 204
        await here.record(call_sid)
