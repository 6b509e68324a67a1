"""Twilio's webhooks: who may send one, and what it says. The judge is twilio's own RequestValidator."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given, settings, strategies as st
from twilio.request_validator import RequestValidator

from agent.errors import LineProtocolError, UserError
from agent.protocols.twilio.webhook import (
    FORM_BYTES,
    Form,
    Signatures,
    brought,
    incoming_call,
    parse_form,
)

TOKEN = "12345678901234567890123456789012"
JUDGE = RequestValidator(TOKEN)
PUBLIC = Signatures(TOKEN, "https://pickup.example.com")
FIELDS = [
    ("CallSid", "CA" + "0a" * 16),
    ("AccountSid", "AC" + "0B" * 16),
    ("From", "+15550100001"),
    ("To", "+15550100002"),
    ("CallStatus", "ringing"),
    ("Direction", "inbound"),
    ("ApiVersion", "2010-04-01"),
    ("CallerName", ""),
    ("FromCity", "São Paulo & friends"),
]
FORM = Form(FIELDS)
TARGET = "/twilio/voice?agent=front%20desk"


def signed(url: str, form: Form | None = None) -> str:
    return str(JUDGE.compute_signature(url, form or {}))


# ---- webhooks --------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://pickup.example.com", "https://pickup.example.com:443"])
def test_twilios_own_signature_is_accepted_with_and_without_the_port(origin: str) -> None:
    signature = signed(origin + TARGET, FORM)
    assert PUBLIC.webhook(TARGET, FORM, signature)
    assert JUDGE.validate("https://pickup.example.com" + TARGET, FORM, signature)


@pytest.mark.parametrize(
    ("public_url", "url"),
    [
        ("https://pickup.example.com:8443", "https://pickup.example.com:8443/v"),
        ("https://pickup.example.com:8443", "https://pickup.example.com/v"),
        ("https://PICKUP.example.com/", "https://pickup.example.com/v"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v"),
        ("http://localhost", "http://localhost:80/v"),
        ("http://[::1]:8080", "http://[::1]:8080/v"),
    ],
)
def test_the_signed_url_is_the_configured_one(public_url: str, url: str) -> None:
    assert Signatures(TOKEN, public_url).webhook("/v", FORM, signed(url, FORM))


@pytest.mark.parametrize(
    "url",
    [
        "http://pickup.example.com" + TARGET,
        "wss://pickup.example.com" + TARGET,
        "https://pickup.example.com:80" + TARGET,
        "https://evil.example.com" + TARGET,
        "https://pickup.example.com/twilio/voice",
        "https://pickup.example.com/twilio/voice/?agent=front%20desk",
        "https://pickup.example.com/twilio/voice?agent=front desk",
    ],
)
def test_a_signature_for_another_url_is_refused(url: str) -> None:
    assert not PUBLIC.webhook(TARGET, FORM, signed(url, FORM))


def test_all_values_of_a_field_are_signed() -> None:
    twice = Form([*FIELDS, ("Digit", "2"), ("Digit", "1")])
    signature = signed("https://pickup.example.com/v", twice)
    assert PUBLIC.webhook("/v", twice, signature)
    assert not PUBLIC.webhook("/v", Form([*FIELDS, ("Digit", "2")]), signature)


@pytest.mark.parametrize("signature", [None, "", "é", "\ud800", "A" * 10_000, "AAAA"])
def test_a_missing_or_absurd_signature_is_a_refusal_and_no_exception(signature: str | None) -> None:
    assert not PUBLIC.webhook(TARGET, FORM, signature)
    assert not PUBLIC.upgrade("/twilio/media", signature)


def test_a_path_that_is_not_ascii_is_refused() -> None:
    signature = signed("https://pickup.example.com/é", FORM)
    assert not PUBLIC.webhook("/é", FORM, signature)
    assert not PUBLIC.webhook("/\ud800", FORM, signature)


def test_another_accounts_token_signs_for_nobody_here() -> None:
    other = RequestValidator("f" * 32).compute_signature(
        "https://pickup.example.com" + TARGET, FORM
    )
    assert not PUBLIC.webhook(TARGET, FORM, other)


# ---- upgrades --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/twilio/media", "/twilio/media/"])
@pytest.mark.parametrize("origin", ["wss://pickup.example.com", "wss://pickup.example.com:443"])
@pytest.mark.parametrize("target", ["/twilio/media", "/twilio/media/"])
def test_an_upgrade_is_signed_over_wss_with_or_without_port_and_slash(
    origin: str, path: str, target: str
) -> None:
    assert PUBLIC.upgrade(target, signed(origin + path))


@pytest.mark.parametrize(
    "url",
    [
        "https://pickup.example.com/twilio/media",
        "ws://pickup.example.com/twilio/media",
        "wss://pickup.example.com:80/twilio/media",
        "wss://evil.example.com/twilio/media",
        "wss://pickup.example.com/twilio/media?x=1",
        "wss://pickup.example.com/twilio",
    ],
)
def test_an_upgrade_signed_for_anything_else_is_refused(url: str) -> None:
    assert not PUBLIC.upgrade("/twilio/media", signed(url))


def test_a_loopback_origin_is_ws() -> None:
    local = Signatures(TOKEN, "http://127.0.0.1:8080")
    assert local.upgrade("/m", signed("ws://127.0.0.1:8080/m"))
    assert local.upgrade("/m?a=b", signed("ws://127.0.0.1:8080/m/?a=b"))
    assert not local.upgrade("/m", signed("wss://127.0.0.1:8080/m"))


@pytest.mark.parametrize("url", ["pickup.example.com", "wss://pickup.example.com", "https://", ""])
def test_a_public_url_that_is_no_origin_is_named(url: str) -> None:
    with pytest.raises(UserError, match="PUBLIC_URL"):
        Signatures(TOKEN, url)


# ---- mutants ---------------------------------------------------------------------------------

WORDS = st.text("aC0+é &=", max_size=4)


@st.composite
def mutants(draw: st.DrawFn) -> tuple[str, Form, str]:
    """A request that differs somewhere from a signed one."""
    url = "https://pickup.example.com" + TARGET
    signature, target, fields = signed(url, FORM), TARGET, list(FIELDS)
    kind = draw(st.sampled_from(["signature", "target", "value", "name", "drop", "add", "swap"]))
    where = draw(st.integers(0, len(fields) - 1))
    name, value = fields[where]
    match kind:
        case "signature":
            at = draw(st.integers(0, len(signature)))
            signature = signature[:at] + draw(WORDS) + signature[at + draw(st.integers(0, 2)) :]
        case "target":
            at = draw(st.integers(0, len(target)))
            target = target[:at] + draw(st.text("/?#;&=%.aA ", max_size=3)) + target[at + 1 :]
        case "value":
            fields[where] = (name, draw(WORDS) + value[draw(st.integers(0, 3)) :])
        case "name":
            fields[where] = (draw(WORDS) + name[draw(st.integers(0, 3)) :], value)
        case "drop":
            del fields[where]
        case "add":
            fields.insert(where, (draw(st.sampled_from([name, "Extra"])), draw(WORDS)))
        case _:
            other, taken = fields[where - 1]
            fields[where - 1], fields[where] = (other, value), (name, taken)
    return target, Form(fields), signature


def signed_text(target: str, form: Form) -> str:
    """What a signature covers; two requests with the same text are one to every validator."""
    return target + "".join(
        name + value for name in sorted(form) for value in sorted(set(form[name]))
    )


def judge(target: str, form: Form, signature: str) -> None:
    same = signature == signed("https://pickup.example.com" + TARGET, FORM) and (
        signed_text(target, form) == signed_text(TARGET, FORM)
    )
    accepted = PUBLIC.webhook(target, form, signature)
    assert accepted == same
    if accepted:
        assert JUDGE.validate("https://pickup.example.com" + target, form, signature)


@settings(max_examples=200)
@given(mutants())
def test_no_altered_request_is_accepted(mutant: tuple[str, Form, str]) -> None:
    judge(*mutant)


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=4_000, deadline=None)
@given(mutants())
def test_no_altered_request_of_thousands_is_accepted(mutant: tuple[str, Form, str]) -> None:
    judge(*mutant)


def judge_upgrade(target: str, signature: str | None) -> None:
    good = signed("wss://pickup.example.com/twilio/media")
    assert not PUBLIC.upgrade("/twilio/media", signature)
    assert PUBLIC.upgrade(target, good) == (target in ("/twilio/media", "/twilio/media/"))


TARGETS = st.text("/twiliomedia?#:%.A ", max_size=16)
SIGNATURES = st.text(max_size=30) | st.none()


@given(TARGETS, SIGNATURES)
def test_no_invented_upgrade_is_accepted(target: str, signature: str | None) -> None:
    judge_upgrade(target, signature)


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=4_000, deadline=None)
@given(TARGETS, SIGNATURES)
def test_no_invented_upgrade_of_thousands_is_accepted(target: str, signature: str | None) -> None:
    judge_upgrade(target, signature)


# ---- forms -----------------------------------------------------------------------------------


def test_a_form_keeps_empty_and_repeated_fields() -> None:
    form = parse_form(b"a=1&b=&a=2&c=%C3%A9+x")
    assert form == {"a": ["1", "2"], "b": [""], "c": ["é x"]}
    assert form.getlist("a") == ["1", "2"]
    assert form.first("a") == "1"
    assert form.first("absent") == ""


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"a=" + b"x" * FORM_BYTES, 1009),
        (b"&".join(b"a=1" for _ in range(501)), 1008),
        ("a=é".encode(), 1008),
    ],
)
def test_a_body_that_is_no_form_is_refused(body: bytes, code: int) -> None:
    with pytest.raises(LineProtocolError) as caught:
        parse_form(body)
    assert caught.value.close_code == code


@given(st.binary(max_size=80))
def test_any_body_is_a_form_or_a_refusal(body: bytes) -> None:
    try:
        form = parse_form(body)
    except LineProtocolError:
        return
    assert not PUBLIC.webhook("/v", form, "AAAA")


@given(st.lists(st.tuples(st.text(min_size=1, max_size=6), st.text(max_size=6)), max_size=6))
def test_what_a_client_encodes_is_what_we_read_and_judge(fields: list[tuple[str, str]]) -> None:
    form = parse_form(urlencode(fields).encode())
    assert form == Form(fields)
    assert PUBLIC.webhook("/v", form, signed("https://pickup.example.com/v", Form(fields)))


def test_what_a_voice_webhook_says() -> None:
    call = incoming_call(parse_form(urlencode(FIELDS).encode()))
    assert call.call_sid == "CA" + "0a" * 16
    assert call.account_sid == "AC" + "0B" * 16
    assert (call.from_, call.to) == ("+15550100001", "+15550100002")
    assert (call.status, call.direction, call.forwarded_from) == ("ringing", "inbound", "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"CallSid": ""}, "no CallSid"),
        ({"AccountSid": ""}, "no AccountSid"),
        ({"CallSid": "CA123"}, "CallSid is not CA"),
        ({"CallSid": "CA" + "0a" * 16 + "\n"}, "CallSid is not CA"),
        ({"AccountSid": "AC"}, "AccountSid is not AC"),
    ],
)
def test_a_request_without_its_call_is_refused(changes: dict[str, str], says: str) -> None:
    fields = {**dict(FIELDS), **changes}
    with pytest.raises(LineProtocolError, match=says):
        incoming_call(Form(fields.items()))


def test_a_request_without_any_call_field_is_refused() -> None:
    with pytest.raises(LineProtocolError, match="no CallSid"):
        incoming_call(Form())


def test_the_headers_of_a_sip_call_are_what_the_caller_brought() -> None:
    form = Form(
        [("SipHeader_X-Order-Id", "42"), ("SipHeader_User-to-User", "x"), ("To", "sip:a@b")]
    )
    assert brought(form) == {"order_id": "42", "user_to_user": "x"}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("sip:desk@acme.sip.twilio.com;region=ie1", "sip:desk@acme.sip.twilio.com"),
        ("sip:+12025550143@192.0.2.7:5060;user=phone", "+12025550143"),
        ("sips:Ada@PBX.example.com", "sip:Ada@pbx.example.com"),
        ("<sip:600@pbx.example.com>;tag=1", "sip:600@pbx.example.com"),
        ("+12025550143", "+12025550143"),
        ("client:ada", "client:ada"),
        ("anonymous", "anonymous"),
        ("", ""),
    ],
)
def test_who_calls_by_a_sip_domain_is_called_as_on_any_line(said: str, meant: str) -> None:
    call = incoming_call(Form({**dict(FIELDS), "From": said, "To": said}.items()))
    assert (call.from_, call.to) == (meant, meant)
