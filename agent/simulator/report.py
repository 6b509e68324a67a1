"""What a simulated call tells: events while it lasts, and a report when it is over.

Two clocks appear. `now_s` is the machine's monotonic clock: comparable between processes of one
machine. `at_s` is the caller's timeline: seconds since the first `start`, counted in samples of
8 kHz as they pass the caller's mouth and ear; `CallReport.start_now_s` ties the two together.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agent.simulator.tones import KeyHeard


class Ended(StrEnum):
    """How a call ended."""

    AGENT_HUNG_UP = "agent_hung_up"  # the server closed the stream, and its TwiML ended the call
    CALLER_HUNG_UP = "caller_hung_up"
    LINE_LOST = "line_lost"  # the stream's socket died without a close frame
    REJECTED = "rejected"  # <Reject>, or a TwiML document that connects nothing
    NOT_ANSWERED = "not_answered"  # nobody picked up
    TRANSFERRED = "transferred"  # <Dial> took the caller elsewhere
    WEBHOOK_FAILED = "webhook_failed"  # no usable TwiML: Twilio would say "application error"
    STREAM_REFUSED = "stream_refused"  # no WebSocket, or its handshake was not answered by 101
    VIOLATION = "violation"  # the server broke a rule of the wire


class Violation(msgspec.Struct, frozen=True):
    """A rule that the server broke: its name, the public document that states it, what was seen."""

    rule: str
    doc: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail} ({self.doc})"


class Notice(msgspec.Struct, frozen=True):
    """An entry as Twilio's Debugger would show it; no rule of the wire was broken."""

    code: int
    detail: str


