"""What all phone providers over WebSocket have in common; a new one is a class of this shape.

`MediaStream` is all that the driver in `agent/telephony` knows. It is pure: it does no I/O and is
told the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from agent.events import LineRate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.events import Answer, LineCommand, LineEvent


class LineFacts(msgspec.Struct, frozen=True):
    """What a provider's lines are like, whatever call they carry.

    Attributes:
        rate: samples per second in both directions.
        frame: seconds of audio in the provider's own unit; what we send is a multiple of it.
        marks_confirmed: whether a mark comes back when its audio was played (otherwise the caller
            of this protocol has to derive that from the time).
        sends_digits: whether it carries out `Digits`; where not, keys are tones in our sound.
    """

    rate: LineRate
    frame: float
    marks_confirmed: bool
    sends_digits: bool = False


class StreamStart(msgspec.Struct, frozen=True):
    """A provider opened a stream and says which call it belongs to.

    It is a claim until the token among the `parameters` has been checked: whoever can reach the
    socket can send it.

    Attributes:
        stream_id: the provider's id of this stream.
        call_id: the provider's id of the call (Twilio: `CallSid`).
        account: the provider's id of the customer (Twilio: `AccountSid`).
        parameters: what our own answer to the webhook asked to be handed on, by name.
        encoding: media type of the audio, in the provider's words.
        rate: samples per second.
    """

    stream_id: str
    call_id: str
    account: str
    parameters: dict[str, str]
    encoding: str
    rate: int


class MediaStream(Protocol):
    """One stream of a phone call as messages of a WebSocket; times are seconds, monotonic.

    `receive` and `tick` raise `LineProtocolError` when the stream cannot go on; its `close_code`
    answers the peer. After an error, and after `LineEnded`, nothing more comes out.
    """

    facts: ClassVar[LineFacts]

    def receive(self, message: str | bytes, now: float) -> Sequence[StreamStart | LineEvent]:
        """Take one message of the provider, a text frame as str and a binary frame as bytes."""
        ...

    def send(self, command: LineCommand | Answer) -> str | bytes | None:
        """The message that carries out `command`; None where the provider has none for it.

        After that of `HangUp`, if there is one, the driver closes the socket.
        """
        ...

    def replies(self) -> Sequence[str | bytes]:
        """What is to be sent because of the last `receive` or `tick`; each is given once."""
        ...

    def deadline(self) -> float | None:
        """When `tick` has to be called at the latest; it moves with every message."""
        ...

    def tick(self, now: float) -> Sequence[LineEvent]:
        """Let time pass; harmless before the deadline."""
        ...

    def counts(self) -> dict[str, int]:
        """How often each rule was broken by the peer, by the rule's name; only what happened."""
        ...
