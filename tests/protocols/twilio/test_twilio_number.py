"""A number is pointed here and put back: only what is still ours, and all of that."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st

from agent.protocols.twilio.number import Webhooks, differences, e164, pointed_at, put_back

US = "https://pickup.example.com"
THEIRS = "https://theirs.example.com/voice"

BEFORE = Webhooks(
    voice_url="https://production.example.com/voice",
    voice_method="GET",
    voice_fallback_url="https://production.example.com/sorry",
    voice_fallback_method="GET",
    status_callback="https://production.example.com/status",
    status_callback_method="GET",
)

URLS = st.sampled_from(
    ["", "https://a.example.com/", "https://b.example.com/", f"{US}/twilio/voice"]
)
METHODS = st.sampled_from(["", "GET", "POST"])
WEBHOOKS = st.builds(
    Webhooks,
    voice_url=URLS,
    voice_method=METHODS,
    voice_fallback_url=URLS,
    voice_fallback_method=METHODS,
    status_callback=URLS,
    status_callback_method=METHODS,
    voice_application_sid=st.sampled_from(["", "AP" + "0" * 32]),
)


def applied(changes: dict[str, str], found: Webhooks) -> Webhooks:
    """What Twilio has after such an update."""
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+15551234567", "+15551234567"),
        ("+1 (555) 123-4567", "+15551234567"),
        ("+44 20.7946.0018", "+442079460018"),
        ("15551234567", None),
        ("+05551234567", None),
        ("+123456", None),
        ("+1234567890123456", None),
        ("+1555123456x", None),
        ("+١٥٥٥١٢٣٤٥٦٧", None),
        ("", None),
    ],
)
def test_a_number_is_e164_however_it_is_grouped(text: str, number: str | None) -> None:
    assert e164(text) == number


def test_a_number_without_webhooks_gets_all_of_ours() -> None:
    assert pointed_at(US, Webhooks()) == Webhooks(
        voice_url="https://pickup.example.com/twilio/voice",
        voice_method="POST",
        voice_fallback_url="https://pickup.example.com/twilio/after",
        voice_fallback_method="POST",
        status_callback="https://pickup.example.com/twilio/status",
        status_callback_method="POST",
    )


def test_a_fallback_that_was_in_use_stays() -> None:
    ours = pointed_at(US, BEFORE)
    assert ours.voice_fallback_url == "https://production.example.com/sorry"
    assert ours.voice_fallback_method == "GET"


def test_a_fallback_that_an_application_overruled_does_not() -> None:
    before = msgspec.structs.replace(BEFORE, voice_application_sid="AP1")
    ours = pointed_at(US, before)
    assert ours.voice_fallback_url == f"{US}/twilio/after"
    assert differences(ours, before)["voice_application_sid"] == ""


def test_a_method_that_nobody_knows_is_not_set() -> None:
    assert differences(Webhooks(voice_url=THEIRS), BEFORE) == {
        "voice_url": THEIRS,
        "voice_fallback_url": "",
        "status_callback": "",
    }


def test_what_somebody_changed_meanwhile_is_theirs() -> None:
    ours = pointed_at(US, BEFORE)
    found = msgspec.structs.replace(ours, voice_url=THEIRS)
    plan = put_back(BEFORE, ours, found)
    assert plan.left == ["voice webhook"]
    assert plan.changes == {
        "status_callback": "https://production.example.com/status",
        "status_callback_method": "GET",
    }


def test_an_application_is_not_put_over_a_webhook_that_somebody_set() -> None:
    before = msgspec.structs.replace(BEFORE, voice_application_sid="AP1")
    ours = pointed_at(US, before)
    plan = put_back(before, ours, msgspec.structs.replace(ours, voice_url=THEIRS))
    assert plan.left == ["voice webhook"]
    assert "voice_application_sid" not in plan.changes


def test_a_change_that_never_reached_twilio_needs_no_undoing() -> None:
    assert put_back(BEFORE, pointed_at(US, BEFORE), BEFORE) == ({}, [])


@given(WEBHOOKS)
def test_what_was_changed_is_put_back_whole(before: Webhooks) -> None:
    ours = pointed_at(US, before)
    during = applied(differences(ours, before), before)
    assert during.voice_url == f"{US}/twilio/voice"
    plan = put_back(before, ours, during)
    after = applied(plan.changes, during)
    assert plan.left == []
    for name in Webhooks.__struct_fields__:
        was = getattr(before, name)
        assert getattr(after, name) == was or (name.endswith("_method") and not was)


@given(WEBHOOKS, WEBHOOKS)
def test_nothing_of_somebody_elses_is_ever_overwritten(before: Webhooks, found: Webhooks) -> None:
    ours = pointed_at(US, before)
    plan = put_back(before, ours, found)
    for url in ("voice_url", "voice_fallback_url", "status_callback"):
        if getattr(found, url) != getattr(ours, url):
            assert url not in plan.changes
