"""<Dial>: who is rung, who whispers, who speaks with whom, and who hung up on whom."""

from __future__ import annotations

import asyncio

import pytest

from agent.simulator.callee import Callee, parse
from agent.simulator.cdr import together
from agent.simulator.network import NetworkOptions
from agent.simulator.phone import KeyPress
from agent.simulator.report import Ended
from tests.simulator.customer import CONNECT, TOKEN
from tests.simulator.world import (
    ACCOUNT,
    CALLEE,
    US,
    World,
    goodbye,
    streaming,
    until_stopped,
    world,
)

NUMBER = f"<Number>{CALLEE}</Number>"
AFTER = "<Say>Back.</Say>"


def dial(inner: str = NUMBER, attributes: str = "") -> dict[str, str]:
    voice = f"<Dial action='/twilio/after' {attributes}>{inner}</Dial>"
    return {"/twilio/voice": voice, "/twilio/after": AFTER}


def action(w: World) -> dict[str, str]:
    (form,) = w.told("/twilio/after")
    return {name: value for name, value in form.items() if name.startswith("Dial")}


@pytest.mark.slow
async def test_two_speak_until_the_dialled_one_hangs_up_and_the_caller_comes_back() -> None:
    async with world(dial(), parties={CALLEE: Callee(talk_s=0.3)}) as w:
        report, record = await w.call()
        (child,) = w.children(record)
    assert action(w) == {
        "DialCallStatus": "completed",
        "DialCallSid": child.sid,
        "DialCallDuration": "0",
        "DialBridged": "true",
    }
    assert (report.said, report.ended) == (["Back."], Ended.TRANSFERRED)
    assert (child.direction, child.status, child.hung_up_by) == (
        "outbound-dial",
        "completed",
        "person",
    )
    assert (child.from_, child.to) == (record.from_, CALLEE)
    assert together(record, child, 0.0) == pytest.approx(0.3, abs=0.15)
    assert record.hung_up_by == "twiml"


@pytest.mark.slow
async def test_the_caller_hangs_up_on_a_person_who_would_talk_on() -> None:
    async with world(dial(), parties={CALLEE: Callee(talk_s=None)}) as w:
        report, record = await w.call(talk_s=0.3)
        (child,) = w.children(record)
        await w.twilio.network.settled(child.sid)
    assert (record.hung_up_by, child.hung_up_by) == ("person", "other_party")
    assert w.told("/twilio/after") == []
    assert report.said == []


@pytest.mark.parametrize(
    ("party", "status"),
    [("busy", "busy"), ("failed", "failed"), ("no-answer:after=0.1", "no-answer")],
)
@pytest.mark.slow
async def test_who_does_not_answer_is_told_to_the_action(party: str, status: str) -> None:
    async with world(dial(), parties={CALLEE: parse(party)}) as w:
        report, record = await w.call()
        (child,) = w.children(record)
    assert action(w) == {
        "DialCallStatus": status,
        "DialCallSid": child.sid,
        "DialBridged": "false",
    }
    assert (report.said, together(record, child, 0.0)) == (["Back."], 0)


@pytest.mark.slow
async def test_a_dial_gives_up_after_its_timeout() -> None:
    async with world(dial(attributes="timeout='1'"), parties={CALLEE: Callee(after_s=20)}) as w:
        await w.call()
    assert action(w)["DialCallStatus"] == "no-answer"


@pytest.mark.slow
async def test_without_an_action_the_next_verb_follows() -> None:
    documents = {"/twilio/voice": f"<Dial>{NUMBER}</Dial><Say>Nobody there.</Say>"}
    async with world(documents, parties={CALLEE: parse("busy")}) as w:
        report, _ = await w.call()
    assert report.said == ["Nobody there."]


# ------------------------------------------------------------------ the whisper

WHISPER = f"<Number url='/twilio/whisper' statusCallback='/twilio/status'>{CALLEE}</Number>"
ASK = (
    "<Gather action='/twilio/keys' numDigits='1' timeout='1'><Say>Press 1.</Say></Gather><Hangup/>"
)


@pytest.mark.slow
async def test_a_key_accepts_the_call_and_only_then_are_they_connected() -> None:
    documents = dial(WHISPER) | {"/twilio/whisper": ASK, "/twilio/keys": "<Say>Thank you.</Say>"}
    party = Callee(talk_s=0.2, keys=(KeyPress("1", 0.3),))
    async with world(documents, parties={CALLEE: party}) as w:
        report, record = await w.call()
        (child,) = w.children(record)
        await w.twilio.network.settled(child.sid)
    (asked,) = w.told("/twilio/whisper")
    assert (asked["CallSid"], asked["ParentCallSid"]) == (child.sid, record.sid)
    (keys,) = w.told("/twilio/keys")
    assert (keys["Digits"], keys["CallSid"]) == ("1", child.sid)
    assert child.happened("heard") == ["Press 1.", "Thank you."]
    assert record.happened("heard") == ["Back."] == report.said
    answered = next(one.now_s for one in child.happenings if one.detail == "in-progress")
    assert child.connections[0].from_s - answered >= 0.3
    assert action(w)["DialBridged"] == "true"
    assert [form["CallStatus"] for form in w.told()] == ["completed"]


@pytest.mark.parametrize(("keys", "gathered"), [((), 0), ((KeyPress("2", 0.1),), 1)])
@pytest.mark.slow
async def test_who_does_not_accept_was_reached_but_never_connected(
    keys: tuple[KeyPress, ...], gathered: int
) -> None:
    documents = dial(WHISPER) | {"/twilio/whisper": ASK, "/twilio/keys": "<Hangup/>"}
    async with world(documents, parties={CALLEE: Callee(keys=keys)}) as w:
        report, record = await w.call()
        (child,) = w.children(record)
    assert len(w.told("/twilio/keys")) == gathered
    assert action(w) == {
        "DialCallStatus": "completed",
        "DialCallSid": child.sid,
        "DialBridged": "false",
    }
    assert (child.hung_up_by, together(record, child, 0.0)) == ("twiml", 0)
    assert report.said == ["Back."]


