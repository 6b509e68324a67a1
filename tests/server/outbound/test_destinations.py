"""Which numbers may be called: the rules against libphonenumber's own examples, and against ranges that fraud is made of."""

from __future__ import annotations

from collections.abc import Iterator

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from agent.server.outbound.destinations import ORDINARY, Destinations

ALL = frozenset(phonenumbers.SUPPORTED_REGIONS)

SHARED = {
    "AX": "FI",
    "BL": "GP",
    "CC": "AU",
    "CX": "AU",
    "EH": "MA",
    "IM": "GB",
    "MF": "BL GP",
    "SJ": "NO",
    "VA": "IT",
}
"""Territories some of whose numbers cannot be told from those of the country whose plan they share."""


def examples(*kinds: int) -> Iterator[tuple[str, str]]:
    """Numbers that libphonenumber's authors give as examples of these kinds, with their country."""
    for country in sorted(ALL):
        for kind in kinds:
            if (example := phonenumbers.example_number_for_type(country, kind)) is not None:
                yield country, phonenumbers.format_number(example, PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("sip:desk@pbx.example", ""),
        ("sip:600@pbx.example:5080", ""),
        ("sip:desk@elsewhere.example", "CALL_SIP_HOSTS does not have its host"),
        ("sip:desk@sub.pbx.example", "CALL_SIP_HOSTS does not have its host"),
        ("sip:+12125551234@pbx.example", "who has a number is called by it"),
        ("sip:0012125551234@pbx.example", "who has a number is called by it"),
        ("sip:00-1212-5551234@pbx.example", "who has a number is called by it"),
        ("sip:112@pbx.example", "for help in an emergency"),
        ("sip:9-9-9@pbx.example", "for help in an emergency"),  # as in GB, which is allowed
        ("sip:110@pbx.example", ""),  # Germany's, which is not
        ("sip:ours@pbx.example", "one of our own numbers"),
        ("sip:anybody@10.0.0.1:5070", "it rings here"),
        ("sip:anybody@10.0.0.2", "it rings here"),
        ("sip:desk:secret@pbx.example", "not an address such as"),
        ("sip:desk@PBX.example", "not an address such as"),
        ("sips:desk@pbx.example", "not an address such as"),
    ],
)
def test_which_addresses_are_called(address: str, why: str) -> None:
    rules = Destinations(
        countries=frozenset({"GB"}),
        own=frozenset({"sip:ours@pbx.example", "10.0.0.1:5070", "10.0.0.2:5060"}),
        hosts=frozenset({"pbx.example", "10.0.0.1", "10.0.0.2"}),
    )
    refusal = rules.refusal(address)
    assert why in refusal
    assert bool(why) == bool(refusal)


def test_no_address_is_called_where_no_host_is_named() -> None:
    assert Destinations(ALL).refusal("sip:desk@pbx.example")


def test_nobody_is_called_where_no_country_is_named() -> None:
    refusal = Destinations().refusal("+12125551234")
    assert refusal == "its country is US, and CALL_COUNTRIES allows none"


def test_an_ordinary_number_of_a_named_country_may_be_called() -> None:
    for country, number in examples(PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE):
        home = phonenumbers.region_code_for_number(phonenumbers.parse(number)) or country
        assert home == country or home in SHARED[country]
        assert Destinations(frozenset({home})).refusal(number) == ""
        assert Destinations(ALL - {home}).refusal(number)


def test_an_expensive_kind_may_not_be_called_in_any_country() -> None:
    expensive = [kind for kind in PhoneNumberType.values() if kind not in ORDINARY and kind != 99]
    numbers = list(examples(*expensive))
    assert len(numbers) > 200
    reached = [number for _, number in numbers if not Destinations(ALL).refusal(number)]
    # Where two plans overlap, the kind is told by the number alone: none of these is one of the expensive kinds.
    kinds = {phonenumbers.number_type(phonenumbers.parse(number)) for number in reached}
    assert kinds <= ORDINARY


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("+19005551234", "premium"),
        ("+12129761234", "premium"),
        ("+18769761234", "premium"),
        ("+449098790000", "premium"),
        ("+499001234567", "premium"),
        ("+33891234567", "premium"),
        ("+979123456789", "premium"),
        ("+448431234567", "premium"),
        ("+447012345678", "owner's"),
        ("+80012345678", "no country"),
        ("+80812345678", "no country"),
        ("+870773111632", "satellite"),
        ("+881612345678", "satellite"),
        ("+8821678345678", "satellite"),
        ("+883510012345", "satellite"),
        ("+87812345678901", "assigned|owner|no country"),
        ("+888123456789", "assigned|owner|no country"),
        ("+15005550006", "assigned|owner|no country"),
        ("+99912345678", "assigned"),
        ("+1911", "E.164"),
        ("911", "E.164"),
        ("+0015551234567", "E.164"),
        ("+1212555123４", "E.164"),
        ("+12125551234;ext=1", "E.164"),
        ("sip:alice@example.com", "CALL_SIP_HOSTS"),
        ("+12125551234\n", "E.164"),
        ("", "E.164"),
    ],
)
def test_fraud_s_favourites_are_refused_whatever_the_settings(number: str, why: str) -> None:
    refusal = Destinations(ALL).refusal(number)
    assert any(part in refusal for part in why.split("|")), refusal
    assert number not in refusal or not number.strip("+")


def test_an_island_that_shares_a_country_code_is_a_country_of_its_own() -> None:
    america = Destinations(frozenset({"US"}))
    assert america.refusal("+12125551234") == ""
    assert "JM" in america.refusal("+18765551234")
    assert "DO" in america.refusal("+18095551234")
    assert "JE" in Destinations(frozenset({"GB"})).refusal("+441534456789")


def test_we_do_not_call_ourselves() -> None:
    ours = Destinations(ALL, own=frozenset({"+12125551234"}))
    assert "our own" in ours.refusal("+12125551234")
    assert ours.refusal("+12125551235") == ""
