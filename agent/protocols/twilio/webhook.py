"""Twilio's requests to us: whether they are Twilio's, and what they say.

Sources: "Twilio: Security, validating requests" (https://www.twilio.com/docs/usage/security) and
"Twilio: TwiML, request parameters" (https://www.twilio.com/docs/voice/twiml).
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import msgspec
from twilio.request_validator import (
    RequestValidator,
)

from agent.errors import LineProtocolError, UserError
from agent.protocols.sip.address import address, variables

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE_HEADER = "X-Twilio-Signature"

FORM_BYTES = 65_536
"""Most bytes of a webhook's body; a real one has about 1,000."""

FORM_FIELDS = 500

_PORTS = {"https": 443, "http": 80}
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")
_ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")


class Form(dict[str, list[str]]):
    """A form's fields, each with all its values: the signature covers every one, empty ones too."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        for name, value in fields:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        """All values of a field; twilio's validator asks for them by this name."""
        return self[name]

    def first(self, name: str) -> str:
        """The first value of a field, empty where it is absent."""
        values = self.get(name)
        return values[0] if values else ""


class IncomingCall(msgspec.Struct, frozen=True):
    """What a signed webhook says about its call; empty where Twilio said nothing.

    Attributes:
        call_sid: Twilio's id of the call.
        account_sid: the account that the call belongs to.
        from_: E.164, but also `anonymous`, `client:...`, `sip:user@host` or other text. It proves
            nothing.
        to: the number or address that was called.
        status: `CallStatus`: queued, initiated, ringing, in-progress, completed, busy, failed,
            no-answer or canceled.
        direction: `inbound`, `outbound-api` or `outbound-dial`.
        forwarded_from: the number that forwarded the call here.
    """

    call_sid: str
    account_sid: str
    from_: str = ""
    to: str = ""
    status: str = ""
    direction: str = "inbound"
    forwarded_from: str = ""


class Signatures:
    """Tells Twilio's requests from everybody else's.

    The URL that Twilio signed is put together from the configured origin and the request's own path
    and query. `Host` and `X-Forwarded-*` are whatever the sender wrote, so they are never asked.

    Args:
        auth_token: the account's primary Auth Token.
        public_url: the origin at which Twilio reaches us, such as `https://example.com`.
    """

    def __init__(self, auth_token: str, public_url: str) -> None:
        self._validator = RequestValidator(auth_token)
        self._web = _origins(public_url)
        self._socket = tuple("ws" + origin.removeprefix("http") for origin in self._web)

    def webhook(self, target: str, form: Form, signature: str | None) -> bool:
        """Whether Twilio sent this POST.

        Args:
            target: path and query exactly as in the request line, not decoded.
            form: all fields of the body.
            signature: value of `X-Twilio-Signature`, None where there was none.
        """
        return self._valid(self._web, (target,), form, signature)

    def upgrade(self, target: str, signature: str | None) -> bool:
        """Whether Twilio asked for this WebSocket; arguments as for `webhook`.

        Twilio signs the stream's `wss` URL without fields, sometimes with a slash behind the path.
        """
        path, mark, query = target.partition("?")
        other = path[:-1] if path.endswith("/") else path + "/"
        targets = (target, other + mark + query)
        return self._valid(self._socket, targets, Form(), signature)

    def _valid(
        self, origins: Iterable[str], targets: tuple[str, ...], form: Form, signature: str | None
    ) -> bool:
        # The validator's own `validate` adds port 80 to a wss URL, raises on a missing header, and
        # takes "/path;" for "/path".
        if not signature or not signature.isascii() or not targets[0].isascii():
            return False
        return any(
            hmac.compare_digest(self._validator.compute_signature(origin + target, form), signature)
            for origin in origins
            for target in targets
        )


def parse_form(body: bytes) -> Form:
    """Read an `application/x-www-form-urlencoded` body.

    Raises:
        LineProtocolError: it is too large, or not a form.
    """
    if len(body) > FORM_BYTES:
        raise LineProtocolError(f"Twilio: a form of {len(body)} bytes", close_code=1009)
    try:
        text = body.decode("ascii")  # the encoding escapes everything else
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise LineProtocolError("Twilio: the body is not a form") from error
    return Form(fields)


def incoming_call(form: Form) -> IncomingCall:
    """Read what every voice webhook carries: first request, status callback, `<Connect action>`.

    Raises:
        LineProtocolError: it does not name its call and account.
    """
    # Twilio's signature joins names and values without separators, so a recorded request can be cut
    # into other fields under the same signature. Ids of the right shape leave no room for that to
    # matter.
    call_sid, account_sid = form.first("CallSid"), form.first("AccountSid")
    for name, value, shape in (
        ("CallSid", call_sid, _CALL_SID),
        ("AccountSid", account_sid, _ACCOUNT_SID),
    ):
        if not value:
            raise LineProtocolError(f"Twilio: the request has no {name}")
        if shape.fullmatch(value) is None:
            raise LineProtocolError(f"Twilio: {name} is not {shape.pattern}")
    return IncomingCall(
        call_sid=call_sid,
        account_sid=account_sid,
        from_=party(form.first("From")),
        to=party(form.first("To")),
        status=form.first("CallStatus"),
        direction=form.first("Direction")
        or "inbound",  # who does not say it has not been called by us
        forwarded_from=form.first("ForwardedFrom"),
    )


SIP_HEADER = "SipHeader_"
"""Before the names of headers that the INVITE to a SIP domain had: X-... and User-to-User ("Twilio: SIP and TwiML Interaction")."""


def brought(form: Form) -> dict[str, str]:
    """The headers that a SIP call brings: X-Order-Id as `order_id`, User-to-User as `user_to_user`."""
    headers = {
        name.removeprefix(SIP_HEADER): form.first(name)
        for name in form
        if name.startswith(SIP_HEADER)
    }
    return variables(headers, headers)


def party(text: str) -> str:
    """Who calls or is called: a call to a SIP domain has URIs, whose user may be an E.164 number; all else stays as it is."""
    uri = text.lstrip().lower().startswith(("sip:", "sips:", "<sip"))
    return address(text).number if uri else text


def _origins(public_url: str) -> tuple[str, str]:
    """The origin without its port and with it: Twilio signs the one or the other."""
    parts = urlsplit(public_url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UserError(f"PUBLIC_URL is {public_url!r}: it should look like https://example.com")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}"
    return origin, f"{origin}:{parts.port or _PORTS[parts.scheme]}"
