"""Calls that Twilio places for us: what it is asked, and what its refusals mean.

Sources: "Twilio: Calls resource" (https://www.twilio.com/docs/voice/api/call-resource), "Twilio: Answering Machine Detection"
(https://www.twilio.com/docs/voice/answering-machine-detection), and one page for each error code
(https://www.twilio.com/docs/api/errors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import parse_qs

from agent.errors import LineProtocolError

if TYPE_CHECKING:
    from agent.protocols.door import AnsweredBy, CallOrder

EVENTS = ("initiated", "ringing", "answered", "completed")
"""What the status callback is told of; `completed` stands for every ending."""

UNREACHED = {"busy": "caller_busy", "no-answer": "no_answer", "failed": "call_failed"}
"""`status` values of a call that is over and that nobody took, and their `end_reason` (Twilio: call status values)."""

DETECTION_SECONDS = 30
"""How long an answering machine is listened to; Twilio takes 3 to 59."""

SILENCE_MS = 5000
"""Silence after which whoever answered counts as unknown; Twilio takes 2000 to 10000."""


def call_parameters(order: CallOrder, public_url: str) -> dict[str, Any]:
    """What the Calls resource is sent, by the names of Twilio's client.

    The order's id is part of every URL, which Twilio signs: so a webhook tells which order it belongs to, whichever process it
    reaches, also where our own request for the call never saw its answer.
    """

    def url(path: str) -> str:
        return f"{public_url}/twilio/{path}?order={order.id}"

    wanted: dict[str, Any] = {
        "to": order.to,
        "from_": order.caller_id,
        "url": url("voice"),
        "method": "POST",
        "status_callback": url("status"),
        "status_callback_event": list(EVENTS),
        "status_callback_method": "POST",
        "timeout": order.ring_seconds,
        "time_limit": order.max_seconds,
    }
    if order.detect_machine:
        wanted |= {
            # The end of the greeting is what a message has to wait for; a person is told of at once either way.
            "machine_detection": "DetectMessageEnd",
            "async_amd": "true",  # else nobody speaks until there is a verdict, 3 to 6 s
            "async_amd_status_callback": url("amd"),
            "async_amd_status_callback_method": "POST",
            "machine_detection_timeout": DETECTION_SECONDS,
            "machine_detection_silence_timeout": SILENCE_MS,
        }
    return wanted


def order_of(target: str) -> str:
    """The order that our own URL names, empty on any other."""
    return next(iter(parse_qs(target.partition("?")[2]).get("order", [])), "")


ANSWERED_BY: dict[str, AnsweredBy] = {
    "human": "human",
    "machine_start": "machine_start",
    "machine_end_beep": "machine_end",
    "machine_end_silence": "machine_end",
    "machine_end_other": "machine_end",
    "fax": "fax",
    "unknown": "unknown",
}


def answered_by(value: str) -> AnsweredBy:
    """Read the `AnsweredBy` of a callback.

    Raises:
        LineProtocolError: Twilio's documents have no such value.
    """
    try:
        return ANSWERED_BY[value]
    except KeyError:
        raise LineProtocolError("Twilio: AnsweredBy is none of its values") from None


Blame = Literal["number", "us", "moment"]


class Refusal(NamedTuple):
    """What a refusal to place a call means.

    Attributes:
        reason: for the record.
        blame: `number`: this number can never be called like that; `us`: no number can, until somebody mends the account or the
            settings; `moment`: the same again may work.
    """

    reason: str
    blame: Blame


REFUSALS: dict[int, Refusal] = {
    10004: Refusal("carrier_busy", "moment"),  # call concurrency exceeded
    20003: Refusal("carrier_denied", "us"),  # authentication
    20005: Refusal("carrier_denied", "us"),  # account not active
    20404: Refusal("carrier_denied", "us"),  # no such account
    20429: Refusal("carrier_busy", "moment"),  # too many requests
    21201: Refusal("invalid_number", "number"),  # no To
    21205: Refusal("carrier_denied", "us"),  # Url is not valid
    21210: Refusal("caller_id_denied", "us"),  # From is not verified
    21211: Refusal("invalid_number", "number"),  # To is not valid
    21212: Refusal("caller_id_denied", "us"),  # From is not valid
    21214: Refusal("invalid_number", "number"),  # To cannot be reached
    21215: Refusal("country_denied", "number"),  # geographic permission
    21216: Refusal("number_blocked", "number"),
    21217: Refusal("invalid_number", "number"),  # does not look valid
    21219: Refusal("number_denied", "number"),  # a trial account calls only verified numbers
    21264: Refusal("caller_id_denied", "us"),
    32203: Refusal("number_blocked", "number"),  # on Twilio's list of dangerous destinations
    32205: Refusal("country_denied", "number"),  # geographic permission, high-risk range
}
"""Twilio's error codes."""


def refusal(code: int | None, status: int) -> Refusal:
    """What Twilio's answer means; what is not in the table is judged by its HTTP status."""
    known = REFUSALS.get(code or 0)
    if known is not None:
        return known
    if status == 429 or status >= 500:
        return Refusal("carrier_busy", "moment")
    if status in (401, 403, 404):
        return Refusal("carrier_denied", "us")
    return Refusal("carrier_refused", "number")
