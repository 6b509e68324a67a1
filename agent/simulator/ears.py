"""What the stand-in hears: where the caller's speech starts and ends, and which clip it was.

Both parts work on the sound alone. The detector is an energy detector with a noise floor that
follows the line. The recogniser compares log band energies, from which the mean over time is
taken in each band, so that neither level nor a telephone's colouring matters much.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WINDOW_SECONDS = 0.02
FLOOR_DBFS = -96.0
QUIETEST_SPEECH_DBFS = -52.0
LOUDEST_NOISE_DBFS = -38.0
SPEECH_OVER_NOISE_DB = 9.0
NOISE_RISE_DB_PER_SECOND = 4.0
LOOK_BACK_WINDOWS = 15
LONGEST_UTTERANCE_SECONDS = 30.0


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Return the level of int16-valued samples, in dB under a full-scale square wave."""
    power = float(np.dot(samples, samples)) / max(1, len(samples))
    return 10 * math.log10(power / 32768**2) if power > 0 else FLOOR_DBFS


class Utterance(NamedTuple):
    """What the caller said: mono PCM16 with a little quiet around it.

    Attributes:
        pcm: At most 30 s: of a longer utterance the beginning is kept.
        seconds: From its first to its last voiced window.
    """

    pcm: bytes
    rate_hz: int
    seconds: float


class Started(NamedTuple):
    """Speech began; known `at` seconds into the stream."""

    at: float


class Ended(NamedTuple):
    """Speech ended; known `at` seconds into the stream.

    Attributes:
        flushed: The client said that it ended.
    """

    at: float
    utterance: Utterance
    flushed: bool = False


Edge = Started | Ended


class Hearing(NamedTuple):
    """How the detector listens.

    Attributes:
        silence_seconds: Quiet that ends speech (`silenceDurationMs`).
        prefix_seconds: Speech that it takes to start (`prefixPaddingMs`: "the required duration
            of detected speech before start-of-speech is committed", Google: Live API reference).
        extra_db: How much louder than usual speech has to be (low sensitivity).
    """

    silence_seconds: float = 0.5
    prefix_seconds: float = 0.06
    extra_db: float = 0.0


class Ears:
    """Finds the edges of speech in a stream of PCM16, in windows of 20 ms, on the stream's own time.

    Only audio moves it: a client that stops sending never ends an utterance, as with the service.

    Attributes:
        seconds: Audio heard so far.
        speaking: Whether speech has started and not ended.
        onset: Position in seconds of the first voiced window of the speech or near-speech that
            is going on; None in quiet.
    """

    def __init__(self, rate_hz: int, hearing: Hearing) -> None:
        self._rate_hz = rate_hz
        self._hearing = hearing
        self._window_bytes = 2 * int(rate_hz * WINDOW_SECONDS)
        self._rest = b""
        self._noise_dbfs = -70.0
        self._kept: deque[bytes] = deque(maxlen=LOOK_BACK_WINDOWS)
        self._voiced = 0
        self._quiet = 0
        self._windows = 0
        self.speaking = False
        self.onset: float | None = None

    @property
    def seconds(self) -> float:
        return self._windows * WINDOW_SECONDS

    def hear(self, pcm: bytes) -> list[Edge]:
        """Listen to the next chunk, of any even length, and return the edges in it."""
        edges: list[Edge] = []
        size = self._window_bytes
        data = self._rest + pcm if self._rest else pcm
        whole = len(data) - len(data) % size
        for at in range(0, whole, size):
            edge = self._window(data[at : at + size])
            if edge is not None:
                edges.append(edge)
        self._rest = data[whole:]
        return edges

    def flush(self) -> list[Edge]:
        """End the speech that is going on: the client says that its stream has ended."""
        self._rest = b""
        return [self._end()._replace(flushed=True)] if self.speaking else []

    def _window(self, window: bytes) -> Edge | None:
        samples = np.frombuffer(window, "<i2").astype(np.float32)
        voiced = self._is_voiced(level_dbfs(samples))
        if self.speaking and len(self._kept) * WINDOW_SECONDS >= LONGEST_UTTERANCE_SECONDS:
            pass  # full: the beginning is what the recogniser needs
        else:
            self._kept.append(window)
        self._windows += 1
        return self._in_speech(voiced) if self.speaking else self._in_quiet(voiced)

    def _is_voiced(self, level: float) -> bool:
        if level < self._noise_dbfs:
            self._noise_dbfs = max(level, FLOOR_DBFS)
        else:
            rise = NOISE_RISE_DB_PER_SECOND * WINDOW_SECONDS
            self._noise_dbfs = min(self._noise_dbfs + rise, level, LOUDEST_NOISE_DBFS)
        threshold = max(QUIETEST_SPEECH_DBFS, self._noise_dbfs + SPEECH_OVER_NOISE_DB)
        return level > threshold + self._hearing.extra_db

    def _in_quiet(self, voiced: bool) -> Edge | None:
        if voiced:
            if self.onset is None:
                self.onset = (self._windows - 1) * WINDOW_SECONDS
            self._voiced += 1
            self._quiet = 0
            if self._voiced * WINDOW_SECONDS >= self._hearing.prefix_seconds - 1e-9:
                self.speaking = True
                self._kept = deque(self._kept)
                return Started(self.seconds)
        else:
            self._quiet += 1
            if self._quiet * WINDOW_SECONDS >= 0.1:  # a click, not a syllable
                self._voiced = 0
                self.onset = None
        return None

    def _in_speech(self, voiced: bool) -> Edge | None:
        self._quiet = 0 if voiced else self._quiet + 1
        if self._quiet * WINDOW_SECONDS >= self._hearing.silence_seconds - 1e-9:
            return self._end()
        return None

    @property
    def going_on(self) -> Utterance | None:
        """The speech that has started and not ended, so far."""
        return self._spoken() if self.speaking else None

    def _spoken(self) -> Utterance:
        begun = self.seconds if self.onset is None else self.onset
        spoken = max(WINDOW_SECONDS, self.seconds - self._quiet * WINDOW_SECONDS - begun)
        return Utterance(b"".join(self._kept), self._rate_hz, spoken)

    def _end(self) -> Ended:
        utterance = self._spoken()
        self._kept = deque(self._kept, maxlen=LOOK_BACK_WINDOWS)
        self.speaking = False
        self._voiced = self._quiet = 0
        self.onset = None
        return Ended(self.seconds, utterance)


