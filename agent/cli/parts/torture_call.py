"""One call of `pickup torture`: a stand-in for Gemini Live that goes wrong, a caller, and what was seen."""

from __future__ import annotations

import asyncio
import urllib.request
from itertools import pairwise
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np

from agent.cli.parts.children import Child
from agent.cli.parts.torture_verdict import LEAVES, Evidence
from agent.simulator.caller import (
    SPEECH,
    CallAudio,
    CallerOptions,
    demo_utterances,
    run_caller,
    utterance,
)
from agent.simulator.phone import Manners
from agent.simulator.records import Stats
from agent.simulator.report import AnyCallEvent, CallEnded, NetworkSpeaks
from agent.simulator.wav import read_phone_wav

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.simulator.menu import Entry
    from agent.simulator.phone import Utterance

GIVES_UP = 12.0
"""Seconds of silence after which the caller speaks, or hangs up: later than a server has to decide."""
AT_LAST = 30
"""Seconds that one which does not is given, so that the next fault is not blamed for it."""
GREETING_S = 1.0
"""So much of the greeting's beginning and of its end is looked for in what was heard."""
ALIKE = 0.5
"""Correlation from which it was heard: clean it is above 0.9, other speech stays below 0.3."""

MORE = {
    "stale-handle": ("connection-lost@8x1",),
    "forgets": ("connection-lost@8x1",),
}
"""Faults of a resumption need something to resume from."""
SENT = "setup.generationConfig.speechConfig"
"""A field that nearly every server sends, and can do without."""
OTHERWISE = {
    ("gemini", "refuse"): f"refuse={SENT}",
    ("gemini", "refuse-unnamed"): f"refuse-unnamed={SENT}",
    ("gemini", "silent-setup"): f"silent-setup={SENT}",
    # A server may bring the caller back: then it shall find a line that works.
    ("twilio", "reset"): "reset@2x1",
    ("twilio", "two-starts"): "two-starts@0.5x1",
    ("twilio", "huge-frame"): "huge-frame@0.5x1",
}
"""Faults that are armed in another way than the menu shows, so that they come."""
SHORT_WORD_S = 0.45
"""So much of the caller's goodbye is its first word: shorter than what that fault leaves unheard."""
HANGS_UP = {"no-stop": 12.0}
"""Faults of the caller's hanging up: the caller does, in mid-call, after so many seconds."""


class Line(NamedTuple):
    """Where to call, and how.

    Attributes:
        url: The voice webhook or its origin, or a media stream.
        token: Signs the requests; empty: they are not signed.
        public_url: What is signed in place of the origin of `url`.
        seconds: The caller hangs up after so long.
    """

    url: str
    token: str
    public_url: str | None
    seconds: float


class Desk(NamedTuple):
    """What stand-ins for Gemini Live are started with.

    Attributes:
        log: Takes what they complain of.
    """

    environ: Mapping[str, str]
    log: IO[bytes]
    folder: Path


def stand_in(desk: Desk, port: int, faults: list[str]) -> Child:
    """Start a stand-in for Gemini Live: a new one for each call, so that none inherits anything.

    Raises:
        UserError: it did not start.
    """
    words = ["simulate", "gemini", "--port", str(port)]
    for fault in faults:
        words += ["--fault", fault]
    return Child(words, desk.environ, desk.log, desk.folder)


def port_of(child: Child) -> int:
    """Where it listens."""
    return urlsplit(child.url).port or 0


def arms(entry: Entry) -> tuple[list[str], list[str]]:
    """How a fault is armed: at the stand-in for the model, and on the line."""
    arm = OTHERWISE.get((entry.side, entry.name), entry.arm)
    if entry.side == "twilio":
        return [], [arm]
    return [arm, *MORE.get(entry.name, ())], []


def short_spoken() -> tuple[Utterance, ...]:
    """The demo's caller, whose second question is one short word."""
    first, _, *rest = demo_utterances()
    clip = read_phone_wav(SPEECH / "caller_bye.wav")
    return (first, utterance(clip[: round(SHORT_WORD_S * 8000)], "Great."), *rest)


async def call(
    line: Line,
    model_url: str,
    utterances: tuple[Utterance, ...],
    faults: list[str],
    hangs_up_after: float | None = None,
    lets_go: int = LEAVES,
) -> Evidence:
    """Place one call and see what becomes of it.

    Args:
        line: Where to.
        model_url: The stand-in's origin.
        utterances: What the caller says.
        faults: Of the line.
        hangs_up_after: The caller hangs up in mid-call after so many seconds.
        lets_go: Seconds after the call in which the server should let go of its session.
    """
    options = CallerOptions(
        url=line.url,
        public_url=line.public_url,
        auth_token=line.token,
        max_seconds=hangs_up_after or line.seconds,
        utterances=utterances,
        manners=Manners(patience_s=GIVES_UP, hang_up_after_s=GIVES_UP),
        faults=tuple(faults),
        seed=0,
    )
    events: list[AnyCallEvent] = []
    audio = CallAudio()
    report = await run_caller(options, on_event=events.append, audio=audio)
    begun = report.start_now_s
    over = next((each.now_s for each in events if isinstance(each, CallEnded)), 0.0)
    spoke = [each.now_s for each in events if isinstance(each, NetworkSpeaks)]
    stats = await settled(model_url, lets_go)
    _, heard = audio.arrays()
    return Evidence(
        report=report,
        stats=stats,
        to_say=len(utterances),
        spoke_at=[now - (begun or now) for now in spoke],
        over_at=report.seconds if begun is None else over - begun,
        greetings=greetings(heard, read_phone_wav(SPEECH / "agent_greeting.wav")),
        left=stats.live,
        hangs_up_after=hangs_up_after,
    )


async def settled(model_url: str, seconds: int) -> Stats:
    """What the stand-in saw, once the server has let go of it or has had the time to."""
    for _ in range(seconds * 2):
        stats = await asyncio.to_thread(_stats, model_url)
        if not stats.live:
            return stats
        await asyncio.sleep(0.5)
    return await asyncio.to_thread(_stats, model_url)


def _stats(model_url: str) -> Stats:
    with urllib.request.urlopen(f"{model_url}/stats", timeout=10) as answer:
        return msgspec.json.decode(answer.read(), type=Stats)


def greetings(heard: NDArray[np.int16], clip: NDArray[np.int16]) -> int:
    """How often the caller was greeted (both PCM of 8 kHz): cut off and begun again counts once."""
    length = round(GREETING_S * 8000)
    begins, ends = _places(heard, clip[:length]), _places(heard, clip[-length:])
    count = min(len(begins), 1)
    for before, begin in pairwise(begins):
        count += any(before < end < begin for end in ends)
    return count


def _places(heard: NDArray[np.int16], piece: NDArray[np.int16]) -> list[int]:
    """Where a piece of sound is in what was heard, by correlation."""
    length = len(piece)
    if len(heard) < length:
        return []
    sound, wanted = heard.astype(np.float64), piece.astype(np.float64)
    size = 1 << (len(sound) + length).bit_length()
    product = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size))
    matches = np.fft.irfft(product, size)[: len(sound) - length + 1]
    energy = np.concatenate(([0.0], np.cumsum(sound**2)))
    around = np.sqrt(np.maximum(energy[length:] - energy[:-length], 1.0))
    alike = matches / (around * max(float(np.linalg.norm(wanted)), 1.0))
    places: list[int] = []
    for at in np.flatnonzero(alike >= ALIKE):
        if not places or at >= places[-1] + length:
            places.append(int(at))
    return places
