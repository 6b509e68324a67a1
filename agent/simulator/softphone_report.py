"""What a call by SIP tells: its own events beside those that every call has, and its report."""

from __future__ import annotations

import msgspec

from agent.simulator.report import (
    AnyCallEvent,
    CallEvent,
    Ended,
    HeardUtterance,
    SpokenUtterance,
    Underrun,
    describe,
)


class Answered(CallEvent, frozen=True, kw_only=True, tag="answered"):
    """The call was answered (200 OK), and its media is up: the caller's timeline begins."""

    call_id: str
    after_ms: float


class KeyArrived(CallEvent, frozen=True, kw_only=True, tag="key_arrived"):
    """The other side pressed a key: a telephone event (RFC 4733) or INFO."""

    at_s: float
    key: str


class SoftphoneReport(msgspec.Struct, kw_only=True):
    """Everything that one call by SIP showed; milliseconds and seconds as the names say.

    Attributes:
        call_id: the SIP Call-ID; None where no INVITE was answered.
        status, reason: the SIP answer that ended a call which was never established, and why any
            other ended, in the stack's words.
        start_now_s: when the call was answered: origin of the caller's timeline, on the machine's clock.
        answer_ms: INVITE sent -> 200 OK and media.
        first_word_ms: answered -> first audible sample heard, the phone's own jitter buffer included.
        rate_hz: of the audio, as negotiated: 8000 for G.711, 16000 for G.722.
        packets_sent, packets_received: RTP, and how many of each were lost as far as anybody knows.
        starved_frames: frames that the phone itself could not fill in time.
        late_ms_p99: how late the phone's own clock ticked (99th percentile), and `_max`.
        keys_heard: keys of the other side.
    """

    v: int = 1
    to: str
    call_id: str | None = None
    ended: Ended = Ended.NOT_ANSWERED
    status: int | None = None
    reason: str = ""
    seconds: float = 0.0
    start_now_s: float | None = None
    answer_ms: float | None = None
    first_word_ms: float | None = None
    rate_hz: int | None = None
    packets_sent: int = 0
    packets_received: int = 0
    lost_sent: int = 0
    lost_received: int = 0
    starved_frames: int = 0
    late_ms_p99: float = 0.0
    late_ms_max: float = 0.0
    keys_heard: str = ""
    spoken: list[SpokenUtterance] = msgspec.field(default_factory=list)
    heard: list[HeardUtterance] = msgspec.field(default_factory=list)
    underruns: list[Underrun] = msgspec.field(default_factory=list)


SipEvent = AnyCallEvent | Answered | KeyArrived


def tell(event: SipEvent) -> str:
    """One plain line for a person who watches the call."""
    match event:
        case Answered(after_ms=after):
            return f"answered after {after:.0f} ms"
        case KeyArrived(at_s=at, key=key):
            return f"{at:6.2f} s  key {key}"
        case other:
            return describe(other)
