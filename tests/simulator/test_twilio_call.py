"""Whole calls against small servers of the test's own: what Twilio would do with each answer."""

from __future__ import annotations

import asyncio
import audioop
import base64
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from twilio.request_validator import RequestValidator

from agent.errors import UserError
from agent.simulator.bad_line import FAULTS
from agent.simulator.caller import CallAudio, CallerOptions, demo_utterances, run_caller
from agent.simulator.media_stream import RULES
from agent.simulator.phone import SILENCE, Manners, Utterance
from agent.simulator.report import AnyCallEvent, CallReport, Ended, describe
from agent.simulator.ticker import Ticker
from tests.simulator.customer import CONNECT, LOUD, TOKEN, Agent, Message, Server, Socket, serving

if TYPE_CHECKING:
    from pathlib import Path


async def call(server: Server, **options: Any) -> CallReport:
    settings: dict[str, Any] = {
        "url": server.url,
        "auth_token": TOKEN,
        "start_delay_s": 0.0,
        "max_seconds": 5.0,
    }
    report, _ = await watched(CallerOptions(**(settings | options)))
    return report


async def watched(
    options: CallerOptions, audio: CallAudio | None = None
) -> tuple[CallReport, list[AnyCallEvent]]:
    events: list[AnyCallEvent] = []
    report = await run_caller(options, on_event=events.append, audio=audio)
    assert all(describe(event) for event in events)
    return report, events


async def hang_up(socket: Socket) -> None:
    await socket.until("media")


# ------------------------------------------------------------------ the webhook and its TwiML


async def test_webhook_upgrade_and_status_are_signed_as_twilios_validator_wants() -> None:
    validator = RequestValidator(TOKEN)
    public = "https://agent.example.com"
    documents = {
        "/twilio/voice": f"<Connect action='/twilio/after'><Stream url='{public[8:]}'/></Connect>",
        "/twilio/after": "<Say>Bye.</Say><Hangup/>",
        "/twilio/status": "",
    }
    documents["/twilio/voice"] = (
        "<Connect action='/twilio/after'><Stream url='wss://agent.example.com/media'/></Connect>"
    )
    async with serving(documents, hang_up) as server:
        report = await call(server, public_url=public, status_path="/twilio/status")
    assert report.ended is Ended.AGENT_HUNG_UP
    assert report.said == ["Bye."]
    assert [path for path, _, _ in server.posts] == list(documents)
    for path, form, signature in server.posts:
        assert validator.validate(public + path, form, signature)
        assert not validator.validate(server.url + path, form, signature)
    assert [form["CallStatus"] for _, form, _ in server.posts] == [
        "ringing",
        "in-progress",
        "completed",
    ]
    (upgrade,) = server.upgrades
    signature = upgrade.headers["x-twilio-signature"]
    assert validator.validate("wss://agent.example.com/media", {}, signature)
    assert upgrade.headers["Host"] == "agent.example.com"
    assert upgrade.headers["User-Agent"] == "Twilio.TmeWs/1.0"


async def test_the_webhooks_form_is_twilios() -> None:
    async with serving("<Reject/>") as server:
        report = await call(server, call_sid="CA1", from_number="+12025550111")
    assert report.ended is Ended.REJECTED
    ((path, form, _),) = server.posts
    assert path == "/twilio/voice"
    assert form["CallSid"] == "CA1"
    assert form["From"] == form["Caller"] == "+12025550111"
    assert form["To"] == form["Called"] == "+12025550100"
    assert form["Direction"] == "inbound"
    assert form["ApiVersion"] == "2010-04-01"
    assert form["ToCity"] == ""
    assert form["AccountSid"].startswith("AC")


