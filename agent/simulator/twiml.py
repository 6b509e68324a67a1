"""TwiML, read as strictly as Twilio's pages describe it: verbs as values, each error by its code.

Pure. Known here are the verbs that a call to an agent meets; the rest of Twilio's vocabulary would
do nothing in a stand-in, so it is refused by name instead of skipped in silence.
Sources: Twilio, "TwiML for Programmable Voice", and the pages of the error codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

import msgspec

from agent.simulator.report import Violation

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

BODY_MAX_BYTES = 64 * 1024
PARAMETER_MAX_CHARS = 500
ERRORS_DOC = "https://www.twilio.com/docs/api/errors/"
STREAM_DOC = "https://www.twilio.com/docs/voice/twiml/stream"


class TwimlError(Exception):
    """A document that Twilio would not run.

    Attributes:
        code: as Twilio's Debugger names it.
    """

    def __init__(self, code: int, detail: str, doc: str = "") -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.violation = Violation(f"twiml-{code}", doc or f"{ERRORS_DOC}{code}", detail)


class Say(msgspec.Struct, frozen=True):
    """Speak `text` with the network's own voice."""

    text: str


class Play(msgspec.Struct, frozen=True):
    """Play the file at `url`, or the tones of `digits`."""

    url: str
    digits: str = ""


class Pause(msgspec.Struct, frozen=True):
    """Wait `seconds`."""

    seconds: float


class Hangup(msgspec.Struct, frozen=True):
    """End the call."""


class Reject(msgspec.Struct, frozen=True):
    """Refuse the call without answering it: `rejected` or `busy`."""

    reason: str


class Redirect(msgspec.Struct, frozen=True):
    """Go on with the TwiML at `url`."""

    url: str


class Dial(msgspec.Struct, frozen=True):
    """Connect the caller to somebody else; `action` is asked when that ends."""

    to: str
    action: str | None


class Connect(msgspec.Struct, frozen=True):
    """Connect the call to a bidirectional media stream; `action` is asked when it ends."""

    stream_url: str
    parameters: dict[str, str]
    action: str | None


Verb = Say | Play | Pause | Hangup | Reject | Redirect | Dial | Connect

ATTRIBUTES: dict[str, frozenset[str]] = {
    "Response": frozenset(),
    "Say": frozenset({"voice", "language", "loop"}),
    "Play": frozenset({"loop", "digits"}),
    "Pause": frozenset({"length"}),
    "Hangup": frozenset(),
    "Reject": frozenset({"reason"}),
    "Redirect": frozenset({"method"}),
    "Dial": frozenset({"action", "method", "timeout", "callerId", "answerOnBridge", "timeLimit"}),
    "Connect": frozenset({"action", "method"}),
    "Stream": frozenset({"url", "name", "track", "statusCallback", "statusCallbackMethod"}),
    "Parameter": frozenset({"name", "value"}),
    "Number": frozenset({"url", "method", "statusCallback", "statusCallbackEvent"}),
    "Sip": frozenset({"url", "method", "statusCallback", "statusCallbackEvent"}),
}
"""The attributes of each known element; another one is a schema warning (12200), here an error."""


def parse(body: bytes, content_type: str, base_url: str) -> list[Verb]:
    """Read the TwiML document that `base_url` answered; relative URLs in it become absolute.

    Raises:
        TwimlError: 12300 content type, 11750 size, 12100 not XML or no <Response>, 12200 schema,
            31920 to 31941 a stream that cannot be opened.
    """
    mime = content_type.partition(";")[0].strip().lower()
    if mime not in {"text/xml", "application/xml"}:
        raise TwimlError(12300, f"content type {mime or 'missing'!r} is not XML")
    if len(body) > BODY_MAX_BYTES:
        raise TwimlError(11750, f"{len(body)} bytes of TwiML: at most {BODY_MAX_BYTES}")
    if b"<!DOCTYPE" in body:
        raise TwimlError(12100, "a document type has no place in TwiML")
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise TwimlError(12100, f"not XML: {error}") from error
    if root.tag != "Response":
        raise TwimlError(12100, f"the root element is <{root.tag}>, not <Response>")
    _check(root, text=False)
    return [_verb(element, base_url) for element in root]


def _verb(element: Element, base_url: str) -> Verb:
    reader = _READERS.get(element.tag)
    if reader is None:
        raise TwimlError(12200, f"<{element.tag}> is no verb that this stand-in knows")
    return reader(element, base_url)


def _pause(element: Element, _: str) -> Pause:
    _check(element, text=False, children=False)
    length = element.get("length", "1")
    if not length.isdecimal() or int(length) < 1:
        raise TwimlError(12200, f"<Pause length={length!r}> is no positive number of seconds")
    return Pause(float(length))


