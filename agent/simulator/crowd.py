"""Many simulated calls at once, in one process and on one clock: the load of a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from agent.simulator.brain import speechlike
from agent.simulator.caller import CallerOptions, demo_utterances, run_caller, utterance
from agent.simulator.clock import Owner, now, sleep_until
from agent.simulator.earpiece import RATE_HZ
from agent.simulator.phone import Manners, Utterance
from agent.simulator.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.report import CallReport

APART_S = 0.2
"""Between the starts of two calls, and less between their ends: a crowd does not act as one."""
SETTLE_S = 3.0
"""From the last call's start to the steady window: the ringing, and the agent's first words."""
TAIL_S = 0.5
"""From the window's end to the first call's."""


class CrowdOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How many calls, for how long, and who answers.

    Attributes:
        url: the server's origin.
        auth_token: signs the requests.
        seconds: the steady window: every call is up from its beginning to its end.
        start_delay_s: from the TwiML to `start`, the same for all, so that calls stay in order.
        speech_s: what a caller says at a time.
        recorded: callers speak as people do, not a sound that is only as loud: for a server that listens for voices.
        interrupt_after_s: of the agent's reply is heard when every third utterance cuts it off.
    """

    url: str
    auth_token: str = ""
    calls: int
    seconds: float
    start_delay_s: float = 0.1
    speech_s: float = 2.0
    recorded: bool = False
    interrupt_after_s: float = 1.0


def small_talk(options: CrowdOptions) -> tuple[Utterance, ...]:
    """What a caller says, over and over: two things in turn, then one that interrupts."""
    if options.recorded:
        first, second, third, *_ = demo_utterances()
        late = msgspec.structs.replace(third, interrupt_after_s=options.interrupt_after_s)
        return first, second, late
    pcm = np.frombuffer(speechlike(options.speech_s, RATE_HZ), "<i2")
    return (
        utterance(pcm, "first"),
        utterance(pcm, "second"),
        utterance(pcm, "third", interrupt_after_s=options.interrupt_after_s),
    )


async def run_crowd(
    options: CrowdOptions, mark: Callable[[], None] | None = None
) -> list[CallReport]:
    """Place the calls one after the other, hold them, end them one after the other.

    Args:
        options: how many, and how long.
        mark: called when the steady window begins and when it ends; must not take long.

    Returns:
        What each call showed, in the order of their starts.
    """
    begun = now()
    opens = begun + options.calls * APART_S + SETTLE_S
    closes = opens + options.seconds
    said = small_talk(options)

    async def one(number: int) -> CallReport:
        placed = begun + number * APART_S
        await sleep_until(placed)
        own = CallerOptions(
            url=options.url,
            auth_token=options.auth_token,
            from_number=f"+1202555{number:04d}",
            seed=number,
            start_delay_s=options.start_delay_s,
            max_seconds=closes + TAIL_S + number * APART_S / 4 - placed,
            utterances=said,
            manners=Manners(hang_up_after_s=None, repeat=True),
        )
        return await run_caller(own, ticker=ticker)

    async with Ticker() as ticker, Owner() as owner:
        calls = [owner.start(one(number), f"call-{number}") for number in range(options.calls)]
        for moment in (opens, closes):
            await sleep_until(moment)
            if mark is not None:
                mark()
        await owner.wait()
    return [await call for call in calls]


async def warm_up(options: CrowdOptions) -> CallReport:
    """Place one short call, so that what a server loads for its first is not counted for the others."""
    short = msgspec.structs.replace(options, calls=1, seconds=1.0)
    (report,) = await run_crowd(short)
    return report
