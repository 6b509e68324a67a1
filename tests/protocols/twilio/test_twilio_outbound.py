"""Calls that Twilio places: what it is asked in the words of its own client, and what its webhooks and refusals mean."""

from __future__ import annotations

import inspect
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator
from twilio.rest.api.v2010.account.call import CallList

from agent.errors import LineProtocolError, NotSigned
from agent.protocols.door import CallOrder, Request
from agent.protocols.twilio.outbound import (
    REFUSALS,
    answered_by,
    call_parameters,
    order_of,
    refusal,
)
from agent.protocols.twilio.provider import Twilio

TOKEN = "12345678901234567890123456789012"
PUBLIC = "https://pickup.example.com"
ORDER = CallOrder("o-1_A", "+12125551234", "+15551234567", ring_seconds=25, max_seconds=600)
FIELDS = {
    "CallSid": "CA" + "0a" * 16,
    "AccountSid": "AC" + "0b" * 16,
    "From": "+15551234567",
    "To": "+12125551234",
    "CallStatus": "in-progress",
    "Direction": "outbound-api",
}


def test_twilio_s_client_takes_everything_that_is_asked() -> None:
    names = set(inspect.signature(CallList.create_async).parameters)
    assert set(call_parameters(ORDER, PUBLIC)) <= names


def test_nobody_waits_for_the_verdict_to_be_greeted() -> None:
    wanted = call_parameters(ORDER, PUBLIC)
    assert wanted["async_amd"] == "true"  # text: Twilio's client passes it on as it is
    assert wanted["machine_detection"] == "DetectMessageEnd"
    assert wanted["async_amd_status_callback"] == f"{PUBLIC}/twilio/amd?order=o-1_A"
    assert (wanted["timeout"], wanted["time_limit"]) == (25, 600)


def test_machines_are_not_looked_for_where_nobody_wants_that() -> None:
    wanted = call_parameters(ORDER._replace(detect_machine=False), PUBLIC)
    assert not [name for name in wanted if "machine" in name or "amd" in name]


def test_every_url_tells_the_order() -> None:
    wanted = call_parameters(ORDER, PUBLIC)
    urls = [wanted[name] for name in ("url", "status_callback", "async_amd_status_callback")]
    assert [order_of(url.removeprefix(PUBLIC)) for url in urls] == ["o-1_A"] * 3
    assert order_of("/twilio/after?leg=2") == ""
    assert order_of("/twilio/voice") == ""


def request(target: str, **fields: str) -> Request:
    form = FIELDS | fields
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + target, form)
    return Request(target, {"x-twilio-signature": signature}, urlencode(form).encode())


def test_the_webhook_of_a_placed_call_names_its_order() -> None:
    provider = Twilio(TOKEN, PUBLIC, FIELDS["AccountSid"])
    caller = provider.caller(request("/twilio/voice?order=o-1_A"))
    assert (caller.order, caller.direction, caller.to_number) == (
        "o-1_A",
        "outbound-api",
        "+12125551234",
    )


def test_who_answered_is_read_from_a_signed_callback_only() -> None:
    provider = Twilio(TOKEN, PUBLIC, FIELDS["AccountSid"])
    signed = request("/twilio/amd?order=o-1_A", AnsweredBy="machine_end_beep")
    caller, kind = provider.answered_by(signed)
    assert (caller.order, kind) == ("o-1_A", "machine_end")
    with pytest.raises(NotSigned):
        provider.answered_by(signed._replace(body=signed.body.replace(b"beep", b"other")))
    with pytest.raises(LineProtocolError, match="another account"):
        Twilio(TOKEN, PUBLIC, "AC" + "1" * 32).answered_by(signed)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("human", "human"),
        ("fax", "fax"),
        ("unknown", "unknown"),
        ("machine_start", "machine_start"),
        ("machine_end_beep", "machine_end"),
        ("machine_end_silence", "machine_end"),
        ("machine_end_other", "machine_end"),
    ],
)
def test_every_verdict_of_twilio_s_has_a_meaning(value: str, kind: str) -> None:
    assert answered_by(value) == kind


@pytest.mark.parametrize("value", ["", "robot", "Human"])
def test_a_verdict_that_is_none_is_an_error(value: str) -> None:
    with pytest.raises(LineProtocolError, match="AnsweredBy"):
        answered_by(value)


@pytest.mark.parametrize(
    ("code", "status", "reason", "blame"),
    [
        (21211, 400, "invalid_number", "number"),
        (21215, 400, "country_denied", "number"),
        (21210, 400, "caller_id_denied", "us"),
        (20003, 401, "carrier_denied", "us"),
        (20429, 429, "carrier_busy", "moment"),
        (10004, 429, "carrier_busy", "moment"),
        (99999, 400, "carrier_refused", "number"),
        (99999, 429, "carrier_busy", "moment"),
        (None, 503, "carrier_busy", "moment"),
        (None, 403, "carrier_denied", "us"),
    ],
)
def test_a_refusal_says_who_has_to_mend_what(
    code: int | None, status: int, reason: str, blame: str
) -> None:
    assert refusal(code, status) == (reason, blame)


def test_no_refusal_is_tried_again_that_can_never_work() -> None:
    assert {code for code, known in REFUSALS.items() if known.blame == "moment"} == {10004, 20429}
