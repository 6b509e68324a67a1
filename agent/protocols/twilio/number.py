"""A number's webhooks at Twilio: what they must be for us, and what to change when they are put back.

Source: "Twilio: IncomingPhoneNumber resource" (https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_GROUPING = str.maketrans("", "", " -.()")


class Webhooks(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where Twilio turns when a number is called, by the names of its REST API; empty where there is nothing.

    Attributes:
        voice_url: asked for TwiML when the number is called.
        voice_fallback_url: asked when `voice_url` fails.
        status_callback: told when the call has ended.
        voice_application_sid: an application whose URLs Twilio uses instead of the number's own.
    """

    voice_url: str = ""
    voice_method: str = ""
    voice_fallback_url: str = ""
    voice_fallback_method: str = ""
    status_callback: str = ""
    status_callback_method: str = ""
    voice_application_sid: str = ""


class _Part(NamedTuple):
    """What belongs together.

    Attributes:
        name: what a person calls it.
        identity: the fields that tell whose it is.
        method: the field that goes with them, and proves nothing: some answers leave it out.
    """

    name: str
    identity: tuple[str, ...]
    method: str


_PARTS = (
    # An application overrules the URL, so putting one back may undo what somebody did to the other.
    _Part("voice webhook", ("voice_url", "voice_application_sid"), "voice_method"),
    _Part("fallback URL", ("voice_fallback_url",), "voice_fallback_method"),
    _Part("status callback", ("status_callback",), "status_callback_method"),
)


class PutBack(NamedTuple):
    """How to undo a change.

    Attributes:
        changes: fields to set.
        left: the parts that somebody else has changed meanwhile, which are theirs now.
    """

    changes: dict[str, str]
    left: list[str]


def e164(text: str) -> str | None:
    """The number as ITU-T E.164 writes it, also where a person grouped its digits; None if it is none."""
    number = text.translate(_GROUPING)
    return number if _E164.fullmatch(number) else None


def pointed_at(public_url: str, before: Webhooks) -> Webhooks:
    """The webhooks of a number that shall ring here.

    A fallback that was in use stays: it is asked when our URL fails, which most often means that
    the tunnel is gone, and then nothing else under our origin answers either. Where there is none,
    `/twilio/after` at least says that it is sorry when only the model or a handler of ours has
    failed.
    """
    kept = before.voice_fallback_url and not before.voice_application_sid
    return Webhooks(
        voice_url=f"{public_url}/twilio/voice",
        voice_method="POST",
        voice_fallback_url=before.voice_fallback_url if kept else f"{public_url}/twilio/after",
        voice_fallback_method=before.voice_fallback_method if kept else "POST",
        status_callback=f"{public_url}/twilio/status",
        status_callback_method="POST",
    )


def differences(wanted: Webhooks, found: Webhooks) -> dict[str, str]:
    """The fields to set so that `found` becomes `wanted`; a method that is not known stays as it is."""
    return {
        name: getattr(wanted, name)
        for name in Webhooks.__struct_fields__
        if getattr(wanted, name) != getattr(found, name)
        and (getattr(wanted, name) or not name.endswith("_method"))
    }


def put_back(before: Webhooks, ours: Webhooks, found: Webhooks) -> PutBack:
    """Undo our change where it is still there.

    Args:
        before: what we found.
        ours: what we set.
        found: what is there now.
    """
    changes = differences(before, found)
    undone: dict[str, str] = {}
    left = []
    for part in _PARTS:
        now, was, set_by_us = (
            [getattr(webhooks, name) for name in part.identity]
            for webhooks in (found, before, ours)
        )
        if now == set_by_us:
            names = (*part.identity, part.method)
            undone |= {name: changes[name] for name in names if name in changes}
        elif now != was:
            left.append(part.name)
    return PutBack(undone, left)
