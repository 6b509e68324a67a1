"""What many simulated calls have shown, from the raw timelines of both stand-ins.

Both ends run on this machine and note times by one monotonic clock, so a sound's way through the server is the difference of
two notes: when a stand-in handed it to its socket, and when the other stand-in had it. Sounds are matched by count. The server
promises exact counts (each 20 ms frame of 8 kHz is 320 samples of 16 kHz, three samples of 24 kHz are one of 8 kHz), and where
it broke that promise, sound was lost or doubled: `lost` says so, and `onset`, which goes by the sound itself, would disagree.

What counts cannot see is how far the resamplers shift sound in time: that is a constant, and is added.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from agent.simulator.records import Chunk, SessionRecord
    from agent.simulator.report import CallReport, MediaReceived

Times = "NDArray[np.float64]"

FRAME_SAMPLES = 160
"""Of a caller's frame, 8 kHz."""
UP = 2
"""Samples that the model gets for each of the caller's."""
DOWN = 3
"""Samples of the model's for each that the caller gets."""
RATE_HZ = 8000
ON_THE_WAY_MS = 60.0
"""Sound that may still be on its way when the caller hangs up."""
CLEAR_WITHIN_S = 1.0
"""An interruption that no `clear` follows for so long was not acted on."""


STOP_WITHIN_S = 2.0
"""A caller who has spoken over the agent for so long was not heeded."""


class Call(NamedTuple):
    """One call as both ends saw it: the caller's report, and the session of the model's stand-in."""

    caller: CallReport
    session: SessionRecord


def matched(callers: Sequence[CallReport], sessions: Iterable[SessionRecord]) -> list[Call]:
    """Put both ends of each call together: the first sound to come is of the call that sent first.

    Calls start further apart than any sound takes, so the orders are the same.
    """
    heard = sorted(
        (each for each in sessions if each.audio_in), key=lambda each: each.audio_in[0].t
    )
    sent = sorted((each for each in callers if frames(each).size), key=lambda each: frames(each)[0])
    return [Call(*both) for both in zip(sent, heard, strict=False)]


def frames(caller: CallReport) -> NDArray[np.float64]:
    """When each of the caller's frames was sent (seconds, monotonic)."""
    sent = [at for leg in caller.legs for at in leg.sent_s]
    return np.array(sent) + (caller.start_now_s or 0.0)


