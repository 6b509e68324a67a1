"""Our stand-in's REST API and webhooks beside npm's `emulate`, by people who never saw our code.

What `emulate` does is compared name by name; it runs no TwiML, asks no `Url`, and knows no media stream, no detection and no
conference: there our stand-in has no such judge.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from agent.errors import CarrierRefused
from agent.protocols.door import CallOrder
from agent.protocols.twilio.webhook import Form, Signatures, incoming_call
from agent.simulator.callee import Callee, Directory
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.network import NetworkOptions
from agent.simulator.rest import TwilioStandIn, serving as twilio_serving
from agent.telephony.twilio_rest import Credentials, HttpClient, calls
from tests.cli.twilio_emulator import ACCOUNT, NUMBER, TOKEN, Emulator, emulated, installed
from tests.simulator.customer import serving

pytestmark = pytest.mark.slow

CALLEE = "+15557654321"
OPTIONS = NetworkOptions(account_sid=ACCOUNT, auth_token=TOKEN, numbers=frozenset({NUMBER}))
TWIML = "<Response><Pause length='60'/></Response>"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with emulated(installed()) as running:
        yield running


async def asked(origin: str, url: str) -> dict[str, Any]:
    """One customer's afternoon at a Twilio: every answer, and every refusal, as its JSON."""
    seen: dict[str, Any] = {}
    async with HttpClient(origin) as http:
        client = Client(ACCOUNT, TOKEN, ACCOUNT, http_client=http)
        base = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"

        async def ask(name: str, method: str, path: str, **form: object) -> dict[str, Any]:
            answer = await client.request_async(method, base + path, data=form or None)

            seen[name] = (answer.status_code, json.loads(answer.text))
            return dict(seen[name][1])

        order = {"To": CALLEE, "From": NUMBER, "Twiml": TWIML, "StatusCallback": url}
        placed = await ask("placed", "POST", "/Calls.json", **order)
        call = f"/Calls/{placed['sid']}.json"
        await ask("fetched", "GET", call)
        await ask("listed", "GET", "/Calls.json")
        await ask("ended", "POST", call, Status="completed")
        await ask("no such call", "GET", f"/Calls/CA{'9' * 32}.json")
        await ask("nobody to call", "POST", "/Calls.json", From=NUMBER, Twiml=TWIML)
        await ask("not ours", "POST", "/Calls.json", **(order | {"From": "+15550001111"}))
        await ask("what status", "POST", call, Status="asleep")
        stranger = Client(ACCOUNT, "wrong", ACCOUNT, http_client=http)
        with pytest.raises(TwilioRestException) as refused:
            await stranger.calls.create_async(to=CALLEE, from_=NUMBER, twiml=TWIML)
        seen["stranger"] = (refused.value.status, {"code": refused.value.code})
    return seen


