"""Outbound calls of a customer, placed and changed over the stand-in's REST API by Twilio's own client."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import re

import aiohttp
import pytest
from twilio.rest.api.v2010.account.call import CallInstance
from twilio.rest.api.v2010.account.conference import ConferenceInstance
from twilio.rest.api.v2010.account.conference.participant import ParticipantInstance

from agent.simulator.callee import Callee, Verdict, parse
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.network import NetworkOptions
from agent.simulator.phone import Manners
from agent.simulator.report import Ended
from agent.simulator.rest_forms import ApiError
from tests.simulator.customer import CONNECT, LOUD, TOKEN, Socket
from tests.simulator.world import (
    ACCOUNT,
    CALLEE,
    EVENTS,
    KEY,
    SECRET,
    US,
    goodbye,
    missing,
    streaming,
    until_stopped,
    world,
)

# ------------------------------------------------------------------ placing


async def test_an_answered_call_is_told_step_by_step_and_speaks_with_the_agent() -> None:
    async with world(agent=goodbye) as w:
        placed = await w.place(
            status_callback=f"{w.server.url}/twilio/status", status_callback_event=EVENTS
        )
        assert (placed.status, placed.direction) == ("queued", "outbound-api")
        assert (placed.to, placed._from) == (CALLEE, US)
        record = await w.twilio.network.settled(placed.sid)
        seen = await w.client.calls(placed.sid).fetch_async()
    told = w.told()
    assert [form["CallStatus"] for form in told] == [
        "initiated",
        "ringing",
        "in-progress",
        "completed",
    ]
    assert [form["SequenceNumber"] for form in told] == ["0", "1", "2", "3"]
    assert {form["Direction"] for form in told} == {"outbound-api"}
    assert told[-1]["CallDuration"] == str(record.seconds)
    (asked,) = w.told("/twilio/voice")
    assert (asked["CallStatus"], asked["CallSid"]) == ("in-progress", placed.sid)
    assert (asked["From"], asked["To"]) == (US, CALLEE)
    assert "StirVerstat" not in asked
    assert (seen.status, seen.answered_by) == ("completed", None)
    assert record.hung_up_by == "twiml"
    assert record.connected_to("agent", 0.0) > 0.1
    report = w.twilio.network.calls[placed.sid].report
    assert (report.ended, report.violations) == (Ended.AGENT_HUNG_UP, [])
    assert [round(heard.heard_ms) for heard in report.heard] == [200]


@pytest.mark.parametrize(
    ("party", "statuses", "sip"),
    [
        ("busy", ["initiated", "ringing", "busy"], "486"),
        ("failed", ["initiated", "failed"], "404"),
        ("failed:sip=503", ["initiated", "failed"], "503"),
        ("no-answer:after=0.1", ["initiated", "ringing", "no-answer"], "480"),
    ],
)
@pytest.mark.slow
async def test_a_call_that_nobody_takes_tells_why(
    party: str, statuses: list[str], sip: str
) -> None:
    async with world(parties={CALLEE: parse(party)}) as w:
        url = f"{w.server.url}/twilio/status"
        record = await w.placed(status_callback=url, status_callback_event=EVENTS)
    assert [form["CallStatus"] for form in w.told()] == statuses
    assert w.told()[-1]["SipResponseCode"] == sip
    assert w.told("/twilio/voice") == []
    assert (record.answered_wall_s, record.hung_up_by, record.seconds) == (None, "", 0)


@pytest.mark.slow
async def test_who_picks_up_after_the_timeout_has_not_answered() -> None:
    async with world(parties={CALLEE: Callee(after_s=30)}) as w:
        record = await w.placed(timeout=1)
    assert record.status == "no-answer"


@pytest.mark.slow
async def test_without_a_choice_only_the_end_is_told() -> None:
    async with world(parties={CALLEE: parse("busy")}) as w:
        await w.placed(status_callback=f"{w.server.url}/twilio/status")
    assert [(form["CallStatus"], form["SequenceNumber"]) for form in w.told()] == [("busy", "0")]


@pytest.mark.slow
async def test_the_person_who_was_called_hangs_up() -> None:
    polite = Callee(manners=Manners(hang_up_after_s=0.1))
    async with world(agent=until_stopped, parties={CALLEE: polite}) as w:
        gone = await w.placed()
    assert (gone.status, gone.hung_up_by) == ("completed", "person")


@pytest.mark.slow
async def test_the_time_limit_ends_a_call() -> None:
    async with world(agent=until_stopped) as w:
        limited = await w.placed(time_limit=1)
    assert (limited.status, limited.hung_up_by) == ("completed", "time_limit")


@pytest.mark.slow
async def test_calls_beyond_the_rate_are_queued() -> None:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=TOKEN, calls_per_second=10)
    async with world(parties={CALLEE: parse("busy:after=0")}, options=options) as w:
        records = await asyncio.gather(*(w.placed() for _ in range(3)))
        seen = [await w.client.calls(record.sid).fetch_async() for record in records]
    assert sorted(round(int(call.queue_time), -2) for call in seen) == [0, 100, 200]


@pytest.mark.slow
async def test_a_call_by_sip_and_with_its_twiml_in_the_order() -> None:
    async with world() as w:
        record = await w.placed(
            to="sip:alice@pbx.example.com;secure=true?X-Foo=1",
            from_="agent",
            url=None,
            twiml="<Response><Say>Hello.</Say></Response>",
        )
        report = w.twilio.network.calls[record.sid].report
    assert (report.said, record.hung_up_by) == (["Hello."], "twiml")
    assert w.server.posts == []


@pytest.mark.slow
async def test_the_list_is_newest_first_and_is_filtered() -> None:
    async with world(parties={CALLEE: parse("busy:after=0")}) as w:
        one = await w.placed()
        two = await w.placed(url=None, twiml="<Response/>", to="+12025550102")
        listed = [call.sid for call in await w.client.calls.list_async()]
        paged = [call.sid for call in await w.client.calls.list_async(page_size=1)]
        busy = [call.sid for call in await w.client.calls.list_async(to=CALLEE, status="busy")]
        base = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"
        for query in ("Page=first", "PageSize=0", "StartTime=2026-01-01"):
            answer = await w.client.request_async("GET", f"{base}/Calls.json?{query}")
            assert (answer.status_code, json.loads(answer.text)["code"]) == (400, 20001)
    assert listed == paged == [two.sid, one.sid]
    assert busy == [one.sid]


def fields_of(kind: type) -> set[str]:
    """What Twilio's own client reads of a resource."""
    return set(re.findall(r'payload\.get\(\s*"(\w+)"', inspect.getsource(kind.__init__)))  # type: ignore[misc]


