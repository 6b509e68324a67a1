"""Many calls at once, updated at random moments: whatever happens, the stand-in's records stay true."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException

from agent.simulator.callee import Callee, parse
from agent.simulator.cdr import FINAL, CallRecord
from agent.simulator.clock import now
from agent.simulator.phone import KeyPress
from tests.simulator.customer import CONNECT, Socket
from tests.simulator.world import ACCOUNT, EVENTS, US, World, world

pytestmark = pytest.mark.slow

PARTIES = {
    "+12025550110": Callee(talk_s=0.3),
    "+12025550111": Callee(talk_s=None, keys=(KeyPress("1", 0.1),)),
    "+12025550112": Callee(after_s=0.6, talk_s=0.2),
    "+12025550113": parse("busy"),
    "+12025550114": parse("failed"),
    "+12025550115": parse("no-answer:after=0.4"),
    "+12025550116": parse("machine:greeting=0.3,beep=0.4"),
}
NUMBERS = sorted(PARTIES)
DIAL = "<Dial action='/twilio/after'><Number url='/twilio/whisper'>{}</Number></Dial>"
ROOM = "<Dial action='/twilio/after'><Conference endConferenceOnExit='{}'>{}</Conference></Dial>"


def document(dice: random.Random) -> str:
    return dice.choice(
        [
            CONNECT,
            DIAL.format(dice.choice(NUMBERS)),
            ROOM.format(dice.choice(["true", "false"]), dice.choice("ab")),
            "<Pause length='1'/><Say>Still there.</Say>",
            "<Gather action='/twilio/keys' numDigits='1' timeout='1'/><Say>None.</Say>",
            "<Hangup/>",
        ]
    )


def absolute(w: World, verbs: str) -> str:
    """A document that comes without an address of its own."""
    stream = w.server.url.replace("http", "ws")
    verbs = verbs.replace("url='/media", f"url='{stream}/media")
    return f"<Response>{verbs}</Response>".replace("='/", f"='{w.server.url}/")


async def listen(socket: Socket) -> None:
    """An agent who stays until the stream is stopped, or a second has passed."""
    try:
        async with asyncio.timeout(1.0):
            async for message in socket.ws:
                if json.loads(message.data)["event"] == "stop":
                    return
    except TimeoutError:
        return


async def meddle(w: World, sid: str, dice: random.Random) -> None:
    """Update a call once or twice, at any moment."""
    for _ in range(dice.randint(0, 2)):
        await asyncio.sleep(dice.uniform(0.0, 1.2))
        known = w.children(w.twilio.network.calls[sid].record)
        target = dice.choice([sid, *(child.sid for child in known)])
        change: dict[str, str] = dice.choice(
            [
                {"status": "completed"},
                {"status": "canceled"},
                {"twiml": absolute(w, document(dice))},
                {"url": f"{w.server.url}/twilio/after"},
            ]
        )
        try:
            await w.client.calls(target).update_async(**change)
        except TwilioRestException as refused:
            assert (refused.status, refused.code) in {(404, 20404), (400, 21220)}


async def test_whatever_is_done_to_calls_each_ends_once_and_its_record_adds_up(full: bool) -> None:
    dice = random.Random(4)
    seen: Counter[str] = Counter()
    for _ in range(20 if full else 2):
        documents = {
            "/twilio/whisper": "<Say>A call.</Say>",
            "/twilio/keys": "<Say>Thank you.</Say>",
            "/twilio/after": "<Say>Back.</Say><Pause length='1'/>",
        }
        async with world(documents, listen, PARTIES) as w:
            await asyncio.gather(*(one_call(w, random.Random(dice.random())) for _ in range(20)))
            network = w.twilio.network
            for sid in list(network.calls):
                await network.settled(sid)
            for call in network.calls.values():
                adds_up(call.record)
                assert call.report.violations == []
                seen[call.record.status] += 1
                seen[f"by {call.record.hung_up_by}"] += 1
            for conference in network.conferences.values():
                assert conference.participants == {}
                assert conference.status == "completed"
            told(w)
    assert set(seen) >= {"completed", "busy", "failed", "no-answer", "canceled"}
    assert set(seen) >= {f"by {who}" for who in ("person", "other_party", "twiml", "api")}


async def one_call(w: World, dice: random.Random) -> None:
    """Somebody calls in, or is called; the TwiML is anything."""
    given: dict[str, Any] = {"max_seconds": 4.0, "talk_s": dice.choice([None, 0.4])}
    twiml = absolute(w, document(dice))
    if dice.random() < 0.3:
        w.server.documents["/twilio/voice"] = document(dice)
        options = w.options(**given)
        w.twilio.network.ring(options)
        sid = options.call_sid
        while sid not in w.twilio.network.calls:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    else:
        placed = await w.place(
            to=dice.choice(NUMBERS),
            url=None,
            twiml=twiml,
            time_limit=3,
            status_callback=f"{w.server.url}/twilio/status",
            status_callback_event=EVENTS,
        )
        sid = placed.sid
    await meddle(w, sid, dice)


def adds_up(record: CallRecord) -> None:
    """What holds for every call that is over."""
    assert record.status in FINAL
    assert [one.what for one in record.happenings].count("hung up") == 1
    assert all(one.until_s is not None for one in record.connections), record
    spans = sorted((one.from_s, one.until_s or 0.0) for one in record.connections)
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))
    assert all(one.until_s is not None and one.until_s <= now() for one in record.connections)
    if record.answered_wall_s is None:
        assert record.connections == []
        assert record.status != "completed" or record.direction == "inbound"
    else:
        assert record.status in {"completed", "failed"}
        assert record.hung_up_by


def told(w: World) -> None:
    """The status callbacks of each call came in order, none was left out, and the last ends it."""
    calls: dict[str, list[dict[str, str]]] = {}
    for form in w.told():
        assert form["AccountSid"] == ACCOUNT
        assert form["From"] == US
        calls.setdefault(form["CallSid"], []).append(form)
    for sid, forms in calls.items():
        assert [form["SequenceNumber"] for form in forms] == [str(n) for n in range(len(forms))]
        assert forms[-1]["CallStatus"] == w.twilio.network.calls[sid].record.status
        assert not any(form["CallStatus"] in FINAL for form in forms[:-1])
