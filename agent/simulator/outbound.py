"""A call that the phone network places for its customer: from the order to the last status callback.

    queued -> initiated -> ringing -> in-progress -> completed
                       |          +-> busy | no-answer | canceled
                       +-> failed | canceled

Source: Twilio, "Call resource" (statuses, `StatusCallbackEvent`) and "Answering Machine Detection".
"""

from __future__ import annotations

import asyncio
from collections import deque
from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec

from agent.simulator import amd
from agent.simulator.answering_machine import AnsweringMachine
from agent.simulator.callee import SIP_CODES
from agent.simulator.cdr import CallRecord, HungUpBy
from agent.simulator.clock import Owner, now, wall
from agent.simulator.earpiece import RATE_HZ, Sounds
from agent.simulator.phone import Phone
from agent.simulator.program import Ground, Program
from agent.simulator.report import CallEnded, CallPlaced, CallReport, Ended
from agent.simulator.twilio import fill, supervised
from agent.simulator.twiml import Play, Verb
from agent.simulator.webhooks import webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.amd import Detection
    from agent.simulator.call_options import CallOptions
    from agent.simulator.callee import Callee, Verdict
    from agent.simulator.phone import Mouth
    from agent.simulator.program import Exchange
    from agent.simulator.report import AnyCallEvent
    from agent.simulator.ticker import Ticker
    from agent.simulator.webhooks import Webhooks

SETUP_S = 0.05
"""From `initiated` to `ringing`."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer asked for, or what a <Dial> asks for.

    Attributes:
        verbs: run when it is answered; a `Redirect` where the TwiML is to be asked for.
        events: those that are told to `status_callback`: initiated, ringing, answered, completed.
        direction: `outbound-api` or `outbound-dial`; then `parent_sid` is whose <Dial> it is.
        bridged: what is run is a whisper: behind it the party is connected to whoever dialled.
    """

    to: str
    from_: str
    verbs: tuple[Verb, ...] = ()
    status_callback: str = ""
    events: frozenset[str] = frozenset({"completed"})
    detection: amd.Detection | None = None
    timeout_s: float = 60.0
    time_limit_s: float = 14_400.0
    send_digits: str = ""
    direction: str = "outbound-api"
    parent_sid: str = ""
    bridged: bool = False


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """How badly callbacks are delivered: each `twice`, each pair of them `swapped`."""

    twice: bool = False
    swapped: bool = False


class Progress:
    """Tells a call's status callback what happens, one thing after the other (or worse: see `Post`)."""

    def __init__(
        self, hooks: Webhooks, order: Order, report: CallReport, owner: Owner, post: Post
    ) -> None:
        self._hooks = hooks
        self._order = order
        self._report = report
        self._owner = owner
        self._post = post
        self._held: dict[str, str] | None = None  # the first of a pair that is to be swapped
        self._waiting: deque[dict[str, str]] = deque()  # one of each event
        self._told = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def tell(self, event: str, form: dict[str, str]) -> None:
        """Queue an event, if it was asked for; `form` tells the call as it is now."""
        order = self._order
        if not order.status_callback or event not in order.events:
            return
        more = {
            "Timestamp": formatdate(wall(), usegmt=False),
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(self._told),
        }
        self._told += 1
        if self._post.swapped and self._held is None and event != "completed":
            self._held = form | more
            return
        self._queue(form | more)
        self._flush()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._queue(held)

    def _queue(self, form: dict[str, str]) -> None:
        self._waiting.extend([form] * (1 + self._post.twice))
        if self._idle.is_set():
            self._idle.clear()
            self._owner.start(self._send(), "status-callbacks")

    async def drained(self) -> None:
        """Wait until everything was told."""
        await self._idle.wait()

    async def _send(self) -> None:
        while self._waiting:
            form = self._waiting.popleft()
            if (notice := await self._hooks.tell(self._order.status_callback, form)) is not None:
                self._report.notices.append(notice)
        self._idle.set()