@pytest.mark.parametrize(
    ("documents", "ended", "paths", "said"),
    [
        ({"/twilio/voice": ""}, Ended.REJECTED, ["voice"], []),
        ({"/twilio/voice": "<Say>Busy.</Say><Hangup/>"}, Ended.REJECTED, ["voice"], ["Busy."]),
        (
            {"/twilio/voice": "<Redirect>b</Redirect><Say>x</Say>", "/twilio/b": "<Say>B</Say>"},
            Ended.REJECTED,
            ["voice", "b"],
            ["B"],
        ),
        (
            {"/twilio/voice": "<Dial>+12025550199</Dial><Hangup/>"},
            Ended.TRANSFERRED,
            ["voice"],
            [],
        ),
        (
            {
                "/twilio/voice": "<Dial action='done'>+12025550199</Dial>",
                "/twilio/done": "<Say>No answer.</Say>",
            },
            Ended.TRANSFERRED,
            ["voice", "done"],
            ["No answer."],
        ),
        ({}, Ended.WEBHOOK_FAILED, ["voice"], []),
        ({"/twilio/voice": "<Speak/>"}, Ended.VIOLATION, ["voice"], []),
        ({"/twilio/voice": "<Pause length='60'/>"}, Ended.REJECTED, ["voice"], []),
    ],
)
async def test_what_each_document_makes_of_the_call(
    documents: dict[str, str], ended: Ended, paths: list[str], said: list[str]
) -> None:
    async with serving(documents) as server:
        report = await call(server, max_seconds=0.3)
    assert report.ended is ended
    assert [path.removeprefix("/twilio/") for path, _, _ in server.posts] == paths
    assert report.said == said
    assert report.legs == []


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ("<Reject/>", "no-answer"),
        ("<Reject reason='busy'/>", "busy"),
        ("<Say>No.</Say><Reject reason='busy'/>", "completed"),
        ("<Hangup/>", "completed"),
    ],
)
async def test_only_a_reject_as_the_first_verb_keeps_a_call_from_being_answered(
    document: str, status: str
) -> None:
    async with serving({"/twilio/voice": document, "/twilio/status": ""}) as server:
        await call(server, status_path="/twilio/status")
    assert [form["CallStatus"] for _, form, _ in server.posts] == ["ringing", status]


async def test_a_failed_dial_tells_its_action_how_it_ended() -> None:
    documents = {"/twilio/voice": "<Dial action='d'>+12025550199</Dial>", "/twilio/d": ""}
    async with serving(documents) as server:
        await call(server, dial_status="busy")
    assert server.posts[1][1]["DialCallStatus"] == "busy"


async def test_documents_that_go_round_in_circles_end() -> None:
    async with serving("<Redirect>/twilio/voice</Redirect>") as server:
        report = await call(server)
    assert report.ended is Ended.WEBHOOK_FAILED
    assert "circles" in report.notices[0].detail


async def test_a_played_file_is_fetched_and_what_is_no_audio_is_noticed() -> None:
    async with serving("<Play>/media</Play><Play>http://127.0.0.1:9/x.wav</Play>") as server:
        report = await call(server)
    assert [url.rpartition("/")[2] for url in report.played] == ["media", "x.wav"]
    assert [notice.code for notice in report.notices] == [11200, 11205]


async def test_nobody_at_the_webhook_is_no_violation() -> None:
    report, _ = await watched(CallerOptions(url="http://127.0.0.1:9", status_path="/s"))
    assert report.ended is Ended.WEBHOOK_FAILED
    assert [notice.code for notice in report.notices] == [11205, 11205]


async def test_a_status_callback_that_fails_is_noticed() -> None:
    async with serving("<Hangup/>") as server:
        report = await call(server, status_path="/nowhere")
    assert report.notices[0].code == 11200
    assert server.posts[1][1]["CallStatus"] == "completed"


# ------------------------------------------------------------------ the stream


