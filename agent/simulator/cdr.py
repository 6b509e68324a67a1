"""Call detail records: what the phone network knows of each call, and who could hear whom.

Pure. Times are seconds of the machine's monotonic clock, wall times seconds since 1970. A record is
both what `GET /Calls/{sid}.json` tells and the proof for questions such as "did our teardown hang up
on the caller?" or "how long was he connected to a person?".
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

MOST_HAPPENINGS = 1000
"""Of one call; later ones are not kept."""
FINAL = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
"""Statuses of a call that is over (Twilio: Call resource, call status values)."""


class HungUpBy(StrEnum):
    """Who ended a call that was going on."""

    PERSON = "person"  # the human (or machine) at this call's phone
    OTHER_PARTY = "other_party"  # whom <Dial> had connected; no verb was left then
    TWIML = "twiml"  # <Hangup>, or no verb was left
    API = "api"  # Status=completed or canceled
    TIME_LIMIT = "time_limit"
    NETWORK = "network"  # no usable TwiML, or a broken rule


class Connection(msgspec.Struct):
    """Somebody whom the phone of a call could hear and speak to.

    Attributes:
        to: `agent` (a media stream), the SID of another call, or `conference NAME`.
        by: `stream`, `dial` or `conference`.
        until_s: None while it lasts.
    """

    to: str
    by: str
    from_s: float
    until_s: float | None = None


class Happening(msgspec.Struct, frozen=True):
    """Something that befell a call: `what` in a word or two, `detail` where there is one."""

    now_s: float
    what: str
    detail: str = ""


class CallRecord(msgspec.Struct, kw_only=True):
    """One call.

    Attributes:
        direction: `inbound`, `outbound-api` or `outbound-dial`.
        status: Twilio's CallStatus.
        parent_sid: of the call whose <Dial> placed this one.
        answered_by: of answering-machine detection; empty before its verdict.
        sip_code: of the answer that ended the ringing; 0 where there was none.
        hung_up_by: empty while the call goes on, and where nobody picked up.
    """

    sid: str
    account_sid: str
    from_: str
    to: str
    direction: str = "inbound"
    status: str = "queued"
    parent_sid: str = ""
    answered_by: str = ""
    sip_code: int = 0
    hung_up_by: str = ""
    created_wall_s: float = 0.0
    answered_wall_s: float | None = None
    ended_wall_s: float | None = None
    queued_ms: float = 0.0
    connections: list[Connection] = msgspec.field(default_factory=list)
    happenings: list[Happening] = msgspec.field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the call has ended, or never came about."""
        return self.status in FINAL

    @property
    def seconds(self) -> int:
        """Whole seconds from the answer to the end; 0 before."""
        if self.answered_wall_s is None or self.ended_wall_s is None:
            return 0
        return round(self.ended_wall_s - self.answered_wall_s)

    def note(self, now: float, what: str, detail: str = "") -> None:
        """Keep something that happened."""
        if len(self.happenings) < MOST_HAPPENINGS:
            self.happenings.append(Happening(now, what, detail))

    def connect(self, now: float, to: str, by: str) -> None:
        """This call's phone can hear somebody from now on."""
        self.connections.append(Connection(to, by, now))
        self.note(now, "connected", f"{to} by {by}")

    def disconnect(self, now: float, to: str) -> None:
        """This call's phone hears somebody no longer; nothing happens where it did not."""
        for connection in reversed(self.connections):
            if connection.to == to and connection.until_s is None:
                connection.until_s = now
                self.note(now, "disconnected", to)
                return

    def connected_to(self, to: str, now: float) -> float:
        """Seconds that this call's phone was connected to somebody."""
        return sum(
            (now if one.until_s is None else one.until_s) - one.from_s
            for one in self.connections
            if one.to == to
        )

    def happened(self, what: str) -> list[str]:
        """The details of everything of one kind, in order."""
        return [one.detail for one in self.happenings if one.what == what]


def together(one: CallRecord, other: CallRecord, now: float) -> float:
    """Seconds that two calls' phones were connected to each other, by <Dial> or in a conference."""
    return sum(
        max(0.0, min(_until(a, now), _until(b, now)) - max(a.from_s, b.from_s))
        for a in one.connections
        for b in other.connections
        if (a.by == b.by == "conference" and a.to == b.to)
        or (a.by == b.by == "dial" and (a.to, b.to) == (other.sid, one.sid))
    )


def _until(connection: Connection, now: float) -> float:
    return now if connection.until_s is None else connection.until_s
