"""The two directions of a SIP call's sound, between a library that plays from a ring and a call that thinks in marks.

A library with a ring plays what it holds at its own clock and says how much is left; nobody tells when a word was heard. So marks
are derived: what was written, less what is still in the ring, has been played.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from agent.audio.resample import Downsample16to8, Upsample8to16
from agent.events import Pcm8k, Pcm16k

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.events import LinePcm, LineRate

FRAME = 0.02
"""Seconds of a packet (RFC 3551, section 4.2: 20 ms unless told otherwise)."""

GAP = 0.1
"""Seconds without a packet after which the caller is silent, as far as the model is concerned: more than any jitter buffer waits."""


DEAD = 15.0
"""Seconds without sound, key or report from a peer that does not hold the call: it has vanished without a BYE."""


class Spoken:
    """What the agent says, on its way through a ring.

    After each step write `due()` and report it with `wrote`; while there is something `pending` ask what was `played` as soon as
    what is `ahead` may have been. `held` is always the bytes that the ring says it holds.

    Args:
        limit: most bytes that may wait outside the ring; a call that is further ahead has lost its line.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting = bytearray()
        self._ring = bytearray()  # written, and not known to be played
        self._played = 0  # bytes since the call's start
        self._marks: deque[tuple[int, str]] = deque()
        self._flushing = False

    @property
    def overfull(self) -> bool:
        return len(self._waiting) > self._limit

    @property
    def waits(self) -> bool:
        """Whether what is said next does not go into the ring at once."""
        return self._flushing or bool(self._waiting)

    def play(self, pcm: bytes) -> None:
        self._waiting += pcm

    def mark(self, name: str) -> None:
        """Tell when all that was said until now has been played."""
        self._marks.append((self._played + len(self._ring) + len(self._waiting), name))

    def clear(self, held: int) -> bool:
        """Take back what is not played, marks and all.

        Returns:
            Whether the ring must be flushed. It is a moment until it is; what is written meanwhile would be flushed with the rest.
        """
        self._advance(held)
        self._waiting.clear()
        self._marks.clear()
        self._flushing = self._flushing or held > 0
        return self._flushing

    @property
    def pending(self) -> bool:
        """Whether it depends on the ring what comes next: something is in it, or would be."""
        return bool(self._ring or self._waiting or self._marks)

    @property
    def ahead(self) -> int:
        """Bytes that the ring has to play before `played` has anything to tell; 0: it is to be asked each time."""
        if self.waits:
            return 0
        return self._marks[0][0] - self._played if self._marks else len(self._ring)

    def due(self) -> bytes:
        """What to write now; nothing from a `clear` until `played` has found the ring empty."""
        return b"" if self._flushing else bytes(self._waiting)

    def wrote(self, count: int) -> None:
        """The ring has taken so many bytes of what was due."""
        self._ring += self._waiting[:count]
        del self._waiting[:count]

    def played(self, held: int) -> list[str]:
        """The marks whose sound has been played since the last time."""
        self._advance(held)
        passed: list[str] = []
        while self._marks and self._marks[0][0] <= self._played:
            passed.append(self._marks.popleft()[1])
        return passed

    def restarted(self) -> None:
        """The ring is another one, and empty: what the old one had not played comes first."""
        if not self._flushing:
            self._waiting[:0] = self._ring
        else:
            self._played += len(self._ring)
        self._ring.clear()
        self._flushing = False

    def _advance(self, held: int) -> None:
        gone = max(0, len(self._ring) - held)
        del self._ring[:gone]
        self._played += gone
        if not self._ring:
            self._flushing = False


class Fit:
    """Between a line, whose rate stays, and the streams of its call, whose codec may change in mid-call (RFC 3264, section 8.3.2).

    As long as the codec is the one that the call was answered with, sound goes through as it is.

    Args:
        rate: the line's, Hz.
    """

    def __init__(self, rate: LineRate) -> None:
        self.rate = rate
        self._heard: Downsample16to8 | Upsample8to16 | None = None
        self._spoken: Downsample16to8 | Upsample8to16 | None = None

    def streams(self, heard: int, spoken: int) -> None:
        """The streams are others; their rates in Hz, 0 for one that is not there."""
        self._heard = _between(heard or self.rate, self.rate)
        self._spoken = _between(self.rate, spoken or self.rate)

    def hear(self, pcm: bytes) -> bytes:
        """What was received, at the line's rate."""
        return pcm if self._heard is None or not pcm else _through(self._heard, pcm)

    def held(self, ring: int) -> int:
        """Bytes of the line's that a ring holds with so many of its own."""
        fits = self._spoken
        if fits is None:
            return ring
        return 2 * (ring // 2 // fits.fir.up * fits.fir.down)

    def speak(self, due: bytes, room: Callable[[], int], write: Callable[[bytes], int]) -> int:
        """Write what is due to a ring that says for how many bytes it has `room`; returns how much of it that was."""
        if self._spoken is None:
            return write(due)
        due = due[: self.held(room())]
        write(_through(self._spoken, due))
        return len(due)


def _between(source: int, target: int) -> Downsample16to8 | Upsample8to16 | None:
    if source == target:
        return None
    return Downsample16to8() if source > target else Upsample8to16()


def _through(resampler: Downsample16to8 | Upsample8to16, pcm: bytes) -> bytes:
    if isinstance(resampler, Downsample16to8):
        return resampler.feed(Pcm16k(pcm))
    return resampler.feed(Pcm8k(pcm))


class Heard:
    """What the caller says: whole frames, without holes; and whether he is still there.

    A model's own voice detection needs silence as sound, and a peer may send none: on hold, or because it suppresses it
    (RFC 3551, section 4.1).

    Args:
        now: when the line began, seconds, monotonic.
        kind: the line's sound.
    """

    def __init__(self, now: float, kind: type[LinePcm] = Pcm8k) -> None:
        self._kind = kind
        self._size = round(FRAME * kind.rate) * 2
        self._until = now  # until when the call has been given sound
        self._alive = now
        self._held = False
        self._rest = b""

    def alive(self, now: float) -> None:
        """Something else came from the peer than sound: a key, or its report (RFC 3550, section 6.4)."""
        self._alive = now

    def hold(self, held: bool, now: float) -> None:
        """The peer holds the call, and need send nothing; or it is back."""
        self._held = held
        self._alive = now

    def dead(self, now: float) -> bool:
        """Whether nothing has come for so long that nobody can be there any more."""
        return not self._held and now - self._alive >= DEAD

    def frames(self, pcm: bytes, now: float) -> list[LinePcm]:
        """The frames that these samples complete; silence where none have come for a while."""
        kind, size = self._kind, self._size
        if pcm:
            self._until = self._alive = now
            pcm = self._rest + pcm
            whole = len(pcm) - len(pcm) % size
            self._rest = pcm[whole:]
            return [kind(pcm[at : at + size]) for at in range(0, whole, size)]
        if now - self._until < GAP:
            return []
        missing = int((now - self._until - GAP) / FRAME) + 1
        self._until += missing * FRAME
        return [kind(size)] * missing