async def test_a_call_from_start_to_the_agents_goodbye(tmp_path: Path) -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD)
        await socket.send(event="mark", streamSid=socket.sid, mark={"name": "hello"})
        await socket.until("mark")
        while speech(await socket.until("media")) != b"\x20" * 160:
            pass
        while speech(await socket.until("media")) == b"\x20" * 160:
            pass
        await socket.play(LOUD)
        await socket.send(event="mark", streamSid=socket.sid, mark={"name": "bye"})
        await socket.until("mark")

    clip = Utterance("hello", b"\x20" * 1600, 0, 1600, digits="1#")
    audio = CallAudio()
    async with serving(CONNECT, agent) as server:
        options = CallerOptions(
            url=server.url, auth_token=TOKEN, utterances=(clip,), start_delay_s=0.05
        )
        report, events = await watched(options, audio)
    got = server.sockets[0].got
    assert [m["event"] for m in got[:3]] == ["connected", "start", "media"]
    assert got[1]["start"]["customParameters"] == {"who": "me"}
    numbers = [int(m["sequenceNumber"]) for m in got[1:]]
    assert numbers == list(range(1, len(got)))
    media = [m["media"] for m in got if m["event"] == "media"]
    assert [int(m["chunk"]) for m in media] == list(range(1, len(media) + 1))
    stamps = [int(m["timestamp"]) for m in media]
    assert {b - a for a, b in zip(stamps, stamps[1:], strict=False)} == {20}
    assert [m["dtmf"]["digit"] for m in got if m["event"] == "dtmf"] == ["1", "#"]

    assert report.ended is Ended.AGENT_HUNG_UP
    assert report.violations == []
    assert (report.legs[0].closed_by, report.legs[0].close_code) == ("server", 1000)
    assert report.start_delay_ms == pytest.approx(50, abs=40)
    assert report.first_word_ms is not None
    assert report.start_delay_ms is not None
    assert report.first_word_ms >= report.start_delay_ms
    assert [(mark.name, mark.cleared) for mark in report.marks] == [
        ("hello", False),
        ("bye", False),
    ]
    for mark in report.marks:
        assert mark.echoed_s - mark.received_s >= 0.199
    (spoken,) = report.spoken
    assert spoken.start_s - report.heard[0].end_s >= 0.6
    assert [round(heard.heard_ms) for heard in report.heard] == [200, 200]
    names = [type(event).__name__ for event in events]
    assert names == [
        "CallPlaced",
        "TwimlAnswered",
        "StreamStarted",
        "AgentSpeaks",
        "AgentStops",
        "CallerSpeaks",
        "CallerStops",
        "AgentSpeaks",
        "AgentStops",
        "CallEnded",
    ]
    said, heard = audio.arrays()
    assert len(said) == len(heard)
    first = round(spoken.start_s * 8000)
    assert (said[:first] == 0).all()
    assert (said[first : first + 1600] != 0).all()
    audio.write(tmp_path / "call.wav")
    assert (tmp_path / "call.wav").stat().st_size == 44 + 4 * len(said)


def speech(message: Message) -> bytes:
    return base64.b64decode(message["media"]["payload"])


async def test_clear_gives_pending_marks_back_at_once_and_stops_the_audio() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD * 20)
        await socket.send(event="mark", streamSid=socket.sid, mark={"name": "far"})
        await asyncio.sleep(0.1)
        await socket.send(event="clear", streamSid=socket.sid)
        await socket.until("mark")

    async with serving(CONNECT, agent) as server:
        report = await call(server)
    (clear,) = report.clears
    assert clear.marks == ["far"]
    assert clear.dropped_ms == pytest.approx(3900, abs=60)
    assert clear.stale_ms == 0
    assert report.marks[0].cleared
    assert report.heard[0].heard_ms == pytest.approx(100, abs=60)


async def test_the_agents_tones_are_heard_as_keys_and_what_was_cleared_is_not() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(tone("4") + SILENCE * 5 + tone("2"))
        await socket.send(event="mark", streamSid=socket.sid, mark={"name": "sent"})
        await socket.until("mark")
        await socket.play(SILENCE * 50 + tone("9"))
        await socket.send(event="clear", streamSid=socket.sid)
        await socket.until("media")

    async with serving(CONNECT, agent) as server:
        options = CallerOptions(
            url=server.url, auth_token=TOKEN, start_delay_s=0.0, decode_keys=True
        )
        report, _ = await watched(options, CallAudio())
    first, second = report.keys_heard
    assert (first.digit, second.digit) == ("4", "2")
    assert second.at_s - first.at_s == pytest.approx(0.2, abs=0.02)


def tone(digit: str) -> bytes:
    low, high = {"4": (770, 1209), "2": (697, 1336), "9": (852, 1477)}[digit]
    time = np.arange(800) / 8000
    pcm = 6000 * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time))
    return audioop.lin2ulaw(pcm.astype("<i2").tobytes(), 2)


