"""What the stand-in's REST API takes and refuses, who is at a number, and what is found out about them: all without a wire."""

from __future__ import annotations

import pytest

from agent.errors import UserError
from agent.simulator import amd
from agent.simulator.callee import Callee, Directory, Verdict, parse, parse_entry
from agent.simulator.rest_forms import ApiError, order
from agent.simulator.twiml import Hangup, Redirect, Say

US = "+12025550100"
URL = "https://agent.example.com/twilio/voice"
GOOD = {"To": ["+12025550101"], "From": [US], "Url": [URL]}


def test_an_order_is_read_with_twilios_defaults() -> None:
    placed, url = order(GOOD, frozenset({US}))
    assert (placed.to, placed.from_, placed.verbs) == ("+12025550101", US, (Redirect(URL),))
    assert (placed.timeout_s, placed.time_limit_s) == (60, 14_400)
    assert placed.events == {"completed"}
    assert placed.detection is None
    assert url == URL


def test_twiml_in_the_order_ends_the_call_behind_its_last_verb() -> None:
    form = GOOD | {"Url": [], "Twiml": ["<Response><Say>Hello.</Say></Response>"]}
    placed, url = order(form, frozenset())
    assert (placed.verbs, url) == ((Say("Hello."), Hangup()), "")


def test_detection_is_not_done_where_digits_are_sent() -> None:
    form = GOOD | {"MachineDetection": ["Enable"], "AsyncAmd": ["true"]}
    placed, _ = order(form, frozenset())
    assert placed.detection == amd.Detection(mode="Enable", asynchronous=True)
    placed, _ = order(form | {"SendDigits": ["ww1#"]}, frozenset())
    assert (placed.detection, placed.send_digits) == (None, "ww1#")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"To": ["12025550101"]}, 21211),
        ({"To": ["+1"]}, 21211),
        ({"To": ["sip:nobody"]}, 21211),
        ({"To": []}, 21201),
        ({"From": []}, 21213),
        ({"From": ["agent"]}, 21212),
        ({"From": ["+12025550177"]}, 21210),
        ({"Url": []}, 21205),
        ({"Url": ["/twilio/voice"]}, 21205),
        ({"Twiml": ["<Response/>"]}, 20001),
        ({"Url": [], "Twiml": ["<Response><Speak/></Response>"]}, 12200),
        ({"Url": [], "Twiml": ["<Response><Redirect>/next</Redirect></Response>"]}, 15004),
        ({"Url": [], "Twiml": ["<Response><Say>" + "x" * 4000 + "</Say></Response>"]}, 32018),
        ({"StatusCallback": ["nowhere"]}, 21609),
        ({"StatusCallbackEvent": ["answered", "finished"]}, 21626),
        ({"StatusCallbackEvent": ["initiated ringing"]}, 21626),
        ({"MachineDetection": ["Enabled"]}, 20001),
        ({"AsyncAmd": ["true"]}, 20001),
        ({"MachineDetection": ["Enable"], "MachineDetectionTimeout": ["99"]}, 20001),
        ({"Timeout": ["0"]}, 20001),
        ({"Timeout": ["20", "30"]}, 20001),
        ({"Method": ["GET"]}, 20001),
        ({"SendDigits": ["press one"]}, 20001),
        ({"Record": ["true"]}, 20001),
    ],
)
def test_each_mistake_has_twilios_number(given: dict[str, list[str]], code: int) -> None:
    with pytest.raises(ApiError) as refused:
        order(GOOD | given, frozenset({US}))
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert refused.value.body()["more_info"] == f"https://www.twilio.com/docs/errors/{code}"


@pytest.mark.parametrize(
    ("party", "mode", "verdict", "at_s"),
    [
        ("human", "Enable", "human", 1.0),
        ("machine:greeting=3,beep=3.5", "Enable", "machine_start", 2.4),
        ("machine:greeting=1,beep=3.5", "Enable", "machine_start", 1.0),
        ("machine:greeting=5,beep=6", "DetectMessageEnd", "machine_end_beep", 6.5),
        ("machine:greeting=4,beep=none", "DetectMessageEnd", "machine_end_silence", 5.2),
        ("machine:greeting=60,beep=61", "DetectMessageEnd", "unknown", 30.0),
        ("fax", "DetectMessageEnd", "fax", 1.5),
        ("human:verdict=machine_end_other@0.3", "DetectMessageEnd", "machine_end_other", 0.3),
    ],
)
def test_what_detection_finds_and_when(party: str, mode: str, verdict: str, at_s: float) -> None:
    assert amd.verdict(parse(party), amd.Detection(mode=mode)) == Verdict(at_s, verdict)  # type: ignore[arg-type]


# ------------------------------------------------------------------ who is there


def test_a_fictional_number_says_by_itself_what_happens() -> None:
    directory = Directory({"+12025550191": Callee(after_s=9)})
    assert directory.find("+12025550191").after_s == 9
    assert directory.find("+13035550191").outcome == "busy"
    assert directory.find("+13035550190").outcome == "no-answer"
    assert directory.find("+13035550192").outcome == "failed"
    assert directory.find("+13035550194").beep_s is None
    assert directory.find("+13035550195").kind == "fax"
    assert directory.find("+13035550147") == directory.find("+4930123456") == Callee()


def test_a_party_is_written_in_words() -> None:
    assert parse_entry("+12025550191=human:after=2,talk=none,keys=1+22#") == (
        "+12025550191",
        Callee(after_s=2.0, talk_s=None, keys=parse("human:keys=1+22#").keys),
    )
    assert [press.digits for press in parse("human:keys=1+22#").keys] == ["1", "22#"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("+12025550191", "is not NUMBER=PARTY"),
        ("+12025550191=elephant", "no party 'elephant': one of human"),
        ("+12025550191=human:mood=good", "no 'mood'; a party takes after"),
        ("+12025550191=human:after=soon", "after cannot be 'soon'"),
        ("+12025550191=human:after=-1", "after cannot be '-1'"),
        ("+12025550191=human:keys=one", "keys cannot be 'one'"),
        ("+12025550191=human:verdict=alien@1", "verdict cannot be 'alien@1'"),
    ],
)
def test_a_party_that_is_written_wrongly_is_one_clear_line(text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        parse_entry(text)
