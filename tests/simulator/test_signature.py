"""X-Twilio-Signature, judged by Twilio's own validator."""

from __future__ import annotations

from hypothesis import given, strategies as st
from twilio.request_validator import RequestValidator

from agent.simulator.signature import sign

names = st.text(st.characters(categories=["L", "N"]), min_size=1)


@given(token=st.text(min_size=1), params=st.dictionaries(names, st.text()))
def test_twilios_validator_accepts_a_webhook(token: str, params: dict[str, str]) -> None:
    url = "https://agent.example.com/twilio/voice?x=1"
    signature = sign(token, url, params)
    validator = RequestValidator(token)
    assert validator.validate(url, params, signature)
    assert not validator.validate(url.replace("voice", "after"), params, signature)
    assert not RequestValidator(token + "x").validate(url, params, signature)


def test_an_upgrade_is_signed_over_its_wss_url_without_params() -> None:
    signature = sign("token", "wss://agent.example.com/twilio/media")
    validator = RequestValidator("token")
    assert validator.validate("wss://agent.example.com/twilio/media", {}, signature)
    assert not validator.validate("https://agent.example.com/twilio/media", {}, signature)