async def test_the_same_questions_get_the_same_answers_from_both(emulator: Emulator) -> None:
    async with serving({"/twilio/status": ""}) as server:
        url = f"{server.url}/twilio/status"
        parties = Directory({CALLEE: Callee(talk_s=None)})
        theirs = await asked(emulator.origin, url)
        theirs_told = [form for _, form, _ in server.posts]
        async with twilio_serving(OPTIONS, parties) as twilio:
            ours = await asked(twilio.origin, url)
            sid = ours["placed"][1]["sid"]
            await twilio.network.settled(sid)
        ours_told = [form for _, form, _ in server.posts[len(theirs_told) :]]
        for _, form, signature in server.posts:
            assert RequestValidator(TOKEN).validate(url, form, signature)
            assert Signatures(TOKEN, server.url).webhook(
                "/twilio/status", Form(form.items()), signature
            )
    assert {name: status for name, (status, _) in ours.items()} == {
        name: status for name, (status, _) in theirs.items()
    }
    for name in ("placed", "fetched", "ended"):
        agree(ours[name][1], theirs[name][1])
    agree(ours["listed"][1]["calls"][0], theirs["listed"][1]["calls"][0])
    assert theirs["listed"][1].keys() == ours["listed"][1].keys()
    for name in ("no such call", "nobody to call", "not ours", "what status", "stranger"):
        assert ours[name][1]["code"] == theirs[name][1]["code"], name
        assert theirs[name][1].keys() <= ours[name][1].keys()
    assert ours["ended"][1]["sid"] == sid
    assert set(theirs_told[0]) <= set(ours_told[0])
    assert theirs_told[-1]["CallStatus"] == "completed"
    assert ours_told[-1]["CallStatus"] in {"completed", "canceled"}  # theirs never rings


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Every field of theirs is one of ours, and of the same kind where both have a value."""
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        if value is not None and ours[name] is not None:
            assert type(value) is type(ours[name]), name
    for name in ("account_sid", "api_version", "direction", "from", "to", "price_unit"):
        assert ours[name] == theirs[name], name
    assert theirs["subresource_uris"].keys() <= ours["subresource_uris"].keys()
    pattern = theirs["uri"].replace(theirs["sid"], "SID")
    assert ours["uri"].replace(ours["sid"], "SID") == pattern


async def test_both_webhooks_of_an_incoming_call_read_the_same_to_our_server(
    emulator: Emulator,
) -> None:
    async with serving({"/twilio/voice": "<Reject/>"}) as server:
        emulator.number(VoiceUrl=f"{server.url}/twilio/voice", VoiceMethod="POST")

        await asyncio.to_thread(emulator.call)
        await run_caller(
            CallerOptions(
                url=server.url,
                auth_token=TOKEN,
                account_sid=ACCOUNT,
                from_number=CALLEE,
                to_number=NUMBER,
            )
        )
        (_, theirs, their_signature), (_, ours, our_signature) = server.posts
        gate = Signatures(TOKEN, server.url)
        assert gate.webhook("/twilio/voice", Form(theirs.items()), their_signature)
        assert gate.webhook("/twilio/voice", Form(ours.items()), our_signature)
    assert theirs.keys() <= ours.keys()
    one, other = incoming_call(Form(theirs.items())), incoming_call(Form(ours.items()))
    assert (one.from_, one.to, one.direction, one.account_sid) == (
        other.from_,
        other.to,
        other.direction,
        other.account_sid,
    )


ORDER = CallOrder("o1", CALLEE, NUMBER, detect_machine=False)


async def driven(given: Credentials, public_url: str, up: Callable[[str], Awaitable[None]]) -> str:
    """What our own driver does with a call, the same at every Twilio; `up` waits until it is answered."""
    began = time.time()
    async with calls(given, public_url) as rest:
        sid = await rest.place(ORDER)
        assert await rest.find(ORDER, began) == sid
        assert await rest.find(ORDER, began + 3600) is None
        await up(sid)
        assert await rest.redirect(sid, TWIML)
        assert await rest.hang_up(sid)
    async with calls(given._replace(secret="wrong"), public_url) as rest:
        with pytest.raises(CarrierRefused) as refused:
            await rest.place(ORDER)
    assert refused.value.reason == "carrier_denied"
    return sid


async def test_our_driver_places_finds_moves_and_ends_calls_at_both(emulator: Emulator) -> None:
    async def at_once(_: str) -> None:
        """Theirs is never answered, and may be moved all the same."""

    async def in_time(sid: str) -> None:
        await answered(twilio, sid)

    documents = {"/twilio/status": "", "/twilio/voice": "<Pause length='60'/>"}
    async with (
        serving(documents) as server,
        twilio_serving(OPTIONS, Directory({CALLEE: Callee(talk_s=None)})) as twilio,
    ):
        theirs = Credentials(emulator.origin, ACCOUNT, ACCOUNT, TOKEN)
        await driven(theirs, server.url, at_once)
        ours = theirs._replace(origin=twilio.origin)
        sid = await driven(ours, server.url, in_time)
        await twilio.network.settled(sid)
        async with calls(ours, server.url) as rest:
            assert not await rest.hang_up(sid)  # theirs ends a call as often as one likes
            assert not await rest.redirect(sid, TWIML)
        ends = [form["CallStatus"] for path, form, _ in server.posts if path == "/twilio/status"]
    assert ends.count("completed") == 2


async def answered(twilio: TwilioStandIn, sid: str) -> None:
    async with asyncio.timeout(5):
        while twilio.network.calls[sid].record.status != "in-progress":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
