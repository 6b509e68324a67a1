"""Every error that Pickup raises, and what each one means for the call.

    PickupError
    +-- UserError              a mistake the user can mend: one clear line, exit status 2
    +-- PeerError              the other side broke its protocol
    |   +-- LineProtocolError      ... the phone provider: the stream is closed with `close_code`
    |   +-- NotSigned              ... somebody who is not the provider: refused, nothing is opened
    |   +-- ModelProtocolError     ... the model: counted and skipped, or the session is given up
    +-- CarrierRefused         the phone provider did not do what it was asked over REST
    |   +-- CarrierSilent          ... or may have done it: its answer did not come
    +-- ToolFailed             a tool could not do what the model asked
    |   +-- OutcomeUnknown         ... or could: nobody knows
    +-- StorageError           the database or the disk did not take a record
    +-- OwnFault               we broke our own rule: a bug, never the peer's doing

An error knows its consequence: `label` (the `end_reason` on the record and the label in the metrics), `spoken` (the name of
the line the caller hears, or None) and `retry` (whether trying the same thing again can help). Expected endings, such as
a caller who hangs up, are events, not errors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class PickupError(Exception):
    """Base of all errors of this project."""

    label: ClassVar[str] = "internal_error"
    spoken: ClassVar[str | None] = "trouble"
    retry: ClassVar[bool] = False


class UserError(PickupError):
    """A mistake that the person at the keyboard can mend; the text is one line that says how."""

    label = "user_error"
    spoken = None


class PeerError(PickupError):
    """The other side sent what its own documents forbid."""


class LineProtocolError(PeerError):
    """The phone provider broke the media stream's rules.

    Attributes:
        close_code: WebSocket close code that answers it (RFC 6455, section 7.4.1).
    """

    label = "line_protocol_error"
    spoken = None

    def __init__(self, message: str, *, close_code: int = 1008) -> None:
        super().__init__(message)
        self.close_code = close_code


class NotSigned(PeerError):
    """A request that the provider it claims to come from did not sign."""

    label = "not_signed"
    spoken = None


class ModelProtocolError(PeerError):
    """The model sent something that is not a message of its API."""

    label = "model_protocol_error"


class Fate(StrEnum):
    """What a lost model session means, decided once from its close code and reason."""

    FATAL = "fatal"  # key, quota, model, location: the same again cannot work
    STEP_DOWN = "step_down"  # the setup was refused: a smaller one may do
    RESUME = "resume"  # the connection ended; the session may go on in a new one
    FRESH = "fresh"  # the session is gone for good; only a new one can help


class CarrierRefused(PickupError):
    """The phone provider refused a request over its REST API; the text has neither secrets nor phone numbers.

    Attributes:
        reason: for the record, such as `invalid_number`.
        blame: `number`: it can never be called like that; `us`: nobody can be, until somebody mends the account or the settings;
            `moment`: the same again may work.
    """

    label = "call_failed"
    spoken = None

    def __init__(self, message: str, *, reason: str = "carrier_refused", blame: str = "us") -> None:
        super().__init__(message)
        self.reason = reason
        self.blame = blame


class CarrierSilent(CarrierRefused):
    """No answer came that can be read: only the provider knows whether it did what it was asked."""

    retry = True

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="carrier_silent", blame="moment")


class ToolFailed(PickupError):
    """A tool could not do its work; the text is for the model to say in its own words."""

    label = "tool_failed"
    spoken = None


class OutcomeUnknown(ToolFailed):
    """A tool has begun something and may have done it; it must not be begun again."""

    label = "outcome_unknown"


class StorageError(PickupError):
    """A record was not taken; it goes to the spool and the call goes on."""

    label = "storage_error"
    spoken = None
    retry = True


class OwnFault(PickupError):
    """Our own code did what it must never do; tests fail on it, a live call ends politely."""
