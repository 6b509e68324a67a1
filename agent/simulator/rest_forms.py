"""What Twilio's REST API takes for a call, parameter by parameter, and its error for everything else.

Pure. Twilio ignores parameters that it does not know; the stand-in refuses them, so that no misspelt
one goes unseen. Sources: Twilio, "Call resource" and the pages of the error codes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.simulator import twiml
from agent.simulator.amd import Detection
from agent.simulator.outbound import Order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CLIENT = re.compile(r"client:[A-Za-z0-9_.@+-]{1,256}")
TWIML_MAX_CHARS = 4000
VERSION = "2010-04-01"
ERRORS_DOC = "https://www.twilio.com/docs/errors/"


class ApiError(Exception):
    """A request that the API refuses.

    Attributes:
        status: of HTTP. code: Twilio's own number for it.
    """

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> dict[str, object]:
        """The answer, as Twilio writes it."""
        return {
            "code": self.code,
            "message": str(self),
            "more_info": f"{ERRORS_DOC}{self.code}",
            "status": self.status,
        }


def missing(path: str) -> ApiError:
    """The error of what is not there."""
    return ApiError(20404, f"The requested resource {path} was not found", 404)


def filters(query: Mapping[str, str], known: Mapping[str, str]) -> tuple[dict[str, str], int, int]:
    """Read a list's query.

    Args:
        query: as it came.
        known: the parameters that filter, and the field that each is compared with.

    Returns:
        Fields and the values that they must have, length of a page, and number of the page.

    Raises:
        ApiError: 20001 a parameter is unknown, or the page is no page.
    """
    fields = Fields({name: [value] for name, value in query.items()})
    wanted = {field: value for name, field in known.items() if (value := fields.one(name))}
    size = fields.whole("PageSize", 50, range(1, 1001))
    page = fields.whole("Page", 0, range(100_000))
    fields.one("PageToken")
    fields.nothing_else()
    return wanted, size, page


class Fields:
    """A form's fields, read once each; what is left in the end is unknown."""

    def __init__(self, form: Mapping[str, Sequence[str]]) -> None:
        self._form = {name: list(values) for name, values in form.items()}

    def many(self, name: str) -> list[str]:
        """All values of a field."""
        return self._form.pop(name, [])

    def one(self, name: str, default: str = "") -> str:
        """The one value of a field.

        Raises:
            ApiError: 20001 it is there several times.
        """
        values = self.many(name)
        if len(values) > 1:
            raise ApiError(20001, f"{name} is given {len(values)} times")
        return values[0] if values else default

    def whole(self, name: str, default: int, allowed: range) -> int:
        """A whole number.

        Raises:
            ApiError: 20001 it is none, or out of range.
        """
        text = self.one(name, str(default))
        if not text.isdecimal() or int(text) not in allowed:
            between = f"{allowed.start} to {allowed.stop - 1}"
            raise ApiError(20001, f"{name} is {text!r}, not {between}")
        return int(text)

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """One of some words.

        Raises:
            ApiError: 20001 it is another.
        """
        word = self.one(name, default)
        if word not in {default, *allowed}:
            raise ApiError(20001, f"{name} is {word!r}, not one of {', '.join(allowed)}")
        return word

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false.

        Raises:
            ApiError: 20001 it is neither.
        """
        return self.choice(name, str(default).lower(), ("true", "false")) == "true"

    def url(self, name: str, code: int) -> str:
        """An absolute URL, or nothing.

        Raises:
            ApiError: `code`, it is no absolute http or https URL; 20001 the method is not POST.
        """
        url = self.one(name)
        if url and (urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname):
            raise ApiError(code, f"{name} is not a valid URL: {url!r}")
        if self.one(_METHODS[name], "POST") != "POST":
            raise ApiError(20001, f"{_METHODS[name]}: this stand-in asks by POST only")
        return url

    def nothing_else(self) -> None:
        """Refuse what nobody has read.

        Raises:
            ApiError: 20001 names it.
        """
        if self._form:
            raise ApiError(20001, f"unknown parameter {sorted(self._form)[0]!r}")


_METHODS = {
    "ConferenceStatusCallback": "ConferenceStatusCallbackMethod",
    "HoldUrl": "HoldMethod",
    "Url": "Method",
    "StatusCallback": "StatusCallbackMethod",
    "AsyncAmdStatusCallback": "AsyncAmdStatusCallbackMethod",
}


def order(
    form: Mapping[str, Sequence[str]],
    numbers: frozenset[str],
    instead: tuple[twiml.Verb, ...] = (),
) -> tuple[Order, str]:
    """Read what `POST Calls.json` asks for.

    Args:
        form: its fields.
        numbers: the customer's own, which alone may call; empty: any may.
        instead: what is run, where the order has no `Url` or `Twiml` to say it.

    Returns:
        The order, and a URL of the customer's ("" where it names none).

    Raises:
        ApiError: it is refused.
    """
    fields = Fields(form)
    to = _to(fields.one("To"))
    from_ = _from(fields.one("From"), to, numbers)
    verbs, url = (instead, "") if instead else instructions(fields)
    if not verbs:
        raise ApiError(21205, "Url parameter is required.")
    callback = fields.url("StatusCallback", 21609)
    events = fields.many("StatusCallbackEvent")
    for event in events:
        if event not in twiml.CALL_EVENTS:
            raise ApiError(
                21626, f"StatusCallbackEvent {event!r} is none of {sorted(twiml.CALL_EVENTS)}"
            )
    detection = _detection(fields)
    digits = fields.one("SendDigits")
    if digits.strip("0123456789*#wW"):
        raise ApiError(20001, f"SendDigits is {digits!r}: 0 to 9, *, # and w only")
    placed = Order(
        to=to,
        from_=from_,
        verbs=verbs,
        status_callback=callback,
        events=frozenset(events or ["completed"]),
        detection=None if digits else detection,  # with SendDigits detection is not done
        timeout_s=fields.whole("Timeout", 60, range(1, 601)),
        time_limit_s=fields.whole("TimeLimit", 14_400, range(1, 86_401)),
        send_digits=digits,
    )
    fields.nothing_else()
    return placed, url or callback or (detection.url if detection else "")


def instructions(fields: Fields) -> tuple[tuple[twiml.Verb, ...], str]:
    """Read `Url` or `Twiml`; returns verbs (none where neither is there) and the URL.

    Raises:
        ApiError: one of them is no good, or both are there.
    """
    url, text = fields.url("Url", 21205), fields.one("Twiml")
    if url and text:
        raise ApiError(20001, "Url and Twiml: Twilio would ignore Twiml")
    if len(text) > TWIML_MAX_CHARS:
        raise ApiError(32018, f"Twiml has {len(text)} characters: at most {TWIML_MAX_CHARS}")
    if url:
        return (twiml.Redirect(url),), url
    if not text:
        return (), ""
    try:
        verbs = twiml.parse(text.encode(), "text/xml", "")
    except twiml.TwimlError as error:
        raise ApiError(error.code, f"Twiml: {error.violation.detail}") from error
    return (*verbs, twiml.Hangup()), ""


def _to(to: str) -> str:
    if not to:
        raise ApiError(21201, "No 'To' number is specified")
    if not any(kind.fullmatch(to) for kind in (twiml.E164, twiml.SIP, CLIENT)):
        raise ApiError(21211, f"The phone number you are attempting to call, {to}, is not valid.")
    return to


def _from(from_: str, to: str, numbers: frozenset[str]) -> str:
    if not from_:
        raise ApiError(21213, "No 'From' number is specified")
    if twiml.E164.fullmatch(to) and not twiml.E164.fullmatch(from_):
        raise ApiError(21212, f"The phone number provided, {from_}, is not a valid 'From' number.")
    if twiml.E164.fullmatch(from_) and numbers and from_ not in numbers:
        raise ApiError(
            21210,
            f"The source phone number provided, {from_}, is not yet verified for your account.",
        )
    return from_


def _detection(fields: Fields) -> Detection | None:
    mode = fields.choice("MachineDetection", "", ("Enable", "DetectMessageEnd"))
    detection = Detection(
        mode=mode,
        asynchronous=fields.choice("AsyncAmd", "false", ("true", "false")) == "true",
        url=fields.url("AsyncAmdStatusCallback", 21609),
        timeout_s=fields.whole("MachineDetectionTimeout", 30, range(3, 60)),
        speech_threshold_ms=fields.whole(
            "MachineDetectionSpeechThreshold", 2400, range(1000, 6001)
        ),
        speech_end_ms=fields.whole("MachineDetectionSpeechEndThreshold", 1200, range(500, 5001)),
    )
    fields.whole("MachineDetectionSilenceTimeout", 5000, range(2000, 10_001))
    if mode:
        return detection
    if detection.asynchronous or detection.url:
        raise ApiError(20001, "AsyncAmd without MachineDetection detects nothing")
    return None
