"""A softphone: one call with real SIP and RTP, and a caller who reacts.

SIP and RTP are baresip's (the extra `sip`), which runs once in a process: a call a process. Sources:
RFC 3261 (SIP), RFC 3550 and 3551 (RTP and its audio profile), RFC 4733 (keys).
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.errors import UserError
from agent.simulator.clock import Owner, now, sleep_until
from agent.simulator.handset import Handset
from agent.simulator.phone import SILENCE, Manners, Phone, Utterance
from agent.simulator.report import CallEnded, CallPlaced, Ended
from agent.simulator.softphone_report import Answered, KeyArrived, SipEvent, SoftphoneReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from baresip import Call, Runtime, StackEvent

    from agent.simulator.caller import CallAudio

PERIOD_S = 0.01
READ_BYTES = 6400
"""More than can have arrived between two ticks: 200 ms at 16 kHz."""
CLOSING_S = 3.0
"""How long the other side may take to answer our BYE."""
KEY_GAP_MS = 200
KEY_SECONDS = 0.3
"""A key (100 ms) and the gap behind it: INFO says that each lasts 250 ms, and the next comes later."""
RTP_TIMEOUT_S = 10
"""Without a packet for so long, the other side is gone."""
CODECS = {"pcmu": "pcmu", "pcma": "pcma", "g722": "g722/16000/1"}
"""Names as a person writes them, and as the stack does."""
ADDRESS = re.compile(
    r"sip:(?P<user>[^@:;\s<>\"]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^:;@\s<>\"\[\]]+)"
    r"(?::(?P<port>\d{1,5}))?(?P<parameters>(?:;[^\s<>\"]+)?)"
)
NEEDS = "a call by SIP needs the extra `sip`: pip install 'pickup[sip]'"


@dataclass(frozen=True, kw_only=True)
class SoftphoneOptions:
    """A call by SIP and what the caller does in it.

    Attributes:
        to: whom to call: `sip:user@host[:port]`.
        transport: of the signalling.
        codecs: offered, the best one first.
        user: who calls, and whose password answers a challenge.
        headers: more of the INVITE's.
        keys_by: how keys travel: telephone events (RFC 4733) or INFO.
        ring_s: how long it may ring; max_seconds: after so long the caller hangs up.
    """

    to: str
    transport: Literal["udp", "tcp"] = "udp"
    codecs: tuple[str, ...] = ("pcmu", "pcma")
    user: str = "caller"
    password: str = field(default="", repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    keys_by: Literal["rtpevent", "info"] = "rtpevent"
    ring_s: float = 30.0
    max_seconds: float = 60.0
    utterances: tuple[Utterance, ...] = ()
    manners: Manners = Manners()


class Address(NamedTuple):
    """Where a call goes.

    Attributes:
        uri: as it is dialled.
        local: our own address on the way there.
    """

    uri: str
    local: str


def address(to: str, transport: str) -> Address:
    """Read whom to call, and find out from where.

    Raises:
        UserError: it is no SIP address, or there is no way to it.
    """
    match = ADDRESS.fullmatch(to)
    port = int(match["port"] or 5060) if match else 0
    if match is None or not 0 < port < 65_536:
        raise UserError(f"'{to}' is not sip:USER@HOST[:PORT]")
    host = match["host"].strip("[]")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as way:
            way.connect(place)  # sends nothing: it only picks the way
            local = str(way.getsockname()[0])
    except OSError as error:
        raise UserError(f"no way to {host} port {port}: {error}") from error
    parameters = match["parameters"]
    if transport != "udp" and "transport=" not in parameters:
        parameters += f";transport={transport}"
    return Address(f"sip:{match['user']}@{match['host']}:{port}{parameters}", local)


def keys(digits: str) -> Utterance:
    """Press keys, and say nothing meanwhile.

    Raises:
        UserError: not all of them are on a telephone.
    """
    if not re.fullmatch(r"[0-9A-Da-d*#]+", digits):
        raise UserError(f"'{digits}' are not keys of a telephone: 0-9, A-D, * and #")
    seconds = KEY_SECONDS * len(digits)
    return Utterance(
        f"[keys {digits}]", SILENCE * max(1, round(seconds / 0.02)), 0, 0, None, digits
    )


async def run_softphone(
    options: SoftphoneOptions,
    *,
    on_event: Callable[[SipEvent], None] = lambda _: None,
    audio: CallAudio | None = None,
) -> SoftphoneReport:
    """Place one call and hold it to its end; at most one at a time in a process.

    Args:
        options: whom to call, and what is said.
        on_event: told what happens as it happens; must not block.
        audio: filled with what was said and heard; None keeps none of it.

    Returns:
        What the call showed: a call that was refused is in it, not raised.

    Raises:
        UserError: the extra is not installed, there is no such address, or the stack does not start.
    """
    try:
        from baresip import BaresipError, Config, Runtime
    except ImportError as error:
        raise UserError(NEEDS) from error
    where = address(options.to, options.transport)
    said, heard = (audio.said, audio.heard) if audio is not None else (None, None)
    phone = Phone(options.utterances, options.manners, said, heard)
    runtime = Runtime()
    try:
        await runtime.start(
            Config(
                net_interface=where.local,
                native_log_level="error",
                rtp_timeout=RTP_TIMEOUT_S,
                extra_config_text="audio_jitter_buffer_type off\n",  # the phone's ear has its own
            )
        )
        try:
            return await _Call(options, phone, on_event, runtime).run(where)
        finally:
            await runtime.close()
    except BaresipError as error:
        raise UserError(f"the call by SIP cannot be placed: {error}") from error


class _Call:
    """One call of a running stack."""

    def __init__(
        self,
        options: SoftphoneOptions,
        phone: Phone,
        emit: Callable[[SipEvent], None],
        runtime: Runtime,
    ) -> None:
        self._options = options
        self._phone = phone
        self._emit = emit
        self._runtime = runtime
        self._lateness: list[float] = []
        self._hung_up = False
        self._established_at: float | None = None
        self._closed_at: float | None = None
        self._changed = asyncio.Event()
        self.report = SoftphoneReport(to=options.to)

    async def run(self, where: Address) -> SoftphoneReport:
        from baresip import Account, UserAgent

        options, report = self._options, self.report
        domain = f"[{where.local}]" if ":" in where.local else where.local
        account = Account(
            user=options.user,
            domain=domain,
            password=options.password,
            reg_interval=0,
            transport=options.transport,
            audio_codecs=tuple(CODECS[name] for name in options.codecs),
            dtmf_mode=options.keys_by,
            extra_params=("video_codecs=none",),
        )
        agent = await UserAgent.create(self._runtime, account)
        begun = now()
        self._emit(CallPlaced(now_s=begun, call_sid="", url=where.uri))
        # Of the whole stack: an answer may be there before `dial` has returned, and nobody's call then.
        self._runtime.subscribe(self._seen)
        call = await agent.dial(where.uri, options.headers or None)
        with suppress(TimeoutError):
            async with asyncio.timeout(options.ring_s):
                await self._changed.wait()
        if self._established_at is not None:
            await self._hold(call, begun, self._established_at)
        elif self._closed_at is None:
            report.reason = f"not answered within {options.ring_s:g} s"
            await self._hang_up(call)
        else:
            self._refused(report.reason)
        over = self._closed_at or now()
        report.call_id = call.call_id
        report.seconds = over - (begun if report.start_now_s is None else report.start_now_s)
        self._emit(CallEnded(now_s=over, how=report.ended, seconds=report.seconds))
        return report

    def _seen(self, event: StackEvent) -> None:
        from baresip import Event

        if event.event is Event.CALL_ESTABLISHED and self._established_at is None:
            self._established_at = now()
            self._changed.set()
        elif event.event is Event.CALL_CLOSED:
            self._closed_at = now()
            self.report.reason = event.text or ""
            self._changed.set()
        elif event.event is Event.CALL_DTMF_START and event.text:
            self._key(event.text)

    def _refused(self, reason: str) -> None:
        from baresip import CallFailed

        failure = CallFailed.from_close_reason(reason)
        self.report.status, self.report.reason = failure.status, failure.reason or reason
        if failure.status not in {None, 408, 480}:
            self.report.ended = Ended.REJECTED

    async def _hold(self, call: Call, begun: float, answered: float) -> None:
        report = self.report
        report.start_now_s = answered
        report.answer_ms = (answered - begun) * 1000
        self._emit(Answered(now_s=answered, call_id=call.call_id or "", after_ms=report.answer_ms))
        handset = Handset(self._phone, answered)
        async with Owner() as owner:
            await self._talk(call, handset, owner, answered + self._options.max_seconds)
            if self._closed_at is None:
                await self._hang_up(call)
        over = self._closed_at or now()
        for event in [*handset.listen(over), *handset.ear.stream_gone(over)]:
            self._emit(event)
        self._finish(call, handset)

    async def _talk(self, call: Call, handset: Handset, owner: Owner, until: float) -> None:
        """Listen and speak until one side has had enough."""
        deadline = now()
        while self._closed_at is None:
            deadline += PERIOD_S
            await sleep_until(deadline)
            at = now()
            self._lateness.append(at - deadline)
            self._exchange(call, handset, owner)
            for event in handset.listen(at):
                self._emit(event)
            if at >= until or handset.wants_to_hang_up():
                return

    def _exchange(self, call: Call, handset: Handset, owner: Owner) -> None:
        """What has arrived goes to the ear, what the line lacks comes from the mouth."""
        from baresip import AudioNotActive, AudioRestarted

        try:
            info = call.audio.info()
            at = now()
            if info.rx_ready:
                self.report.rate_hz = info.rx_sample_rate
                while pcm := call.audio.read(READ_BYTES):
                    handset.hear(pcm, info.rx_sample_rate, at)
            if not info.tx_ready:
                return
            queued_ms = info.tx_buffered * 500 / info.tx_sample_rate
            for _ in range(handset.wanted(queued_ms)):
                pcm, digits, events = handset.say(info.tx_sample_rate, queued_ms, at)
                if digits:
                    owner.start(call.send_dtmf(digits, KEY_GAP_MS), "softphone-keys")
                for event in events:
                    self._emit(event)
                call.audio.write(pcm)
                queued_ms += 20
        except AudioRestarted:
            handset.restarted()
        except AudioNotActive:
            pass  # before its media is up, or when it has just ended

    async def _hang_up(self, call: Call) -> None:
        from baresip import StaleHandleError

        self._keep_statistics(call)
        self._hung_up = True
        try:
            await call.hangup()
        except StaleHandleError:
            return  # both hung up at once
        latest = now() + CLOSING_S
        while self._closed_at is None and now() < latest:
            await sleep_until(now() + PERIOD_S)

    def _key(self, key: str) -> None:
        at = now()
        self.report.keys_heard += key
        started = self.report.start_now_s
        at_s = 0.0 if started is None else at - started
        self._emit(KeyArrived(now_s=at, at_s=at_s, key=key))

    def _keep_statistics(self, call: Call) -> None:
        from baresip import AudioNotActive

        with suppress(AudioNotActive):  # closed: the final statistics have it
            self.report.starved_frames = call.audio.stats().tx_starved_frames

    def _finish(self, call: Call, handset: Handset) -> None:
        """Fill the report from what the phone heard and said, and from the stack's counts."""
        report, ear = self.report, handset.ear
        report.ended = self._how()
        report.spoken = handset.caller.spoken
        report.heard, report.underruns = ear.attention.heard, ear.underruns
        if report.heard:
            report.first_word_ms = report.heard[0].start_s * 1000
        if late := sorted(self._lateness):
            report.late_ms_max = late[-1] * 1000
            report.late_ms_p99 = late[len(late) * 99 // 100] * 1000
        if (final := call.final_stats) is not None:
            report.packets_sent, report.packets_received = final.tx_packets, final.rx_packets
            report.lost_sent, report.lost_received = max(0, final.tx_lost), max(0, final.rx_lost)
            report.starved_frames = final.audio_tx_starved_frames

    def _how(self) -> Ended:
        if self._hung_up or self._closed_at is None:
            return Ended.CALLER_HUNG_UP
        return Ended.LINE_LOST if "error" in self.report.reason else Ended.AGENT_HUNG_UP