async def test_what_was_not_heard_when_the_stream_ended_is_told() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD * 5)
        if len(server.sockets) == 2:
            await socket.send(event="mark", streamSid=socket.sid, mark={"name": "bye"})
            await socket.until("mark")

    async with serving(CONNECT, agent) as server:
        hasty, patient = await call(server), await call(server)
    assert hasty.legs[0].unheard_ms == pytest.approx(1000, abs=200)
    assert patient.legs[0].unheard_ms == 0
    assert patient.heard[-1].heard_ms == pytest.approx(1000, abs=1)


async def test_a_second_stream_goes_on_with_the_call() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD)
        await socket.until("media")
        if len(server.sockets) == 2:
            await asyncio.sleep(0.05)

    documents = {
        "/twilio/voice": CONNECT.replace("<Connect>", "<Connect action='/twilio/after'>"),
        "/twilio/after": CONNECT.replace("'me'", "'again'"),
    }
    async with serving(documents, agent) as server:
        report = await call(server)
    assert report.ended is Ended.AGENT_HUNG_UP
    first, second = report.legs
    assert first.stream_sid != second.stream_sid
    assert second.start_s > first.start_s
    starts = [socket.got[1]["start"] for socket in server.sockets]
    assert [start["customParameters"]["who"] for start in starts] == ["me", "again"]
    assert starts[0]["callSid"] == starts[1]["callSid"] == report.call_sid


async def test_the_caller_hangs_up_with_a_stop_and_without_asking_the_action() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("stop")

    documents = {"/twilio/voice": CONNECT.replace("<Connect>", "<Connect action='/twilio/after'>")}
    async with serving(documents, agent) as server:
        report = await call(server, max_seconds=0.3)
    assert report.ended is Ended.CALLER_HUNG_UP
    assert len(server.posts) == 1
    stop = server.sockets[0].got[-1]
    assert stop["stop"] == {"accountSid": "AC" + "0" * 32, "callSid": report.call_sid}


async def test_with_nothing_left_to_say_the_caller_hangs_up() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("stop")

    async with serving(CONNECT, agent) as server:
        report = await call(server, manners=Manners(hang_up_after_s=0.1))
    assert report.ended is Ended.CALLER_HUNG_UP


async def test_a_server_that_holds_the_socket_after_stop_is_closed() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("stop")
        await asyncio.sleep(2)

    async with serving(CONNECT, agent) as server:
        report = await call(server, max_seconds=0.1)
    assert report.ended is Ended.CALLER_HUNG_UP
    assert report.legs[0].closed_by == "caller"
    assert report.seconds < 2


async def test_a_refused_upgrade_goes_on_with_the_next_verb() -> None:
    async with serving(CONNECT + "<Say>Please call later.</Say>") as server:
        report = await call(server)
    assert report.ended is Ended.STREAM_REFUSED
    assert report.notices[0].code == 31920
    assert "403" in report.notices[0].detail
    assert report.said == ["Please call later."]


async def test_a_stream_to_nobody_is_31902() -> None:
    async with serving("<Connect><Stream url='ws://127.0.0.1:9/m'/></Connect>") as server:
        report = await call(server)
    assert report.ended is Ended.STREAM_REFUSED
    assert report.notices[0].code == 31902


async def test_a_socket_that_dies_is_a_lost_line() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("media")
        transport = socket.request.transport
        assert transport is not None
        transport.abort()

    async with serving(CONNECT, agent) as server:
        report = await call(server)
    assert report.ended is Ended.LINE_LOST
    assert report.legs[0].close_code == 1006


async def test_a_stream_can_be_dialled_directly() -> None:
    async with serving(CONNECT, hang_up) as server:
        url = server.url.replace("http", "ws") + "/media"
        report = await call(server, url=url, parameters={"token": "x"})
        assert report.ended is Ended.AGENT_HUNG_UP
        assert report.twiml_ms is None
        signature = server.upgrades[0].headers["X-Twilio-Signature"]
        assert RequestValidator(TOKEN).validate(url, {}, signature)
    assert server.posts == []
    assert server.sockets[0].got[1]["start"]["customParameters"] == {"token": "x"}