@pytest.mark.slow
async def test_what_twilios_own_client_reads_of_a_resource_is_there() -> None:
    parties = {CALLEE: Callee(talk_s=None)}
    async with world(parties=parties) as w:
        base = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"
        form = {"To": CALLEE, "From": US, "Label": "person"}
        seen = {}
        for name, method, path, given in (
            ("participant", "POST", "/Conferences/r/Participants.json", form),
            ("calls", "GET", "/Calls.json", None),
            ("conferences", "GET", "/Conferences.json", None),
        ):
            answer = await w.client.request_async(method, base + path, data=given)
            seen[name] = json.loads(answer.text)
        await w.client.calls(seen["participant"]["call_sid"]).update_async(status="completed")
    assert fields_of(CallInstance) <= seen["calls"]["calls"][0].keys()
    assert fields_of(ConferenceInstance) <= seen["conferences"]["conferences"][0].keys()
    assert fields_of(ParticipantInstance) <= seen["participant"].keys()


# ------------------------------------------------------------------ bad delivery


@pytest.mark.slow
async def test_callbacks_may_come_twice_and_in_another_order() -> None:
    options = NetworkOptions(
        account_sid=ACCOUNT, auth_token=TOKEN, callbacks_twice=True, callbacks_swapped=True
    )
    async with world({"/twilio/voice": "<Hangup/>"}, options=options) as w:
        await w.placed(
            status_callback=f"{w.server.url}/twilio/status", status_callback_event=EVENTS
        )
    told = [(form["SequenceNumber"], form["CallStatus"]) for form in w.told()]
    once = [("1", "ringing"), ("0", "initiated"), ("3", "completed"), ("2", "in-progress")]
    assert told == [event for event in once for _ in range(2)]


