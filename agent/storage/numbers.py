"""Phone numbers outside the database: only as a keyed hash, or as their last two digits."""

from __future__ import annotations

import hashlib
import hmac
import re

from agent.protocols.sip.address import callee
from agent.storage.database import RecordRefused


def number_hash(number: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104), its first 64 bits in hex: tells equal callers apart from others, and nothing else."""
    return hmac.digest(key, number.encode(), hashlib.sha256).hex()[:16]


def last_digits(number: str | None) -> str:
    """What a person may see: `…34`."""
    return "" if not number else f"…{number[-2:]}"


def check_callee(number: str) -> None:
    """Raise RecordRefused for what is no number of E.164 and no SIP address: two spellings of one would pass each other by."""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number) and callee(number) != number:
        raise RecordRefused("the number is not in E.164")
