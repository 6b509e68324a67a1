"""Twilio as a `PhoneProvider`: its webhooks, its TwiML and its media streams under one name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never
from urllib.parse import parse_qs

from agent.errors import LineProtocolError, NotSigned
from agent.protocols.door import (
    AnsweredBy,
    Ask,
    Caller,
    HangUpNow,
    Join,
    Meet,
    Request,
    Say,
    Transfer,
    Verdict,
    Whisper,
)
from agent.protocols.twilio import twiml
from agent.protocols.twilio.outbound import answered_by, order_of
from agent.protocols.twilio.stream import TwilioStream
from agent.protocols.twilio.webhook import (
    FORM_BYTES,
    SIGNATURE_HEADER,
    Form,
    Signatures,
    brought,
    incoming_call,
    parse_form,
)

if TYPE_CHECKING:
    from agent.events import TransferOutcome

OVER = {
    "completed": "caller_hung_up",
    "canceled": "caller_hung_up",
    "busy": "caller_busy",
    "no-answer": "no_answer",
    "failed": "call_failed",
}
"""`CallStatus` values after which a call is over, and the `end_reason` where we did not end it (Twilio: call status values)."""

DIALLED: dict[str, TransferOutcome] = {
    "completed": "connected",
    "answered": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "failed",
    "failed": "failed",
}
"""`DialCallStatus` values (Twilio: TwiML `<Dial>`, action)."""

YES = frozenset({"yes", "yeah", "yep", "sure", "okay", "ok"})
"""First words by which a person takes a caller."""

_LEG = re.compile(r"[1-9]\d{0,3}", re.ASCII)


class Twilio:
    """One account's calls.

    Args:
        auth_token: what the account signs with.
        public_url: the origin at which Twilio reaches us.
        account_sid: the account whose calls we take; None: any that the token signs for.
    """

    name = "twilio"
    largest = FORM_BYTES

    def __init__(self, auth_token: str, public_url: str, account_sid: str | None) -> None:
        self._signatures = Signatures(auth_token, public_url)
        self._account_sid = account_sid
        self._action_url = f"{public_url}/{self.name}/after"
        self._accept_url = f"{public_url}/{self.name}/accept"
        self._whisper_url = f"{public_url}/{self.name}/whisper"
        self._stream_url = f"ws{public_url.removeprefix('http')}/{self.name}/media"

    def caller(self, request: Request) -> Caller:
        """See `PhoneProvider.caller`."""
        return self._caller(request, self._form(request))

    def answered_by(self, request: Request) -> tuple[Caller, AnsweredBy]:
        """See `PhoneProvider.answered_by`."""
        form = self._form(request)
        return self._caller(request, form), answered_by(form.first("AnsweredBy"))

    def _form(self, request: Request) -> Form:
        """A signed request's fields."""
        form = parse_form(request.body)
        signature = request.headers.get(SIGNATURE_HEADER.lower())
        if not self._signatures.webhook(request.target, form, signature):
            raise NotSigned("not signed by Twilio for this URL")
        return form

    def _caller(self, request: Request, form: Form) -> Caller:
        call = incoming_call(form)
        if call.account_sid != (self._account_sid or call.account_sid):
            raise LineProtocolError("Twilio: another account's call")
        return Caller(
            provider=self.name,
            call_id=call.call_sid,
            account=call.account_sid,
            direction=call.direction,
            from_number=call.from_,
            to_number=call.to,
            over=OVER.get(call.status, ""),
            leg=_leg(request.target),
            order=order_of(request.target),
            brought=brought(form),
            dialled=DIALLED.get(form.first("DialCallStatus"), ""),
            parent=_said(request.target, "parent"),
            accepts=_accepts(form),
        )

    def may_stream(self, request: Request) -> bool:
        """See `PhoneProvider.may_stream`."""
        signature = request.headers.get(SIGNATURE_HEADER.lower())
        return self._signatures.upgrade(request.target, signature)

    def answer(self, verdict: Verdict) -> tuple[str, str]:
        """See `PhoneProvider.answer`."""
        return self._told(verdict), twiml.CONTENT_TYPE

    def stream(self, now: float) -> TwilioStream:
        """See `PhoneProvider.stream`."""
        return TwilioStream(now)

    def _told(self, verdict: Verdict) -> str:
        match verdict:
            case Join(token, leg):
                return twiml.connect(self._stream_url, f"{self._action_url}?leg={leg}", token)
            case Say(text, language):
                return twiml.say_and_hang_up(text, language=language)
            case HangUpNow():
                return twiml.hang_up()
            case Transfer() | Whisper() | Ask() | Meet():
                return self._transfer(verdict)
            case _:
                assert_never(verdict)

    def _transfer(self, verdict: Transfer | Whisper | Ask | Meet) -> str:
        match verdict:
            case Transfer():
                return self._dial(verdict)
            case Whisper(text, language):
                return twiml.say(text, language=language)
            case Ask(text, order, language):
                return twiml.ask(text, f"{self._accept_url}?order={order}", language=language)
            case Meet(room, leg):
                return twiml.meet(room, f"{self._action_url}?leg={leg}" if leg else None)
            case _:
                assert_never(verdict)

    def _dial(self, transfer: Transfer) -> str:
        if not transfer.leg:
            return twiml.dial(transfer.address, timeout=transfer.timeout)
        whisper = f"{self._whisper_url}?parent={transfer.call_id}&leg={transfer.leg}"
        return twiml.dial(
            transfer.address,
            action_url=f"{self._action_url}?leg={transfer.leg}",
            timeout=transfer.timeout,
            whisper_url=whisper if transfer.whisper else None,
        )


def _leg(target: str) -> int:
    """The leg that our own URL says, which Twilio signs with the rest; 0 on any other URL."""
    said = _said(target, "leg")
    return int(said) if _LEG.fullmatch(said) else 0


def _accepts(form: Form) -> bool:
    """Whether whoever was asked pressed 1, or said yes (Twilio: TwiML `<Gather>`, `Digits` and `SpeechResult`)."""
    words = form.first("SpeechResult").lower().replace(",", " ").replace(".", " ").split()
    return form.first("Digits") == "1" or (bool(words) and words[0] in YES)


def _said(target: str, name: str) -> str:
    """What our own URL says under this name, empty where it does not, or says it twice."""
    values = parse_qs(target.partition("?")[2]).get(name, [])
    return values[0] if len(values) == 1 else ""