class OutboundCall:
    """One call to a number; `run` once.

    Attributes:
        record: what the phone network knows of it.
        program: None before it is answered.
        bridgeable: it was answered, and the whisper is over.
    """

    def __init__(  # noqa: PLR0913  # it is put together in one place
        self,
        order: Order,
        callee: Callee,
        options: CallOptions,
        ticker: Ticker,
        emit: Callable[[AnyCallEvent], None],
        exchange: Exchange,
        post: Post = Post(),  # noqa: B008  # frozen
    ) -> None:
        self.order = order
        self._callee = callee
        self._options = options
        self._ticker = ticker
        self._emit = emit
        self._exchange = exchange
        self._post = post
        self._canceled = asyncio.Event()
        self._answered_at = 0.0
        self.changed: Callable[[], None] | None = None  # told when the two below change, or it ends
        self.bridgeable = False
        self.program: Program | None = None
        self.phone = Phone(callee.utterances, callee.manners, Sounds(), Sounds())
        self.phone.keys.extend(callee.keys)
        self.phone.talk_s = callee.talk_s
        if callee.kind != "human":
            self.phone.mouth = self._machine
        self.report = CallReport(call_sid=options.call_sid, ended=Ended.NOT_ANSWERED)
        self.record = CallRecord(
            sid=options.call_sid,
            account_sid=options.account_sid,
            from_=order.from_,
            to=order.to,
            direction=order.direction,
            parent_sid=order.parent_sid,
            created_wall_s=wall(),
        )

    def cancel(self) -> None:
        """Ring no longer; nothing happens once it was answered."""
        self._canceled.set()

    async def run(self, placed_at: float) -> None:
        """Place the call at a time, and hold it until it has ended."""
        options, order = self._options, self.order
        async with (
            webhooks(options.auth_token, options.url, options.public_url) as hooks,
            Owner() as owner,
        ):
            ground = Ground(
                options,
                self.record,
                self.report,
                self.phone,
                self._ticker,
                self._emit,
                hooks,
                self._exchange,
            )
            progress = Progress(hooks, order, self.report, owner, self._post)
            self._emit(CallPlaced(now_s=now(), call_sid=options.call_sid, url=order.to))
            outcome = await self._ring(ground, progress, placed_at)
            if outcome == "answers":
                await self._talk(ground, progress, owner)
                outcome = "completed"
            self._close(outcome)
            progress.tell("completed", ground.form(self._closing()))
            self._emit(CallEnded(now_s=now(), how=self.report.ended, seconds=self.report.seconds))
            await progress.drained()

    # ---- the ringing

    async def _ring(self, ground: Ground, progress: Progress, placed_at: float) -> str:
        """Let it ring; returns `answers`, or the status that it ends with."""
        callee = self._callee
        if not await self._pass(placed_at - now()):
            return "canceled"
        self._status("initiated")
        progress.tell("initiated", ground.form())
        if not await self._pass(SETUP_S):
            return "canceled"
        if callee.outcome == "failed":
            return "failed"
        self._status("ringing")
        progress.tell("ringing", ground.form())
        rings = min(callee.after_s, self.order.timeout_s)
        if not await self._pass(rings):
            return "canceled"
        return "no-answer" if callee.after_s > self.order.timeout_s else callee.outcome

    async def _pass(self, seconds: float) -> bool:
        """Let time pass; False where the call was cancelled meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._canceled.wait()
        except TimeoutError:
            pass  # or it was cancelled in the very moment in which the time was up
        return not self._canceled.is_set()

    def _status(self, status: str) -> None:
        self.record.status = status
        self.record.note(now(), "status", status)
        if self.changed is not None:
            self.changed()

    # ---- the conversation

    async def _talk(self, ground: Ground, progress: Progress, owner: Owner) -> None:
        """Somebody picked up: run what was ordered, until the call's end."""
        at = self._answered_at = now()
        order, detection = self.order, self.order.detection
        self.report.ended = Ended.AGENT_HUNG_UP
        until = at + order.time_limit_s
        self.program = program = Program(ground, until, at, at_last=HungUpBy.TIME_LIMIT)
        self.record.answered_wall_s = wall()
        self._status("in-progress")
        progress.tell("answered", ground.form())
        verbs = list(order.verbs)
        if order.send_digits:
            verbs.insert(0, Play("", order.send_digits))
        over = asyncio.Event()
        detecting = None
        if detection is not None and detection.asynchronous:
            name = f"{self.record.sid}-amd"
            detecting = owner.start(self._tell_verdict(ground, detection, over), name)
        elif detection is not None:
            found = amd.verdict(self._callee, detection)
            await program.wait(at + found.at_s)
            self._found(found)
        self.record.hung_up_by = await supervised(program, self._speak(program, verbs))
        over.set()
        if detecting is not None:
            await detecting
        self.report.seconds = now() - at
        fill(self.report, self.phone, program)

    async def _speak(self, program: Program, verbs: list[Verb]) -> HungUpBy | None:
        by = await program.run(verbs)
        if by is not None or not self.order.bridged:
            return by
        self.bridgeable = True
        if self.changed is not None:
            self.changed()
        talk_s = self.phone.talk_s
        await program.wait(float("inf") if talk_s is None else now() + talk_s)
        self.bridgeable = False
        if self.changed is not None:
            self.changed()
        return await program.run([]) if program.left else HungUpBy.PERSON

    async def _tell_verdict(
        self, ground: Ground, detection: Detection, over: asyncio.Event
    ) -> None:
        """Find out who answered, and tell, unless the call is over sooner."""
        found = amd.verdict(self._callee, detection)
        try:
            async with asyncio.timeout(found.at_s):
                await over.wait()
        except TimeoutError:
            self._found(found)
        if not self.record.answered_by or not detection.url:
            return
        told = {
            "CallSid": self.record.sid,
            "AccountSid": self.record.account_sid,
            "AnsweredBy": found.answered_by,
            "MachineDetectionDuration": str(round(found.at_s * 1000)),
        }
        for _ in range(1 + self._post.twice):
            if (notice := await ground.hooks.tell(detection.url, told)) is not None:
                self.report.notices.append(notice)

    def _found(self, found: Verdict) -> None:
        self.record.answered_by = found.answered_by
        self.record.note(now(), "detected", found.answered_by)

    def _machine(self, at: float, said: Sounds | None) -> Mouth:
        lead = max(0, round((at - self._answered_at) * RATE_HZ))
        machine = AnsweringMachine(self._callee, lead, said)
        self.report.beep_s = machine.beep_end / RATE_HZ
        return machine

    # ---- the end

    def _close(self, status: str) -> None:
        record = self.record
        record.ended_wall_s = wall()
        if record.answered_wall_s is None:
            record.sip_code = self._callee.sip_code or SIP_CODES.get(status, 487)
        if status == "canceled":
            record.hung_up_by = HungUpBy.OTHER_PARTY if self.order.parent_sid else HungUpBy.API
        self.report.hung_up_by = record.hung_up_by
        record.note(now(), "hung up", record.hung_up_by)
        self._status(status)

    def _closing(self) -> dict[str, str]:
        """What the last callback tells besides."""
        record = self.record
        told = {
            "CallDuration": str(record.seconds),
            "Duration": str(-(-record.seconds // 60)),
            "SipResponseCode": str(record.sip_code or 200),
        }
        return told | ({"AnsweredBy": record.answered_by} if record.answered_by else {})
