"""What can go wrong with the stand-in for Gemini Live, as it is written down.

A fault of the menu is written `NAME[=VALUE][@MOMENT[xTIMES]]`. The moment is one of

    SECONDS             after `setupComplete`; without a moment: 0
    EVENT[N][+SECONDS]  so long after the session's Nth event (first: 1) of a kind:
                        `audio` a message of the caller's audio came, `speech` the caller was
                        found to begin, `heard` an utterance is about to be taken,
                        `reply` the first audio of a reply was sent, `tool` a tool was called
    setup               instead of answering it
    handshake           instead of answering it

Every session goes wrong in this way, or with `xTIMES` only so many of them, the first that get
there.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from agent.errors import UserError
from agent.simulator.menu import Takes, side

REASONS = {
    1000: "",
    1006: "",
    1007: "Request contains an invalid argument.",
    1008: "The operation was aborted.",
    1011: "Internal error encountered.",
}
"""Close codes that the field has seen, and the reason that usually comes with each."""

NAMES = side("gemini")
EVENTS = ("audio", "speech", "heard", "reply", "tool")
STEPS = ("setup", "handshake")
READY = "ready"

_WRITTEN = re.compile(r"([a-z_-]+)(?:=([^@]*))?(?:@(.*))?")
_MOMENT = re.compile(rf"({'|'.join(EVENTS)})([1-9]\d{{0,3}})?(?:\+(.*))?")
_PATH = re.compile(r"setup(\.[A-Za-z]\w*)+")


class Fault(NamedTuple):
    """One thing that goes wrong.

    Attributes:
        name: Which, as in the menu; of a fault with another name, the one that it means.
        value: Its value, or empty.
        at: Seconds after its event.
        after: `ready`, one of `EVENTS` or one of `STEPS`.
        nth: Which event of that kind in a session, from 1.
        times: In how many sessions; 0: in every one.
        other_name: The menu's name, where that is another.
    """

    name: str
    value: str = ""
    at: float = 0.0
    after: str = READY
    nth: int = 1
    times: int = 0
    other_name: str = ""

    @property
    def called(self) -> str:
        """Its name in the menu."""
        return self.other_name or self.name

    @property
    def closing(self) -> tuple[int, str]:
        """Code and reason of a `close`."""
        code, _, reason = self.value.partition(":")
        return int(code), reason or REASONS.get(int(code), "")


def parse(text: str) -> Fault:
    """Read a fault as it is written on the command line.

    Raises:
        UserError: no such fault, or its value or moment is wrong.
    """
    match = _WRITTEN.fullmatch(text)
    name = match[1].replace("_", "-") if match else text
    if match is None or name not in NAMES:
        raise UserError(f"no fault {text!r}: there are {', '.join(NAMES)}")
    entry = NAMES[name]
    value = match[2] or entry.default or ""
    if (entry.takes is Takes.NOTHING) == bool(value):
        wanted = entry.takes.value or "no value"
        raise UserError(f"fault {text!r}: {name} takes {wanted}")
    check_value(entry.takes, value, text)
    fault = Fault(name, value)
    if entry.means:
        means, _, value = entry.means.partition("=")
        fault = Fault(means, value, other_name=name)
    moment, times = split_times(match[3] or entry.moment, text)
    if entry.moment in STEPS:
        if moment not in (entry.moment, "0"):
            raise UserError(f"fault {text!r}: {entry.name} happens at the {entry.moment}")
        return fault._replace(after=entry.moment, times=times)
    if moment == "setup" and fault.name == "close":
        return fault._replace(after=moment, times=times)
    if event := _MOMENT.fullmatch(moment):
        nth, seconds = int(event[2] or 1), number(event[3] or "0", text)
        return fault._replace(at=seconds, after=event[1], nth=nth, times=times)
    return fault._replace(at=number(moment, text), times=times)


def check_value(takes: Takes, value: str, fault: str) -> None:
    """Check a fault's value.

    Raises:
        UserError: it is not of its kind.
    """
    match takes:
        case Takes.SECONDS | Takes.MILLISECONDS:
            number(value, fault)
        case Takes.SHARE if number(value, fault) > 1:
            raise UserError(f"fault {fault!r}: a share is 0 to 1")
        case Takes.PERCENT if number(value.removeprefix("-"), fault) > 10:
            raise UserError(f"fault {fault!r}: at most 10 percent")
        case Takes.COUNT if not re.fullmatch(r"\d{1,4}", value):
            raise UserError(f"fault {fault!r}: {value!r} is not a count")
        case Takes.PATH if not _PATH.fullmatch(value):
            raise UserError(f"fault {fault!r}: {value!r} is not a path in the setup")
        case Takes.CLOSE if not re.fullmatch(r"(1\d{3}|4\d{3})(:.{0,123})?", value):
            raise UserError(f"fault {fault!r}: close takes CODE or CODE:REASON")
        case _:
            pass


def split_times(moment: str, fault: str) -> tuple[str, int]:
    """Split `MOMENTxTIMES`; the times are 0 where there are none."""
    match = re.fullmatch(r"(.*?)(?:x([1-9]\d{0,5}))?", moment)
    if match is None:  # a line break: no moment has one
        raise UserError(f"fault {fault!r}: {moment!r} is no moment")
    return match[1] or "0", int(match[2] or 0)


def number(text: str, fault: str) -> float:
    """Read a number of seconds.

    Raises:
        UserError: it is none, negative, or more than a day.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 86_400:
        raise UserError(f"fault {fault!r}: {text!r} is not a number of seconds")
    return seconds
