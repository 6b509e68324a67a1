"""Which numbers and addresses may be called. Pure: what a number is comes from libphonenumber's metadata, what is allowed from the settings.

A model that obeys an attacker, a leaked token and a mistyped list all end here: only countries that the operator named, and in them only
the kinds of number that cost what a call costs. Whatever is not known to be harmless is refused.

Sources: ITU-T E.164, list of assigned country codes (https://www.itu.int/pub/T-SP-E.164D); "libphonenumber: FAQ, number types"
(https://github.com/google/libphonenumber/blob/master/FAQ.md); 976 exchanges: "NANPA: About the numbering plan" (https://www.nanpa.com).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import phonenumbers
from phonenumbers import PhoneNumberType

from agent.protocols.sip.address import address, callee

if TYPE_CHECKING:
    from collections.abc import Callable

E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)

ORDINARY = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
        PhoneNumberType.TOLL_FREE,
    }
)
"""Kinds that are billed as a call to their country; all others (premium rate, shared cost, personal, pager, unknown) are not."""

SATELLITE = frozenset({870, 881, 882, 883})
"""Inmarsat, global mobile satellite systems, and international networks, many of which are satellites'."""

WORLD = "001"
"""libphonenumber's name for what belongs to no country."""

PAID_EXCHANGE = re.compile(r"\+1[0-9]{3}976[0-9]{4}", re.ASCII)
"""In North America the exchange 976 is billed as its owner likes, whatever the area."""


LONGEST_EXTENSION = 6
"""Digits of an extension of a telephone system; what is longer is somebody's number."""

SEPARATORS = str.maketrans("", "", ".-~")

EMERGENCY = frozenset({"112", "911"})
"""What calls an emergency service from many telephone systems, whatever country they are in."""


class Known(NamedTuple):
    """What the metadata says of a number."""

    number: str
    code: int
    kind: int
    country: str | None


RULES: tuple[tuple[Callable[[Known], bool], str], ...] = (
    (lambda it: it.code in SATELLITE, "it belongs to a satellite or international network"),
    (lambda it: it.kind == PhoneNumberType.PREMIUM_RATE, "it is a premium-rate number"),
    (lambda it: PAID_EXCHANGE.fullmatch(it.number) is not None, "it is a premium-rate number"),
    (lambda it: it.kind == PhoneNumberType.UNKNOWN, "no such number is assigned"),
    (lambda it: it.country in (None, WORLD), "it belongs to no country"),
    (lambda it: it.kind not in ORDINARY, "it is no ordinary number: its price is its owner's"),
)
"""What may be called nowhere; the first that holds says why."""


class Destinations(msgspec.Struct, frozen=True):
    """What the operator allows.

    Attributes:
        countries: ISO 3166 codes of two letters; empty: no number at all may be called.
        own: numbers in E.164, `sip:` addresses and `host:port`s that ring here: calling one would be an agent talking to an agent.
        hosts: at which `sip:` addresses may be called; empty: no address at all may be.
    """

    countries: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    def refusal(self, number: str) -> str:
        """Why this number (E.164) or `sip:` address may not be called, in words without it; empty where it may."""
        if number in self.own:
            return "it is one of our own numbers"
        if number.lower().startswith(("sip:", "sips:")):
            return self._of_address(number)
        known = look_up(number)
        if isinstance(known, str):
            return known
        why = next((words for holds, words in RULES if holds(known)), "")
        if not why and known.country not in self.countries:
            allowed = ", ".join(sorted(self.countries)) or "none"
            why = f"its country is {known.country}, and CALL_COUNTRIES allows {allowed}"
        return why

    def _of_address(self, text: str) -> str:
        """One callee has one name: who is reached by a number is called by it, so that its rules and its owner's wishes hold."""
        if callee(text) != text:
            return (
                "it is not an address such as sip:desk@pbx.example, without password and parameters"
            )
        there = address(text)
        digits = there.user.translate(SEPARATORS)
        if digits.startswith("+") or (digits.isdecimal() and len(digits) > LONGEST_EXTENSION):
            return "who has a number is called by it (+15551234567), and SIP_TRUNK carries the call"
        if digits in EMERGENCY or any(
            phonenumbers.is_emergency_number(digits, country) for country in self.countries
        ):
            return "it calls for help in an emergency, which is for people to do"
        if f"{there.host}{there.port or ':5060'}" in self.own:
            return "it rings here"
        if there.host not in self.hosts:
            return "CALL_SIP_HOSTS does not have its host"
        return ""


def look_up(number: str) -> Known | str:
    """What is known of a number, or why nothing is."""
    if E164.fullmatch(number) is None:
        return "it is not a number such as +15551234567 (E.164)"
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return "no such number is assigned"
    country = phonenumbers.region_code_for_number(parsed)
    return Known(number, parsed.country_code or 0, phonenumbers.number_type(parsed), country)
