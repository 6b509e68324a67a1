"""Conferences: who is in, who hears whom, and what the customer's server is told of it.

A conference starts when two are in and one of them came with `startConferenceOnEnter`; who came
before hears music. It ends when the last one leaves, or one with `endConferenceOnExit`; all others
then go on with their TwiML.
Source: Twilio, "TwiML: Conference" and "Conference participant resource".
"""

from __future__ import annotations

import secrets
from email.utils import formatdate
from typing import TYPE_CHECKING

from agent.simulator.cdr import HungUpBy
from agent.simulator.clock import now, wall

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.cdr import CallRecord
    from agent.simulator.program import Program
    from agent.simulator.twiml import Room

BOTH = 2
"""One alone hears music."""
_ASKED_AS = {
    "conference-start": "start",
    "conference-end": "end",
    "participant-join": "join",
    "participant-leave": "leave",
    "participant-mute": "mute",
    "participant-unmute": "mute",
    "participant-hold": "hold",
    "participant-unhold": "hold",
}
"""Each event and the word in `statusCallbackEvent` that asks for it."""


class Participant:
    """One call in a conference.

    Attributes:
        ends: the conference ends when it leaves.
        out: it has left, or was made to.
    """

    def __init__(self, program: Program, room: Room) -> None:
        self.program = program
        self.record: CallRecord = program.ground.record
        self.starts = room.starts
        self.ends = room.ends
        self.muted = room.muted
        self.label = room.label
        self.hold = False
        self.out = False
        self.entered_wall_s = wall()


class Conference:
    """One conference, from the first who enters to its end.

    Attributes:
        name: `FriendlyName`. participants: by the SID of their call.
        status: `init`, `in-progress` or `completed`.
    """

    def __init__(self, room: Room, account_sid: str, tell: Callable[[str, dict[str, str]], None]):
        """Open it for the first `room` that names it; `tell` posts a form to a URL, in order."""
        self.sid = "CF" + secrets.token_hex(16)
        self.name = room.name
        self.status = "init"
        self.created_wall_s = self.updated_wall_s = wall()
        self.ended_by = ""  # SID of a call
        self.ended_because = ""
        self.participants: dict[str, Participant] = {}
        self._room = room
        self.account_sid = account_sid
        self._tell = tell
        self._told = 0

    @property
    def to(self) -> str:
        """How a call's record names it."""
        return f"conference {self.name}"

    async def hold_in(self, program: Program, room: Room) -> None:
        """Keep a call in until it leaves, its person hangs up, or the conference ends."""
        me = self._join(program, room)
        program.pick_up()
        if room.wait and self.status == "init":
            await program.hear(room.wait)
        talk_s = program.ground.phone.talk_s
        hangs_up_at = float("inf")
        if talk_s is not None:
            await program.wait(float("inf"), lambda: me.out or self.status == "in-progress")
            hangs_up_at = now() + talk_s
        await program.wait(hangs_up_at, lambda: me.out)
        if not (me.out or program.left) and now() >= hangs_up_at:
            program.end(HungUpBy.PERSON)
        gone = program.ended_by is not None
        self.leave(me, "participant_hung_up" if gone else "participant_updated_via_api")

    def _join(self, program: Program, room: Room) -> Participant:
        me = Participant(program, room)
        self.participants[me.record.sid] = me
        me.record.note(now(), "entered", self.to)
        self._event("participant-join", me)
        if self.status == "in-progress":
            me.record.connect(now(), self.to, "conference")
        elif len(self.participants) >= BOTH and any(p.starts for p in self.participants.values()):
            self.status = "in-progress"
            self._event("conference-start")
            for one in self.participants.values():
                one.record.connect(now(), self.to, "conference")
                one.program.stir()
        return me

    def leave(self, me: Participant, reason: str) -> None:
        """Let a participant go; nothing happens where it has left already."""
        if self.participants.pop(me.record.sid, None) is None:
            return
        me.out = True
        me.record.disconnect(now(), self.to)
        me.program.stir()
        self._event("participant-leave", me, {"ReasonParticipantLeft": reason})
        kicked = "kicked" if reason == "participant_updated_via_api" else "left"
        if me.ends and self.participants:
            self.end(f"participant-with-end-conference-on-exit-{kicked}", me)
        elif not self.participants:
            self.end(f"last-participant-{kicked}", me)

    def end(self, reason: str, by: Participant | None = None) -> None:
        """Let everybody go; nothing happens where it is over."""
        if self.status == "completed":
            return
        self.status = "completed"
        self.updated_wall_s = wall()
        self.ended_by, self.ended_because = by.record.sid if by else "", reason
        why = "moderator_ended_conference" if by else "conference_ended_via_api"
        for one in list(self.participants.values()):
            self.leave(one, why)
        told = {"ReasonConferenceEnded": reason}
        if self.ended_by:
            told["CallSidEndingConference"] = self.ended_by
        self._event("conference-end", None, told)

    def set_hold(self, me: Participant, *, hold: bool) -> None:
        """Let a participant hear music, or the others again."""
        if me.hold == hold:
            return
        me.hold = hold
        if hold:
            me.record.disconnect(now(), self.to)
        elif self.status == "in-progress":
            me.record.connect(now(), self.to, "conference")
        self._event("participant-hold" if hold else "participant-unhold", me)

    def set_muted(self, me: Participant, *, muted: bool) -> None:
        """Let the others hear a participant, or not."""
        if me.muted != muted:
            me.muted = muted
            self._event("participant-mute" if muted else "participant-unmute", me)

    def _event(
        self, event: str, who: Participant | None = None, more: dict[str, str] | None = None
    ) -> None:
        room = self._room  # "the first participant's": later ones' callbacks are not asked
        if not room.status_callback or _ASKED_AS[event] not in room.events:
            return
        self._told += 1
        form = {
            "ConferenceSid": self.sid,
            "FriendlyName": self.name,
            "AccountSid": self.account_sid,
            "SequenceNumber": str(self._told),
            "Timestamp": formatdate(wall()),
            "StatusCallbackEvent": event,
        }
        if who is not None:
            form |= {
                "CallSid": who.record.sid,
                "Muted": _word(who.muted),
                "Hold": _word(who.hold),
                "Coaching": "false",
                "EndConferenceOnExit": _word(who.ends),
                "StartConferenceOnEnter": _word(who.starts),
            }
            if who.label:
                form["ParticipantLabel"] = who.label
        self._tell(room.status_callback, form | (more or {}))


def _word(yes: bool) -> str:
    return str(yes).lower()
