"""Phone numbers outside the database: only as a keyed hash, or as their last two digits."""

from __future__ import annotations

import hashlib
import hmac


def number_hash(number: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104), its first 64 bits in hex: tells equal callers apart from others, and nothing else."""
    return hmac.digest(key, number.encode(), hashlib.sha256).hex()[:16]


def last_digits(number: str | None) -> str:
    """What a person may see: `…34`."""
    return "" if not number else f"…{number[-2:]}"
