"""Who is at the other end of a dialled number, and what they do: a table, or the number itself.

Written as text, for a command line: `human`, `human:after=2,talk=5,keys=1`, `busy`, `no-answer:after=3`,
`failed:sip=404`, `machine:greeting=4,beep=4.5`, `machine:greeting=4,beep=none`, `fax`, `refused:code=21215`.

Fictional North American numbers (555-0100 to 555-0199) say by their last two digits what happens:

    ...00 to ...89  a human answers        ...93  a machine, greeting and beep
    ...90           nobody answers         ...94  a machine that never beeps
    ...91           busy                   ...95  a fax
    ...92           failed: SIP 404        ...96  a human answers after 5 s
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.errors import UserError
from agent.simulator.phone import KeyPress, Manners, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Outcome = Literal["answers", "busy", "no-answer", "failed", "refused"]
Kind = Literal["human", "machine", "fax"]
AnsweredBy = Literal[
    "human",
    "machine_start",
    "machine_end_beep",
    "machine_end_silence",
    "machine_end_other",
    "fax",
    "unknown",
]

SIP_CODES: dict[str, int] = {"busy": 486, "no-answer": 480, "failed": 404}


class Verdict(msgspec.Struct, frozen=True):
    """What answering-machine detection finds, so many seconds after the answer."""

    at_s: float
    answered_by: AnsweredBy


class Callee(msgspec.Struct, frozen=True, kw_only=True):
    """One dialled number's party.

    Attributes:
        outcome: what becomes of the ringing. `refused`: the API does not even take the call.
        after_s: seconds of ringing before it.
        sip_code: of a call that fails; 0: the usual one.
        error_code: of a refused call, as Twilio numbers them.
        kind: who answers.
        greeting_s: how long a machine speaks after it answered; a fax's tone is as long.
        beep_s: when a machine's beep begins, seconds after the answer; None: it has none.
        verdict: what detection says, in place of what follows from the above.
        utterances: what a human says, in order. manners: how.
        keys: pressed, one after the other, whenever the network asks for keys.
        talk_s: connected to another person, this one hangs up after so long; None: never.
    """

    outcome: Outcome = "answers"
    after_s: float = 0.1
    sip_code: int = 0
    error_code: int = 21215
    kind: Kind = "human"
    greeting_s: float = 4.0
    beep_s: float | None = 4.5
    verdict: Verdict | None = None
    utterances: tuple[Utterance, ...] = ()
    manners: Manners = Manners(patience_s=0.3, hang_up_after_s=10.0)
    keys: tuple[KeyPress, ...] = ()
    talk_s: float | None = 1.0


HUMAN = Callee()
BY_NUMBER: dict[str, Callee] = {
    "90": Callee(outcome="no-answer", after_s=1.0),
    "91": Callee(outcome="busy"),
    "92": Callee(outcome="failed"),
    "93": Callee(kind="machine"),
    "94": Callee(kind="machine", beep_s=None),
    "95": Callee(kind="fax", greeting_s=3.0),
    "96": Callee(after_s=5.0),
}
FICTIONAL = re.compile(r"\+1\d{3}55501(\d\d)")


class Directory:
    """Finds the party at a number."""

    def __init__(self, entries: Mapping[str, Callee] | None = None) -> None:
        """Know `entries` by number or SIP address; everybody else is known by their number."""
        self.entries = dict(entries or {})

    def find(self, to: str) -> Callee:
        """Who is at `to`: an entry of the table, else what the number says, else a human."""
        if to in self.entries:
            return self.entries[to]
        fictional = FICTIONAL.fullmatch(to)
        return BY_NUMBER.get(fictional[1], HUMAN) if fictional else HUMAN


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError(text)
    return value


def _maybe(text: str) -> float | None:
    return None if text == "none" else _seconds(text)


def _keys(text: str) -> tuple[KeyPress, ...]:
    if not re.fullmatch(r"[0-9*#+]+", text):
        raise ValueError(text)
    return tuple(KeyPress(digits) for digits in text.split("+"))


def _verdict(text: str) -> Verdict:
    answered_by, _, at = text.partition("@")
    return msgspec.convert({"at_s": float(at or 1.0), "answered_by": answered_by}, Verdict)


_FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "after": ("after_s", _seconds),
    "sip": ("sip_code", int),
    "code": ("error_code", int),
    "greeting": ("greeting_s", _seconds),
    "beep": ("beep_s", _maybe),
    "verdict": ("verdict", _verdict),
    "keys": ("keys", _keys),
    "talk": ("talk_s", _maybe),
}
_WORDS: dict[str, Callee] = {
    "human": HUMAN,
    "machine": BY_NUMBER["93"],
    "fax": BY_NUMBER["95"],
    "busy": BY_NUMBER["91"],
    "no-answer": BY_NUMBER["90"],
    "failed": BY_NUMBER["92"],
    "refused": Callee(outcome="refused"),
}


def parse(text: str) -> Callee:
    """Read a party as it is written on a command line (see above).

    Raises:
        UserError: it says what is wrong.
    """
    word, _, rest = text.partition(":")
    if word not in _WORDS:
        raise UserError(f"no party {word!r}: one of {', '.join(_WORDS)}")
    given: dict[str, object] = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        if name not in _FIELDS:
            raise UserError(f"{text!r}: no {name!r}; a party takes {', '.join(_FIELDS)}")
        field, read = _FIELDS[name]
        try:
            given[field] = read(value)
        except ValueError as error:  # msgspec's ValidationError is one
            raise UserError(f"{text!r}: {name} cannot be {value!r}") from error
    return msgspec.structs.replace(_WORDS[word], **given)


def parse_entry(text: str) -> tuple[str, Callee]:
    """Read `NUMBER=PARTY`.

    Raises:
        UserError: it says what is wrong.
    """
    number, equals, party = text.partition("=")
    if not equals or not number:
        raise UserError(f"{text!r} is not NUMBER=PARTY, such as +12025550191=busy")
    return number, parse(party)
