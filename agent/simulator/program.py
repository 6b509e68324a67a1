"""What runs on one answered call: its TwiML, verb by verb, until none is left or somebody hangs up.

A verb that waits (a stream, a pause, a dial) is left at once when `replace` brings another document
or `end` ends the call: Twilio does so when the call is updated over its REST API.
Sources: Twilio, "TwiML for Programmable Voice" and "Call resource, update".
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.simulator import twiml
from agent.simulator.bad_line import BadLine
from agent.simulator.call_options import START_DELAY_S
from agent.simulator.cdr import HungUpBy
from agent.simulator.clock import now, wall
from agent.simulator.leg import Leg, LegEnd
from agent.simulator.media_stream import StreamWriter
from agent.simulator.report import Ended, LegReport, NetworkSpeaks, Notice, TwimlAnswered
from agent.simulator.webhooks import WebhookFailed
from agent.simulator.wire import HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol as Port

    from agent.simulator.call_options import CallOptions
    from agent.simulator.cdr import CallRecord
    from agent.simulator.phone import Phone
    from agent.simulator.report import AnyCallEvent, CallReport
    from agent.simulator.ticker import Ticker
    from agent.simulator.webhooks import Webhooks

    class Call(Port):
        """One call, in either direction."""

        record: CallRecord
        report: CallReport
        program: Program | None

    class Exchange(Port):
        """Who knows the calls and can connect them to others."""

        def carrying(self, call: Call) -> AbstractContextManager[None]:
            """Know a call as long as the context lasts, and its record from then on."""

        async def dial(self, program: Program, verb: twiml.Dial) -> dict[str, str]:
            """Run <Dial> to its end; returns what its action is told."""


VERBS_MAX = 50
"""A document that redirects to itself ends here, not never."""


@dataclass(frozen=True)
class Ground:
    """What a program stands on: the call, its phone, and whom to ask and tell.

    Attributes:
        exchange: None where nobody else can be called: <Dial> then ends as the options say.
    """

    options: CallOptions
    record: CallRecord
    report: CallReport
    phone: Phone
    ticker: Ticker
    emit: Callable[[AnyCallEvent], None]
    hooks: Webhooks
    exchange: Exchange | None = None

    def form(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The form of a voice webhook, empty fields included."""
        record = self.record
        params = {
            "CallSid": record.sid,
            "AccountSid": record.account_sid,
            "From": record.from_,
            "To": record.to,
            "Caller": record.from_,
            "Called": record.to,
            "CallStatus": record.status,
            "ApiVersion": "2010-04-01",
            "Direction": record.direction,
        }
        if record.direction == "inbound":
            params["StirVerstat"] = "TN-Validation-Passed-A"
        if record.parent_sid:
            params["ParentCallSid"] = record.parent_sid
        if record.answered_by:
            params["AnsweredBy"] = record.answered_by
        for who in ("From", "Caller", "To", "Called"):
            params |= {f"{who}City": "WASHINGTON" if who in {"From", "Caller"} else ""}
            params |= {f"{who}State": "DC", f"{who}Zip": "", f"{who}Country": "US"}
        if record.to.startswith("sip:"):
            params |= self._sip()
        return params | dict(more or {})

    def _sip(self) -> dict[str, str]:
        """What a webhook says beside that of a call to a SIP domain ("Twilio: SIP and TwiML Interaction")."""
        domain = self.record.to.partition("@")[2].partition(";")[0]
        headers = {f"SipHeader_{name}": value for name, value in self.options.sip_headers.items()}
        return headers | {
            "SipDomain": domain,
            "SipDomainSid": "SD" + "0" * 32,
            "SipUsername": "pbx",
            "SipCallId": f"{self.record.sid}@192.0.2.7",
            "SipSourceIp": "192.0.2.7",
        }