@pytest.mark.slow
async def test_an_order_can_be_taken_without_an_answer() -> None:
    """Whoever placed it cannot know whether it was placed, and finds it in the list."""
    async with world(parties={CALLEE: parse("busy")}) as w:
        w.twilio.rest.silences = 1
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await w.place()
        (found,) = await w.client.calls.list_async(to=CALLEE)
        assert (await w.twilio.network.settled(found.sid)).status == "busy"


# ------------------------------------------------------------------ refusals


async def test_a_refusal_reaches_twilios_client_with_its_number_and_places_nothing() -> None:
    async with world(parties={CALLEE: parse("refused")}) as w:
        assert await w.refused() == (400, 21215)
        assert await w.refused(to="12025550101") == (400, 21211)
        assert w.twilio.network.calls == {}
        assert [error.code for error in w.twilio.rest.refused] == [21215, 21211]


async def test_an_api_key_opens_as_well_and_a_wrong_secret_does_not() -> None:
    async with world(login=(KEY, SECRET)) as w:
        assert (await w.place(url=None, twiml="<Response/>")).sid
    async with world(login=(KEY, TOKEN)) as w:
        assert await w.refused() == (401, 20003)


async def test_another_account_and_another_call_are_not_found() -> None:
    async with world() as w, aiohttp.ClientSession() as http:
        login = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT, TOKEN)}
        for path in (
            f"/2010-04-01/Accounts/AC{'9' * 32}/Calls.json",
            f"/2010-04-01/Accounts/{ACCOUNT}/Calls/CA1.json",
            f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json",
        ):
            async with http.get(w.twilio.origin + path, headers=login) as answer:
                body = await answer.json()
                assert (answer.status, body["code"], body["status"]) == (404, 20404, 404)
                assert body["more_info"] == "https://www.twilio.com/docs/errors/20404"


@pytest.mark.slow
async def test_more_calls_than_the_account_may_have_are_429_and_a_test_brings_a_503() -> None:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=TOKEN, max_calls=1)
    async with world(options=options) as w:
        await w.place(url=None, twiml="<Response><Pause length='9'/></Response>")
        assert await w.refused() == (429, 20429)
        w.twilio.rest.refusals.append(ApiError(20503, "Service unavailable", 503))
        assert await w.refused() == (503, 20503)


# ------------------------------------------------------------------ changing a live call


async def test_other_twiml_ends_the_stream_with_a_stop_and_runs() -> None:
    """The call itself goes on: what our server does about its dead stream must not hang it up."""
    async with world(agent=until_stopped) as w:
        placed = await w.place()
        await streaming(w)
        twiml = "<Response><Say>One moment.</Say></Response>"
        changed = await w.client.calls(placed.sid).update_async(twiml=twiml)
        assert changed.status == "in-progress"
        record = await w.twilio.network.settled(placed.sid)
        report = w.twilio.network.calls[placed.sid].report
    assert [message["event"] for message in w.server.sockets[0].got][-1] == "stop"
    assert (report.legs[0].closed_by, report.legs[0].close_code) == ("caller", 1000)
    assert report.said == ["One moment."]
    assert record.hung_up_by == "twiml"
    assert len(w.told("/twilio/voice")) == 1  # an update asks no <Connect action>


