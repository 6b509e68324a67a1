"""What a phone provider asks of us over HTTP and what it is answered, in nobody's language in particular.

A provider is one class of the shape `PhoneProvider`: it reads its own signed requests, says our verdicts in its own words, and
makes a `MediaStream` for each socket. The server knows no more of it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.events import TransferOutcome
    from agent.protocols.base import MediaStream, StreamStart


class Caller(NamedTuple):
    """Who calls, as a signed request says it; none of it proves who speaks.

    Attributes:
        provider: who connected the call.
        call_id: the provider's id of it.
        account: the provider's id of the customer.
        direction: `inbound` or the provider's word for the other.
        from_number: the caller's number or address.
        to_number: the number or address that was called.
        over: the `end_reason` where the request says that the call has ended, else empty.
        leg: which of the call's streams the request is about, from 1; 0 where it does not say.
        order: the order that we placed the call for; empty where somebody called us.
        brought: what the caller's own telephone system says of the call, by name; data, and no proof of anything.
        dialled: what a transfer after that stream came to; empty where the request tells of none.
        accepts: whether a person who was asked has taken the caller, by a key or a word.
        parent: the provider's id of the call that a transfer is for, where this request is about the person's own.
    """

    provider: str
    call_id: str
    account: str
    direction: str
    from_number: str
    to_number: str
    over: str = ""
    leg: int = 0
    order: str = ""
    brought: Mapping[str, str] = MappingProxyType({})
    dialled: TransferOutcome | Literal[""] = ""
    parent: str = ""
    accepts: bool = False


AnsweredBy = Literal["human", "machine_start", "machine_end", "fax", "unknown"]
"""Who or what answered a call of ours; `machine_end`: an answering machine now takes a message."""


class CallOrder(NamedTuple):
    """A call to be placed.

    Attributes:
        id: ours; letters, digits, `-` and `_`.
        to: who is called (E.164), or a `sip:` address.
        caller_id: what the callee's display shows: a number of the provider's account.
        ring_seconds: how long it may ring.
        max_seconds: when the provider ends it whatever we do.
        detect_machine: have answering machines found, beside the conversation.
        by: the name of whoever carries it.
    """

    id: str
    to: str
    caller_id: str
    ring_seconds: int = 30
    max_seconds: int = 3600
    detect_machine: bool = True
    by: str = "twilio"


class Request(NamedTuple):
    """A request as it came.

    Attributes:
        target: path and query exactly as in the request line, not decoded; signatures cover it.
        headers: by lower-case name.
        body: empty for an upgrade.
    """

    target: str
    headers: Mapping[str, str]
    body: bytes = b""


class Join(NamedTuple):
    """Open a stream to us, the call's `leg`th, that brings this token."""

    token: str
    leg: int


class Say(NamedTuple):
    """Say this by the provider's own voice, then hang up; `language` is the text's (BCP 47)."""

    text: str
    language: str = "en-US"


class Transfer(NamedTuple):
    """Put the caller through to a person.

    Attributes:
        address: E.164, or `sip:` and `sips:`.
        call_id: the provider's id of the caller's call.
        leg: the stream that ended for it, whose number the provider brings back with what it came to; 0: nobody wants to know,
            and the call ends where nobody answers.
        timeout: seconds that the person's phone may ring.
        whisper: whether the person hears something first, for which the provider asks.
    """

    address: str
    call_id: str = ""
    leg: int = 0
    timeout: int = 20
    whisper: bool = False


class Whisper(NamedTuple):
    """What a person hears who has picked up a transfer, before the caller; `language` is the text's (BCP 47)."""

    text: str
    language: str = "en-US"


class HangUpNow(NamedTuple):
    """The conversation is over."""

    def __bool__(self) -> bool:
        return True  # it is a verdict; a tuple of nothing would pass for none


class Ask(NamedTuple):
    """Tell a person this, and let them take or refuse a caller; `order`: what their answer is brought back with."""

    text: str
    order: str
    language: str = "en-US"


class Meet(NamedTuple):
    """Join this call to the others in a room, which closes when one of them leaves.

    Attributes:
        room: its name.
        leg: as in `Transfer`; 0: the call ends with the room.
    """

    room: str
    leg: int = 0


Verdict = Join | Say | Transfer | Whisper | Ask | Meet | HangUpNow


class PhoneProvider(Protocol):
    """One phone provider's side of HTTP; pure. Its routes are `/NAME/voice`, `/after`, `/status`, `/amd` and `/media`."""

    @property
    def name(self) -> str: ...

    @property
    def largest(self) -> int:
        """Bytes of the largest body that it sends."""
        ...

    def caller(self, request: Request) -> Caller:
        """Read a webhook.

        Raises:
            NotSigned: the provider did not sign it.
            LineProtocolError: it is signed and no request of the provider's.
        """
        ...

    def answered_by(self, request: Request) -> tuple[Caller, AnsweredBy]:
        """Read what the provider says of who answered a call of ours; raises as `caller` does."""
        ...

    def may_stream(self, request: Request) -> bool:
        """Whether the provider signed this upgrade."""
        ...

    def answer(self, verdict: Verdict) -> tuple[str, str]:
        """A verdict in the provider's language, and its media type."""
        ...

    def stream(self, now: float) -> MediaStream:
        """A machine for one socket that was accepted at `now` (seconds, monotonic)."""
        ...


class LineProvider(Protocol):
    """Telephone systems that bring their calls to us over a WebSocket of their own; pure. The route is `/NAME/media`."""

    @property
    def name(self) -> str: ...

    @property
    def subprotocol(self) -> str:
        """What it asks for in the upgrade (RFC 6455, section 1.9)."""
        ...

    def may_stream(self, request: Request) -> bool:
        """Whether this upgrade proves who sends it."""
        ...

    def caller(self, request: Request, start: StreamStart) -> Caller:
        """Who calls, as the upgrade and the stream's first message say it.

        Raises:
            LineProtocolError: that cannot be read.
        """
        ...

    def stream(self, now: float) -> MediaStream:
        """A machine for one socket that was accepted at `now` (seconds, monotonic)."""
        ...
