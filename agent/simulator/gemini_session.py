"""One session of the stand-in for Gemini Live: frames in, frames and a close out.

    opened --setup--> setting up --setupComplete--> ready --+
       |                  |                                 |
       +------------------+------- close -------------------+--> closed

A broken rule, a fault or the idle limit closes it. Pure: time is an argument and dice are passed
in. Call `receive` for every client frame and `tick` when `due` has come, and send what they
return, in order.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.simulator.agenda import Agenda
from agent.simulator.conversation import Conversation
from agent.simulator.faults import SETUP, Fault
from agent.simulator.gemini_setup import Surroundings, wishes
from agent.simulator.records import Rate, Violation
from agent.simulator.strict import RULES, Audio, RuleError, check_setup, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from agent.simulator.brain import Brain
    from agent.simulator.gemini_setup import Conduct
    from agent.simulator.handles import Handles
    from agent.simulator.records import SessionRecord

REFUSAL_SECONDS = 0.16  # a refused setup closes about so soon
SETUP_SECONDS = (0.3, 1.8)
FOREVER = float("inf")


class Close(NamedTuple):
    """End the connection; 1006 drops it without a close frame."""

    code: int
    reason: str


Out = bytes | Close


class Phase(Enum):
    """Where a session is."""

    OPENED = "opened"
    SETTING_UP = "setting up"
    READY = "ready"
    CLOSED = "closed"


class Door(NamedTuple):
    """What the connection's request said.

    Attributes:
        version: API version in the path.
        key: API key, from header or query; empty where there is none.
    """

    version: str
    key: str


class House(NamedTuple):
    """What all sessions of one stand-in share.

    Attributes:
        brain: Makes the mind of a new conversation.
        violated: Told of every broken rule.
    """

    conduct: Conduct
    brain: Callable[[], Brain]
    handles: Handles
    violated: Callable[[Violation], None]


class LiveSession:
    """The Live API's side of one connection, strict and scripted."""

    def __init__(self, door: Door, house: House, record: SessionRecord, dice: Random) -> None:
        self._door = door
        self._house = house
        self._record = record
        self._dice = dice
        self._agenda = Agenda()
        self._out: list[Out] = []
        self._rate = Rate()
        self._phase = Phase.OPENED
        self._talk: Conversation | None = None
        self._last_input = FOREVER

    # ------------------------------------------------------------------ in

    def receive(self, frame: str | bytes, now: float) -> list[Out]:
        """Take a client frame; returns what to send."""
        if self._phase is Phase.CLOSED:
            self._record.frames_after_close += 1
            return []
        self._record.messages += 1
        self._record.peak_messages_per_second = self._rate.count(now)
        self._last_input = now
        try:
            self._take(read(frame), now)
        except RuleError as error:
            self._refuse(error, now)
        return self._drain()

    def tick(self, now: float) -> list[Out]:
        """Do what is due; returns what to send."""
        while self.due <= now:
            if self._agenda.due <= now:
                self._agenda.run(now)
            elif self._talk is not None and self._talk.due <= now:
                self._talk.tick(now)
            else:
                idle = f"{self._house.conduct.idle_seconds:g} s without a message"
                self._refuse(RuleError("idle", idle), now)
        return self._drain()

    @property
    def due(self) -> float:
        """When `tick` has something to do; infinite once closed."""
        if self._phase is Phase.CLOSED:
            return FOREVER
        talks = self._talk.due if self._talk is not None else FOREVER
        return min(self._agenda.due, talks, self._last_input + self._house.conduct.idle_seconds)

    def inject(self, fault: Fault, now: float) -> list[Out]:
        """Let something go wrong now; returns what to send."""
        if self._phase is not Phase.CLOSED:
            self._fail(fault, now)
        return self._drain()

    def ended(self, code: int, reason: str) -> None:
        """The connection is gone."""
        self._phase = Phase.CLOSED
        self._house.handles.closed(self._record.session)
        if self._record.close_code is None:
            self._record.close_code, self._record.close_reason = code, reason

    # ------------------------------------------------------------------ phases

    def _take(self, message: Audio | dict[str, Any], now: float) -> None:
        setup = not isinstance(message, Audio) and "setup" in message
        if self._phase is Phase.READY and self._talk is not None and not setup:
            self._talk.take(message, now)
        elif self._phase is Phase.OPENED:
            if isinstance(message, Audio) or not setup:
                raise RuleError("setup_first", f"the first message is {_name(message)}")
            self._set_up(message, now)
        elif setup:
            raise RuleError("second_setup", "the configuration cannot change in a session")
        else:
            raise RuleError("input_before_setup_complete", f"{_name(message)} came too early")

    def _set_up(self, message: dict[str, Any], now: float) -> None:
        house = self._house
        if not self._door.key or self._door.key == house.conduct.bad_key:
            raise RuleError("api_key", "the bad key" if self._door.key else "no key")
        model = check_setup(message, self._door.version)
        asked = wishes(message["setup"])
        brain = house.handles.claim(asked.handle) if asked.handle else house.brain()
        house.handles.opened(self._record.session)
        self._phase = Phase.SETTING_UP
        self._record.model = asked.model
        early = [fault for fault in house.conduct.faults if fault.at == SETUP]
        for fault in early:
            self._fail(fault, now)
        if model is None or any(fault.name == "no_setup" for fault in early):
            return
        around = Surroundings(
            house.conduct, self._agenda, house.handles, self._record, self._dice, self._send
        )
        drawn = self._dice.uniform(*SETUP_SECONDS)
        seconds = house.conduct.setup_seconds
        talk = Conversation(asked, brain, around)
        self._agenda.at(now + (drawn if seconds is None else seconds), partial(self._ready, talk))

    def _ready(self, talk: Conversation, now: float) -> None:
        self._phase = Phase.READY
        self._talk = talk
        self._record.ready_t = self._last_input = now
        self._send({"setupComplete": {}})
        talk.begin(now)
        for fault in self._house.conduct.faults:
            if fault.at != SETUP:
                self._agenda.at(now + fault.at, partial(self._fail, fault))

    # ------------------------------------------------------------------ out and over

    def _send(self, message: dict[str, Any]) -> None:
        self._out.append(msgspec.json.encode(message))

    def _drain(self) -> list[Out]:
        out, self._out = self._out, []
        return out

    def _refuse(self, error: RuleError, now: float) -> None:
        """Record the broken rule and end the session with its close."""
        doc = RULES[error.rule].doc
        self._house.violated(Violation(error.rule, doc, error.detail, self._record.session))
        close = Close(error.code, error.reason)
        if self._phase is Phase.OPENED:
            self._phase = Phase.SETTING_UP
            self._agenda.at(now + REFUSAL_SECONDS, partial(self._close, close))
        else:
            self._close(close, now)

    def _close(self, close: Close, now: float) -> None:
        self._record.note(now, "close", str(close.code))
        self._phase = Phase.CLOSED
        self._agenda.clear()
        self._record.close_code, self._record.close_reason = close
        self._out.append(close)

    def _fail(self, fault: Fault, now: float) -> None:
        match fault.name:
            case "close":
                self._close(Close(*fault.closing), now)
            case "malformed":
                self._out.append(b'{"serverContent": {"modelTurn": ')
            case "no_setup":
                pass  # looked at where the setup is answered
            case _ if self._talk is not None:
                self._talk.fail(fault)
            case _:
                pass  # there is no talk yet that could go wrong


def _name(message: Audio | dict[str, Any]) -> str:
    return "realtimeInput.audio" if isinstance(message, Audio) else "".join(message)