def counted(chunks: Sequence[Chunk]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """When chunks came or went, and how many samples there were by then, theirs included."""
    times = np.array([chunk.t for chunk in chunks], np.float64)
    return times, np.cumsum(np.array([chunk.samples for chunk in chunks], np.int64))


# ---- the caller's voice, on its way to the model


def up_ms(call: Call) -> NDArray[np.float64]:
    """Frame sent -> its last sample received; of every frame that came."""
    sent = frames(call.caller)
    times, samples = counted(call.session.audio_in)
    wanted = (np.arange(len(sent)) + 1) * FRAME_SAMPLES * UP
    at = np.searchsorted(samples, wanted)
    came = at < len(times)
    return (times[at[came]] - sent[came]) * 1000


def onset_ms(call: Call) -> list[float]:
    """First frame of an utterance sent -> its voice received; goes by the sound, not by counts."""
    sent = frames(call.caller)
    onsets = [each.t for each in call.session.moments if each.what == "onset"]
    found = []
    for spoken in call.caller.spoken:
        at = (
            round(spoken.start_s * RATE_HZ) // FRAME_SAMPLES
        )  # the frame that holds its first sample
        if at < len(sent):
            nearest = min(onsets, key=lambda t: abs(t - sent[at]), default=math.inf)
            if abs(nearest - sent[at]) < 1.0:
                found.append(float(nearest - sent[at]) * 1000)
    return found


def lost_up_ms(call: Call) -> float:
    """What the model did not get of what the caller said, but for what a hang-up overtook."""
    sent = len(frames(call.caller)) * FRAME_SAMPLES
    came = sum(chunk.samples for chunk in call.session.audio_in) / UP
    missing = (sent - came) * 1000 / RATE_HZ
    return call.caller.lost_ms + (missing if missing > ON_THE_WAY_MS else 0.0)


# ---- the agent's voice, on its way to the caller


class Reply(NamedTuple):
    """One reply: what the model sent of it, and what the phone got.

    Attributes:
        sent: chunks of 24 kHz.
        got: (when its first sample passed the ear, samples of 8 kHz, ms that were buffered when it came).
        interrupted: whether the caller cut it off.
        last: whether the call ended before another reply began, so that it may be incomplete.
    """

    sent: list[Chunk]
    got: list[tuple[float, int, float]]
    interrupted: bool
    last: bool


def replies(call: Call) -> list[Reply]:
    """Every reply but the greeting, which begins before there is a line."""
    start = call.caller.start_now_s or 0.0
    begins = [each.t for each in call.session.moments if each.what == "first_audio"]
    stops = [each.t for each in call.session.moments if each.what == "interrupted"]
    media = call.caller.media
    sent_at = [chunk.t for chunk in call.session.audio_out]
    got_at = [start + each.at_s for each in media]
    found = []
    for at, begin in enumerate(begins[1:], 2):
        end = begins[at] if at < len(begins) else float("inf")
        found.append(
            Reply(
                call.session.audio_out[bisect_left(sent_at, begin) : bisect_left(sent_at, end)],
                [
                    _heard(each, start)
                    for each in media[bisect_left(got_at, begin) : bisect_left(got_at, end)]
                ],
                any(begin <= stop < end for stop in stops),
                at == len(begins),
            )
        )
    return found


def _heard(media: MediaReceived, start: float) -> tuple[float, int, float]:
    return start + media.at_s + media.buffered_ms / 1000, media.samples, media.buffered_ms


def down_ms(reply: Reply) -> list[float]:
    """Per chunk of the model's: how much later its first sample is heard than with no server in between.

    Without one, the phone's buffer would play each chunk at once, or behind the chunks before it.
    """
    delays = []
    positions = np.cumsum([0, *(samples for _, samples, _ in reply.got)])
    ideal = 0.0  # when the phone would be through with what came before
    position = 0  # samples of 24 kHz before this chunk
    for chunk in reply.sent:
        ideal = max(ideal, chunk.t)
        at = int(np.searchsorted(positions, position // DOWN, side="right")) - 1
        if at >= len(reply.got):
            break  # cut off, or not yet there when the call ended
        heard = reply.got[at][0] + (position / DOWN - positions[at]) / RATE_HZ
        delays.append((heard - ideal) * 1000)
        ideal += chunk.samples / (DOWN * RATE_HZ)
        position += chunk.samples
    return delays


def lost_down_ms(reply: Reply) -> float:
    """What the caller did not get of a reply that nobody cut off."""
    if reply.interrupted or reply.last:
        return 0.0
    sent = sum(chunk.samples for chunk in reply.sent) // DOWN
    return max(0, sent - sum(samples for _, samples, _ in reply.got)) * 1000 / RATE_HZ


def late_ms(reply: Reply, top_up_ms: float) -> list[float]:
    """Per message, once the lead was full: by how much the phone's buffer had sunk below its top-up mark."""
    buffered = [ms for _, _, ms in reply.got]
    full = next((at for at, ms in enumerate(buffered) if ms >= top_up_ms), len(buffered))
    return [max(0.0, top_up_ms - ms) for ms in buffered[full:]]


# ---- interruptions


class Cuts(NamedTuple):
    """What became of the interruptions of a call.

    Attributes:
        clear_ms: the model's `interrupted` written -> `clear` at the phone.
        early: how many a `clear` had come for before: the server had heard the caller itself.
        unanswered: how many no `clear` followed.
        stale_ms: sound of an interrupted reply that came after its `clear`.
    """

    clear_ms: list[float]
    early: int
    unanswered: int
    stale_ms: float


def cuts(call: Call) -> Cuts:
    """Follow every interruption from the model to the phone."""
    start = call.caller.start_now_s or 0.0
    clears = [start + each.at_s for each in call.caller.clears]
    delays: list[float] = []
    early = unanswered = 0
    for moment in call.session.moments:
        if moment.what != "interrupted":
            continue
        at = bisect_left(clears, moment.t)
        if at < len(clears) and clears[at] - moment.t < CLEAR_WITHIN_S:
            delays.append((clears[at] - moment.t) * 1000)
        elif at > 0 and moment.t - clears[at - 1] < CLEAR_WITHIN_S:
            early += 1
        else:
            unanswered += 1
    return Cuts(delays, early, unanswered, sum(each.stale_ms for each in call.caller.clears))


def stop_ms(call: Call) -> list[float]:
    """First sample of what the caller says over the agent's words -> `clear` at the phone."""
    found = []
    for spoken in call.caller.spoken:
        after = [each.at_s - spoken.start_s for each in call.caller.clears]
        stop = next((each for each in after if 0 <= each < STOP_WITHIN_S), None)
        if spoken.interrupts and stop is not None:
            found.append(stop * 1000)
    return found
