"""Conferences: who is in, who hears whom, hold, and who ends it for whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.simulator.callee import Callee
from agent.simulator.cdr import together
from agent.simulator.phone import KeyPress
from tests.simulator.customer import CONNECT
from tests.simulator.world import CALLEE, US, World, missing, streaming, until_stopped, world

EVENTS = "statusCallback='/twilio/conference' statusCallbackEvent='start end join leave mute hold'"


def room(attributes: str = "") -> str:
    return f"<Dial action='/twilio/after'><Conference {attributes} {EVENTS}>r</Conference></Dial>"


def documents(first: str, second: str) -> dict[str, str]:
    return {
        "/twilio/voice": first,
        "/twilio/person": second,
        "/twilio/after": "<Say>Back.</Say>",
        "/twilio/conference": "",
    }


async def joined(w: World, count: int) -> Any:
    """The conference, once so many are in."""
    network = w.twilio.network
    async with asyncio.timeout(5):
        while not any(len(one.participants) == count for one in network.conferences.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return next(iter(network.conferences.values()))


def events(w: World) -> list[str]:
    told = w.told("/twilio/conference")
    assert [form["SequenceNumber"] for form in told] == [str(n + 1) for n in range(len(told))]
    return [form["StatusCallbackEvent"] for form in told]


async def until_told(w: World, event: str) -> None:
    async with asyncio.timeout(5):
        while event not in events(w):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_caller_waits_alone_and_hears_the_person_who_is_called_in() -> None:
    """A warm transfer: the person leaves, the caller comes back to our server."""
    first, second = room("startConferenceOnEnter='false'"), room("endConferenceOnExit='true'")
    async with world(documents(first, second), parties={CALLEE: Callee(talk_s=0.3)}) as w:
        options = w.options()
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid))
        conference = await joined(w, 1)
        assert conference.status == "init"
        person = await w.place(url=f"{w.server.url}/twilio/person")
        report, record = await calling
        other = await w.twilio.network.settled(person.sid)
        await until_told(w, "conference-end")
    assert events(w) == [
        "participant-join",
        "participant-join",
        "conference-start",
        "participant-leave",
        "participant-leave",
        "conference-end",
    ]
    *_, left, kicked, end = w.told("/twilio/conference")
    assert (left["CallSid"], left["ReasonParticipantLeft"]) == (other.sid, "participant_hung_up")
    assert kicked["ReasonParticipantLeft"] == "moderator_ended_conference"
    assert end["ReasonConferenceEnded"] == "participant-with-end-conference-on-exit-left"
    assert end["CallSidEndingConference"] == other.sid
    assert together(record, other, 0.0) == pytest.approx(0.3, abs=0.15)
    assert (other.hung_up_by, record.hung_up_by) == ("person", "twiml")
    (action,) = w.told("/twilio/after")
    assert (action["DialCallStatus"], action["CallSid"]) == ("answered", record.sid)
    assert "DialCallSid" not in action
    assert report.said == ["Back."]


@pytest.mark.slow
async def test_somebody_is_called_into_a_conference_over_rest_held_and_let_go() -> None:
    async with world(documents(room(), ""), parties={CALLEE: Callee(talk_s=None)}) as w:
        options = w.options(max_seconds=20.0)
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid, max_seconds=20.0))
        conference = await joined(w, 1)
        api = w.client.conferences(conference.sid)
        placed = await api.participants.create_async(
            from_=US, to=CALLEE, label="person", end_conference_on_exit=False, beep="false"
        )
        await joined(w, 2)
        listed = await w.client.conferences.list_async(friendly_name="r", status="in-progress")
        assert [one.sid for one in listed] == [conference.sid]
        inside = await api.participants.list_async()
        assert {one.call_sid for one in inside} == {options.call_sid, placed.call_sid}
        caller = api.participants(options.call_sid)
        assert (await caller.update_async(hold=True)).hold is True
        await asyncio.sleep(0.2)
        assert (await caller.update_async(hold=False, muted=True)).muted is True
        assert (await caller.fetch_async()).hold is False
        assert await api.participants("person").delete_async()
        other = await w.twilio.network.settled(placed.call_sid)
        assert await missing(api.participants("person").fetch_async()) == (404, 20404)
        assert (await api.update_async(status="completed")).status == "completed"
        report, record = await calling
        await until_told(w, "conference-end")
    assert events(w)[3:] == [
        "participant-hold",
        "participant-unhold",
        "participant-mute",
        "participant-leave",
        "participant-leave",
        "conference-end",
    ]
    assert w.told("/twilio/conference")[-1]["ReasonConferenceEnded"] == "conference-ended-via-api"
    assert [one.by for one in record.connections] == ["conference", "conference"]
    assert record.connections[1].from_s - (record.connections[0].until_s or 0) >= 0.2
    assert other.hung_up_by == "twiml"
    assert report.said == ["Back."]


@pytest.mark.slow
async def test_a_caller_moves_from_the_agent_into_the_conference_and_hangs_up_there() -> None:
    accept = f"<Gather action='/twilio/yes' numDigits='1'/>{room()}"
    given = documents(CONNECT, accept) | {"/twilio/yes": room()}
    parties = {CALLEE: Callee(talk_s=None, keys=(KeyPress("1"),))}
    async with world(given, until_stopped, parties) as w:
        options = w.options()
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid, talk_s=0.2))
        await streaming(w)
        person = await w.place(url=f"{w.server.url}/twilio/person")
        await joined(w, 1)
        twiml = f"<Response>{room()}</Response>".replace("'/", f"'{w.server.url}/")
        await w.client.calls(options.call_sid).update_async(twiml=twiml)
        report, record = await calling
        await w.client.calls(person.sid).update_async(status="completed")
        other = await w.twilio.network.settled(person.sid)
    assert [one.by for one in record.connections] == ["stream", "conference"]
    assert record.hung_up_by == "person"
    assert together(record, other, 0.0) == pytest.approx(0.2, abs=0.15)
    assert other.hung_up_by == "api"
    assert report.violations == []


@pytest.mark.parametrize(
    ("music", "heard", "codes"),
    [("<Play>/media</Play>", "/media", [11200]), (None, "", [11200])],
)
@pytest.mark.slow
async def test_who_waits_hears_what_the_wait_url_plays(
    music: str | None, heard: str, codes: list[int]
) -> None:
    given = documents(room("waitUrl='/twilio/music'"), "")
    if music is not None:
        given["/twilio/music"] = music
    async with world(given) as w:
        report, record = await w.call(max_seconds=0.5)
    assert [text.removeprefix(w.server.url) for text in record.happened("heard")] == (
        [heard] if heard else []
    )
    assert [notice.code for notice in report.notices] == codes  # no audio there, or no document
    assert record.hung_up_by == "person"


@pytest.mark.slow
async def test_a_full_conference_takes_nobody() -> None:
    async with world(documents(room("maxParticipants='2'"), "")) as w:
        calls = [asyncio.ensure_future(w.call(max_seconds=1.0)) for _ in range(3)]
        reports = [report for report, _ in await asyncio.gather(*calls)]
    rules = sorted(violation.rule for report in reports for violation in report.violations)
    assert rules == ["twiml-13000"]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("", {"Status": "busy"}),
        ("/Participants/{call}", {}),
        ("/Participants/{call}", {"Hold": "maybe"}),
        ("/Participants/{call}", {"Coaching": "true"}),
        ("/Participants", {"To": CALLEE, "From": US, "ConferenceStatusCallbackEvent": "party"}),
    ],
)
@pytest.mark.slow
async def test_what_is_asked_wrongly_of_a_conference_is_400(
    path: str, form: dict[str, str]
) -> None:
    async with world(documents(room(), "")) as w:
        options = w.options(max_seconds=20.0)
        calling = asyncio.ensure_future(w.call(call_sid=options.call_sid, talk_s=0.0))
        conference = await joined(w, 1)
        where = f"Conferences/{conference.sid}{path.format(call=options.call_sid)}.json"
        url = f"https://api.twilio.com/2010-04-01/Accounts/{w.client.account_sid}/{where}"
        answer = await w.client.request_async("POST", url, data=form)
        assert answer.status_code == 400
        await w.client.calls(options.call_sid).update_async(status="completed")
        await calling
