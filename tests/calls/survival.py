"""Many calls side by side whose sessions end under them, and what each loss cost at the caller's ear.

Every utterance of every caller sounds different, so that the stand-in's account of utterances can tell them apart: what is missing
after a resumption is not mistaken for what came next.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections import Counter
from contextlib import asynccontextmanager
from functools import cache
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from agent.simulator import faults
from agent.simulator.brain import BenchBrain, Call, Heard as Understood
from agent.simulator.caller import utterance
from agent.simulator.clock import Owner, now
from agent.simulator.ears import Hearing, Recogniser
from agent.simulator.phone import Manners
from tests.calls import desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.simulator.ears import Utterance as Sound
    from agent.simulator.phone import Utterance
    from tests.calls.exchange import Heard, Reachable

SIDE_BY_SIDE = 20
AUDIBLE = 200
"""Loudness (RMS of int16) from which 20 ms count as sound."""


# ------------------------------------------------------------------ what is said


@cache
def babble(seed: int) -> bytes:
    """1.2 to 2.4 s of something like speech at 8 kHz, as different from any other seed's as words are."""
    dice = np.random.default_rng(seed)
    seconds = dice.uniform(1.2, 2.4)
    syllables: list[NDArray[np.float64]] = []
    while sum(map(len, syllables)) < seconds * 8000:
        count = int(dice.uniform(0.09, 0.22) * 8000)
        times = np.arange(count) / 8000
        pitch = dice.uniform(90, 220)
        sound = np.zeros(count)
        formants = dice.uniform((250, 800, 1900), (800, 1900, 3300))
        for harmonic in range(1, int(3400 / pitch)):
            near = np.exp(-(((pitch * harmonic - formants) / 150) ** 2)).sum() + 0.01
            sound += near * np.cos(2 * np.pi * pitch * harmonic * times + harmonic**2)
        envelope = np.minimum(1.0, 0.25 + np.sin(np.pi * np.arange(count) / count))
        syllables.append(sound / max(1e-9, np.sqrt((sound**2).mean())) * envelope)
    speech = np.concatenate(syllables)
    pcm: bytes = np.clip(speech * 3000, -32000, 32000).astype("<i2").tobytes()
    return pcm


@cache
def said(count: int) -> tuple[Utterance, ...]:
    """So many different things to say."""
    return tuple(utterance(np.frombuffer(babble(n), np.int16), f"words {n}") for n in range(count))


@cache
def known(count: int) -> Recogniser:
    return Recogniser({f"words {n}": (babble(n), 8000) for n in range(count)})


@cache
def length(seed: int) -> float:
    """Seconds that it takes to say it."""
    return len(babble(seed)) / 2 / 8000


ALIKE = 0.04, 0.15
"""How much two lengths may differ to be of one thing said, as a share: at first, and where nothing is found so."""


class Clerk(BenchBrain):
    """Greets, answers all that is said and writes each thing down once: the note's words are what it understood.

    Args:
        count: so many different things are said.
        greeted: counts how often a conversation was greeted.
        seconds: length of a reply.
    """

    def __init__(self, count: int, greeted: Counter[str], seconds: float) -> None:
        super().__init__(seconds, 0.6)
        self._count = count
        self._asked = greeted

    def prompted(self, text: str) -> Any:
        self._asked[text[:20]] += 1
        return super().prompted(text)

    def heard(self, utterance: Sound) -> Understood:
        words = next(filter(None, (self._words(utterance, share) for share in ALIKE)), "something")
        _, reply = super().heard(utterance)
        return Understood(words, (*reply, Call("write_down", {"words": words})))

    def _words(self, utterance: Sound, share: float) -> str | None:
        """What was said. Of hundreds only those of about that length are compared: all share one loop, and no caller waits for it."""
        near = share * utterance.seconds
        every = range(self._count)
        among = [f"words {n}" for n in every if abs(length(n) - utterance.seconds) <= near]
        return known(self._count).recognise(utterance.pcm, utterance.rate_hz, among)


# ------------------------------------------------------------------ the crowd


class Loss(NamedTuple):
    """One session after another, as the record has it and as the caller's ear has it.

    Attributes:
        at: seconds on the caller's timeline.
        ms, lost_ms, silence_ms: of the record.
        setup: seconds that the service took to answer the new session's setup.
        silence: seconds of the longest silence at the caller's ear from `at` until the agent begins again; None if he never does.
        latency: seconds from the end of what the caller said then, or next, to the answer.
    """

    call: int
    planned: bool
    at: float
    ms: float
    lost_ms: float
    silence_ms: float
    setup: float
    silence: float | None
    latency: float | None

    def added(self, usual: float) -> float:
        """Seconds that the answer came later than usual."""
        return 0.0 if self.latency is None else max(0.0, self.latency - usual)


