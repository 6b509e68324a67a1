"""TwiML, judged as XML by a parser that did not write it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from agent.errors import OwnFault
from agent.protocols.twilio import twiml


def tree(text: str) -> object:
    """Nested (tag, attributes, text or children)."""

    def read(element: ElementTree.Element) -> object:
        return element.tag, element.attrib, [read(child) for child in element] or element.text

    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    return read(ElementTree.fromstring(text))


def test_connect_joins_the_stream_with_its_token_and_says_who_is_asked_after() -> None:
    answer = twiml.connect(
        "wss://h.example/twilio/media", "https://h.example/twilio/after?l=1&c=2", "a.b"
    )
    parameter = ("Parameter", {"name": "token", "value": "a.b"}, None)
    stream = ("Stream", {"url": "wss://h.example/twilio/media"}, [parameter])
    action = {"action": "https://h.example/twilio/after?l=1&c=2", "method": "POST"}
    assert tree(answer) == ("Response", {}, [("Connect", action, [stream])])


@pytest.mark.parametrize("url", ["https://h.example/m", "wss://h.example/m?token=t", "/m"])
def test_a_stream_that_twilio_would_refuse_is_our_own_fault(url: str) -> None:
    with pytest.raises(OwnFault, match="wss:// without a query"):
        twiml.connect(url, "https://h.example/after", "t")


def test_a_parameter_is_shorter_than_500_characters() -> None:
    twiml.connect("ws://127.0.0.1:1/m", "http://127.0.0.1:1/after", "t" * 494)
    with pytest.raises(OwnFault, match="495 characters"):
        twiml.connect("ws://127.0.0.1:1/m", "http://127.0.0.1:1/after", "t" * 495)


def test_what_is_said_is_text_and_never_markup() -> None:
    answer = twiml.say_and_hang_up("We are <busy> & sorry.", language="en-GB")
    say = ("Say", {"language": "en-GB"}, "We are <busy> & sorry.")
    assert tree(answer) == ("Response", {}, [say, ("Hangup", {}, None)])


@pytest.mark.parametrize(
    ("tag", "spoken"),
    [("de-DE", "de-DE"), ("de-AT", "de-DE"), ("no", "nb-NO"), ("es", "es-ES"), ("xx-YY", "en-US")],
)
def test_a_language_that_twilio_does_not_speak_becomes_the_nearest_that_it_does(
    tag: str, spoken: str
) -> None:
    assert f'language="{spoken}"' in twiml.say_and_hang_up("x", language=tag)


def test_dial_rings_a_person_and_reports_how_it_went() -> None:
    answer = twiml.dial(
        "+15550100003", caller_id="+15550100002", action_url="https://h.example/after"
    )
    attributes = {
        "action": "https://h.example/after",
        "answerOnBridge": "true",
        "callerId": "+15550100002",
        "timeout": "20",
    }
    assert tree(answer) == (
        "Response",
        {},
        [("Dial", attributes, [("Number", {}, "+15550100003")])],
    )


def test_dial_needs_no_more_than_a_number() -> None:
    assert 'answerOnBridge="true" timeout="5"' in twiml.dial("+15550100003", timeout=5)


def test_the_short_answers() -> None:
    assert tree(twiml.hang_up()) == ("Response", {}, [("Hangup", {}, None)])
    assert tree(twiml.reject_busy()) == ("Response", {}, [("Reject", {"reason": "busy"}, None)])
