"""The one-use token that ties a media stream to the webhook that asked for it.

A provider's signature of an upgrade carries no time and no nonce: whoever recorded one can replay
it for ever (Twilio: Security, validating requests). So the signed webhook hands out a token, and
the stream must bring it back within a minute. That it is used once is the database's promise: it
stores `TokenClaims.id` by an insert that can succeed only once.

    leg "." expiry "." nonce "." mac
    mac = HMAC-SHA256(secret, version, call, leg, expiry, nonce)

The call's id is in the mac and not in the text, so that a token says nothing about its call.
"""

from __future__ import annotations

import base64
import hmac
import re
from enum import StrEnum

import msgspec

from agent.errors import OwnFault

TOKEN_SECONDS = 60
"""Longest life of a token. A stream starts within a second of its TwiML."""

SKEW_SECONDS = 30
"""How far the clocks of two of our replicas may differ."""

NONCE_BYTES = 16
"""128 bits from the operating system's generator, passed in by the server."""

_VERSION = "pickup call token 1"
_TOKEN = re.compile(
    r"(?P<leg>[1-9]\d{0,3})\.(?P<expiry>\d{1,12})\.(?P<nonce>[\w-]{22,86})\.(?P<mac>[\w-]{43})",
    re.ASCII,
)


class TokenClaims(msgspec.Struct, frozen=True):
    """What a good token says.

    Attributes:
        id: the nonce; the key under which the database remembers that it was spent.
        leg: which stream of the call it admits, from 1.
        expiry: seconds since 1970-01-01 UTC; the database may forget `id` a while later.
    """

    id: str
    leg: int
    expiry: int


class TokenRefusal(StrEnum):
    """Why a token admits nobody."""

    MISSING = "missing"
    MALFORMED = "malformed"
    FOREIGN = "foreign"  # not ours, altered, or another call's
    EXPIRED = "expired"
    EARLY = "early"  # it would live longer than any that we issue


def issue(
    secret: bytes,
    call_id: str,
    leg: int,
    nonce: bytes,
    wall: float,
    *,
    seconds: int = TOKEN_SECONDS,
) -> str:
    """A token for one stream of one call.

    Args:
        secret: at least 16 bytes that all replicas share and nobody else knows.
        call_id: the provider's id of the call.
        leg: which stream of the call, from 1.
        nonce: at least 16 random bytes, never used before.
        wall: seconds since 1970-01-01 UTC.
        seconds: life of the token, at most a minute.
    """
    if len(nonce) < NONCE_BYTES or len(secret) < NONCE_BYTES or not 0 < seconds <= TOKEN_SECONDS:
        raise OwnFault("a call token needs 128 random bits, a secret as long, and a short life")
    expiry = int(wall) + seconds
    text = _text(nonce)
    token = f"{leg}.{expiry}.{text}.{_mac(secret, call_id, leg, expiry, text)}"
    if _TOKEN.fullmatch(token) is None:
        raise OwnFault("a call token needs a leg from 1 to 9999 and a nonce of at most 64 bytes")
    return token


def check(
    secret: bytes, token: str | None, call_id: str, wall: float
) -> TokenClaims | TokenRefusal:
    """Judge a token that a stream brought back; whether it was spent before is for the database.

    Args:
        secret: the one it was issued with.
        token: as received, None where the stream brought none.
        call_id: the call that the stream claims to belong to.
        wall: seconds since 1970-01-01 UTC.
    """
    if not token:
        return TokenRefusal.MISSING
    match = _TOKEN.fullmatch(token)
    if match is None:
        return TokenRefusal.MALFORMED
    leg, expiry, nonce = int(match["leg"]), int(match["expiry"]), match["nonce"]
    mac = _mac(secret, call_id, leg, expiry, nonce)
    if not hmac.compare_digest(mac, match["mac"]):
        return TokenRefusal.FOREIGN
    if wall > expiry + SKEW_SECONDS:
        return TokenRefusal.EXPIRED
    if expiry > wall + TOKEN_SECONDS + SKEW_SECONDS:
        return TokenRefusal.EARLY
    return TokenClaims(nonce, leg, expiry)


def _mac(secret: bytes, call_id: str, leg: int, expiry: int, nonce: str) -> str:
    # The call's id comes from the peer; it is last, so that no choice of it can imitate the other
    # fields.
    text = f"{_VERSION}|{leg}|{expiry}|{nonce}|{call_id}"
    return _text(hmac.digest(secret, text.encode("utf-8", "surrogatepass"), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
