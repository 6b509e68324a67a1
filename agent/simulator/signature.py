"""X-Twilio-Signature, computed as Twilio documents it (Twilio: Security, validating requests)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def sign(auth_token: str, url: str, params: Mapping[str, str] | None = None) -> str:
    """Sign a request.

    Args:
        auth_token: the account's primary Auth Token.
        url: as the phone network sees it, query included; for a WebSocket upgrade with its `wss`
            (or, on loopback, `ws`) scheme and no params.
        params: the form of a POST.

    Returns:
        base64(HMAC-SHA1(token, url + every name and value, sorted by name)).
    """
    text = url + "".join(name + value for name, value in sorted((params or {}).items()))
    digest = hmac.new(auth_token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")
