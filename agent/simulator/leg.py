"""One media stream of a call, as Twilio runs it over a WebSocket: `connected` to `stop`.

A driver: messages go to the rules, the ear and the caller; what they answer goes to the socket. It
owns no task: the ticker calls it every 20 ms and the wire when something comes in.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

from agent.simulator.bad_line import RESET
from agent.simulator.clock import now, sleep_until, wall
from agent.simulator.media_stream import (
    FRAME_SAMPLES,
    BrokenRule,
    Mark,
    Media,
    StreamWriter,
    connected,
    decode,
)
from agent.simulator.report import CallReport, Cleared, LegReport, RuleBroken, StreamStarted
from agent.simulator.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.simulator.bad_line import BadLine, Sent
    from agent.simulator.earpiece import Earpiece
    from agent.simulator.phone import Mouth, Phone
    from agent.simulator.report import AnyCallEvent
    from agent.simulator.ticker import Ticker

STOP_GRACE_S = 0.25
"""What comes within this time of our `stop` was on its way; later it breaks a rule."""
LINGER_S = 0.5
"""How long the socket stays open after `stop`, or after our close frame, for the peer to close."""
READING_S = 4.0
"""Whoever broke a rule may have much to read before our close frame, which says which rule it was."""


class LegEnd(Enum):
    """Why a stream ended."""

    SERVER_CLOSED = auto()
    CALLER_HUNG_UP = auto()
    LOST = auto()
    VIOLATION = auto()
    TAKEN_AWAY = auto()  # the call was ended or given other TwiML


SAID_STOP = frozenset({LegEnd.CALLER_HUNG_UP, LegEnd.TAKEN_AWAY})
"""These ends are told with `stop`."""


class Leg:
    """Runs one stream; a receiver of its wire and a ticking of its ticker."""

    def __init__(
        self,
        record: LegReport,
        writer: StreamWriter,
        phone: Phone,
        report: CallReport,
        emit: Callable[[AnyCallEvent], None],
        bad_line: BadLine | None = None,
    ) -> None:
        self._bad_line = bad_line
        self._record = record
        self._writer = writer
        self._phone = phone
        self._report = report
        self._emit = emit
        self._wire: Wire | None = None
        self._talk: tuple[Earpiece, Mouth] | None = None  # from `start` on
        self._first: int | None = None  # position of the first frame
        self._end: LegEnd | None = None  # decided; the socket may still be open
        self._end_at = 0.0  # when it was decided
        self._hang_up_at = float("inf")
        self._stopped_at = float("inf")  # `stop` was sent: never, where the line swallows it
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lateness: list[float] = []

    async def run(
        self,
        wire_url: str,
        headers: Mapping[str, str],
        parameters: Mapping[str, str],
        times: tuple[float, float],
        ticker: Ticker,
    ) -> LegEnd:
        """Open the stream, hold it until somebody ends it.

        Args:
            wire_url: where to connect, which may differ from the public URL.
            headers: of the upgrade.
            parameters: the TwiML's, for `start`.
            times: when to send `start`, and when the caller hangs up (seconds, monotonic).
            ticker: what drives the frames.

        Raises:
            HandshakeRefused: the socket did not open.
        """
        start_at, self._hang_up_at = times
        wire = self._wire = Wire(wire_url, self)
        try:
            await wire.open(headers)
            self._send(connected())
            ticker.add(self)
            await sleep_until(start_at)
            if self._end is None:
                self._start(parameters)
            await self._over
        finally:
            ticker.remove(self)
            wire.abort()
        if self._talk is not None:
            for event in self._talk[0].stream_gone(now()):
                self._emit(event)
        return self._end or LegEnd.LOST

    def _start(self, parameters: Mapping[str, str]) -> None:
        at = now()
        self._talk = ear, _ = self._phone.connect(at)
        if self._report.start_now_s is None:
            self._report.start_now_s = at
            self._report.start_wall_s = wall()
        self._send(self._writer.start(parameters))
        self._record.start_s = ear.seconds(at)
        sid = self._record.stream_sid
        self._emit(StreamStarted(now_s=at, stream_sid=sid, at_s=ear.seconds(at)))

    def tick(self, deadline: float) -> None:
        """Ticker: one frame of the caller's audio, and what the ear heard meanwhile."""
        at = now()
        if self._wire is None:
            return
        if self._bad_line is not None:
            self._put(self._wire, self._bad_line.release(at))
        if self._end is not None:
            self._wait_for_close(self._wire, at)
            return
        if self._talk is None:
            return
        self.lateness.append(at - deadline)
        ear, caller = self._talk
        if self._first is None:  # the frame that is complete now began 20 ms ago
            self._first = max(0, ear.position(deadline) - FRAME_SAMPLES)
        position = self._first + self._writer.chunks * FRAME_SAMPLES
        for event in ear.attention.listen(ear.position(at), at):
            self._emit(event)
        self._speak(ear, caller, position, at)
        self._echo(ear.due(at))
        if at >= self._hang_up_at or caller.wants_to_hang_up(position):
            self._stop(self._wire, LegEnd.CALLER_HUNG_UP, at)

    def take_away(self) -> None:
        """End the stream from the network's side: `stop`, then the socket is closed."""
        wire = self._wire
        if wire is None or self._end is not None:
            return
        if self._talk is None:
            self._finish(LegEnd.TAKEN_AWAY, now())
        else:
            self._stop(wire, LegEnd.TAKEN_AWAY, now())
        wire.close()

    def _stop(self, wire: Wire, end: LegEnd, at: float) -> None:
        self._finish(end, at)
        stop = self._writer.stop()
        sent: list[Sent] = [stop] if self._bad_line is None else self._bad_line.distort(stop, at)
        self._put(wire, sent)
        if sent:
            self._stopped_at = at

    def _speak(self, ear: Earpiece, caller: Mouth, position: int, at: float) -> None:
        frame = caller.frame(position)
        for digit in caller.digits(position):
            self._send(self._writer.dtmf(digit))
        if self._send(self._writer.media(frame)):
            self._record.frames_sent += 1
            self._record.sent_s.append(ear.seconds(at))
        else:
            self._report.lost_ms += 20
        for event in caller.progress(position, at):
            self._emit(event)

    def _echo(self, names: list[str]) -> None:
        for name in names:
            self._send(self._writer.mark(name))

    def _send(self, text: str) -> bool:
        if self._wire is None:
            return False
        if self._bad_line is None:
            return self._wire.send(text)
        self._put(self._wire, self._bad_line.distort(text, now()))
        return True

    @staticmethod
    def _put(wire: Wire, messages: list[Sent]) -> None:
        for message in messages:
            if message is RESET:
                wire.abort()
            else:
                wire.send(message)

    def _finish(self, end: LegEnd, at: float) -> None:
        self._end, self._end_at = end, at
        if self._talk is not None:
            self._record.unheard_ms = self._talk[0].unplayed_ms(at)

    def _wait_for_close(self, wire: Wire, at: float) -> None:
        waited = at - self._end_at
        if waited > (READING_S if self._end is LegEnd.VIOLATION else 2 * LINGER_S):
            wire.abort()
        elif waited > LINGER_S:
            wire.close()

    def on_text(self, text: bytes) -> None:
        """Wire: a message came."""
        at = now()
        if self._end is LegEnd.VIOLATION:
            return
        try:
            self._take(text, at)
        except BrokenRule as broken:
            self._break(broken, at)

    def on_binary(self, length: int) -> None:
        """Wire: a binary message came, which no rule allows."""
        if self._end is not LegEnd.VIOLATION:
            self._break(BrokenRule("binary-frame", f"a binary message of {length} bytes"), now())

    def _take(self, text: bytes, at: float) -> None:
        if self._talk is None:
            raise BrokenRule("before-start", "a message before `start`, so without its streamSid")
        message = decode(text, self._record.stream_sid)
        if self._end in SAID_STOP:
            if at - self._stopped_at > STOP_GRACE_S:
                raise BrokenRule("after-stop", "a message after `stop`")
            return
        ear, _ = self._talk
        if isinstance(message, Media):
            ear.receive(message.media.payload, at)
            if len(message.media.payload) % FRAME_SAMPLES:
                self._report.odd_payloads += 1
        elif isinstance(message, Mark):
            ear.mark(message.mark.name, at)
            self._echo(ear.due(at))
        else:
            cleared = ear.clear(at)
            self._echo(cleared.marks)
            self._emit(Cleared(now_s=at, at_s=cleared.at_s, dropped_ms=cleared.dropped_ms))

    def _break(self, broken: BrokenRule, at: float) -> None:
        self._report.violations.append(broken.violation)
        self._emit(RuleBroken(now_s=at, violation=broken.violation))
        self._finish(LegEnd.VIOLATION, at)
        if self._wire is not None:
            self._wire.close(1008, broken.close_reason())

    def on_closed(self, code: int, reason: str, error: Exception | None) -> None:
        """Wire: the socket is gone."""
        at = now()
        self._record.close_code, self._record.close_reason = code, reason
        self._record.closed_by = "server" if self._end is None else "caller"
        if self._wire is not None and self._wire.fault is not None:
            self._break(BrokenRule("websocket-protocol", self._wire.fault), at)
        elif self._end is None:
            lost = code == 1006
            self._finish(LegEnd.LOST if lost else LegEnd.SERVER_CLOSED, at)
        if self._over.done():
            return
        if error is not None:
            self._over.set_exception(error)
        else:
            self._over.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Ticker: it died, so this call cannot go on."""
        if not self._over.done():
            self._over.set_exception(error)