@pytest.mark.slow
async def test_a_url_is_asked_and_can_bring_the_agent_back() -> None:
    documents = {"/twilio/next": CONNECT.replace("'me'", "'again'")}

    async def agent(socket: Socket) -> None:
        await (until_stopped if len(w.server.sockets) == 1 else goodbye)(socket)

    async with world(documents, agent) as w:
        placed = await w.place()
        await streaming(w)
        url = f"{w.server.url}/twilio/next"
        await w.client.calls(placed.sid).update_async(url=url, method="POST")
        await w.twilio.network.settled(placed.sid)
        report = w.twilio.network.calls[placed.sid].report
    starts = [socket.got[1]["start"]["customParameters"]["who"] for socket in w.server.sockets]
    assert starts == ["me", "again"]
    assert len({leg.stream_sid for leg in report.legs}) == 2
    assert report.violations == []
    (asked,) = w.told("/twilio/next")
    assert asked["CallStatus"] == "in-progress"


async def test_hanging_up_over_rest_stops_the_stream_and_completes_the_call() -> None:
    async with world(agent=until_stopped) as w:
        placed = await w.place(status_callback=f"{w.server.url}/twilio/status")
        await streaming(w)
        await w.client.calls(placed.sid).update_async(status="completed")
        record = await w.twilio.network.settled(placed.sid)
        again = await missing(w.client.calls(placed.sid).update_async(status="completed"))
        moved = await missing(w.client.calls(placed.sid).update_async(twiml="<Response/>"))
    assert (record.status, record.hung_up_by) == ("completed", "api")
    assert w.server.sockets[0].got[-1]["event"] == "stop"
    assert [form["CallStatus"] for form in w.told()] == ["completed"]
    assert (again, moved) == ((404, 20404), (400, 21220))


@pytest.mark.slow
async def test_a_ringing_call_is_cancelled_and_an_answered_one_is_not() -> None:
    slow = Callee(after_s=20)
    async with world(agent=goodbye, parties={CALLEE: slow}) as w:
        ringing = await w.place()
        moved = await missing(w.client.calls(ringing.sid).update_async(twiml="<Response/>"))
        await w.client.calls(ringing.sid).update_async(status="canceled")
        record = await w.twilio.network.settled(ringing.sid)
        answered = await w.place(to="+12025550102")
        await streaming(w)
        await w.client.calls(answered.sid).update_async(status="canceled")
        other = await w.twilio.network.settled(answered.sid)
    assert moved == (400, 21220)
    assert (record.status, record.hung_up_by, record.answered_wall_s) == ("canceled", "api", None)
    assert (other.status, other.hung_up_by) == ("completed", "twiml")


@pytest.mark.slow
async def test_a_call_is_taken_back_before_it_rings() -> None:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=TOKEN, calls_per_second=1)
    async with world({"/twilio/voice": "<Hangup/>"}, options=options) as w:
        await w.place()
        queued = await w.place(status_callback=f"{w.server.url}/twilio/status")
        await w.client.calls(queued.sid).update_async(status="completed")
        record = await w.twilio.network.settled(queued.sid)
    assert (record.status, record.hung_up_by) == ("canceled", "api")
    assert [form["CallStatus"] for form in w.told()] == ["canceled"]


@pytest.mark.slow
async def test_digits_are_sent_to_whoever_answers_before_anything_is_said() -> None:
    async with world({"/twilio/voice": "<Hangup/>"}) as w:
        record = await w.placed(send_digits="ww1#")
    assert record.happened("digits") == ["ww1#"]


@pytest.mark.slow
async def test_an_update_says_one_thing() -> None:
    async with world(agent=until_stopped) as w:
        placed = await w.place()
        update = w.client.calls(placed.sid).update_async
        assert await missing(update()) == (400, 20001)
        assert await missing(update(status="completed", twiml="<Response/>")) == (400, 20001)
        assert await missing(update(status="busy")) == (400, 20001)