# ------------------------------------------------------------------------ recognition

HOP_SECONDS = 0.01
FRAME_SECONDS = 0.032
BAND_EDGES_HZ = np.geomspace(250, 3400, 13)
RANGE_DB = 45.0
LARGEST_SHIFT = 40  # hops: how far the two beginnings may lie apart
RECOGNISED = 0.5


def fingerprint(pcm: bytes, rate_hz: int) -> NDArray[np.float32]:
    """Return the log band energies of an utterance: (hops of 10 ms, 12 bands), trimmed of quiet.

    Each band's mean is taken away, and the whole is scaled to unit length per hop on average.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    hop, size = int(rate_hz * HOP_SECONDS), int(rate_hz * FRAME_SECONDS)
    if len(samples) < size:
        return np.zeros((0, len(BAND_EDGES_HZ) - 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)) ** 2
    bins = np.searchsorted(np.fft.rfftfreq(size, 1 / rate_hz), BAND_EDGES_HZ)
    bands = np.add.reduceat(power, bins, axis=1)[:, :-1]
    levels = 10 * np.log10(bands + 1e-9)
    top = float(levels.max())
    levels = np.maximum(levels, top - RANGE_DB)
    loud = np.flatnonzero(levels.max(axis=1) > top - RANGE_DB + 10)
    levels = levels[loud[0] : loud[-1] + 1]
    levels -= levels.mean(axis=0)
    scale = float(np.sqrt((levels**2).mean()))
    return np.asarray(levels / scale if scale > 0 else levels, np.float32)


def likeness(heard: NDArray[np.float32], clip: NDArray[np.float32]) -> float:
    """Return the best normalised correlation of two fingerprints over small shifts: -1 to 1.

    Hops that only one of them has count against it.
    """
    if not len(heard) or not len(clip):
        return 0.0
    best = -1.0
    for shift in range(-LARGEST_SHIFT, LARGEST_SHIFT + 1):
        ours, theirs = heard[max(0, shift) :], clip[max(0, -shift) :]
        overlap = min(len(ours), len(theirs))
        if overlap < LARGEST_SHIFT:
            continue
        product = float(np.vdot(ours[:overlap], theirs[:overlap])) / heard.shape[1]
        best = max(best, product / max(len(heard), len(clip)))
    return best


class Recogniser:
    """Knows a handful of clips by their sound."""

    def __init__(self, clips: Mapping[str, tuple[bytes, int]]) -> None:
        """Learn the clips: name to (PCM16 mono, rate in Hertz)."""
        self._known = {name: fingerprint(pcm, rate) for name, (pcm, rate) in clips.items()}

    def recognise(self, pcm: bytes, rate_hz: int, among: Sequence[str] | None = None) -> str | None:
        """Return the name of the clip that this utterance is, or None where it is none of them."""
        heard = fingerprint(pcm, rate_hz)
        names = self._known if among is None else among
        scores = {name: likeness(heard, self._known[name]) for name in names}
        best = max(scores, key=scores.__getitem__, default=None)
        return best if best is not None and scores[best] >= RECOGNISED else None
