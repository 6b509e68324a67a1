"""What can go wrong with the stand-in for Gemini Live, by name.

A fault is written `NAME`, `NAME=VALUE`, `NAME@MOMENT` or `NAME=VALUE@MOMENT`. The moment is
`setup` (instead of answering it), or seconds after `setupComplete`; without one it is 0.

    close=CODE[:REASON]  end the session with that close code; 1006 drops the connection
    malformed            a frame that is not JSON
    empty_turn           the next reply is a `turnComplete` and nothing else
    late_audio           from now on, audio of a reply goes on after its `interrupted`
    no_setup             `setupComplete` never comes (its moment is always `setup`)
    stall=SECONDS        the reply that is going on, or the next one, pauses for so long
    deaf                 the next written message is ignored
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from agent.errors import UserError

SETUP = -1.0
"""The moment `setup`."""

REASONS = {
    1000: "",
    1006: "",
    1007: "Request contains an invalid argument.",
    1008: "The operation was aborted.",
    1011: "Internal error encountered.",
}
"""Close codes that the field has seen, and the reason that usually comes with each."""

TAKES_VALUE = {
    "close": True,
    "malformed": False,
    "empty_turn": False,
    "late_audio": False,
    "no_setup": False,
    "stall": True,
    "deaf": False,
}


class Fault(NamedTuple):
    """One thing that goes wrong.

    Attributes:
        name: Which, as listed above.
        value: Its value, or empty.
        at: Seconds after `setupComplete`, or `SETUP`.
    """

    name: str
    value: str = ""
    at: float = 0.0

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
    match = re.fullmatch(r"([a-z_]+)(?:=([^@]*))?(?:@(.*))?", text)
    name = match[1] if match else text
    if match is None or name not in TAKES_VALUE:
        raise UserError(f"no fault {text!r}: there are {', '.join(TAKES_VALUE)}")
    value, moment = match[2] or "", match[3] or "0"
    if TAKES_VALUE[name] != bool(value):
        raise UserError(f"fault {text!r}: {name} takes {'a' if TAKES_VALUE[name] else 'no'} value")
    if name == "close" and not re.fullmatch(r"(1\d{3}|4\d{3})(:.{0,123})?", value):
        raise UserError(f"fault {text!r}: close takes CODE or CODE:REASON")
    if name == "stall":
        _seconds(value, text)
    at = SETUP if moment == "setup" or name == "no_setup" else _seconds(moment, text)
    return Fault(name, value, at)


def _seconds(text: str, fault: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 86_400:
        raise UserError(f"fault {fault!r}: {text!r} is not a number of seconds")
    return seconds
