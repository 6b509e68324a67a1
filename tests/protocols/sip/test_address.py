"""SIP addresses as strangers write them (RFC 3261, section 20.10 and 19.1; RFC 3966)."""

from __future__ import annotations

import pytest

from agent.protocols.sip.address import address, called, callee, listening, target, variables


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('"Alice" <sip:alice@Example.com;user=phone>;tag=1', "sip:alice@example.com"),
        ("sip:+1-555-123.4567@trunk.example.com", "+15551234567"),
        ("<sip:%2B15551234567@trunk.example.com:5080;transport=tcp>", "+15551234567"),
        ("sip:4711@10.0.0.1:5060", "sip:4711@10.0.0.1"),
        ("sips:desk@[2001:db8::1]:5061", "sip:desk@[2001:db8::1]"),
        ("sip:desk@[2001:db8::1]", "sip:desk@[2001:db8::1]"),
        ("tel:+1-555-123-4567;phone-context=x", "+15551234567"),
        ("tel:911", "911"),
        ("sip:example.com", "sip:example.com"),
        ("sip:alice:secret@example.com", "sip:alice@example.com"),
        ("sip:+12@example.com", "sip:+12@example.com"),
        ('"sip:fake@evil.example" <sip:real@example.com>', "sip:real@example.com"),
        ("sip:a%00b@example.com", "sip:example.com"),
        ("anonymous", ""),
        ("", ""),
    ],
)
def test_how_somebody_is_called(text: str, number: str) -> None:
    assert address(text).number == number


def test_a_stranger_s_address_is_cut() -> None:
    assert len(address("sip:" + "a" * 10_000 + "@example.com").number) < 1000


@pytest.mark.parametrize(
    ("headers", "user", "number"),
    [
        ({"to": "<sip:desk@pbx.example>"}, "", "sip:desk@pbx.example"),
        ({"to": "<sip:DESK@pbx.example>"}, "desk", "sip:DESK@pbx.example"),
        ({"to": "<sip:first@pbx.example>"}, "600", "sip:600@10.0.0.1"),
        ({"to": "<sip:first@pbx.example>"}, "+15551234567", "+15551234567"),
        ({}, "600", "sip:600@10.0.0.1"),
        (
            {"to": "<sip:first@pbx.example>", "p-called-party-id": "<sip:sales@pbx.example>"},
            "600",
            "sip:sales@pbx.example",
        ),
        ({"to": "<sip:first@pbx.example>", "p-called-party-id": "?"}, "600", "sip:600@10.0.0.1"),
        ({}, "", ""),
    ],
)
def test_whom_a_call_is_for(headers: dict[str, str], user: str, number: str) -> None:
    assert called(headers, user, "10.0.0.1").number == number


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("sip:desk@PBX.example", "sip:desk@pbx.example"),
        (" SIP:Desk@pbx.example:5060 ", "sip:Desk@pbx.example"),
        ("sip:%64esk@[2001:DB8::1]:5080", "sip:desk@[2001:db8::1]:5080"),
        ("sip:600@10.0.0.1", "sip:600@10.0.0.1"),
        ("sip:desk:secret@pbx.example", None),
        ("sip:desk@pbx.example;transport=tcp", None),
        ("sip:desk@pbx.example?Replaces=1", None),
        ("sip:de%0d%0ask@pbx.example", None),
        ("sips:desk@pbx.example", None),
        ("sip:pbx.example", None),
        ("sip:desk@" + "a" * 120, None),
        ("desk", None),
    ],
)
def test_who_can_be_called_has_one_spelling(text: str, spelled: str | None) -> None:
    assert callee(text) == spelled


@pytest.mark.parametrize(
    ("number", "beside", "there"),
    [
        ("+15551234567", "<sip:alice@10.0.0.1:5080>", "sip:+15551234567@10.0.0.1:5080"),
        ("sip:sales@example.com", "sip:alice@10.0.0.1", "sip:sales@example.com"),
        ("SIPS:sales@example.com", "sip:alice@10.0.0.1", "SIPS:sales@example.com"),
        ("+15551234567", "sip:alice@[::1]:5080", "sip:+15551234567@[::1]:5080"),
    ],
)
def test_where_a_transfer_goes(number: str, beside: str, there: str) -> None:
    assert target(number, beside) == there


def test_headers_that_may_be_read_become_variables() -> None:
    headers = {"x-order-id": "A-17", "user-to-user": "56", "x-secret": "no"}
    assert variables(headers, ["X-Order-Id", "User-to-User", "X-Absent"]) == {
        "order_id": "A-17",
        "user_to_user": "56",
    }


@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        ("127.0.0.1:5060", False),
        ("[::1]:5060", False),
        ("10.1.2.3:5060", False),
        ("[fd00::1]:5060", False),
        ("0.0.0.0:5060", True),
        ("[::]:5060", True),
        ("8.8.8.8:5060", True),
        ("[2606:4700::1111]:0", True),
    ],
)
def test_what_strangers_may_reach(text: str, exposed: bool) -> None:
    where = listening(text)
    assert (where.text, where.exposed) == (text, exposed)


@pytest.mark.parametrize(
    "text",
    [
        "5060",
        "localhost:5060",
        "::1:5060",
        "[127.0.0.1:5060",
        "127.0.0.1:",
        "127.0.0.1:99999",
        "1.2.3.4:٣",
    ],
)
def test_what_is_no_place_to_listen(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        listening(text)