async def test_a_stream_with_a_query_cannot_be_dialled() -> None:
    report, _ = await watched(CallerOptions(url="ws://127.0.0.1:9/media?token=1"))
    assert report.ended is Ended.VIOLATION
    assert report.violations[0].rule == "twiml-31920"


async def test_the_upgrade_can_be_signed_with_another_token_or_not_at_all() -> None:
    async with serving(CONNECT, hang_up) as server:
        await call(server, upgrade_token="")
        await call(server, upgrade_token="forged")
    unsigned, forged = server.upgrades
    assert "X-Twilio-Signature" not in unsigned.headers
    url = server.url.replace("http", "ws") + "/media"
    assert not RequestValidator(TOKEN).validate(url, {}, forged.headers["X-Twilio-Signature"])


async def test_a_stream_that_closes_before_start_is_over() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("connected")

    async with serving(CONNECT, agent) as server:
        report = await call(server, start_delay_s=0.1)
    assert report.ended is Ended.AGENT_HUNG_UP
    assert report.start_now_s is None


async def test_many_calls_share_one_ticker() -> None:
    async with serving(CONNECT, hang_up) as server, Ticker() as ticker:
        options = CallerOptions(url=server.url, auth_token=TOKEN, start_delay_s=0.0)
        reports = await asyncio.gather(*(run_caller(options, ticker=ticker) for _ in range(5)))
    assert {report.ended for report in reports} == {Ended.AGENT_HUNG_UP}


class WatcherError(Exception):
    """What somebody who watches a call raises."""


@pytest.mark.parametrize("kind", ["stream_started", "agent_speaks", "cleared"])
async def test_a_fault_of_our_own_is_raised_and_not_taken_for_a_lost_line(kind: str) -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD)
        await socket.until("media")
        if kind == "cleared":
            await socket.send(event="clear", streamSid=socket.sid)
        async for _ in socket.ws:
            pass

    def watch(event: AnyCallEvent) -> None:
        if event.__struct_config__.tag == kind:
            raise WatcherError

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with serving(CONNECT, agent) as server:
        with pytest.raises(WatcherError):
            await run_caller(CallerOptions(url=server.url, start_delay_s=0.0), on_event=watch)


def test_the_demos_caller_has_four_things_to_say_and_interrupts_with_the_third() -> None:
    utterances = demo_utterances()
    assert [utterance.interrupt_after_s for utterance in utterances] == [None, None, 1.5, None]
    for utterance in utterances:
        assert 0.5 < len(utterance.mulaw) / 8000 < 4
        assert 0 <= utterance.first <= 400
        assert 0 <= len(utterance.mulaw) - utterance.last <= 400


# ------------------------------------------------------------------ the rules


async def binary(socket: Socket) -> None:
    await socket.ws.send_bytes(LOUD)


async def not_json(socket: Socket) -> None:
    await socket.ws.send_str("hello")


async def wrong_sid(socket: Socket) -> None:
    socket.sid = "MZ1"
    await socket.play(LOUD)


async def odd_event(socket: Socket) -> None:
    await socket.send(event="hangup", streamSid=socket.sid)


async def too_much(socket: Socket) -> None:
    payload = base64.b64encode(b"\xff" * 480_000).decode()
    media = {"event": "media", "streamSid": socket.sid, "media": {"payload": payload}}
    text = json.dumps(media)  # once: what comes while the session ends must not keep us busy
    for _ in range(11):
        await socket.ws.send_str(text)


async def fragmented_ping(socket: Socket) -> None:
    transport = socket.request.transport
    assert transport is not None
    transport.write(b"\x09\x01x")


BREAKERS = [
    ("binary-frame", binary),
    ("not-json", not_json),
    ("wrong-stream-sid", wrong_sid),
    ("unknown-event", odd_event),
    ("buffer-overflow", too_much),
    ("websocket-protocol", fragmented_ping),
]


@pytest.mark.parametrize(("rule", "breaks"), BREAKERS)
async def test_a_broken_rule_ends_the_session_with_its_name(rule: str, breaks: Agent) -> None:
    closed: list[tuple[int | None, str]] = []

    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await breaks(socket)
        async for _ in socket.ws:
            await socket.send(event="clear", streamSid=socket.sid)  # changes nothing any more
        closed.append((socket.ws.close_code, rule))

    async with serving(CONNECT + "<Say>never</Say>", agent) as server:
        report = await call(server)
    assert report.ended is Ended.VIOLATION
    (violation,) = report.violations
    assert violation.rule == rule
    assert violation.doc == RULES[rule]
    assert report.said == []
    if rule != "websocket-protocol":
        assert closed == [(1008, rule)]