@pytest.mark.slow
async def test_keys_end_with_the_finishing_key_or_with_time() -> None:
    documents = {
        "/twilio/voice": "<Gather action='/twilio/keys' timeout='1'/>",
        "/twilio/keys": "<Gather action='/twilio/more' timeout='1' numDigits='4'/>",
        "/twilio/more": "<Play digits='1w2'/><Hangup/>",
    }
    async with world(documents) as w:
        _, record = await w.call(keys=(KeyPress("12#"), KeyPress("34")))
    assert [form["Digits"] for form in w.told("/twilio/keys")] == ["12"]
    assert [form["Digits"] for form in w.told("/twilio/more")] == ["34"]
    assert record.happened("digits") == ["1w2"]


# ------------------------------------------------------------------ several, and whose number


@pytest.mark.slow
async def test_all_are_rung_and_the_first_who_answers_is_connected() -> None:
    other = "+12025550102"
    documents = dial(NUMBER + f"<Number>{other}</Number>")
    parties = {CALLEE: Callee(after_s=5), other: Callee(after_s=0.1, talk_s=0.1)}
    async with world(documents, parties=parties) as w:
        _, record = await w.call()
        slow, quick = w.children(record)
        await w.twilio.network.settled(slow.sid)
    assert (slow.status, quick.status) == ("canceled", "completed")
    assert action(w)["DialCallSid"] == quick.sid


@pytest.mark.slow
async def test_the_caller_id_is_one_of_ours_or_the_callers() -> None:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=TOKEN, numbers=frozenset({US}))
    for shown, known in ((US, True), ("+12025550143", True), ("+12025550188", False)):
        documents = dial(attributes=f"callerId='{shown}'")
        async with world(documents, parties={CALLEE: parse("busy")}, options=options) as w:
            report, record = await w.call()
        assert ([v.rule for v in report.violations] == []) is known
        assert [child.from_ for child in w.children(record)] == [shown] * known


@pytest.mark.slow
async def test_a_sip_address_is_dialled_and_a_call_may_ring_on_until_then() -> None:
    address = "sip:alice@pbx.example.com"
    documents = dial(f"<Sip>{address}</Sip>", "answerOnBridge='true'")
    async with world(documents, parties={address: Callee(talk_s=0.1, after_s=0.2)}) as w:
        _, record = await w.call()
        (child,) = w.children(record)
    up = [one.now_s for one in record.happenings if one.detail == "in-progress"]
    theirs = [one.now_s for one in child.happenings if one.detail == "in-progress"]
    assert up >= theirs
    assert child.to == address


# ------------------------------------------------------------------ while it goes on


async def test_a_transfer_by_rest_stops_the_agents_stream_and_never_hangs_up_on_the_caller() -> (
    None
):
    documents = {"/twilio/after": CONNECT.replace("'me'", "'back'")}

    async def agent(socket: object) -> None:
        await (until_stopped if len(w.server.sockets) == 1 else goodbye)(w.server.sockets[-1])

    async with world(documents, agent, {CALLEE: Callee(talk_s=0.3)}) as w:
        options = w.options()
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid))
        await streaming(w)
        twiml = f"<Response><Dial action='{w.server.url}/twilio/after'>{NUMBER}</Dial></Response>"
        await w.client.calls(options.call_sid).update_async(twiml=twiml)
        report, record = await calling
        (child,) = w.children(record)
    assert w.server.sockets[0].got[-1]["event"] == "stop"
    assert [one.by for one in record.connections] == ["stream", "dial", "stream"]
    assert together(record, child, 0.0) == pytest.approx(0.3, abs=0.15)
    assert (record.hung_up_by, child.hung_up_by) == ("twiml", "person")
    assert report.violations == []


@pytest.mark.slow
async def test_other_twiml_for_the_caller_ends_the_dial_and_its_actions_answer_is_thrown_away() -> (
    None
):
    async with world(dial(), parties={CALLEE: Callee(talk_s=None)}) as w:
        options = w.options()
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid))
        network = w.twilio.network
        async with asyncio.timeout(5):
            while not any(call.record.connections for call in network.calls.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        twiml = "<Response><Say>Instead.</Say></Response>"
        await w.client.calls(options.call_sid).update_async(twiml=twiml)
        report, record = await calling
        (child,) = w.children(record)
        await network.settled(child.sid)
    assert action(w)["DialCallStatus"] == "completed"
    assert report.said == ["Instead."]
    assert child.hung_up_by == "other_party"


@pytest.mark.slow
async def test_the_dialled_party_can_be_sent_elsewhere_and_the_caller_goes_on() -> None:
    async with world(dial(), parties={CALLEE: Callee(talk_s=None)}) as w:
        options = w.options()
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid))
        network = w.twilio.network
        async with asyncio.timeout(5):
            while not any(c.record.connections for c in network.calls.values()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (child,) = w.children(network.calls[options.call_sid].record)
        twiml = "<Response><Say>You alone.</Say></Response>"
        await w.client.calls(child.sid).update_async(twiml=twiml)
        report, record = await calling
        await network.settled(child.sid)
    assert (report.said, child.happened("heard")) == (["Back."], ["You alone."])
    assert (record.hung_up_by, child.hung_up_by) == ("twiml", "twiml")
