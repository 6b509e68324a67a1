"""A provider's door, with Twilio behind it: what is not signed opens nothing, what is signed gets one clear answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from twilio.request_validator import RequestValidator

from agent.drive.wakeups import Wakeups
from agent.protocols.door import Ask, HangUpNow, Join, Meet, Say, Transfer, Whisper
from agent.protocols.twilio.provider import OVER, Twilio
from agent.protocols.twilio.webhook import FORM_BYTES
from agent.server.door import Door
from agent.server.metrics import Metrics
from agent.server.spoken import SPOKEN
from agent.server.streams import Streams
from tests.server.bench import ACCOUNT, caller
from tests.telephony.fakes import CONNECTED, START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.protocols.base import StreamStart
    from agent.protocols.door import AnsweredBy, Caller, Verdict
    from agent.server.switchboard import Switchboard

TOKEN, ORIGIN = "auth-token", "https://pickup.example.com"
FORM = {
    "CallSid": caller().call_id,
    "AccountSid": ACCOUNT,
    "From": "+15551234567",
    "To": "+15557654321",
    "CallStatus": "ringing",
    "Direction": "inbound",
}


class Board:
    """Answers as told and notes who asked."""

    def __init__(self) -> None:
        self.metrics = Metrics(lambda: 0)
        self.verdict: Verdict = Join("the-token", 1)
        self.asked: list[tuple[str, Caller]] = []
        self.ended: list[tuple[str, str]] = []
        self.starts: list[StreamStart] = []

    async def ring(self, caller: Caller) -> Verdict:
        self.asked.append(("ring", caller))
        return self.verdict

    async def after(self, caller: Caller) -> Verdict:
        self.asked.append(("after", caller))
        return self.verdict

    def over(self, caller: Caller) -> None:
        self.ended.append((caller.call_id, caller.over))

    def answered_by(self, caller: Caller, who: AnsweredBy) -> None:
        self.asked.append((who, caller))

    async def whisper(self, caller: Caller) -> Verdict:
        self.asked.append(("whisper", caller))
        return self.verdict

    async def decided(self, caller: Caller) -> Verdict:
        self.asked.append(("decided", caller))
        return self.verdict

    async def admit(self, start: StreamStart, line: Any) -> None:
        self.starts.append(start)


class Bench:
    """The routes of a door, asked as Twilio asks."""

    def __init__(self, *, account: str | None = None, max_sockets: int = 10) -> None:
        self.board = Board()
        self.validator = RequestValidator(TOKEN)
        self.door = Door(
            Twilio(TOKEN, ORIGIN, account),
            cast("Switchboard", self.board),
            Streams(self.board.metrics, cast("Wakeups", Sleepless()), max_sockets),
        )
        self.client = TestClient(Starlette(routes=self.door.routes()))

    def post(self, path: str, form: dict[str, str] = FORM, signature: str | None = None) -> Any:
        if signature is None:
            signature = self.validator.compute_signature(ORIGIN + path, form)
        headers = {"X-Twilio-Signature": signature}
        return self.client.post(path, data=form, headers=headers)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        origin = ORIGIN.replace("http", "ws", 1)
        signature = self.validator.compute_signature(f"{origin}/twilio/media", {})
        headers = {"X-Twilio-Signature": signature}
        with self.client.websocket_connect("/twilio/media", headers=headers) as websocket:
            yield websocket

    def forged(self, where: str) -> float:
        series = f'pickup_forged_total{{where="{where}"}} '
        (line,) = (
            line
            for line in self.board.metrics.page().decode().splitlines()
            if line.startswith(series)
        )
        return float(line.removeprefix(series))


class Sleepless:
    """Wake-ups of a loop that the test does not own; streams here live too briefly to need one."""

    def now(self) -> float:
        return 100.0

    def register(self, call: Any) -> Any:
        return self

    deadline: float | None = None

    def at(self, deadline: float | None) -> None:
        pass


@pytest.fixture
def bench() -> Bench:
    return Bench()


# ---- webhooks


@pytest.mark.parametrize(
    ("verdict", "spoken"),
    [
        (Say(SPOKEN["busy"]), "busy at the moment"),
        (Say(SPOKEN["trouble"]), "something went wrong on our side"),
        (Transfer("+15550001111"), "+15550001111"),
        (Transfer("sip:office@example.com"), "<Sip>sip:office@example.com</Sip>"),
        (Whisper("A caller."), "<Say"),
        (Ask("A caller.", "warm-1"), f"{ORIGIN}/twilio/accept?order=warm-1"),
        (Meet("warm-1", 2), f"{ORIGIN}/twilio/after?leg=2"),
        (Meet("warm-1"), "<Dial><Conference"),
        (HangUpNow(), "<Hangup"),
        (Join("the-token", 3), "the-token"),
    ],
)
@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/after"])
def test_a_verdict_is_told_in_twilios_language(
    bench: Bench, path: str, verdict: Verdict, spoken: str
) -> None:
    bench.board.verdict = verdict
    answer = bench.post(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/xml")
    assert ElementTree.fromstring(answer.text).tag == "Response"
    assert spoken in answer.text


def test_a_caller_is_who_the_form_says(bench: Bench) -> None:
    bench.post("/twilio/voice")
    assert bench.board.asked == [("ring", caller())]


def test_the_stream_is_told_where_to_come_and_what_to_ask_afterwards(bench: Bench) -> None:
    bench.board.verdict = Join("the-token", 2)
    root = ElementTree.fromstring(bench.post("/twilio/voice").text)
    connect = root.find("Connect")
    stream = root.find("Connect/Stream")
    assert connect is not None
    assert stream is not None
    assert connect.get("action") == f"{ORIGIN}/twilio/after?leg=2"
    assert stream.get("url") == "wss://pickup.example.com/twilio/media"


def test_what_is_asked_afterwards_says_which_stream_it_was(bench: Bench) -> None:
    assert bench.post("/twilio/after?leg=2").status_code == 200
    assert bench.board.asked == [("after", caller(leg=2))]


def test_a_transfer_says_what_it_came_to_and_a_whisper_whose_it_is(bench: Bench) -> None:
    bench.board.verdict = Transfer("+15550001111", "CA1", 2, 30, whisper=True)
    dial = ElementTree.fromstring(bench.post("/twilio/after?leg=2").text).find("Dial")
    assert dial is not None and dial.attrib == {
        "action": f"{ORIGIN}/twilio/after?leg=2",
        "answerOnBridge": "true",
        "timeout": "30",
    }
    number = dial.find("Number")
    assert number is not None
    assert number.attrib == {"url": f"{ORIGIN}/twilio/whisper?parent=CA1&leg=2", "method": "POST"}
    bench.board.asked.clear()
    bench.post("/twilio/after?leg=2", {**FORM, "DialCallStatus": "no-answer"})
    bench.post("/twilio/whisper?parent=CA1&leg=2")
    assert bench.board.asked == [
        ("after", caller(leg=2, dialled="no_answer")),
        ("whisper", caller(leg=2, parent="CA1")),
    ]


@pytest.mark.parametrize(
    ("said", "accepts"),
    [
        ({"Digits": "1"}, True),
        ({"SpeechResult": "Yes, please."}, True),
        ({"Digits": "2"}, False),
        ({"SpeechResult": "no, yes"}, False),
        ({}, False),
    ],
)
def test_a_person_takes_a_caller_by_a_key_or_a_word(
    bench: Bench, said: dict[str, str], accepts: bool
) -> None:
    bench.post("/twilio/accept?order=warm-1", FORM | said)
    assert bench.board.asked == [("decided", caller(order="warm-1", accepts=accepts))]


@pytest.mark.parametrize("query", ["", "?leg=", "?leg=0", "?leg=-1", "?leg=99999", "?leg=2&leg=3"])
def test_another_query_says_nothing_of_a_leg(bench: Bench, query: str) -> None:
    assert bench.post(f"/twilio/after{query}").status_code == 200
    assert bench.board.asked == [("after", caller())]


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/after", "/twilio/status"])
@pytest.mark.parametrize("signature", ["", "nonsense", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_what_is_not_signed_is_refused_and_counted(bench: Bench, path: str, signature: str) -> None:
    answer = bench.post(path, FORM, signature)
    assert answer.status_code == 403
    assert bench.forged("webhook") == 1
    assert not bench.board.asked
    assert not bench.board.ended


def test_a_signature_is_good_for_its_url_and_form_only(bench: Bench) -> None:
    signature = bench.validator.compute_signature(f"{ORIGIN}/twilio/voice", FORM)
    headers = {"X-Twilio-Signature": signature}
    for path, form in (
        ("/twilio/after", FORM),
        ("/twilio/voice", FORM | {"From": "+15550009999"}),
        ("/twilio/voice?leg=1", FORM),
    ):
        assert bench.client.post(path, data=form, headers=headers).status_code == 403
    assert bench.client.post("/twilio/voice", data=FORM, headers=headers).status_code == 200


OF_A_SIP_DOMAIN = {
    "From": "sip:+15551234567@192.0.2.7:5060;user=phone",
    "To": "sip:desk@acme.sip.twilio.com;region=ie1",
    "SipDomain": "acme.sip.twilio.com",
    "SipDomainSid": "SD" + "0" * 32,
    "SipUsername": "pbx",
    "SipCallId": "3848276298220188511@192.0.2.7",
    "SipSourceIp": "192.0.2.7",
    "SipHeader_X-Order-Id": "A-17",
    "SipHeader_User-to-User": "6869;encoding=hex",
}
"""What Twilio says beside the rest of a call to a SIP domain ("Twilio: SIP and TwiML Interaction")."""


def test_a_call_to_a_sip_domain_is_signed_like_any_and_brings_its_headers(bench: Bench) -> None:
    form = FORM | OF_A_SIP_DOMAIN
    signature = bench.validator.compute_signature(f"{ORIGIN}/twilio/voice", form)
    for name in OF_A_SIP_DOMAIN:  # every one of them is signed
        assert bench.post("/twilio/voice", form | {name: "x"}, signature).status_code == 403
    assert bench.board.asked == []
    assert bench.post("/twilio/voice", form).status_code == 200
    ((_, who),) = bench.board.asked
    assert (who.from_number, who.to_number) == ("+15551234567", "sip:desk@acme.sip.twilio.com")
    assert who.brought == {"order_id": "A-17", "user_to_user": "6869;encoding=hex"}


@pytest.mark.parametrize("field", ["CallSid", "AccountSid"])
def test_a_form_that_names_no_call_is_refused(bench: Bench, field: str) -> None:
    form = {name: value for name, value in FORM.items() if name != field}
    answer = bench.post("/twilio/voice", form)
    assert (answer.status_code, field in answer.text) == (400, True)
    assert bench.board.asked == []


def test_a_body_that_is_no_form_is_refused(bench: Bench) -> None:
    answer = bench.client.post("/twilio/voice", content=b"\xff\xfe")
    assert answer.status_code == 400


def test_a_body_that_is_too_large_is_not_read(bench: Bench) -> None:
    text = urlencode({"Body": "x" * FORM_BYTES})
    assert bench.client.post("/twilio/voice", content=text).status_code == 413
    chunked = bench.client.post("/twilio/voice", content=iter([b"CallSid=1"]))  # no length
    assert chunked.status_code == 413


def test_another_accounts_call_is_refused() -> None:
    bench = Bench(account="AC" + "1" * 32)
    answer = bench.post("/twilio/voice")
    assert answer.status_code in (400, 403)
    assert "another account" in answer.text
    assert bench.board.asked == []


@pytest.mark.parametrize("status", [*OVER, "ringing", "in-progress", "queued", "initiated", ""])
def test_a_status_ends_the_call_where_it_says_so(bench: Bench, status: str) -> None:
    answer = bench.post("/twilio/status", FORM | {"CallStatus": status})
    assert (answer.status_code, answer.text) == (204, "")
    ended = [(FORM["CallSid"], OVER[status])] if status in OVER else []
    assert bench.board.ended == ended


def test_webhooks_are_posted(bench: Bench) -> None:
    for path in ("voice", "after", "status"):
        assert bench.client.get(f"/twilio/{path}").status_code == 405


# ---- streams


@pytest.mark.parametrize("signature", [None, "nonsense"])
def test_a_stream_that_is_not_signed_is_refused_before_it_is_accepted(
    bench: Bench, signature: str | None
) -> None:
    headers = {"X-Twilio-Signature": signature} if signature else {}
    with (
        pytest.raises(WebSocketDisconnect),
        bench.client.websocket_connect("/twilio/media", headers=headers),
    ):
        pass
    assert bench.forged("stream") == 1
    assert bench.board.starts == []


def test_a_stream_that_nobody_admits_is_closed_with_1008(bench: Bench) -> None:
    with bench.stream() as websocket:
        websocket.send_text(CONNECTED)
        websocket.send_text(START)
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert closed.value.code == 1008
    assert [start.parameters for start in bench.board.starts] == [{"token": "t"}]
    assert bench.door._streams._open == 0


def test_above_the_limit_a_stream_is_turned_away_and_counted() -> None:
    bench = Bench(max_sockets=1)
    with bench.stream() as first:
        with pytest.raises(WebSocketDisconnect), bench.stream():
            pass
        assert b'pickup_refused_total{why="streams"} 1.0' in bench.board.metrics.page()
        first.send_text(CONNECTED)
        first.send_text(START)
        with pytest.raises(WebSocketDisconnect):
            first.receive_text()
    with bench.stream() as again:  # there is room again
        again.close()


def test_who_answered_a_call_of_ours_is_passed_on(bench: Bench) -> None:
    path = "/twilio/amd?order=o1"
    assert bench.post(path, FORM | {"AnsweredBy": "machine_end_beep"}).status_code == 204
    ((who, told),) = bench.board.asked
    assert (who, told.order) == ("machine_end", "o1")
    assert bench.post(path, FORM | {"AnsweredBy": "a robot"}).status_code == 400
    assert bench.post(path, FORM | {"AnsweredBy": "fax"}, "forged").status_code == 403
    assert len(bench.board.asked) == 1
