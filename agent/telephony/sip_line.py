"""Drives one call over SIP: the shape is `agent.call.ports.ArrivingLine`.

The library plays what it holds at its own clock and has received what can be read; so a line looks when the next packet is due.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog
from baresip.call import CallState
from baresip.errors import AudioNotActive, AudioRestarted, BaresipError, TransferFailed
from baresip.events import Event

from agent.events import (
    LINE_PCM,
    Clear,
    Digits,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineHeld,
    LineMark,
    Mark,
    Play,
)
from agent.protocols.sip.address import target
from agent.protocols.sip.catch_up import CatchUp
from agent.protocols.sip.endings import ended, transfer_outcome, untaken
from agent.protocols.sip.sound import Fit, Heard, Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from baresip.call import Call
    from baresip.events import StackEvent

    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups
    from agent.events import LineCommand, LineEvent, LinePcm, LineRate, TransferOutcome
    from agent.protocols.sip.address import Address

log = structlog.get_logger()

AFTER_FRAME = 0.016
EARLY = 0.011
AGAIN = 0.001
"""Seconds from a look at a call's sound to the next, each a little below the point of the wake-ups' grid that is meant: 20 ms after a
look that found a frame, 15 ms now and then, in case they come earlier by now, 5 ms after one that found none."""

EARLY_EVERY = 8
"""Frames from one early look to the next."""

ASK = 0.2
"""Seconds after which the ring is asked at the latest what it holds."""

QUEUE = 2
"""Seconds that may wait for a ring that takes nothing; above it the line is lost: it would be late."""

READ = 4096
"""Bytes (256 ms, or half of that on a wide-band line) that are read at a time: each time the library is given room for so many."""

UNREACHED = 4.0
"""Seconds after which whoever has not said anything is taken not to be there: three times the INVITE was repeated meanwhile
(RFC 3261, section 17.1.1.2)."""

REACHED = frozenset({Event.CALL_RINGING, Event.CALL_PROGRESS, Event.CALL_ESTABLISHED})
"""What tells that the other side has our call."""

PAUSE = 0.5
"""Seconds of a `w` among keys."""


class Invite(NamedTuple):
    """What an INVITE says; none of it proves anything.

    Attributes:
        call_id: the dialog's (RFC 3261, section 8.1.1.4).
        caller: the header From.
        called: whom the call is for.
        headers: those that may be read, by lower-case name.
    """

    call_id: str
    caller: str
    called: Address
    headers: Mapping[str, str]


class SipLine:
    """A call that rings, is answered, talks and ends.

    Args:
        call: the library's.
        invite: who calls.
        wakeups: the process's clock and schedule.
        tasks: owner of what takes time.

    Attributes:
        sink: where events go; whoever takes the call sets it at once.
        why: of a call of ours that ended before anybody took it, the `end_reason`.
        rate: of the sound, Hz, once the call is answered: the codec's then, whatever comes later.
        ended: done when the call is over.
    """

    sends_digits = True
    transfers = True

    def __init__(self, call: Call, invite: Invite, wakeups: Wakeups, tasks: Tasks) -> None:
        loop = asyncio.get_running_loop()
        self.invite = invite
        self.ended: asyncio.Future[None] = loop.create_future()
        self.sink: Callable[[LineEvent], None] = lambda event: None
        self.why = ""
        self._call = call
        self._tasks = tasks
        self._now = wakeups.now
        self._wakeup = wakeups.register(self._look)
        self._answered: asyncio.Future[None] = loop.create_future()
        self._reached: asyncio.Future[None] = (
            loop.create_future()
        )  # the other side has said anything
        if call.state is not CallState.OUTGOING:
            self._reached.set_result(None)
        self._begin(8000)
        self._keys = asyncio.Lock()
        self._left = False
        self._frames = 0  # looks that found one
        self._reported = 0.0  # when the ring was last asked what it holds
        self._carry: dict[type[LineCommand], Callable[[LineCommand], None]] = {
            Play: self._play,
            Mark: self._mark,
            Clear: self._clear,
            Digits: self._press,
            HangUp: lambda _: self.leave(),
        }
        call.on(self._happened)

    def _begin(self, rate: LineRate) -> None:
        self.rate = rate
        self._fit = Fit(rate)
        self._fits = True  # as far as we know the streams
        self._spoken = Spoken(QUEUE * 2 * rate)
        self._heard = Heard(self._now(), LINE_PCM[rate])
        self._catch_up = CatchUp(rate, self._now())

    @property
    def over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._left or self.ended.done()

    # ---- what is wanted of it

    async def answer(self) -> bool:
        """Stop ringing; whether the caller hears us now."""
        if self.over:
            return False
        try:
            await self._call.answer()
        except BaresipError as error:
            log.info("a call could not be answered", why=type(error).__name__)
            self._end("stopped")
            return False
        await asyncio.wait((self._answered, self.ended), return_when=asyncio.FIRST_COMPLETED)
        return not self.over

    async def picked_up(self, within: float) -> str:
        """Let a call of ours ring; one that nobody has taken after so many seconds is taken back (CANCEL).

        Returns:
            The `end_reason` of a call that nobody took; empty: somebody did.
        """
        await asyncio.wait(
            (self._answered, self.ended), timeout=within, return_when=asyncio.FIRST_COMPLETED
        )
        if self._answered.done():
            return ""
        if self.over:
            return self.why or "call_failed"
        self.leave()
        return "no_answer"

    def send(self, command: LineCommand) -> None:
        """Carry out a command; never waits, and does nothing once the call has ended."""
        if not self.over:
            self._carry[type(command)](command)

    def leave(self) -> None:
        """Hang up; refuse a call that still rings (486)."""
        if not self._left:
            self._left = True
            self._tasks.start("hang-up", self._hang_up())

    async def transfer(self, address: str, within: float) -> TransferOutcome:
        """Ask the caller's side to call somebody else (RFC 3515); what its NOTIFY told of that."""
        if self.over:
            return "failed"
        try:
            await self._call.transfer(target(address, self.invite.caller), timeout=within)
        except TransferFailed as error:
            return transfer_outcome(error.status)
        except (BaresipError, ValueError) as error:
            log.warning("a transfer could not be asked for", why=type(error).__name__)
            return "failed"
        return "connected"

    def _play(self, command: LineCommand) -> None:
        assert isinstance(command, Play)
        self._spoken.play(self._in_time(command.pcm))
        self._give()

    def _in_time(self, pcm: LinePcm) -> LinePcm:
        """What is said for `pcm`: less, where the ring holds more than it needs."""
        now = self._now()
        if not self._fits or self._spoken.waits or not self._catch_up.asks(now):
            return pcm
        try:
            held = self._fit.held(self._call.audio.info().tx_buffered)
        except AudioNotActive:
            self._restarted()
            return pcm
        return self._catch_up.fit(pcm, held, now)

    def _mark(self, command: LineCommand) -> None:
        assert isinstance(command, Mark)
        self._spoken.mark(command.name)

    def _clear(self, command: LineCommand) -> None:
        try:
            if self._spoken.clear(self._fit.held(self._call.audio.info().tx_buffered)):
                self._call.audio.flush_tx()
        except (AudioRestarted, AudioNotActive):
            self._spoken.clear(0)
            self._restarted()

    def _press(self, command: LineCommand) -> None:
        assert isinstance(command, Digits)
        self._tasks.start("keys", self._press_keys(command.keys))

    async def _press_keys(self, keys: str) -> None:
        async with self._keys:
            try:
                for part in keys.replace("w", " w ").split():
                    if part == "w":
                        await asyncio.sleep(PAUSE)
                    else:
                        await self._call.send_dtmf(part)
            except (BaresipError, ValueError) as error:
                log.info("keys were not sent", why=type(error).__name__)

    async def _hang_up(self) -> None:
        # A call may be taken back only after its other side has said anything (RFC 3261, section 9.1). The library forgets one that
        # is taken back before, without a word: it would ring on.
        await asyncio.wait(
            (self._reached, self.ended), timeout=UNREACHED, return_when=asyncio.FIRST_COMPLETED
        )
        try:
            await self._call.hangup()
        except BaresipError as error:  # most often it has just ended by itself
            log.debug("nothing to hang up", why=type(error).__name__)
            self._end("stopped")

    # ---- what happens to it

    def _happened(self, event: StackEvent) -> None:
        now = self._now()
        if event.event in REACHED and not self._reached.done():
            self._reached.set_result(None)
        if event.event is Event.CALL_ESTABLISHED:
            if not self._answered.done():
                self._begin(self._rate())
                self._answered.set_result(None)
            self._wakeup.at(now)
        elif event.event is Event.CALL_CLOSED:
            self.why = self.why or untaken(event.text or "")
            self._end(ended(event.text or "", established=self._answered.done()))
        elif event.event is Event.CALL_RTCP:
            self._heard.alive(now)
        elif event.event is Event.CALL_DTMF_START and event.text:
            # Not at its end: keys by INFO that follow each other within their durations have one end in common.
            self._heard.alive(now)
            if not self.ended.done():
                self.sink(LineDigit(event.text))
        elif event.event in (Event.CALL_HOLD, Event.CALL_RESUME):
            held = event.event is Event.CALL_HOLD
            self._heard.hold(held, now)
            self.sink(LineHeld(held))

    def _end(self, reason: str) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        self._wakeup.at(None)
        self.sink(LineEnded("lost" if reason == "lost" else "stopped"))

    def break_off(self) -> None:
        """Nobody can be heard on it any more."""
        self._end("lost")
        self.leave()

    # ---- its sound

    def _look(self, now: float) -> None:
        pcm = self._received()
        spoken = self._spoken
        if spoken.pending and now >= self._reported + min(ASK, spoken.ahead / (2 * self.rate)):
            self._report(now)
        if self._answered.done():
            for frame in self._heard.frames(pcm, now):
                self.sink(LineAudio(frame))
        if self._heard.dead(now):
            self.break_off()
        if not self.ended.done():
            self._frames += bool(pcm)
            early = self._frames % EARLY_EVERY == 0
            self._wakeup.at(now + (AGAIN if not pcm else EARLY if early else AFTER_FRAME))

    def _received(self) -> bytes:
        """What the caller said since the last time."""
        audio, pcm = self._call.audio, b""
        try:
            if not self._fits:
                info = audio.info()
                self._fit.streams(info.rx_sample_rate, info.tx_sample_rate)
                self._fits = info.rx_ready and info.tx_ready
            pcm = part = audio.read(READ)
            while len(part) == READ:
                part = audio.read(READ)
                pcm += part
        except (AudioRestarted, AudioNotActive):
            self._restarted()
        return self._fit.hear(pcm)

    def _report(self, now: float) -> None:
        """Tell which marks have been heard, and give what there was no room for."""
        self._reported = now
        try:
            held = self._fit.held(self._call.audio.info().tx_buffered)
        except AudioNotActive:
            self._restarted()
            return
        for name in self._spoken.played(held):
            self.sink(LineMark(name))
        self._give()

    def _give(self) -> None:
        """Give what is to be played, as much as there is room for."""
        try:
            if self._fits and (due := self._spoken.due()):
                self._spoken.wrote(self._fit.speak(due, self._room, self._call.audio.write))
        except (AudioRestarted, AudioNotActive):
            self._restarted()
        if self._spoken.overfull:
            self.break_off()

    def _room(self) -> int:
        """Bytes that the ring would take."""
        info = self._call.audio.info()
        return info.tx_capacity - info.tx_buffered

    def _rate(self) -> LineRate:
        """Of what is received; of a peer that receives only, what it is sent has the same codec."""
        try:
            return 16000 if self._call.audio.info().rx_sample_rate == 16000 else 8000
        except AudioNotActive:
            return 8000

    def _restarted(self) -> None:
        """The streams are others, perhaps with another codec; nothing of the old ones is left in them."""
        self._spoken.restarted()
        self._fits = False
