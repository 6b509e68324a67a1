"""One session of the stand-in for Gemini Live: frames in, frames and a close out.

    opened --setup--> setting up --setupComplete--> ready --+
       |                  |                                 |
       +------------------+------- close -------------------+--> closed

A broken rule, a fault or the idle limit closes it. Pure: time is an argument and dice are passed
in. Call `receive` for every client frame and `tick` when `due` has come, and send what they
return, in order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.simulator import refusals
from agent.simulator.account import Thread
from agent.simulator.agenda import Agenda
from agent.simulator.conversation import Conversation
from agent.simulator.faults import READY, STEPS, Fault
from agent.simulator.gemini_setup import Surroundings, wishes
from agent.simulator.handles import Snapshot
from agent.simulator.raw_frames import RAW, raw_frames
from agent.simulator.records import Rate, Violation
from agent.simulator.refusals import Close, Verdict
from agent.simulator.strict import API, RESUME, RULES, Audio, RuleError, check_setup, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from agent.simulator.brain import Brain
    from agent.simulator.gemini_setup import Conduct
    from agent.simulator.handles import Handles
    from agent.simulator.records import SessionRecord

REFUSAL_SECONDS = 0.16  # a refused setup closes about so soon
SETUP_SECONDS = (0.3, 1.8)
IN_FLIGHT_SECONDS = 1.0  # what comes so soon after the close frame was under way
FOREVER = float("inf")
INVALID_CODE = 1007
DEADLINE = Close(1011, "Deadline expired before operation could complete.")
ABORTED = Close(1008, "The operation was aborted.")
LOST = Close(1006, "")
GOAWAYS = {"goaway": DEADLINE, "goaway-then-aborted": ABORTED, "goaway-then-silence": DEADLINE}


class Freeze(NamedTuple):
    """Read nothing more from the connection, and send nothing but what still comes from here."""


class LatePongs(NamedTuple):
    """Answer pings so late from now on."""

    seconds: float


Out = bytes | str | Close | Freeze | LatePongs


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


@dataclass(frozen=True)
class House:
    """What all sessions of one stand-in share.

    Attributes:
        brain: Makes the mind of a new conversation.
        violated: Told of every broken rule.
        refused: Told of every setup that was refused.
        struck: How often each fault came, in different sessions.
        live: Numbers of the sessions that were set up and have a connection.
    """

    conduct: Conduct
    brain: Callable[[], Brain]
    handles: Handles
    violated: Callable[[Violation], None]
    refused: Callable[[bytes], None] = lambda _: None
    struck: Counter[Fault] = field(default_factory=Counter)
    live: set[int] = field(default_factory=set)

    def strikes(self, fault: Fault) -> bool:
        """Whether a fault comes once more; counts that it does."""
        if fault.times and self.struck[fault] >= fault.times:
            return False
        self.struck[fault] += 1
        return True


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
        self._thread: Thread | None = None
        self._events: Counter[str] = Counter()
        self._last_input = FOREVER
        self._closed_at = FOREVER
        self._mute = False

    # ------------------------------------------------------------------ in

    def receive(self, frame: str | bytes, now: float) -> list[Out]:
        """Take a client frame; returns what to send."""
        if self._phase is Phase.CLOSED:
            self._take_late(now)
            return []
        self._record.messages += 1
        self._rate.count(now, len(frame))
        self._record.peak_messages_per_second = self._rate.peak
        self._record.peak_bytes_per_second = self._rate.peak_bytes
        self._last_input = now
        if self._mute:
            return []
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

    def ended(self, code: int, reason: str, now: float) -> None:
        """The connection is gone."""
        self._phase = Phase.CLOSED
        self._hang_up(now)
        if self._record.close_code is None:
            self._record.close_code, self._record.close_reason = code, reason

    def _take_late(self, now: float) -> None:
        self._record.frames_after_close += 1
        if now - self._closed_at > IN_FLIGHT_SECONDS and self._record.frames_after_close < 1000:
            late = f"a frame {now - self._closed_at:.1f} s after the close"
            self._violated("frame-after-close", late, API)

    # ------------------------------------------------------------------ phases

    def _take(self, message: Audio | dict[str, Any], now: float) -> None:
        setup = not isinstance(message, Audio) and "setup" in message
        if self._phase is Phase.READY and self._talk is not None and not setup:
            self._talk.take(message, now)
            if isinstance(message, Audio):
                self._happened("audio", now)
            return
        if isinstance(message, Audio):
            self._record.early_audio_ms += len(message.pcm) * 500 / message.rate_hz
        if self._phase is Phase.OPENED:
            if isinstance(message, Audio) or not setup:
                raise RuleError("setup_first", f"the first message is {_name(message)}")
            self._set_up(message, now)
        elif setup:
            raise RuleError("second_setup", "the configuration cannot change in a session")
        else:
            raise RuleError("input_before_setup_complete", f"{_name(message)} came too early")

    def _set_up(self, message: dict[str, Any], now: float) -> None:
        house, record = self._house, self._record
        if not self._door.key or self._door.key == house.conduct.bad_key:
            raise RuleError("api_key", "the bad key" if self._door.key else "no key")
        model = check_setup(message, self._door.version)
        asked = wishes(message["setup"])
        past = Snapshot(Thread(), house.brain())
        if asked.handle:
            past = house.handles.claim(asked.handle, now)
        early = [fault for fault in house.conduct.faults if fault.after == "setup"]
        verdict = refusals.judge(message, early, len(house.live), self._strikes)
        record.model = asked.model
        self._phase = Phase.SETTING_UP
        if verdict.close is not None:
            self._turn_away(message, verdict, verdict.close, now)
            return
        if asked.handle:
            record.resumed_from = past.session
        self._thread, past.thread.live = past.thread, record.session
        house.live.add(record.session)
        if model is None or verdict.never:
            return
        talk = self._conversation(message, past, forgets=verdict.forgets)
        drawn = self._dice.uniform(*SETUP_SECONDS)
        seconds = house.conduct.setup_seconds
        ready_at = now + (drawn if seconds is None else seconds) + verdict.later
        self._agenda.at(ready_at, partial(self._ready, talk))

    def _conversation(
        self, message: dict[str, Any], past: Snapshot, *, forgets: bool
    ) -> Conversation:
        house = self._house
        around = Surroundings(
            conduct=house.conduct,
            agenda=self._agenda,
            handles=house.handles,
            record=self._record,
            dice=self._dice,
            send=self._send,
            happened=self._happened,
            violated=partial(self._violated, doc=RESUME),
        )
        if not forgets:
            return Conversation(wishes(message["setup"]), past, around)
        talk = Conversation(wishes(message["setup"]), past._replace(brain=house.brain()), around)
        talk.forget()
        return talk

    def _ready(self, talk: Conversation, now: float) -> None:
        self._phase = Phase.READY
        self._talk = talk
        self._record.ready_t = self._last_input = now
        self._send({"setupComplete": {}})
        talk.begin(now)
        self._happened(READY, now)
        conduct = self._house.conduct
        if (limit := conduct.session_limit_seconds) is not None:
            left = min(conduct.goaway_seconds, limit / 4)
            self._agenda.at(now + limit - left, partial(self._go_away, DEADLINE, left))

    # ------------------------------------------------------------------ out and over

    def _send(self, message: dict[str, Any]) -> None:
        if not self._mute and self._phase is not Phase.CLOSED:
            self._out.append(msgspec.json.encode(message))

    def _drain(self) -> list[Out]:
        out, self._out = self._out, []
        return out

    def _violated(self, rule: str, detail: str, doc: str) -> None:
        self._house.violated(Violation(rule, doc, detail, self._record.session))

    def _refuse(self, error: RuleError, now: float) -> None:
        """Record the broken rule and end the session with its close."""
        self._violated(error.rule, error.detail, RULES[error.rule].doc)
        close = Close(error.code, error.reason)
        if self._phase is Phase.OPENED:
            self._phase = Phase.SETTING_UP
            self._record.refused = True
            self._agenda.at(now + REFUSAL_SECONDS, partial(self._close, close))
        else:
            self._close(close, now)

    def _turn_away(
        self, message: dict[str, Any], verdict: Verdict, close: Close, now: float
    ) -> None:
        self._record.refused = True
        if close.code == INVALID_CODE:
            self._house.refused(msgspec.json.encode(message, order="deterministic"))
        if verdict.soon:
            self._close(close, now)
        else:
            self._agenda.at(now + REFUSAL_SECONDS, partial(self._close, close))

    def _close(self, close: Close, now: float) -> None:
        if self._phase is Phase.CLOSED:
            return
        self._record.note(now, "close", str(close.code))
        self._phase = Phase.CLOSED
        self._closed_at = now
        self._agenda.clear()
        self._record.close_code, self._record.close_reason = close
        self._out.append(close)
        self._hang_up(now)

    def _hang_up(self, now: float) -> None:
        """Let go of the conversation, once: it may be resumed from now on."""
        self._house.live.discard(self._record.session)
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.live, thread.gone_at = None, now
        if self._talk is not None:
            self._talk.ended(now)

    # ------------------------------------------------------------------ going wrong

    def _strikes(self, fault: Fault) -> bool:
        if not self._house.strikes(fault):
            return False
        self._record.fault(fault.called)
        return True

    def _happened(self, event: str, now: float) -> None:
        """Let those faults come that follow this event, at once or at their time after it."""
        self._events[event] += 1
        for fault in self._house.conduct.faults:
            if fault.after == event and fault.nth == self._events[event]:
                if fault.at > 0:
                    self._agenda.at(now + fault.at, partial(self._come, fault))
                else:
                    self._come(fault, now)

    def _come(self, fault: Fault, now: float) -> None:
        if self._phase is not Phase.CLOSED and self._house.strikes(fault):
            self._fail(fault, now)

    def _fail(self, fault: Fault, now: float) -> None:
        self._record.fault(fault.called)
        match fault.name:
            case "close":
                self._close(Close(*fault.closing), now)
            case name if name in GOAWAYS:
                self._go_away(GOAWAYS[name], float(fault.value), now)
                self._mute = name == "goaway-then-silence"
            case "half-open":
                self._freeze(float(fault.value), now)
            case "late-pong":
                self._out.append(LatePongs(float(fault.value)))
            case name if name in RAW:
                self._out += [] if self._mute else raw_frames(name, fault.value)
            case _ if self._talk is not None and fault.after not in STEPS:
                self._talk.fail(fault, now)
            case _:
                pass  # there is no talk yet that could go wrong

    def _go_away(self, close: Close, left: float, now: float) -> None:
        self._send({"goAway": {"timeLeft": f"{left:g}s"}})
        self._record.note(now, "goaway", f"{left:g}")
        self._agenda.at(now + left, partial(self._close, close))

    def _freeze(self, seconds: float, now: float) -> None:
        """Go silent with the socket open; the service lets go of a connection that it has lost."""
        self._mute = True
        self._record.close_code = LOST.code
        self._out.append(Freeze())
        self._agenda.at(now + seconds, partial(self._close, LOST))
        self._hang_up(now)
        self._talk = None  # what it would have said was not said


def _name(message: Audio | dict[str, Any]) -> str:
    return "realtimeInput.audio" if isinstance(message, Audio) else "".join(message)