async def test_a_message_before_start_breaks_a_rule() -> None:
    async def agent(socket: Socket) -> None:
        await socket.send(event="clear", streamSid="MZ")
        await socket.ws.receive()

    async with serving(CONNECT, agent) as server:
        report = await call(server, start_delay_s=0.2)
    assert [violation.rule for violation in report.violations] == ["before-start"]


async def test_audio_on_its_way_at_stop_is_forgiven_and_later_audio_is_not() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("stop")
        await socket.play(LOUD)
        if len(server.sockets) == 2:
            await asyncio.sleep(0.35)
            await socket.play(LOUD)
            await socket.ws.receive()

    async with serving(CONNECT, agent) as server:
        polite = await call(server, max_seconds=0.1)
        rude = await call(server, max_seconds=0.1)
    assert polite.violations == []
    assert [violation.rule for violation in rude.violations] == ["after-stop"]


async def test_odd_payloads_are_counted_and_played() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD[:100])
        await socket.play(LOUD)
        await socket.until("media")

    async with serving(CONNECT, agent) as server:
        report = await call(server)
    assert report.odd_payloads == 1
    assert report.violations == []


# ------------------------------------------------------------------ a bad line


async def with_fault(fault: str) -> tuple[CallReport, list[tuple[str, str]]]:
    raw: list[tuple[str, str]] = []

    async def agent(socket: Socket) -> None:
        async for message in socket.ws:
            raw.append((message.type.name, str(message.data)))
            if '"event":"stop"' in str(message.data):
                return

    async with serving(CONNECT, agent) as server:
        return await call(server, fault=fault, max_seconds=1.2), raw


@pytest.mark.slow
async def test_each_fault_of_the_line_reaches_the_server_and_no_other_does() -> None:
    faults = sorted(FAULTS)
    for fault, (report, raw) in zip(
        faults, await asyncio.gather(*map(with_fault, faults)), strict=True
    ):
        texts = [data for kind, data in raw if kind == "TEXT"]
        events = [text.split('"')[3] for text in texts]
        chunks = re.findall(r'"chunk":"(\d+)"', "".join(texts))
        seen = {
            "media-before-start": events[:3] == ["connected", "media", "start"],
            "two-starts": events[:3] == ["connected", "start", "start"],
            "no-start": events == ["connected"],
            "no-stop": events[-1] == "media" and report.ended is Ended.CALLER_HUNG_UP,
            "reset": report.ended is Ended.LINE_LOST and len(texts) == 26,
            "bad-base64": any("#not base64#" in text for text in texts),
            "file-header": any('"payload":"UklGR' in text for text in texts),
            "huge-frame": any(len(text) > 1024 * 1024 for text in texts),
            "unknown-event": "surprise" in events,
            "not-json": any(not text.endswith("}") for text in texts),
            "binary-frame": any(kind == "BINARY" for kind, _ in raw),
            "out-of-order": chunks[24:27] == ["25", "20", "26"],
        }
        assert [name for name, there in seen.items() if there] == [fault]


async def test_nobody_is_blamed_for_talking_after_a_stop_that_the_line_swallowed() -> None:
    async def agent(socket: Socket) -> None:
        await socket.until("start")
        for _ in range(45):
            await socket.play(LOUD)
            await asyncio.sleep(0.02)

    async with serving(CONNECT, agent) as server:
        told = await call(server, max_seconds=0.3)
        untold = await call(server, fault="no-stop", max_seconds=0.3)
    assert [violation.rule for violation in told.violations] == ["after-stop"]
    assert (untold.violations, untold.ended) == ([], Ended.CALLER_HUNG_UP)


async def test_an_unknown_fault_is_the_users_mistake() -> None:
    async with serving(CONNECT, hang_up) as server:
        with pytest.raises(UserError, match="two-starts"):
            await call(server, fault="nonsense")