def _hangup(element: Element, _: str) -> Hangup:
    _check(element, text=False, children=False)
    return Hangup()


def _reject(element: Element, _: str) -> Reject:
    _check(element, text=False, children=False)
    reason = element.get("reason", "rejected")
    if reason not in {"rejected", "busy"}:
        raise TwimlError(12200, f"<Reject reason={reason!r}> is neither rejected nor busy")
    return Reject(reason)


def _redirect(element: Element, base_url: str) -> Redirect:
    _check(element, children=False)
    return Redirect(_absolute(base_url, (element.text or "").strip()))


def _spoken(element: Element, base_url: str) -> Say | Play:
    _check(element, children=False)
    text = (element.text or "").strip()
    digits = element.get("digits", "")
    if bool(text) == bool(digits):
        raise TwimlError(12200, f"<{element.tag}> says nothing, or two things")
    if digits.strip("0123456789*#wW"):
        raise TwimlError(13224, f"<Play digits={digits!r}>: 0 to 9, *, # and w only")
    if digits:
        return Play("", digits)
    return Say(text) if element.tag == "Say" else Play(_absolute(base_url, text))


def _dial(element: Element, base_url: str) -> Dial:
    _check(element)
    for child in element:
        if child.tag not in {"Number", "Sip"}:
            raise TwimlError(12200, f"<{child.tag}> inside <Dial>")
        _check(child, children=False)
    target = element[0] if len(element) else element
    return Dial((target.text or "").strip(), _action(element, base_url))


def _action(element: Element, base_url: str) -> str | None:
    action = element.get("action")
    return None if action is None else _absolute(base_url, action)


def _absolute(base_url: str, url: str) -> str:
    """A URL of a document; one that came without an address of its own holds absolute ones only."""
    absolute = urljoin(base_url, url)
    if not urlsplit(absolute).scheme:
        raise TwimlError(15004, f"{url!r} is relative, and this TwiML was not at any URL")
    return absolute


def _connect(element: Element, base_url: str) -> Connect:
    _check(element, text=False)
    if [child.tag for child in element] != ["Stream"]:
        raise TwimlError(12200, "<Connect> holds exactly one <Stream>")
    stream = element[0]
    _check(stream, text=False)
    if stream.get("track", "inbound_track") != "inbound_track":
        raise TwimlError(31941, "a bidirectional stream's track is inbound_track only")
    parameters = dict(_parameter(child) for child in stream)
    url = stream.get("url", "")
    if url and not urlsplit(url).scheme:
        url = "ws" + _absolute(base_url, url).removeprefix("http")
    check_stream_url(url)
    return Connect(url, parameters, _action(element, base_url))


def _parameter(element: Element) -> tuple[str, str]:
    if element.tag != "Parameter":
        raise TwimlError(12200, f"<{element.tag}> inside <Stream>")
    _check(element, text=False, children=False)
    name, value = element.get("name"), element.get("value")
    if not name or value is None:
        raise TwimlError(12200, "<Parameter> needs a name and a value")
    if len(name) + len(value) >= PARAMETER_MAX_CHARS:
        raise TwimlError(
            12200, f"<Parameter name={name!r}>: name and value under 500 characters", STREAM_DOC
        )
    return name, value


def check_stream_url(url: str) -> None:
    """Check a stream's URL: wss (ws for loopback, where no certificate can be), and no query.

    Raises:
        TwimlError: 31920 query string, 31922 scheme, 31923 malformed.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise TwimlError(31923, f"malformed stream URL {url!r}")
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(parts.hostname)):
        raise TwimlError(31922, f"the stream's scheme is {parts.scheme!r}, not wss")
    if parts.query or parts.fragment:
        raise TwimlError(31920, "a stream's URL has no query string: use <Parameter>", STREAM_DOC)


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by name or address."""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _check(element: Element, *, text: bool = True, children: bool = True) -> None:
    """Refuse attributes, words and children that an element does not take."""
    allowed = ATTRIBUTES.get(element.tag)
    if allowed is None:
        raise TwimlError(12200, f"<{element.tag}> is unknown")
    if extra := sorted(set(element.keys()) - allowed):
        raise TwimlError(12200, f"<{element.tag}> takes no attribute {extra[0]!r}")
    if not children and len(element):
        raise TwimlError(12200, f"<{element.tag}> takes no <{element[0].tag}>")
    words = [element.text, *(child.tail for child in element)]
    if not text and any(word and word.strip() for word in words):
        raise TwimlError(12200, f"<{element.tag}> takes no text")


_READERS: dict[str, Callable[[Element, str], Verb]] = {
    "Say": _spoken,
    "Play": _spoken,
    "Pause": _pause,
    "Hangup": _hangup,
    "Reject": _reject,
    "Redirect": _redirect,
    "Dial": _dial,
    "Connect": _connect,
}
