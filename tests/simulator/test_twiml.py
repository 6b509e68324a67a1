"""TwiML as strictly as Twilio's pages: what runs, what is refused and under which code."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from twilio.twiml.voice_response import (
    Connect as TwilioConnect,
    Dial as TwilioDial,
    Gather as TwilioGather,
    VoiceResponse,
)

from agent.simulator.twiml import (
    Connect,
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Room,
    Say,
    Target,
    TwimlError,
    Verb,
    parse,
)

BASE = "https://agent.example.com/twilio/voice"
STREAM = '<Stream url="wss://agent.example.com/twilio/media"/>'


def verbs(inner: str, base: str = BASE) -> list[Verb]:
    return parse(f"<Response>{inner}</Response>".encode(), "text/xml; charset=utf-8", base)


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", []),
        ("<Say voice='alice'> Hello. </Say>", [Say("Hello.")]),
        ("<Say><![CDATA[A & B]]></Say>", [Say("A & B")]),
        ("<Play>busy.wav</Play>", [Play("https://agent.example.com/twilio/busy.wav")]),
        ("<Pause/>", [Pause(1.0)]),
        ("<Pause length='3'/><Hangup/>", [Pause(3.0), Hangup()]),
        ("<Reject/>", [Reject("rejected")]),
        ("<Reject reason='busy'/>", [Reject("busy")]),
        ("<Redirect>/other</Redirect>", [Redirect("https://agent.example.com/other")]),
        ("<Dial>+12025550199</Dial>", [Dial(targets=(Target(to="+12025550199"),))]),
        (
            "<Dial action='/done'><Number>+12025550199</Number></Dial>",
            [Dial(targets=(Target(to="+12025550199"),), action="https://agent.example.com/done")],
        ),
        ("<!-- a comment --><Hangup/>", [Hangup()]),
        (
            f"<Connect>{STREAM}</Connect>",
            [Connect("wss://agent.example.com/twilio/media", {}, None)],
        ),
        (
            "<Connect action='after'><Stream url='/m'><Parameter name='a' value=''/></Stream></Connect>",
            [
                Connect(
                    "wss://agent.example.com/m",
                    {"a": ""},
                    "https://agent.example.com/twilio/after",
                )
            ],
        ),
    ],
)
def test_known_verbs_become_values(inner: str, expected: list[Verb]) -> None:
    assert verbs(inner) == expected


def test_a_loopback_server_may_use_plain_ws_because_it_can_have_no_certificate() -> None:
    (connect,) = verbs(
        "<Connect><Stream url='/m'/></Connect>", "http://127.0.0.1:8080/twilio/voice"
    )
    assert connect == Connect("ws://127.0.0.1:8080/m", {}, None)


@pytest.mark.parametrize(
    ("code", "inner"),
    [
        (12200, "<Speak>Hello</Speak>"),
        (12200, "words"),
        (12200, "<Hangup>now</Hangup>"),
        (12200, "<Hangup at='once'/>"),
        (12200, "<Hangup><Say>x</Say></Hangup>"),
        (12200, "<Say/>"),
        (12200, "<Pause length='0'/>"),
        (12200, "<Pause length='-1'/>"),
        (12200, "<Reject reason='rude'/>"),
        (12200, "<Dial><Say>x</Say></Dial>"),
        (12200, "<Dial><Number>+12025550199</Number><Conference>a</Conference></Dial>"),
        (12200, "<Dial timeout='soon'>+12025550199</Dial>"),
        (12200, "<Dial answerOnBridge='yes'>+12025550199</Dial>"),
        (12200, "<Dial record='true'>+12025550199</Dial>"),
        (12200, "<Dial><Number statusCallbackEvent='done'>+12025550199</Number></Dial>"),
        (12200, "<Dial><Number sendDigits='one'>+12025550199</Number></Dial>"),
        (13223, "<Dial>2025550199</Dial>"),
        (13223, "<Dial><Number>(202) 555-0199</Number></Dial>"),
        (13223, "<Dial><Sip>alice</Sip></Dial>"),
        (13212, "<Dial><Conference/></Dial>"),
        (12200, "<Dial><Conference coach='CA1'>a</Conference></Dial>"),
        (12200, "<Gather><Say>x</Say></Gather>"),
        (12200, "<Gather action='/a' input='speech'/>"),
        (12200, "<Play digits='1'>a.wav</Play>"),
        (12200, "<Redirect method='GET'>/next</Redirect>"),
        (12200, "<Connect/>"),
        (12200, f"<Connect>{STREAM}{STREAM}</Connect>"),
        (12200, f"<Connect>{STREAM}words</Connect>"),
        (12200, "<Connect><ConversationRelay/></Connect>"),
        (12200, "<Connect><Stream url='/m'><Say>x</Say></Stream></Connect>"),
        (12200, "<Connect><Stream url='/m'><Parameter name='a'/></Stream></Connect>"),
        (12200, "<Connect><Stream url='/m'><Parameter value='a'/></Stream></Connect>"),
        (
            12200,
            f"<Connect><Stream url='/m'><Parameter name='a' value='{'x' * 499}'/></Stream></Connect>",
        ),
        (12200, "<Connect><Stream url='/m' bitrate='8000'/></Connect>"),
        (12200, "<Connect><Stream url='/m' statusCallback='/s'/></Connect>"),
        (31920, "<Connect><Stream url='wss://h/m?token=1'/></Connect>"),
        (31922, "<Connect><Stream url='https://h/m'/></Connect>"),
        (31922, "<Connect><Stream url='ws://h/m'/></Connect>"),
        (31923, "<Connect><Stream/></Connect>"),
        (31923, "<Connect><Stream url='wss:///m'/></Connect>"),
        (31941, "<Connect><Stream url='/m' track='both_tracks'/></Connect>"),
        (12100, "<Say>"),
        (11750, f"<Say>{'x' * 65536}</Say>"),
    ],
)
def test_what_twilio_would_not_run_is_refused_by_its_code(code: int, inner: str) -> None:
    with pytest.raises(TwimlError) as refused:
        verbs(inner)
    assert refused.value.code == code
    assert refused.value.violation.rule == f"twiml-{code}"
    assert refused.value.violation.doc.startswith("https://www.twilio.com/docs/")


@pytest.mark.parametrize(
    ("code", "body", "content_type"),
    [
        (12300, b"<Response/>", "application/json"),
        (12300, b"<Response/>", ""),
        (12100, b"", "text/xml"),
        (12100, b"<Answer/>", "text/xml"),
        (12100, b"<!DOCTYPE r [<!ENTITY a 'b'>]><Response/>", "application/xml"),
    ],
)
def test_a_document_that_is_none(code: int, body: bytes, content_type: str) -> None:
    with pytest.raises(TwimlError) as refused:
        parse(body, content_type, BASE)
    assert refused.value.code == code


def test_what_twilios_own_library_writes_is_read() -> None:
    response = VoiceResponse()
    connect = TwilioConnect(action="https://agent.example.com/twilio/after", method="POST")
    stream = connect.stream(url="wss://agent.example.com/twilio/media")
    stream.parameter(name="token", value="<&>\"'")
    response.append(connect)
    response.say("Good bye & thanks", voice="Polly.Joanna")
    dial = TwilioDial(caller_id="+12025550100", timeout=20, answer_on_bridge=True)
    dial.number("+12025550199")
    response.append(dial)
    response.hangup()
    assert parse(str(response).encode(), "text/xml", BASE) == [
        Connect(
            "wss://agent.example.com/twilio/media",
            {"token": "<&>\"'"},
            "https://agent.example.com/twilio/after",
        ),
        Say("Good bye & thanks"),
        Dial(
            targets=(Target(to="+12025550199"),),
            timeout_s=20,
            answer_on_bridge=True,
            caller_id="+12025550100",
        ),
        Hangup(),
    ]


def test_dial_gather_and_conference_as_twilios_own_library_writes_them() -> None:
    response = VoiceResponse()
    gather = TwilioGather(action="/twilio/keys", num_digits=1, timeout=7, finish_on_key="*")
    gather.say("Press 1 to take the call.")
    response.append(gather)
    response.play("", digits="1w2")
    dial = TwilioDial(action="/twilio/after")
    dial.number("+12025550199", url="/twilio/whisper", status_callback="/twilio/status")
    dial.sip("sip:alice@pbx.example.com;secure=true")
    response.append(dial)
    dial = TwilioDial()
    dial.conference(
        "room 1",
        start_conference_on_enter=False,
        end_conference_on_exit=True,
        beep="false",
        wait_url="",
        status_callback="/twilio/conference",
        status_callback_event="start end join leave",
    )
    response.append(dial)
    at = "https://agent.example.com"
    assert parse(str(response).encode(), "text/xml", BASE) == [
        Gather(
            action=f"{at}/twilio/keys",
            prompts=(Say("Press 1 to take the call."),),
            most=1,
            timeout_s=7,
            finish="*",
        ),
        Play("", "1w2"),
        Dial(
            targets=(
                Target(
                    to="+12025550199",
                    whisper=f"{at}/twilio/whisper",
                    status_callback=f"{at}/twilio/status",
                ),
                Target(to="sip:alice@pbx.example.com;secure=true"),
            ),
            action=f"{at}/twilio/after",
        ),
        Dial(
            room=Room(
                name="room 1",
                starts=False,
                ends=True,
                status_callback=f"{at}/twilio/conference",
                events=frozenset({"start", "end", "join", "leave"}),
            )
        ),
    ]


@given(st.one_of(st.binary(), st.text().map(lambda text: f"<Response>{text}</Response>".encode())))
def test_whatever_a_server_answers_is_read_or_refused(body: bytes) -> None:
    try:
        parse(body, "text/xml", BASE)
    except TwimlError as refused:
        assert refused.code in {11750, 12100, 12200}