def cost(losses: list[Loss], usual: float) -> str:
    """The figures of many, for people."""
    silences = sorted(loss.silence_ms for loss in losses)
    added = sorted(loss.added(usual) for loss in losses)
    back = sorted(loss.silence for loss in losses if loss.silence is not None)
    lost = sum(loss.lost_ms for loss in losses)
    p95 = math.ceil(0.95 * len(losses)) - 1
    return (
        f"{len(losses)}: {lost:.0f} ms of caller audio lost; silence added by the record"
        f" p95 {silences[p95]:.0f}, at most {silences[-1]:.0f} ms; at the ear p95 {added[p95]:.2f},"
        f" at most {added[-1]:.2f} s; audio back p95 {back[math.ceil(0.95 * len(back)) - 1]:.2f}, at most {back[-1]:.2f} s"
    )


class Crowd:
    """So many calls side by side, each of which says `says` things that nobody else says.

    Args:
        folder: the server's; the agent's tool is put there.
        calls, says: so many of each.
        reply: seconds of the agent's answers.

    Attributes:
        agent: what the agent's file says of them.
        asked: how often the model was asked in words, by what it was asked.
        seen: tasks and sockets that there were, looked at twice a second where that was wanted.
    """

    def __init__(self, folder: Path, calls: int, says: int, reply: float = 1.2) -> None:
        self.calls = calls
        self.says = says
        self.agent: dict[str, Any] = {
            "tools": ["end_call", {"python": "desk:write_down"}],
            # A caller who takes "One moment" for the answer would go on to his next question.
            "silences": {"no_session": 99, "no_sign": 99},
        }
        agents = folder / "agents"
        agents.mkdir()
        shutil.copy(desk.__file__, agents)
        self._book = agents / desk.BOOK.name
        self.asked: Counter[str] = Counter()
        self.seen: list[int] = []
        self._reply = reply
        self._heard: list[Heard] = []

    @property
    def written(self) -> Counter[str]:
        """How often each thing was written down."""
        return Counter(self._book.read_text().splitlines())

    def brain(self) -> Clerk:
        return Clerk(self.calls * self.says, self.asked, self._reply)

    async def talk(
        self,
        here: Reachable,
        seconds: float,
        think: tuple[float, float] = (0.6, 0.6),
        *,
        watch: bool = False,
    ) -> list[Heard]:
        """Let them talk until all is said, for `seconds` at most; every call ends by its caller's hand."""
        known(self.calls * self.says)  # learnt before the clock runs
        dice = Random(7)
        calls = []
        for n in range(self.calls):
            manners = Manners(quiet_s=dice.uniform(*think), patience_s=30.0, hang_up_after_s=4.0)
            talk = said(self.calls * self.says)[n * self.says : (n + 1) * self.says]
            call = here.call(*talk, call_sid=sid(n), max_seconds=seconds, manners=manners)
            calls.append(asyncio.ensure_future(call))
            await asyncio.sleep(dice.uniform(0.02, 0.1))
        talking = asyncio.gather(*calls)
        while watch and not talking.done():
            self.seen.append(len(here.running()))
            await asyncio.sleep(0.5)
        self._heard = list(await talking)
        for n in range(self.calls):
            await here.record(sid(n))
        return self._heard

    def losses(self, here: Reachable) -> list[Loss]:
        """What every hop and recovery cost."""
        return [loss for n, heard in enumerate(self._heard) for loss in _losses(here, n, heard)]

    def unanswered(self) -> list[str]:
        """Things said during and after which the agent was not heard before the caller's next words.

        A caller whose answer breaks off may say his next thing at once. He then hears both answered in the order in which
        they came: the first in the middle of his own words, where he stops it by saying more.
        """
        found = []
        for heard in self._heard:
            spoken = heard.report.spoken
            until = [each.start_s for each in spoken[1:]] + [float("inf")]
            found += [
                each.text
                for each, end in zip(spoken, until, strict=True)
                if not any(each.start_s < part.start_s < end for part in heard.report.heard)
            ]
        return found

    def run_together(self) -> set[str]:
        """Things said with too short a pause between them for anybody to hear two: the model hears one, which is neither.

        A caller who hears a late answer in the middle of his words, and its end, takes it for the answer and says his next thing.
        """
        pause = Hearing().silence_seconds
        return {
            each.text
            for heard in self._heard
            for one, next_ in pairwise(heard.report.spoken)
            if next_.start_s - one.end_s < pause
            for each in (one, next_)
        }

    def longest_wait(self) -> float:
        """Seconds that a caller waited for an answer, at most."""
        return max(
            _latency(heard, each.end_s) or math.inf
            for heard in self._heard
            for each in heard.report.spoken
        )

    def usual(self) -> float:
        """The shortest wait for an answer: no hop can have been in it."""
        waits = [
            _latency(heard, each.end_s) for heard in self._heard for each in heard.report.spoken
        ]
        return min(wait for wait in waits if wait is not None)


