"""The stand-in for Twilio: places one telephone call, exactly as Twilio would.

    webhook (signed POST) -> TwiML -> <Connect><Stream> -> WebSocket (signed) -> the stream's end
      -> the action URL (signed POST) or the next verb -> ... -> the call's end -> status callback

Sources: Twilio, "TwiML for Programmable Voice", "Media Streams", "Security" and the error pages.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.simulator import tones, twiml
from agent.simulator.cdr import CallRecord, HungUpBy
from agent.simulator.clock import now, wall
from agent.simulator.program import Ground, Program
from agent.simulator.report import CallEnded, CallPlaced, CallReport, Ended, RuleBroken
from agent.simulator.webhooks import WebhookFailed, origin, webhooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.simulator.call_options import CallOptions
    from agent.simulator.phone import Phone
    from agent.simulator.program import Exchange
    from agent.simulator.report import AnyCallEvent
    from agent.simulator.ticker import Ticker
    from agent.simulator.webhooks import Webhooks


class TelephoneCall:
    """One call, from the ringing to its end; `run` once."""

    def __init__(
        self,
        options: CallOptions,
        phone: Phone,
        ticker: Ticker,
        emit: Callable[[AnyCallEvent], None],
        network: Exchange | None = None,
    ) -> None:
        """Prepare a call.

        Args:
            options: who calls whom, and how.
            phone: the caller's.
            ticker: what drives the frames.
            emit: told what happens; must not block.
            network: knows the call while it lasts, so that it can be updated and transferred.
        """
        self._options = options
        self._phone = phone
        self._ticker = ticker
        self._emit = emit
        self._network = network
        self._reach = origin(options.url)
        self.report = CallReport(call_sid=options.call_sid, ended=Ended.REJECTED)
        self.record = CallRecord(
            sid=options.call_sid,
            account_sid=options.account_sid,
            from_=options.from_number,
            to=options.to_number,
            status="ringing",
            created_wall_s=wall(),
        )
        self.program: Program | None = None

    async def run(self) -> CallReport:
        """Place the call and hold it until it has ended."""
        begun = now()
        options, record = self._options, self.record
        public = options.public_url
        async with webhooks(options.auth_token, self._reach, public) as hooks:
            ground = Ground(
                options,
                record,
                self.report,
                self._phone,
                self._ticker,
                self._emit,
                hooks,
                self._network,
            )
            self.program = Program(ground, begun + options.max_seconds, begun)
            self._emit(CallPlaced(now_s=begun, call_sid=options.call_sid, url=options.url))
            record.note(begun, "ringing")
            with self._known():
                record.hung_up_by = await supervised(self.program, self._hold(self.program, hooks))
            self._finish(now() - begun, self.program)
            if options.status_path is not None:
                await self._report_status(ground, hooks.public + options.status_path)
        self._emit(CallEnded(now_s=now(), how=self.report.ended, seconds=self.report.seconds))
        return self.report

    def _known(self) -> AbstractContextManager[None]:
        return nullcontext() if self._network is None else self._network.carrying(self)

    async def _hold(self, program: Program, hooks: Webhooks) -> HungUpBy | None:
        """Ring, be answered by the first document, and run what it says."""
        url = self._options.url
        if urlsplit(url).scheme in {"ws", "wss"}:
            twiml.check_stream_url(url)
            public = hooks.public.replace("http", "ws", 1) + urlsplit(url).path
            return await program.run([twiml.Connect(public, {}, None)])
        path = urlsplit(url).path
        path = "/twilio/voice" if path in {"", "/"} else url.removeprefix(self._reach)
        return await program.run(await program.document(hooks.public + path))

    async def _report_status(self, ground: Ground, url: str) -> None:
        """Tell the status callback that the call is over; its answer changes nothing."""
        seconds = self.report.seconds
        notice = await ground.hooks.tell(
            url,
            ground.form(
                {
                    "CallDuration": str(round(seconds)),
                    "Duration": str(-(-round(seconds) // 60)),
                    "CallbackSource": "call-progress-events",
                    "SequenceNumber": "0",
                }
            ),
        )
        if notice is not None:
            self.report.notices.append(notice)

    def _finish(self, seconds: float, program: Program) -> None:
        """Close the record, and fill the report from what the phone heard and said."""
        report = self.report
        report.seconds = seconds
        if not self.record.over:
            failed = report.ended is Ended.WEBHOOK_FAILED
            self.record.status = "failed" if failed else "completed"
        self.record.ended_wall_s = wall()
        self.record.note(now(), "hung up", self.record.hung_up_by)
        report.hung_up_by = self.record.hung_up_by
        fill(report, self._phone, program)


async def supervised(program: Program, running: Awaitable[HungUpBy | None]) -> HungUpBy:
    """Run a call's program; what Twilio would stop it for is in the report, not raised."""
    ground = program.ground
    try:
        return await running or HungUpBy.TWIML
    except twiml.TwimlError as error:
        ground.report.violations.append(error.violation)
        ground.emit(RuleBroken(now_s=now(), violation=error.violation))
        ground.report.ended = Ended.VIOLATION
    except WebhookFailed as failure:
        ground.report.notices.append(failure.notice)
        ground.report.ended = Ended.WEBHOOK_FAILED
    return HungUpBy.NETWORK


def fill(report: CallReport, phone: Phone, program: Program) -> None:
    """Fill a report from what the phone heard and said."""
    late = sorted(program.lateness)
    if late:
        report.late_ms_max = late[-1] * 1000
        report.late_ms_p99 = late[len(late) * 99 // 100] * 1000
    ear, caller = phone.ear, phone.caller
    if ear is None or caller is None:
        return
    report.spoken = caller.spoken
    report.heard = ear.attention.heard
    if ear.sounds is not None and program.ground.options.decode_keys:
        report.keys_heard = tones.keys(ear.sounds.mulaw())
    report.clears, report.marks = ear.clears, ear.marks
    report.underruns, report.media = ear.underruns, ear.media
    report.buffered_peak_ms = ear.buffered_peak / 8
    if report.start_now_s is None or program.line_answered_at is None:
        return
    start_s = report.start_now_s - program.line_answered_at
    report.start_delay_ms = start_s * 1000
    if ear.media:
        report.first_frame_ms = (start_s + ear.media[0].at_s) * 1000
    if report.heard:
        report.first_word_ms = (start_s + report.heard[0].start_s) * 1000