class Program:
    """Runs one call's TwiML; `run` once.

    Attributes:
        ground: what it stands on.
        hang_up_at: when the call ends at the latest.
        lateness: of the caller's frames, in seconds.
        line_answered_at: when the TwiML came that opened the first stream.
    """

    def __init__(
        self,
        ground: Ground,
        hang_up_at: float,
        answered_at: float,
        at_last: HungUpBy = HungUpBy.PERSON,
    ) -> None:
        """Prepare; `at_last` is who ends the call at `hang_up_at`."""
        self.ground = ground
        self.hang_up_at = hang_up_at
        self._at_last = at_last
        self._stirred = asyncio.Event()
        self.lateness: list[float] = []
        self._random = random.Random(ground.options.seed)
        self._answered_at = answered_at  # when the present TwiML came
        self._next: list[twiml.Verb] | None = None
        self._ended_by: HungUpBy | None = None
        self._leg: Leg | None = None
        self.line_answered_at: float | None = None

    @property
    def left(self) -> bool:
        """Whether the verb that runs must be left."""
        return self._next is not None or self._ended_by is not None

    @property
    def ended_by(self) -> HungUpBy | None:
        """Who ended the call; None while nobody has."""
        return self._ended_by

    def replace(self, verbs: Sequence[twiml.Verb]) -> None:
        """Leave what runs and go on with `verbs`; the stream that runs gets its `stop`."""
        self._next = list(verbs)
        self._answered_at = now()
        self._leave()

    def end(self, by: HungUpBy) -> None:
        """End the call; nothing happens where it is ending already."""
        if self._ended_by is None:
            self._ended_by = by
            self._leave()

    def _leave(self) -> None:
        self.stir()
        if self._leg is not None:
            self._leg.take_away()

    def stir(self) -> None:
        """Let what waits look again."""
        self._stirred.set()

    async def wait(self, until: float, over: Callable[[], bool] = bool) -> None:
        """Wait until a time, until this verb must be left, or until `over` says so after a `stir`.

        Whoever is at the phone may end the call meanwhile: at `hang_up_at`.
        """
        while not (self.left or over()):
            self._stirred.clear()
            try:
                async with asyncio.timeout(min(until, self.hang_up_at) - now()):
                    await self._stirred.wait()
            except TimeoutError:
                break
        if now() >= self.hang_up_at:
            self.end(self._at_last)

    async def run(self, verbs: Sequence[twiml.Verb]) -> HungUpBy | None:
        """Run verbs until none is left (None) or somebody ends the call; returns who did.

        Raises:
            WebhookFailed: a document did not come, or the documents go round in circles.
            TwimlError: a document breaks a rule.
        """
        steps = deque(verbs)
        for _ in range(VERBS_MAX):
            if self._ended_by is not None:
                return self._ended_by
            if self._next is not None:
                steps, self._next = deque(self._next), None
            if now() >= self.hang_up_at:
                return self._at_last
            if not steps:
                return None
            if isinstance(steps[0], twiml.Hangup):
                return HungUpBy.TWIML
            following = await self._executed(steps.popleft())
            if following is not None:
                steps = deque(following)
        raise WebhookFailed(11200, f"more than {VERBS_MAX} verbs: the TwiML goes round in circles")

    async def document(self, url: str, more: Mapping[str, str] | None = None) -> list[twiml.Verb]:
        """Ask the customer's server how to go on.

        Raises:
            WebhookFailed: no TwiML came.
            TwimlError: it breaks a rule.
        """
        ground = self.ground
        asked = now()
        ground.record.note(asked, "asked", url)
        verbs = await ground.hooks.document(url, ground.form(more))
        self._answered_at = now()
        after_ms = (self._answered_at - asked) * 1000
        if ground.report.twiml_ms is None:
            ground.report.twiml_ms = after_ms
        names = [type(verb).__name__ for verb in verbs]
        event = TwimlAnswered(now_s=self._answered_at, url=url, after_ms=after_ms, verbs=names)
        ground.emit(event)
        return verbs

    async def _executed(self, verb: twiml.Verb) -> list[twiml.Verb] | None:
        """Run one verb; what goes wrong with it no longer matters once it is to be left."""
        try:
            return await self._execute(verb)
        except (WebhookFailed, twiml.TwimlError) as failure:
            if not self.left:
                raise
            self.ground.record.note(now(), "left", str(failure))
            return None

    async def _execute(self, verb: twiml.Verb) -> list[twiml.Verb] | None:
        """Run one verb; returns the document to go on with, or None for the present one."""
        self.ground.record.note(now(), "verb", type(verb).__name__)
        if not (isinstance(verb, twiml.Reject) or _rings_on(verb)):
            self.pick_up()
        match verb:
            case twiml.Say() | twiml.Play():
                await self._speak(verb)
            case twiml.Pause(seconds=seconds):
                await self.wait(now() + seconds)
            case twiml.Redirect(url=url):
                return await self.document(url)
            case twiml.Dial():
                return await self._dial(verb)
            case twiml.Gather():
                return await self._gather(verb)
            case twiml.Connect():
                return await self._connect(verb)
            case twiml.Reject(reason=reason):
                self.ground.report.ended = Ended.REJECTED
                if self.ground.record.answered_wall_s is None:  # else it is a mere hang-up
                    self.ground.record.status = "busy" if reason == "busy" else "no-answer"
                self.end(HungUpBy.TWIML)
            case _:  # <Hangup> never comes here
                raise AssertionError(verb)
        return None

    def pick_up(self) -> None:
        """The phone rings no longer; nothing happens where it was answered before."""
        record = self.ground.record
        if record.answered_wall_s is None:
            record.status = "in-progress"
            record.answered_wall_s = wall()
            record.note(now(), "status", record.status)

    async def _gather(self, verb: twiml.Gather) -> list[twiml.Verb] | None:
        """Ask for keys; returns what the action answers, None where no key was pressed."""
        keys = self.ground.phone.keys
        for prompt in verb.prompts:
            await self._execute(prompt)
        digits = ""
        if keys and keys[0].after_s <= verb.timeout_s:
            press = keys.popleft()
            await self.wait(now() + press.after_s)
            digits, _, _ = press.digits.partition(verb.finish or "none")
            digits = digits[: verb.most or None]
            complete = len(digits) == verb.most or digits != press.digits
            self.ground.record.note(now(), "pressed", press.digits)
        else:
            complete = False
        if not complete:
            await self.wait(now() + verb.timeout_s)
        if not digits or self.left:
            return None
        return await self.document(verb.action, {"Digits": digits})

    async def hear(self, url: str) -> None:
        """Let the phone hear what a document plays, once; what is wrong with it is noticed."""
        try:
            for verb in await self.document(url):
                if isinstance(verb, twiml.Say | twiml.Play):
                    await self._speak(verb)
        except WebhookFailed as failure:
            self.ground.report.notices.append(failure.notice)

    async def _speak(self, verb: twiml.Say | twiml.Play) -> None:
        """Speak a text, or fetch what <Play> names as Twilio would before the caller hears it."""
        ground = self.ground
        if isinstance(verb, twiml.Play) and verb.digits:
            ground.record.note(now(), "digits", verb.digits)
            return
        text = verb.text if isinstance(verb, twiml.Say) else verb.url
        ground.record.note(now(), "heard", text)
        ground.emit(NetworkSpeaks(now_s=now(), text=text))
        if isinstance(verb, twiml.Say):
            ground.report.said.append(text)
            return
        ground.report.played.append(text)
        if (notice := await ground.hooks.fetch_audio(text)) is not None:
            ground.report.notices.append(notice)

    async def _dial(self, verb: twiml.Dial) -> list[twiml.Verb] | None:
        ground = self.ground
        ground.report.ended = Ended.TRANSFERRED
        told = {"DialCallStatus": ground.options.dial_status, "DialBridged": "false"}
        if ground.exchange is not None:
            told = await ground.exchange.dial(self, verb)
        if verb.action is None or self._ended_by is not None:
            return None
        # An update leaves a <Dial> with its action asked and the answer thrown away:
        # https://github.com/qisoft/i-hate-making-calls/issues/25 (measured 2026-08-28).
        return await self.document(verb.action, told)

    async def _connect(self, verb: twiml.Connect) -> list[twiml.Verb] | None:
        end = await self._stream(verb)
        if self.left:
            return None
        if end is LegEnd.CALLER_HUNG_UP:
            self.end(self._at_last if now() >= self.hang_up_at else HungUpBy.PERSON)
        elif end is LegEnd.VIOLATION:
            self.end(HungUpBy.NETWORK)
        elif verb.action is not None:
            return await self.document(verb.action)
        return None

    async def _stream(self, verb: twiml.Connect) -> LegEnd | None:
        """Open the media stream that a <Connect> asks for; None where it did not open."""
        ground, options = self.ground, self.ground.options
        low, high = START_DELAY_S
        delay = self._random.uniform(low, high)
        if options.start_delay_s is not None:
            delay = options.start_delay_s
        record = LegReport("MZ" + secrets.token_hex(16), verb.stream_url, 0.0)
        leg = self._leg_of(record)
        headers = {
            "Host": urlsplit(verb.stream_url).netloc,
            "User-Agent": "Twilio.TmeWs/1.0",
            "Accept-Encoding": "gzip",
            **ground.hooks.signature(verb.stream_url, {}, options.upgrade_token),
        }
        ground.report.legs.append(record)
        if self.line_answered_at is None:
            self.line_answered_at = self._answered_at
        times = (self._answered_at + delay, self.hang_up_at)
        url = ground.hooks.reachable(verb.stream_url)
        parameters = verb.parameters if options.parameters is None else options.parameters
        self._leg = leg
        ground.record.connect(now(), "agent", "stream")
        try:
            end = await leg.run(url, headers, parameters, times, ground.ticker)
        except HandshakeRefused as refused:
            code = 31902 if refused.status is None else 31920
            ground.report.notices.append(Notice(code, f"{refused} ({verb.stream_url})"))
            ground.report.ended = Ended.STREAM_REFUSED
            return None
        finally:
            self._leg = None
            ground.record.disconnect(now(), "agent")
        self.lateness += leg.lateness
        ground.report.ended = {
            LegEnd.SERVER_CLOSED: Ended.AGENT_HUNG_UP,
            LegEnd.CALLER_HUNG_UP: Ended.CALLER_HUNG_UP,
            LegEnd.LOST: Ended.LINE_LOST,
            LegEnd.VIOLATION: Ended.VIOLATION,
            LegEnd.TAKEN_AWAY: Ended.AGENT_HUNG_UP,
        }[end]
        return end

    def _leg_of(self, record: LegReport) -> Leg:
        ground, options = self.ground, self.ground.options
        writer = StreamWriter(
            account_sid=options.account_sid,
            call_sid=options.call_sid,
            stream_sid=record.stream_sid,
            first_ms=self._random.randint(5, 120),
        )
        written = [*options.faults, *([] if options.fault is None else [options.fault])]
        seed = str(self._random.random() if options.seed is None else options.seed)
        bad_line = BadLine(written, seed, len(ground.report.legs) + 1) if written else None
        return Leg(record, writer, ground.phone, ground.report, ground.emit, bad_line)


def _rings_on(verb: twiml.Verb) -> bool:
    return isinstance(verb, twiml.Dial) and verb.answer_on_bridge
