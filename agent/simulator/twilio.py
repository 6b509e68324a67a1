"""The stand-in for Twilio: places one telephone call, exactly as Twilio would.

    webhook (signed POST) -> TwiML -> <Connect><Stream> -> WebSocket (signed) -> the stream's end
      -> the action URL (signed POST) or the next verb -> ... -> the call's end -> status callback

Sources: Twilio, "TwiML for Programmable Voice", "Media Streams", "Security" and the error pages.
"""

from __future__ import annotations

import random
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import aiohttp

from agent.simulator import twiml
from agent.simulator.bad_line import BadLine
from agent.simulator.clock import now, sleep_until
from agent.simulator.leg import Leg, LegEnd
from agent.simulator.media_stream import StreamWriter
from agent.simulator.report import (
    CallEnded,
    CallPlaced,
    CallReport,
    Ended,
    LegReport,
    NetworkSpeaks,
    Notice,
    RuleBroken,
    TwimlAnswered,
)
from agent.simulator.signature import sign
from agent.simulator.wire import HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.simulator.phone import Phone
    from agent.simulator.report import AnyCallEvent
    from agent.simulator.ticker import Ticker

WEBHOOK_S = 15.0
"""Twilio's limit for the whole answer (error 11200)."""
CONNECT_S = 5.0
START_DELAY_S = (0.1, 0.3)
"""`start` comes this long after the TwiML: a range, drawn from the seed."""
VERBS_MAX = 50
"""A document that redirects to itself ends here, not never."""


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """Who calls whom, and how.

    Attributes:
        url: where to connect. http(s): the voice webhook (an origin alone means its
            `/twilio/voice`). ws(s): a media stream directly, with no webhook.
        public_url: the origin that Twilio would see, which is what gets signed; None: that of `url`.
        auth_token: signs every request; empty signs nothing.
        status_path: where the call's end is reported; None reports nothing.
        upgrade_token: signs the WebSocket upgrade in place of `auth_token`; empty leaves it
            unsigned.
        parameters: custom parameters of `start` in place of the TwiML's.
        fault: a fault of the line (see `bad_line`). faults: more of them.
        start_delay_s: fixed delay of `start`; None draws 0.1 to 0.3 s from `seed`.
        dial_status: how a <Dial> ends here, where nobody else can be called.
        max_seconds: the caller hangs up after this.
    """

    url: str
    public_url: str | None = None
    auth_token: str = field(default="", repr=False)
    upgrade_token: str | None = field(default=None, repr=False)
    account_sid: str = "AC" + "0" * 32
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    from_number: str = "+12025550143"
    to_number: str = "+12025550100"
    status_path: str | None = None
    parameters: dict[str, str] | None = None
    fault: str | None = None
    faults: tuple[str, ...] = ()
    seed: int | None = None
    start_delay_s: float | None = None
    dial_status: str = "no-answer"
    max_seconds: float = 60.0


class WebhookFailed(Exception):
    """No TwiML came: Twilio would play "an application error has occurred"."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.notice = Notice(code, detail)


def origin(url: str) -> str:
    """Scheme and authority, a WebSocket's as its HTTP sibling's."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


