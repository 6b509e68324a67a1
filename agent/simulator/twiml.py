"""TwiML, read as strictly as Twilio's pages describe it: each error by its code.

Pure. Known here are the verbs that a call to an agent meets; the rest of Twilio's vocabulary would
do nothing in a stand-in, so it is refused by name instead of skipped in silence.
Sources: Twilio, "TwiML for Programmable Voice", and the pages of the error codes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from xml.etree import ElementTree

from agent.simulator.twiml_verbs import (
    Connect,
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Redirect,
    Reject,
    Room,
    Say,
    Target,
    TwimlError,
    Verb,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

__all__ = [
    "Connect",
    "Dial",
    "Gather",
    "Hangup",
    "Pause",
    "Play",
    "Redirect",
    "Reject",
    "Room",
    "Say",
    "Target",
    "TwimlError",
    "Verb",
    "check_stream_url",
    "is_loopback",
    "parse",
]

BODY_MAX_BYTES = 64 * 1024
PARAMETER_MAX_CHARS = 500
DIALLED_MAX = 10
ROOM_NAME_MAX = 128
E164 = re.compile(r"\+[1-9]\d{6,14}")
SIP = re.compile(r"sips?:[^\s@:;]+@[A-Za-z0-9.\[\]:-]+(;[^\s?]*)?(\?\S*)?")
CALL_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
ROOM_EVENTS = frozenset({"start", "end", "join", "leave", "mute", "hold"})
STREAM_DOC = "https://www.twilio.com/docs/voice/twiml/stream"


_METHODS = frozenset({"method", "statusCallbackMethod", "waitMethod"})
_PARTY = frozenset(
    {"url", "method", "statusCallback", "statusCallbackEvent", "statusCallbackMethod"}
)
ATTRIBUTES: dict[str, frozenset[str]] = {
    "Response": frozenset(),
    "Say": frozenset({"voice", "language", "loop"}),
    "Play": frozenset({"loop", "digits"}),
    "Pause": frozenset({"length"}),
    "Hangup": frozenset(),
    "Reject": frozenset({"reason"}),
    "Redirect": frozenset({"method"}),
    "Dial": frozenset({"action", "method", "timeout", "callerId", "answerOnBridge", "timeLimit"}),
    "Gather": frozenset(
        {"action", "method", "numDigits", "timeout", "finishOnKey", "input"}
        | {"hints", "language", "speechTimeout"}  # of speech, which this stand-in does not hear
    ),
    "Connect": frozenset({"action", "method"}),
    "Stream": frozenset({"url", "name", "track"}),
    "Parameter": frozenset({"name", "value"}),
    "Number": _PARTY | {"sendDigits"},
    "Sip": _PARTY | {"username", "password"},
    "Conference": frozenset(
        {
            "beep",
            "endConferenceOnExit",
            "maxParticipants",
            "muted",
            "participantLabel",
            "startConferenceOnEnter",
            "statusCallback",
            "statusCallbackEvent",
            "statusCallbackMethod",
            "waitMethod",
            "waitUrl",
        }
    ),
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
    digits = _digits(element, "digits")
    if bool(text) == bool(digits):
        raise TwimlError(12200, f"<{element.tag}> says nothing, or two things")
    if digits:
        return Play("", digits)
    return Say(text) if element.tag == "Say" else Play(_absolute(base_url, text))


def _dial(element: Element, base_url: str) -> Dial:
    rooms = [child for child in element if child.tag == "Conference"]
    words = (element.text or "").strip()
    _check(element, text=not len(element))
    if len(rooms) > 1 or (rooms and len(element) > 1) or len(element) > DIALLED_MAX:
        raise TwimlError(12200, "<Dial> holds one <Conference>, or up to ten parties")
    targets = [_target(child, base_url) for child in element if child.tag != "Conference"]
    if not len(element):
        targets = [Target(to=_number(words))]
    return Dial(
        targets=tuple(targets),
        room=_room(rooms[0], base_url) if rooms else None,
        action=_action(element, base_url),
        timeout_s=_whole(element, "timeout", 30, range(1, 601)),
        time_limit_s=_whole(element, "timeLimit", 14_400, range(1, 86_401)),
        answer_on_bridge=_flag(element, "answerOnBridge", default=False),
        caller_id=element.get("callerId", ""),
    )


def _target(element: Element, base_url: str) -> Target:
    if element.tag not in {"Number", "Sip"}:
        raise TwimlError(12200, f"<{element.tag}> inside <Dial>")
    _check(element, children=False)
    to = (element.text or "").strip()
    if element.tag == "Sip" and not SIP.fullmatch(to):
        raise TwimlError(13223, f"<Sip>: {to!r} is no SIP address")
    whisper, callback = element.get("url"), element.get("statusCallback")
    return Target(
        to=to if element.tag == "Sip" else _number(to),
        whisper=_absolute(base_url, whisper) if whisper else "",
        status_callback=_absolute(base_url, callback) if callback else "",
        events=_events(element, CALL_EVENTS) or frozenset({"completed"}),
        send_digits=_digits(element, "sendDigits"),
    )


def _number(text: str) -> str:
    if not E164.fullmatch(text):
        raise TwimlError(13223, f"<Number>: {text!r} is not in E.164, such as +12025550101")
    return text


def _room(element: Element, base_url: str) -> Room:
    _check(element, children=False)
    name = (element.text or "").strip()
    if not name or len(name) > ROOM_NAME_MAX:
        raise TwimlError(13212, f"<Conference>: a name of 1 to {ROOM_NAME_MAX} characters")
    wait, callback = element.get("waitUrl"), element.get("statusCallback")
    return Room(
        name=name,
        starts=_flag(element, "startConferenceOnEnter", default=True),
        ends=_flag(element, "endConferenceOnExit", default=False),
        muted=_flag(element, "muted", default=False),
        most=_whole(element, "maxParticipants", 250, range(2, 251)),
        label=element.get("participantLabel", ""),
        wait=_absolute(base_url, wait) if wait else "",
        status_callback=_absolute(base_url, callback) if callback else "",
        events=_events(element, ROOM_EVENTS),
    )


def _gather(element: Element, base_url: str) -> Gather:
    _check(element, text=False)
    action = element.get("action")
    taken = element.get("input", "dtmf").split()
    if action is None or "dtmf" not in taken or not {"dtmf", "speech"} >= set(taken):
        raise TwimlError(12200, "<Gather>: this stand-in gathers keys (dtmf), and needs an action")
    prompts = [_verb(child, base_url) for child in element]
    return Gather(
        action=_absolute(base_url, action),
        prompts=tuple(verb for verb in prompts if isinstance(verb, _PROMPTS)),
        most=_whole(element, "numDigits", 0, range(1, 100)),
        timeout_s=_whole(element, "timeout", 5, range(1, 601)),
        finish=element.get("finishOnKey", "#"),
    )


def _flag(element: Element, name: str, *, default: bool) -> bool:
    value = element.get(name)
    if value not in {None, "true", "false"}:
        raise TwimlError(12200, f"<{element.tag} {name}={value!r}> is neither true nor false")
    return default if value is None else value == "true"


def _whole(element: Element, name: str, default: int, allowed: range) -> int:
    value = element.get(name)
    if value is None:
        return default
    if not value.isdecimal() or int(value) not in allowed:
        between = f"{allowed.start} to {allowed.stop - 1}"
        raise TwimlError(12200, f"<{element.tag} {name}={value!r}> is not {between}")
    return int(value)


def _events(element: Element, known: frozenset[str]) -> frozenset[str]:
    events = frozenset(element.get("statusCallbackEvent", "").split())
    if extra := sorted(events - known):
        raise TwimlError(12200, f"<{element.tag} statusCallbackEvent>: {extra[0]!r} is none")
    return events


def _digits(element: Element, name: str) -> str:
    digits = element.get(name, "")
    if digits.strip("0123456789*#wW"):
        raise TwimlError(12200, f"<{element.tag} {name}={digits!r}>: 0 to 9, *, # and w only")
    return digits


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
    for name in _METHODS & set(element.keys()):
        if element.get(name) != "POST":
            raise TwimlError(12200, f"<{element.tag} {name}>: this stand-in asks by POST only")
    if not children and len(element):
        raise TwimlError(12200, f"<{element.tag}> takes no <{element[0].tag}>")
    words = [element.text, *(child.tail for child in element)]
    if not text and any(word and word.strip() for word in words):
        raise TwimlError(12200, f"<{element.tag}> takes no text")


_PROMPTS = (Say, Play, Pause)
_READERS: dict[str, Callable[[Element, str], Verb]] = {
    "Say": _spoken,
    "Play": _spoken,
    "Pause": _pause,
    "Hangup": _hangup,
    "Reject": _reject,
    "Redirect": _redirect,
    "Dial": _dial,
    "Gather": _gather,
    "Connect": _connect,
}