def _losses(here: Reachable, n: int, heard: Heard) -> list[Loss]:
    (row,) = here.rows(sid(n))
    path = here.folder / "calls" / row.id / "transcript.json"
    hops = msgspec.json.decode(path.read_bytes())["metrics"]["hops"]
    events = here.events(sid(n))
    begun = next(entry["clock"] for entry in events if entry["kind"] == "call_started")
    setups = [
        (each["t"], each["setup_seconds"]) for each in events if each["kind"] == "model_ready"
    ]
    assert heard.report.start_now_s is not None
    found = []
    for hop in hops:
        at = begun + hop["at"] - heard.report.start_now_s
        spoken = next((each for each in heard.report.spoken if each.end_s > at - 1.5), None)
        latency = None if spoken is None else _latency(heard, spoken.end_s)
        ready = hop["at"] + hop["ms"] / 1000
        setup = min(setups, key=lambda each: abs(each[0] - ready))[1]
        figures = (hop["planned"], at, hop["ms"], hop["lost_ms"], hop["silence_ms"], setup)
        found.append(Loss(n, *figures, _silence(heard, at), latency))
    return found


def _latency(heard: Heard, end: float) -> float | None:
    starts = [part.start_s for part in heard.report.heard if part.start_s > end]
    return min(starts) - end if starts else None


def _silence(heard: Heard, at: float) -> float | None:
    """Seconds of the longest stretch without any sound, from `at` to where the agent begins next."""
    starts = [part.start_s for part in heard.report.heard if part.start_s > at]
    if not starts:
        return None
    loud = np.zeros(0)
    for side in heard.audio.arrays():
        blocks = side[: len(side) // 160 * 160].reshape(-1, 160).astype(float)
        level = np.sqrt((blocks**2).mean(axis=1))
        loud = level if not len(loud) else np.maximum(loud, level)
    longest = current = 0
    for block in loud[max(0, round(at / 0.02)) : round(min(starts) / 0.02)]:
        current = current + 1 if block < AUDIBLE else 0
        longest = max(longest, current)
    return longest * 0.02


class Hazard:
    """Ends sessions at random moments of their life, a fault at a time, until there were so many.

    Args:
        kinds: as `faults.parse` writes them.
        count: so many sessions in all.
        earliest, latest: seconds after the connection was opened between which it strikes.
    """

    def __init__(
        self, here: Reachable, kinds: Sequence[str], count: int, earliest: float, latest: float
    ) -> None:
        self._here = here
        self._kinds = [faults.parse(kind) for kind in kinds]
        self._left = count
        self._span = earliest, latest
        self.struck: Counter[str] = Counter()

    async def run(self) -> None:
        """Strike until all is done."""
        seen = 0
        due: list[tuple[float, int]] = []
        while self._left > 0:
            opened = self._here.opened
            for session in range(seen + 1, opened + 1):
                due.append((now() + Random(f"moment {session}").uniform(*self._span), session))
            seen = opened
            for at, session in [each for each in due if each[0] <= now()]:
                due.remove((at, session))
                fault = Random(f"kind {session}").choice(self._kinds)
                if self._left > 0 and self._here.gemini.inject(fault, session):
                    self._left -= 1
                    self.struck[f"{fault.name}={fault.value}"] += 1
            await asyncio.sleep(0.01)


@asynccontextmanager
async def hazard(
    here: Reachable, *kinds: str, count: int, between: tuple[float, float]
) -> AsyncIterator[Hazard]:
    """A hazard as long as the context lasts."""
    danger = Hazard(here, kinds, count, *between)
    async with Owner() as owner:
        owner.start(danger.run(), "hazard")
        yield danger


def sid(n: int) -> str:
    return f"CA{n:032x}"