class MediaReceived(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One `media` message of the server's.

    Attributes:
        at_s: when it was read.
        samples: how many samples of 8 kHz it holds.
        buffered_ms: what was still unplayed when it came: 0 means that it came too late or first.
    """

    at_s: float
    samples: int
    buffered_ms: float


class MarkEchoed(msgspec.Struct, frozen=True):
    """A `mark` that was sent back: after its audio was heard or, `cleared`, without."""

    name: str
    received_s: float
    echoed_s: float
    cleared: bool


class ClearReceived(msgspec.Struct):
    """A `clear` of the server's, what it dropped, and what it failed to stop.

    Attributes:
        dropped_ms: audio that was buffered and is now never heard.
        marks: names of the pending marks that it sent back.
        stale_ms: audible audio that came right after it, so still belongs to what was interrupted.
    """

    at_s: float
    dropped_ms: float
    marks: list[str]
    stale_ms: float = 0.0


class Underrun(msgspec.Struct, frozen=True):
    """A hole in the agent's audio: the buffer ran dry and more of the same came soon after."""

    at_s: float
    gap_ms: float


class SpokenUtterance(msgspec.Struct):
    """Something the caller said: first and last sample of speech, not of the clip's silence.

    Attributes:
        n: which utterance, from 1.
        interrupts: whether the agent was audible when it began.
    """

    n: int
    text: str
    start_s: float
    end_s: float
    interrupts: bool


class HeardUtterance(msgspec.Struct):
    """Something the caller heard the agent say, between two silences.

    Attributes:
        heard_ms: how much of the agent's audio was played in it, holes not counted.
    """

    start_s: float
    end_s: float
    heard_ms: float


class LegReport(msgspec.Struct):
    """One media stream of the call.

    Attributes:
        start_s: when `start` was sent.
        sent_s: when each frame of the caller's audio was handed to the socket.
        unheard_ms: the agent's audio that was still to be played when the stream ended: 0 means that
            its last word was heard whole.
        close_code: of the WebSocket; 1006 where the socket died without a close frame.
        closed_by: `server` or `caller`.
    """

    stream_sid: str
    url: str
    start_s: float
    frames_sent: int = 0
    unheard_ms: float = 0.0
    close_code: int | None = None
    close_reason: str = ""
    closed_by: str = ""
    sent_s: list[float] = []


class CallReport(msgspec.Struct, kw_only=True):
    """Everything that one call showed; milliseconds and seconds as the names say.

    Attributes:
        twiml_ms: webhook sent -> TwiML answered; None where no webhook was asked.
        start_delay_ms: TwiML answered -> `start` sent: the stand-in's own delay.
        first_frame_ms: TwiML answered -> first `media` read.
        first_word_ms: TwiML answered -> first audible sample heard.
        lost_ms: the caller's audio that the server's socket did not take (Twilio: 31930).
        late_ms_p99: how late the stand-in itself sent its frames (99th percentile), and `_max`.
        buffered_peak_ms: the most that was ever buffered unplayed.
        odd_payloads: messages that were no multiple of 160 bytes; Twilio takes them all the same.
        said: texts of <Say>, in order. played: URLs of <Play>.
        keys_heard: the DTMF tones in the agent's audio, where `CallOptions.decode_keys` asked for them.
        hung_up_by: who ended the call (`cdr.HungUpBy`).
        beep_s: a machine answered: its beep (or, without one, its greeting) ended at this time of
            its timeline; what it heard before is not in its recording.
    """

    v: int = 1
    call_sid: str
    ended: Ended = Ended.AGENT_HUNG_UP
    hung_up_by: str = ""
    seconds: float = 0.0
    start_now_s: float | None = None
    start_wall_s: float | None = None
    twiml_ms: float | None = None
    start_delay_ms: float | None = None
    first_frame_ms: float | None = None
    first_word_ms: float | None = None
    beep_s: float | None = None
    lost_ms: float = 0.0
    late_ms_p99: float = 0.0
    late_ms_max: float = 0.0
    buffered_peak_ms: float = 0.0
    odd_payloads: int = 0
    spoken: list[SpokenUtterance] = msgspec.field(default_factory=list)
    heard: list[HeardUtterance] = msgspec.field(default_factory=list)
    keys_heard: list[KeyHeard] = msgspec.field(default_factory=list)
    clears: list[ClearReceived] = msgspec.field(default_factory=list)
    marks: list[MarkEchoed] = msgspec.field(default_factory=list)
    underruns: list[Underrun] = msgspec.field(default_factory=list)
    media: list[MediaReceived] = msgspec.field(default_factory=list)
    legs: list[LegReport] = msgspec.field(default_factory=list)
    said: list[str] = msgspec.field(default_factory=list)
    played: list[str] = msgspec.field(default_factory=list)
    violations: list[Violation] = msgspec.field(default_factory=list)
    notices: list[Notice] = msgspec.field(default_factory=list)


class CallEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Base of what happens while the call lasts; `now_s` is the machine's monotonic clock."""

    now_s: float


class CallPlaced(CallEvent, frozen=True, kw_only=True, tag="call_placed"):
    """The phone rings: the webhook is asked, or the stream's URL is dialled."""

    call_sid: str
    url: str


class TwimlAnswered(CallEvent, frozen=True, kw_only=True, tag="twiml_answered"):
    """A webhook answered with TwiML that parses."""

    url: str
    after_ms: float
    verbs: list[str]


class StreamStarted(CallEvent, frozen=True, kw_only=True, tag="stream_started"):
    """`start` was sent: from here the caller's timeline runs."""

    stream_sid: str
    at_s: float


class CallerSpeaks(CallEvent, frozen=True, kw_only=True, tag="caller_speaks"):
    """The caller begins utterance `n`."""

    n: int
    text: str
    at_s: float
    interrupts: bool


class CallerStops(CallEvent, frozen=True, kw_only=True, tag="caller_stops"):
    """The last sample of utterance `n` was sent; its speech ended at `at_s`."""

    n: int
    at_s: float


class AgentSpeaks(CallEvent, frozen=True, kw_only=True, tag="agent_speaks"):
    """The caller hears the agent begin."""

    at_s: float


class AgentStops(CallEvent, frozen=True, kw_only=True, tag="agent_stops"):
    """The caller heard the agent's last audible sample at `at_s`."""

    at_s: float
    heard_ms: float


class Cleared(CallEvent, frozen=True, kw_only=True, tag="cleared"):
    """The server sent `clear`."""

    at_s: float
    dropped_ms: float


class NetworkSpeaks(CallEvent, frozen=True, kw_only=True, tag="network_speaks"):
    """<Say> or <Play>: the phone network itself speaks to the caller."""

    text: str


class RuleBroken(CallEvent, frozen=True, kw_only=True, tag="rule_broken"):
    """The server broke a rule; the session ends."""

    violation: Violation


class CallEnded(CallEvent, frozen=True, kw_only=True, tag="call_ended"):
    """The call is over."""

    how: Ended
    seconds: float


AnyCallEvent = (
    CallPlaced
    | TwimlAnswered
    | StreamStarted
    | CallerSpeaks
    | CallerStops
    | AgentSpeaks
    | AgentStops
    | Cleared
    | NetworkSpeaks
    | RuleBroken
    | CallEnded
)


def describe(event: AnyCallEvent) -> str:
    """One plain line for a person who watches the call."""
    match event:
        case CallPlaced(url=url):
            return f"calling {url}"
        case TwimlAnswered(after_ms=after, verbs=verbs):
            return f"answered after {after:.0f} ms: {', '.join(verbs) or 'nothing to do'}"
        case StreamStarted():
            return "connected"
        case RuleBroken(violation=violation):
            return f"rule broken: {violation}"
        case CallEnded(how=how, seconds=seconds):
            return f"call over after {seconds:.1f} s: {how.replace('_', ' ')}"
        case _:
            return _describe_sound(event)


def _describe_sound(
    event: CallerSpeaks | CallerStops | AgentSpeaks | AgentStops | Cleared | NetworkSpeaks,
) -> str:
    match event:
        case CallerSpeaks(text=text, at_s=at, interrupts=interrupts):
            verb = "interrupts" if interrupts else "speaks"
            return f"{at:6.2f} s  caller {verb}: {text}"
        case CallerStops(at_s=at):
            return f"{at:6.2f} s  caller stops"
        case AgentSpeaks(at_s=at):
            return f"{at:6.2f} s  agent speaks"
        case AgentStops(at_s=at, heard_ms=heard):
            return f"{at:6.2f} s  agent stops, {heard / 1000:.2f} s heard"
        case Cleared(at_s=at, dropped_ms=dropped):
            return f"{at:6.2f} s  clear, {dropped:.0f} ms dropped"
        case NetworkSpeaks(text=text):
            return f"the phone network says: {text}"
