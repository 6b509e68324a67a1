"""Phone numbers outside the database: only as a keyed hash, or as their last two digits."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32


def number_hash(number: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104), its first 64 bits in hex: tells equal callers apart from others, and nothing else."""
    return hmac.new(key, number.encode(), hashlib.sha256).hexdigest()[:16]


def last_digits(number: str | None) -> str:
    """What a person may see: `…34`."""
    return "" if not number else f"…{number[-2:]}"


def number_key(path: Path) -> bytes:
    """The key of this installation, made at first use (mode 0600); raises OSError. Blocking."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(fresh, path)  # of several processes the first makes the key, whole
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()
