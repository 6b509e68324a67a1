"""A phone on a line of PCM: a jitter buffer before its ear, a little lead behind its mouth. Pure.

The phone itself lives on 8 kHz mu-law frames of 20 ms and on its own timeline; a SIP call brings
16-bit PCM at its codec's rate, in pieces, when they arrive. `now` (seconds, monotonic) is an
argument.

    line --PCM--> (8 kHz, mu-law) --40 ms--> ear      mouth --frames--> (PCM of the rate) --> line
"""

from __future__ import annotations

import audioop
from typing import TYPE_CHECKING

from agent.simulator.earpiece import RATE_HZ
from agent.simulator.media_stream import FRAME_SAMPLES

if TYPE_CHECKING:
    from agent.simulator.phone import Phone
    from agent.simulator.report import AgentSpeaks, AgentStops, CallerSpeaks, CallerStops

RateState = tuple[int, tuple[tuple[int, int], ...]] | None
"""What `audioop.ratecv` keeps between two pieces."""
BUFFER_MS = 40
"""What comes after silence is held back so long before it is heard, so that later pieces may be late."""
LEAD_MS = 40
"""How much of the caller's voice the line has in hand."""
SLIP_SAMPLES = 2 * FRAME_SAMPLES
"""When the line had nothing to send for so long, the mouth's timeline skips it."""


class Handset:
    """Joins one phone to one line.

    Attributes:
        ear, caller: the phone's.
    """

    def __init__(self, phone: Phone, now: float) -> None:
        """The call was answered at `now`: the timeline begins."""
        self.ear, self.caller = phone.connect(now)
        self._down: RateState = None  # of the conversion to 8 kHz
        self._up: RateState = None
        self._odd = b""  # half a sample that waits for the other half
        self._next: int | None = None  # position of the next frame that is said

    def restarted(self) -> None:
        """The line's streams were replaced: what was on its way in them is lost."""
        self._down = self._up = None
        self._odd = b""

    def hear(self, pcm: bytes, rate_hz: int, now: float) -> None:
        """Take what has arrived: mono PCM16 of `rate_hz`, any length."""
        pcm = self._odd + pcm
        even = len(pcm) - len(pcm) % 2
        pcm, self._odd = pcm[:even], pcm[even:]
        if rate_hz != RATE_HZ and pcm:
            pcm, self._down = audioop.ratecv(pcm, 2, 1, rate_hz, RATE_HZ, self._down)
        if not pcm:
            return
        if self.ear.unplayed_ms(now) == 0:
            self.ear.receive(b"\xff" * (BUFFER_MS * RATE_HZ // 1000), now)
        self.ear.receive(audioop.lin2ulaw(pcm, 2), now)

    def listen(self, now: float) -> list[AgentSpeaks | AgentStops]:
        """What the caller has heard by `now`."""
        return self.ear.attention.listen(self.ear.position(now), now)

    def wanted(self, queued_ms: float) -> int:
        """How many frames to say while the line has `queued_ms` in hand."""
        return max(0, -int((queued_ms - LEAD_MS) // 20))

    def say(
        self, rate_hz: int, queued_ms: float, now: float
    ) -> tuple[bytes, str, list[CallerSpeaks | CallerStops]]:
        """The next 20 ms: as PCM16 of `rate_hz`, the keys to press before it, what began or ended."""
        leaves = self.ear.position(now) + int(queued_ms * RATE_HZ / 1000)
        if self._next is None or leaves - self._next > SLIP_SAMPLES:
            self._next = leaves
        position = self._next
        frame = self.caller.frame(position)
        self._next = position + FRAME_SAMPLES
        pcm = audioop.ulaw2lin(frame, 2)
        if rate_hz != RATE_HZ:
            pcm, self._up = audioop.ratecv(pcm, 2, 1, RATE_HZ, rate_hz, self._up)
        return pcm, self.caller.digits(position), self.caller.progress(position, now)

    def wants_to_hang_up(self) -> bool:
        """Whether everything is said and nobody has spoken for long enough."""
        return self._next is not None and self.caller.wants_to_hang_up(self._next - FRAME_SAMPLES)
