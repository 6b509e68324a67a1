"""Who calls whom through the stand-in for Twilio, and how."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

START_DELAY_S = (0.1, 0.3)
"""`start` comes this long after the TwiML: a range, drawn from the seed."""


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """Who calls whom, and how.

    Attributes:
        url: where to connect. http(s): the voice webhook (an origin alone means its
            `/twilio/voice`). ws(s): a media stream directly, with no webhook.
        public_url: the origin that Twilio would see, which is what gets signed; None: that of `url`.
        auth_token: signs every request; empty signs nothing.
        status_path: where the call's end is reported; None reports nothing.
        upgrade_token: signs the WebSocket upgrade in place of `auth_token`; empty leaves it
            unsigned.
        sip_headers: of the INVITE, where a call came to a SIP domain (both numbers are `sip:` URIs then).
        parameters: custom parameters of `start` in place of the TwiML's.
        fault: a fault of the line (see `bad_line`). faults: more of them.
        start_delay_s: fixed delay of `start`; None draws 0.1 to 0.3 s from `seed`.
        dial_status: how a <Dial> ends where no phone network was given: nobody can be called.
        max_seconds: the caller hangs up after this.
        decode_keys: find the keys in the agent's audio when the call is over, where its audio is kept
            (about a millisecond of work for a second of talk).
    """

    url: str
    public_url: str | None = None
    auth_token: str = field(default="", repr=False)
    upgrade_token: str | None = field(default=None, repr=False)
    account_sid: str = "AC" + "0" * 32
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    from_number: str = "+12025550143"
    to_number: str = "+12025550100"
    sip_headers: dict[str, str] = field(default_factory=dict)
    status_path: str | None = None
    parameters: dict[str, str] | None = None
    fault: str | None = None
    faults: tuple[str, ...] = ()
    seed: int | None = None
    start_delay_s: float | None = None
    dial_status: str = "no-answer"
    max_seconds: float = 60.0
    decode_keys: bool = False
