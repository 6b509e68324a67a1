"""TwiML's verbs and nouns as values, and the error of a document that Twilio would not run. Pure.

Source: Twilio, "TwiML for Programmable Voice".
"""

from __future__ import annotations

import msgspec

from agent.simulator.report import Violation

ERRORS_DOC = "https://www.twilio.com/docs/api/errors/"


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


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to dial: a <Number> or a <Sip>.

    Attributes:
        to: E.164, or a SIP address.
        whisper: asked, and run at the answered phone, before it is connected.
        events: those that are told to `status_callback`.
    """

    to: str
    whisper: str = ""
    status_callback: str = ""
    events: frozenset[str] = frozenset({"completed"})
    send_digits: str = ""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A <Conference> to enter.

    Attributes:
        starts, ends: `startConferenceOnEnter`, `endConferenceOnExit`.
        wait: asked for what is heard until the conference starts; empty: nothing of the customer's.
        events: those that are told to `status_callback`: start, end, join, leave, mute, hold.
    """

    name: str
    starts: bool = True
    ends: bool = False
    muted: bool = False
    most: int = 250
    label: str = ""
    wait: str = ""
    status_callback: str = ""
    events: frozenset[str] = frozenset()


class Dial(msgspec.Struct, frozen=True, kw_only=True):
    """Connect the call to somebody else, or to a conference; `action` is asked when that ends.

    Attributes:
        targets: all are rung at once, the first to answer is connected; none with a `room`.
        answer_on_bridge: a call that is not answered yet rings on until somebody is connected.
        caller_id: what the dialled phone shows; empty: the caller's own number.
    """

    targets: tuple[Target, ...] = ()
    room: Room | None = None
    action: str | None = None
    timeout_s: float = 30.0
    time_limit_s: float = 14_400.0
    answer_on_bridge: bool = False
    caller_id: str = ""


class Gather(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for keys; `action` is told which.

    Attributes:
        prompts: played first, and until the first key.
        most: as many keys are enough; 0: any number.
        finish: the key that ends the input and is not told.
    """

    action: str
    prompts: tuple[Say | Play | Pause, ...] = ()
    most: int = 0
    timeout_s: float = 5.0
    finish: str = "#"


class Connect(msgspec.Struct, frozen=True):
    """Connect the call to a bidirectional media stream; `action` is asked when it ends."""

    stream_url: str
    parameters: dict[str, str]
    action: str | None


Verb = Say | Play | Pause | Hangup | Reject | Redirect | Dial | Gather | Connect
