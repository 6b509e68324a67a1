"""Asterisk as a `LineProvider`: who may connect, and what the dial plan says of the call.

The dial string's `v(...)` becomes the query of our address ("Asterisk: Configuration, Channel Drivers, WebSocket"); `username` and
`password` of websocket_client.conf come as HTTP Basic (RFC 7617).
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from agent.errors import LineProtocolError
from agent.protocols.asterisk.stream import AsteriskStream
from agent.protocols.door import Caller

if TYPE_CHECKING:
    from agent.protocols.base import StreamStart
    from agent.protocols.door import Request

PARAMETERS = 50
"""URI parameters that a dial string may bring."""

LONGEST = 128
"""Characters of a number, an address or an id."""


class Asterisk:
    """The Asterisk servers that know our password.

    Args:
        user: what they call themselves.
        password: what they prove it with.
    """

    name = "asterisk"
    subprotocol = "media"

    def __init__(self, user: str, password: str) -> None:
        self._credentials = f"{user}:{password}".encode()

    def may_stream(self, request: Request) -> bool:
        """See `LineProvider.may_stream`."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            credentials = b64decode(given.strip(), validate=True)
        except (Base64Error, ValueError):
            return False
        same = hmac.compare_digest(credentials, self._credentials)
        return same and scheme.lower() == "basic"

    def stream(self, now: float) -> AsteriskStream:
        """See `LineProvider.stream`."""
        return AsteriskStream(now)

    def caller(self, request: Request, start: StreamStart) -> Caller:
        """See `LineProvider.caller`."""
        try:
            said = dict(parse_qsl(request.target.partition("?")[2], max_num_fields=PARAMETERS))
        except ValueError:
            raise LineProtocolError("Asterisk: too many URI parameters") from None
        return Caller(
            provider=self.name,
            call_id=said.pop("id", start.call_id)[:LONGEST],
            account="",
            direction="inbound",
            from_number=said.pop("caller", "")[:LONGEST],
            to_number=said.pop("called", "")[:LONGEST],
            brought=start.parameters | said,
        )