@pytest.mark.slow
async def test_a_call_that_came_in_is_updated_like_one_that_went_out() -> None:
    async with world(agent=until_stopped) as w:
        options = CallerOptions(
            url=w.server.url, auth_token=TOKEN, account_sid=ACCOUNT, start_delay_s=0.0
        )
        calling = asyncio.ensure_future(run_caller(options, network=w.twilio.network))
        await streaming(w)
        seen = await w.client.calls(options.call_sid).fetch_async()
        twiml = "<Response><Say>Bye.</Say><Hangup/></Response>"
        await w.client.calls(options.call_sid).update_async(twiml=twiml)
        report = await calling
        after = await w.client.calls(options.call_sid).fetch_async()
    assert (seen.status, seen.direction) == ("in-progress", "inbound")
    assert (after.status, report.said, report.hung_up_by) == ("completed", ["Bye."], "twiml")
    assert report.legs[0].closed_by == "caller"


# ------------------------------------------------------------------ answering machines


async def test_the_verdict_comes_while_the_agent_talks_already() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        while not w.told("/twilio/amd"):
            await socket.until("media")

    async with world(agent=agent, parties={CALLEE: parse("human:verdict=human@0.3")}) as w:
        record = await w.placed(
            machine_detection="Enable",
            async_amd="true",
            async_amd_status_callback=f"{w.server.url}/twilio/amd",
        )
    (told,) = w.told("/twilio/amd")
    assert told == {
        "CallSid": record.sid,
        "AccountSid": ACCOUNT,
        "AnsweredBy": "human",
        "MachineDetectionDuration": "300",
    }
    assert record.answered_by == "human"
    (at,) = [one.now_s for one in record.happenings if one.what == "detected"]
    (answered,) = [one.now_s for one in record.happenings if one.detail == "in-progress"]
    assert at - answered == pytest.approx(0.3, abs=0.2)


@pytest.mark.slow
async def test_without_asyncamd_the_twiml_waits_for_the_verdict() -> None:
    party = Callee(verdict=Verdict(0.2, "machine_start"))
    async with world({"/twilio/voice": "<Hangup/>"}, parties={CALLEE: party}) as w:
        record = await w.placed(machine_detection="Enable")
    (asked,) = w.told("/twilio/voice")
    assert asked["AnsweredBy"] == "machine_start"
    (at,) = [one.now_s for one in record.happenings if one.what == "asked"]
    (answered,) = [one.now_s for one in record.happenings if one.detail == "in-progress"]
    assert at - answered >= 0.1


@pytest.mark.slow
async def test_no_verdict_comes_after_the_calls_end() -> None:
    party = Callee(verdict=Verdict(20, "human"))
    async with world({"/twilio/voice": "<Hangup/>"}, parties={CALLEE: party}) as w:
        amd = {"machine_detection": "Enable", "async_amd_status_callback": w.server.url}
        record = await w.placed(async_amd="true", **amd)
    assert record.answered_by == ""
    assert [path for path, _, _ in w.server.posts] == ["/twilio/voice"]


@pytest.mark.slow
async def test_a_machine_greets_beeps_and_hears_what_is_said_behind_its_beep() -> None:
    async def agent(socket: Socket) -> None:
        loud = 0
        await socket.until("start")
        while not w.told("/twilio/amd"):
            loud += set(await heard(socket)) != {0xFF}
        assert 25 <= loud <= 60  # a greeting of 0.4 s and a beep of half a second
        await goodbye_now(socket)

    party = parse("machine:greeting=0.4,beep=0.4")
    async with world(agent=agent, parties={CALLEE: party}) as w:
        record = await w.placed(
            machine_detection="DetectMessageEnd",
            async_amd="true",
            async_amd_status_callback=f"{w.server.url}/twilio/amd",
        )
        report = w.twilio.network.calls[record.sid].report
    assert report.beep_s is not None
    (message,) = report.heard
    assert message.start_s >= report.beep_s
    assert round(message.heard_ms) == 200
    assert report.marks[0].cleared is False


async def heard(socket: Socket) -> bytes:
    return base64.b64decode((await socket.until("media"))["media"]["payload"])


async def goodbye_now(socket: Socket) -> None:
    await socket.play(LOUD)
    await socket.send(event="mark", streamSid=socket.sid, mark={"name": "bye"})
    await socket.until("mark")
