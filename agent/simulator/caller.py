"""A whole simulated call in one function: the phone network, and a caller who reacts."""

from __future__ import annotations

import audioop
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.simulator.call_options import CallOptions
from agent.simulator.earpiece import RATE_HZ, Sounds
from agent.simulator.phone import KeyPress, Manners, Phone, Utterance
from agent.simulator.ticker import Ticker
from agent.simulator.twilio import TelephoneCall
from agent.simulator.wav import read_phone_wav, write_stereo

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from agent.simulator.program import Exchange
    from agent.simulator.report import AnyCallEvent, CallReport

SPEECH = Path(__file__).parent / "speech"
BLOCK = RATE_HZ // 100

DEMO: tuple[tuple[str, str, float | None], ...] = (
    ("caller_open.wav", "Hi. What time do you open tomorrow?", None),
    ("caller_park.wav", "And where can I park my car?", None),
    ("caller_cost.wav", "Sorry, is it free on Sundays?", 1.5),
    ("caller_bye.wav", "Great, thank you. Goodbye.", None),
)
"""The demo's conversation: clip, words, and how far into the reply the caller interrupts (s)."""


@dataclass(frozen=True, kw_only=True)
class CallerOptions(CallOptions):
    """A call and what the caller does in it.

    Attributes:
        utterances, manners: what is said, and how.
        keys: pressed, one after the other, whenever the network asks for keys (<Gather>).
        talk_s: connected to another person, the caller hangs up after so long; None: never.
    """

    utterances: tuple[Utterance, ...] = ()
    manners: Manners = Manners()
    keys: tuple[KeyPress, ...] = ()
    talk_s: float | None = None


class CallAudio:
    """Keeps what the caller said and heard, each at its time on the caller's timeline."""

    def __init__(self) -> None:
        self.said = Sounds()
        self.heard = Sounds()

    def arrays(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Caller said, agent heard: PCM of 8 kHz, of equal length, from the first `start` on."""
        said, heard = self.said.mulaw(), self.heard.mulaw()
        length = max(len(said), len(heard))
        left, right = (
            np.frombuffer(audioop.ulaw2lin(side.ljust(length, b"\xff"), 2), np.int16)
            for side in (said, heard)
        )
        return left, right

    def write(self, path: Path) -> None:
        """Write a stereo WAV: caller left, agent right."""
        write_stereo(path, *self.arrays())


def utterance(
    pcm: NDArray[np.int16],
    text: str,
    *,
    interrupt_after_s: float | None = None,
    digits: str = "",
) -> Utterance:
    """Make something to say of PCM of 8 kHz; finds where its speech begins and ends."""
    first, last = speech_bounds(pcm)
    mulaw = audioop.lin2ulaw(pcm.astype("<i2").tobytes(), 2)
    return Utterance(text, mulaw, first, last, interrupt_after_s, digits)


def speech_bounds(pcm: NDArray[np.int16]) -> tuple[int, int]:
    """First sample of the first audible 10 ms and the one after the last; all of it if none is.

    Audible is 34 dB below the loudest 10 ms, or louder.
    """
    count = len(pcm) // BLOCK
    if count == 0:
        return 0, len(pcm)
    blocks = pcm[: count * BLOCK].astype(np.float64).reshape(count, BLOCK)
    level = np.sqrt((blocks**2).mean(axis=1))
    audible = np.flatnonzero(level >= max(level.max() * 0.02, 1.0))
    if len(audible) == 0:
        return 0, len(pcm)
    return int(audible[0]) * BLOCK, int(audible[-1] + 1) * BLOCK


def recorded(path: Path) -> Utterance:
    """The caller's own recording.

    Raises:
        UserError: it is no PCM WAV file.
    """
    return utterance(read_phone_wav(path), f"[{path.name}]")


def demo_utterances() -> tuple[Utterance, ...]:
    """The four things that the demo's caller says."""
    return tuple(
        utterance(read_phone_wav(SPEECH / clip), text, interrupt_after_s=interrupt)
        for clip, text, interrupt in DEMO
    )


async def run_caller(
    options: CallerOptions,
    *,
    on_event: Callable[[AnyCallEvent], None] | None = None,
    ticker: Ticker | None = None,
    audio: CallAudio | None = None,
    network: Exchange | None = None,
) -> CallReport:
    """Place one call and hold it to its end.

    Args:
        options: who calls, where, and what is said.
        on_event: told what happens as it happens; must not block.
        ticker: shared by many calls in one process; None starts one for this call.
        audio: filled with what was said and heard; None keeps none of it.
        network: knows the call, so that it can be updated by REST and connected to others.

    Returns:
        What the call showed; a broken rule or a failed webhook is in it, not raised.
    """
    said, heard = (audio.said, audio.heard) if audio is not None else (None, None)
    phone = Phone(options.utterances, options.manners, said, heard)
    phone.keys.extend(options.keys)
    phone.talk_s = options.talk_s
    emit = on_event or _ignore
    if ticker is not None:
        return await TelephoneCall(options, phone, ticker, emit, network).run()
    async with Ticker() as own:
        return await TelephoneCall(options, phone, own, emit, network).run()


def _ignore(event: AnyCallEvent) -> None:
    """Nobody watches."""