class TelephoneCall:
    """One call, from the ringing to its end; `run` once."""

    def __init__(
        self,
        options: CallOptions,
        phone: Phone,
        ticker: Ticker,
        emit: Callable[[AnyCallEvent], None],
    ) -> None:
        self._options = options
        self._phone = phone
        self._ticker = ticker
        self._emit = emit
        self._reach = origin(options.url)
        self._public = (options.public_url or self._reach).rstrip("/")
        self._random = random.Random(options.seed)
        self._status = "ringing"
        self._answered_at = 0.0
        self._line_answered_at: float | None = None  # by the TwiML that opened the first stream
        self._lateness: list[float] = []
        self.report = CallReport(call_sid=options.call_sid, ended=Ended.REJECTED)

    async def run(self) -> CallReport:
        """Place the call and hold it until it has ended."""
        begun = now()
        options = self._options
        timeout = aiohttp.ClientTimeout(total=WEBHOOK_S, connect=CONNECT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            self._emit(CallPlaced(now_s=begun, call_sid=options.call_sid, url=options.url))
            try:
                await self._hold(http, begun + options.max_seconds)
            except twiml.TwimlError as error:
                self.report.violations.append(error.violation)
                self._emit(RuleBroken(now_s=now(), violation=error.violation))
                self.report.ended = Ended.VIOLATION
            except WebhookFailed as failure:
                self.report.notices.append(failure.notice)
                self.report.ended = Ended.WEBHOOK_FAILED
            self._finish(now() - begun)
            if options.status_path is not None:
                await self._report_status(http, options.status_path)
        self._emit(CallEnded(now_s=now(), how=self.report.ended, seconds=self.report.seconds))
        return self.report

    async def _hold(self, http: aiohttp.ClientSession, hang_up_at: float) -> None:
        """Run verbs until none is left or one ends the call."""
        url = self._options.url
        if urlsplit(url).scheme in {"ws", "wss"}:
            twiml.check_stream_url(url)
            self._answered_at = now()
            public = self._public.replace("http", "ws", 1) + urlsplit(url).path
            await self._stream(twiml.Connect(public, {}, None), hang_up_at)
            return
        path = urlsplit(url).path
        path = "/twilio/voice" if path in {"", "/"} else url.removeprefix(self._reach)
        verbs = deque(await self._document(http, self._public + path))
        self._status = "in-progress"
        for _ in range(VERBS_MAX):
            if not verbs or now() >= hang_up_at:
                return
            verb = verbs.popleft()
            if isinstance(verb, twiml.Hangup):
                return
            following = await self._execute(http, verb, hang_up_at)
            if following is not None:
                verbs = deque(following)
        raise WebhookFailed(11200, f"more than {VERBS_MAX} verbs: the TwiML goes round in circles")

    async def _execute(
        self, http: aiohttp.ClientSession, verb: twiml.Verb, hang_up_at: float
    ) -> list[twiml.Verb] | None:
        """Run one verb; returns the document to go on with, or None for the present one."""
        match verb:
            case twiml.Say(text=text):
                self.report.said.append(text)
                self._emit(NetworkSpeaks(now_s=now(), text=text))
            case twiml.Play(url=url):
                await self._play(http, url)
            case twiml.Pause(seconds=seconds):
                await sleep_until(min(now() + seconds, hang_up_at))
            case twiml.Redirect(url=url):
                return await self._document(http, url)
            case twiml.Dial(action=action):
                self.report.ended = Ended.TRANSFERRED
                if action is not None:
                    status = {"DialCallStatus": self._options.dial_status}
                    return await self._document(http, action, status)
            case twiml.Connect(action=action):
                end = await self._stream(verb, hang_up_at)
                if end in {LegEnd.CALLER_HUNG_UP, LegEnd.VIOLATION}:
                    return []
                if action is not None:
                    return await self._document(http, action)
            case _:  # <Reject>
                self.report.ended = Ended.REJECTED
                return []
        return None

    async def _stream(self, verb: twiml.Connect, hang_up_at: float) -> LegEnd | None:
        """Open the media stream that a <Connect> asks for; None where it did not open."""
        options = self._options
        low, high = START_DELAY_S
        delay = self._random.uniform(low, high)
        if options.start_delay_s is not None:
            delay = options.start_delay_s
        record = LegReport("MZ" + secrets.token_hex(16), verb.stream_url, 0.0)
        writer = StreamWriter(
            account_sid=options.account_sid,
            call_sid=options.call_sid,
            stream_sid=record.stream_sid,
            first_ms=self._random.randint(5, 120),
        )
        written = [*options.faults, *([] if options.fault is None else [options.fault])]
        seed = str(self._random.random() if options.seed is None else options.seed)
        bad_line = BadLine(written, seed, len(self.report.legs) + 1) if written else None
        leg = Leg(record, writer, self._phone, self.report, self._emit, bad_line)
        headers = {
            "Host": urlsplit(verb.stream_url).netloc,
            "User-Agent": "Twilio.TmeWs/1.0",
            "Accept-Encoding": "gzip",
            **self._signature(verb.stream_url, {}, options.upgrade_token),
        }
        self.report.legs.append(record)
        if self._line_answered_at is None:
            self._line_answered_at = self._answered_at
        times = (self._answered_at + delay, hang_up_at)
        try:
            url = self._reachable(verb.stream_url)
            parameters = verb.parameters if options.parameters is None else options.parameters
            end = await leg.run(url, headers, parameters, times, self._ticker)
        except HandshakeRefused as refused:
            code = 31902 if refused.status is None else 31920
            self.report.notices.append(Notice(code, f"{refused} ({verb.stream_url})"))
            self.report.ended = Ended.STREAM_REFUSED
            return None
        self._lateness += leg.lateness
        self.report.ended = {
            LegEnd.SERVER_CLOSED: Ended.AGENT_HUNG_UP,
            LegEnd.CALLER_HUNG_UP: Ended.CALLER_HUNG_UP,
            LegEnd.LOST: Ended.LINE_LOST,
            LegEnd.VIOLATION: Ended.VIOLATION,
        }[end]
        return end

    async def _document(
        self, http: aiohttp.ClientSession, url: str, more: Mapping[str, str] | None = None
    ) -> list[twiml.Verb]:
        """POST a webhook and read its TwiML.

        Raises:
            WebhookFailed: 11200 not 200 (a redirect neither: its signature would be another's),
                11205 no answer in time.
            TwimlError: the document breaks a rule.
        """
        asked = now()
        status, content_type, body = await self._post(http, url, self._params(more or {}))
        self._answered_at = now()
        if status != 200:
            raise WebhookFailed(11200, f"HTTP {status} from {url}")
        verbs = twiml.parse(body, content_type, url)
        after_ms = (self._answered_at - asked) * 1000
        if self.report.twiml_ms is None:
            self.report.twiml_ms = after_ms
        names = [type(verb).__name__ for verb in verbs]
        self._emit(TwimlAnswered(now_s=self._answered_at, url=url, after_ms=after_ms, verbs=names))
        return verbs

    async def _post(
        self, http: aiohttp.ClientSession, url: str, params: dict[str, str]
    ) -> tuple[int, str, bytes]:
        headers = {
            "Host": urlsplit(url).netloc,
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "Accept": "*/*",
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
            **self._signature(url, params),
        }
        try:
            async with http.post(
                self._reachable(url), data=urlencode(params), headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WebhookFailed(11205, f"no answer from {url}: {error!r}") from error

    async def _play(self, http: aiohttp.ClientSession, url: str) -> None:
        """Fetch what <Play> names, as Twilio would before the caller hears it."""
        self.report.played.append(url)
        self._emit(NetworkSpeaks(now_s=now(), text=url))
        try:
            async with http.get(self._reachable(url)) as answer:
                kind = answer.headers.get("Content-Type", "")
                if answer.status != 200 or not kind.startswith("audio/"):
                    self.report.notices.append(Notice(11200, f"<Play>: {answer.status} {kind}"))
        except (aiohttp.ClientError, TimeoutError) as error:
            self.report.notices.append(Notice(11205, f"<Play>: no answer from {url}: {error!r}"))

    async def _report_status(self, http: aiohttp.ClientSession, path: str) -> None:
        """Tell the status callback that the call is over; its answer changes nothing."""
        failed = self.report.ended is Ended.WEBHOOK_FAILED
        self._status = "failed" if failed else "completed"
        params = self._params(
            {
                "CallDuration": str(round(self.report.seconds)),
                "Duration": str(-(-round(self.report.seconds) // 60)),
                "CallbackSource": "call-progress-events",
                "SequenceNumber": "0",
            }
        )
        try:
            status, _, _ = await self._post(http, self._public + path, params)
        except WebhookFailed as failure:
            self.report.notices.append(failure.notice)
            return
        if status >= 300:
            self.report.notices.append(Notice(11200, f"HTTP {status} from the status callback"))

    def _params(self, more: Mapping[str, str]) -> dict[str, str]:
        """The form of a voice webhook, empty fields included."""
        options = self._options
        params = {
            "CallSid": options.call_sid,
            "AccountSid": options.account_sid,
            "From": options.from_number,
            "To": options.to_number,
            "Caller": options.from_number,
            "Called": options.to_number,
            "CallStatus": self._status,
            "ApiVersion": "2010-04-01",
            "Direction": "inbound",
            "StirVerstat": "TN-Validation-Passed-A",
        }
        for who in ("From", "Caller", "To", "Called"):
            params |= {f"{who}City": "WASHINGTON" if who in {"From", "Caller"} else ""}
            params |= {f"{who}State": "DC", f"{who}Zip": "", f"{who}Country": "US"}
        return params | dict(more)

    def _signature(
        self, url: str, params: Mapping[str, str], other_token: str | None = None
    ) -> dict[str, str]:
        token = self._options.auth_token if other_token is None else other_token
        return {"X-Twilio-Signature": sign(token, url, params)} if token else {}

    def _reachable(self, url: str) -> str:
        """Where to connect for a public URL: other hosts' are left as they are."""
        if origin(url) != origin(self._public):
            return url
        there = urlsplit(self._reach)
        secure = there.scheme == "https"
        scheme = ("wss" if secure else "ws") if url.startswith("ws") else there.scheme
        return urlsplit(url)._replace(scheme=scheme, netloc=there.netloc).geturl()

    def _finish(self, seconds: float) -> None:
        """Fill the report from what the phone heard and said."""
        report = self.report
        report.seconds = seconds
        late = sorted(self._lateness)
        if late:
            report.late_ms_max = late[-1] * 1000
            report.late_ms_p99 = late[len(late) * 99 // 100] * 1000
        ear, caller = self._phone.ear, self._phone.caller
        if ear is None or caller is None:
            return
        report.spoken = caller.spoken
        report.heard = ear.attention.heard
        report.clears, report.marks = ear.clears, ear.marks
        report.underruns, report.media = ear.underruns, ear.media
        report.buffered_peak_ms = ear.buffered_peak / 8
        if report.start_now_s is None or self._line_answered_at is None:
            return
        start_s = report.start_now_s - self._line_answered_at
        report.start_delay_ms = start_s * 1000
        if ear.media:
            report.first_frame_ms = (start_s + ear.media[0].at_s) * 1000
        if report.heard:
            report.first_word_ms = (start_s + report.heard[0].start_s) * 1000
