"""Whatever happens in whatever order: a call breaks no rule of its own, says nothing to a session that is not ready, and ends.

What a model, a line and a tool may tell at a moment is told at random, by the seed, never what they cannot: the peers' own rules are
`STEPS`, of which each asks whether it may come.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal

import pytest

from agent import events as e
from agent.call.life import Phase
from agent.call.options import CallOptions
from agent.errors import Fate
from tests.call.calls import Bench, speech

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 2.0
"""Seconds that pass between two looks at the rules."""
MOST_AHEAD = 0.42
"""Seconds of sound that a line may hold for us: the lead, and a frame."""
LOST = (Fate.RESUME, Fate.RESUME, Fate.RESUME, Fate.FRESH, Fate.FATAL)
EFFECTS: tuple[e.Effect | None, ...] = (
    None,
    None,
    e.EndAfterGoodbye(),
    e.TransferAfterGoodbye("desk", 20.0),
    e.PressKeys("12"),
    e.HoldCall(5.0),
    e.HoldCall(5.0, for_caller=True),
    e.ResumeCall(),
)


class Anything:
    """A call in which anything happens, and what its commands may be just now."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.bench = Bench(options=CallOptions(greeting="Greet.", tells_heard=seed % 2 == 0))
        self.session: Literal["opening", "ready", "none"] = "opening"
        self.gone_at: float | None = None
        self.asked: set[str] = set()  # by the present session
        self.running: list[str] = []
        self.legs = 0
        self.connected = False
        self._plays_until = 0.0
        self._seen = 0
        self._calls = 0
        self.check()

    def live(self, steps: int) -> None:
        for _ in range(steps):
            if self.bench.machine.phase is Phase.ENDED:
                return
            may = [step for step, (allowed, _) in STEPS.items() if allowed(self)]
            STEPS[self.dice.choice(may)][1](self)
            self.check()

    def end(self) -> None:
        """Nobody does anything any more: neither line (whoever holds it comes back first) nor model nor tool."""
        self.tell(e.LineHeld(False))
        self.bench._frame_at = None
        for _ in range(12):
            if self.bench.machine.phase is not Phase.ENDED:
                self.bench.run(5.0)
                self.check()
            if self.bench.machine.phase is Phase.TALKING:
                self.bench.tell(e.LineEnded("lost"))

    def tell(self, event: e.AnyEvent) -> None:
        self.bench.tell(event)

    # ---- the rules

    def check(self) -> None:
        fresh, self._seen = self.bench.log[self._seen :], len(self.bench.log)
        for at, command in fresh:
            match command:
                case e.OpenModel():
                    self.session, self.asked = "opening", set()
                    self.gone_at = at if self.gone_at is None else self.gone_at
                case e.CloseModel():
                    self.session, self.asked, self.gone_at = "none", set(), None
                case e.SendToolResult(id=id):
                    assert self.session == "ready"
                    assert id in self.asked, "answers nothing that was asked"
                    self.asked.discard(id)
                case e.SendAudio() | e.SendText() | e.SendNote() | e.EndAudio():
                    assert self.session == "ready", f"{type(command).__name__} to nobody"
                case e.StartTool(id=id):
                    assert id not in self.running
                    self.running.append(id)
                case e.CancelTool(id=id):
                    self.running.remove(id)
                case e.Play(pcm=pcm):
                    self._plays_until = max(self._plays_until, at) + pcm.seconds
                    assert self._plays_until - at < MOST_AHEAD, (
                        "further ahead of the ear than it may be"
                    )
                case e.Clear():
                    self._plays_until = at
                case _:
                    pass
        finished = [n for n, (_, each) in enumerate(self.bench.log) if type(each) is e.Finish]
        assert finished in ([], [len(self.bench.log) - 1])
        waited = 0.0 if self.gone_at is None else self.bench.now - self.gone_at
        assert waited < 10.0 + LONGEST or not self.bench.is_in(Phase.TALKING)

    # ---- what happens

    def passes(self) -> None:
        self.bench.run(self.dice.choice((0.02, 0.1, 0.5, 1.0, LONGEST)))

    def connects(self) -> None:
        self.legs += 1
        self.connected = True
        self._plays_until = 0.0  # another stream, which holds nothing
        self.bench.connect(self.legs)

    def disconnects(self) -> None:
        if self.dice.random() < 0.2:
            self.connected = False
            self.bench.disconnect(self.dice.choice(("lost", "closed", "stopped")))

    def gets_ready(self) -> None:
        self.session, self.gone_at = "ready", None
        self.tell(e.ModelReady(0.3))

    def is_lost(self) -> None:
        fates = tuple(Fate) if self.session == "opening" else LOST
        self.session, self.asked = "none", set()
        self.gone_at = self.bench.now if self.gone_at is None else self.gone_at
        self.tell(e.ModelEnded(self.dice.choice(fates), 1006, ""))

    def calls_a_tool(self) -> None:
        self._calls += 1
        made = str(self._calls)
        self.asked.add(made)
        args = {"day": self.dice.choice(("monday", "friday"))}
        self.tell(e.ToolCalled(made, self.dice.choice(("book", "look")), args))

    def cancels(self) -> None:
        ids, self.asked = sorted(self.asked), set()
        self.tell(e.ToolsCancelled(ids))

    def finishes_a_tool(self) -> None:
        made = self.running.pop(self.dice.randrange(len(self.running)))
        self.tell(e.ToolFinished(made, "book", {"result": "done"}, self.dice.choice(EFFECTS)))


def told(*events: e.AnyEvent) -> Callable[[Anything], None]:
    return lambda call: call.tell(call.dice.choice(events))


def is_ready(call: Anything) -> bool:
    return call.session == "ready"


def is_heard(call: Anything) -> bool:
    return call.connected


STEPS: dict[str, tuple[Callable[[Anything], bool], Callable[[Anything], None]]] = {
    "time": (lambda call: True, Anything.passes),
    "more time": (lambda call: True, Anything.passes),
    "connect": (
        lambda call: call.bench.machine.phase in {Phase.RINGING, Phase.PARKED},
        Anything.connects,
    ),
    "disconnect": (is_heard, Anything.disconnects),
    "talk": (is_heard, lambda call: call.bench.caller_talks(call.dice.choice((0.2, 0.5, 1.5)))),
    "key": (is_heard, told(e.LineDigit("1"), e.LineDigit("#"))),
    "held": (is_heard, told(e.LineHeld(True), e.LineHeld(False))),
    "ready": (lambda call: call.session == "opening", Anything.gets_ready),
    "lost": (lambda call: call.session != "none", Anything.is_lost),
    "sound": (
        is_ready,
        told(
            e.ModelAudio(speech(0.1)),
            e.ModelAudio(speech(2.0)),
            e.ModelAudio(e.Pcm24k(bytes(4800)), audible=False),
        ),
    ),
    "turn": (is_ready, told(e.GenerationComplete(), e.TurnComplete(), e.Interrupted())),
    "words": (
        is_ready,
        told(e.CallerSaid("When?"), e.AgentSaid("At eight."), e.CallerActivity(True)),
    ),
    "news": (
        is_ready,
        told(
            e.ModelHandle("h", resumable=True),
            e.ModelHandle("", resumable=False),
            e.ModelGoingAway(0.0),
            e.ModelGoingAway(20.0),
            e.ModelUsage(prompt=3000, total=3000),
            e.ModelUsage(prompt=30, total=30),
        ),
    ),
    "tool": (is_ready, Anything.calls_a_tool),
    "cancel": (is_ready, Anything.cancels),
    "tool's end": (lambda call: len(call.running) > 0, Anything.finishes_a_tool),
    "transfer's end": (
        lambda call: call.bench.is_in(Phase.AWAY),
        told(e.TransferEnded("busy"), e.TransferEnded("connected")),
    ),
}
"""What may happen, whether it may come now, and what it is."""


def lives(seed: int) -> None:
    call = Anything(seed)
    call.live(60)
    call.end()
    assert call.bench.is_in(Phase.ENDED), f"seed {seed}: it is {call.bench.machine.phase}"


@pytest.mark.parametrize("seed", [*range(7), 201])
def test_a_call_keeps_its_rules_and_ends(seed: int) -> None:
    lives(seed)


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(600)
def test_so_do_many(full: bool) -> None:
    for seed in range(8, 2000 if full else 100):
        lives(seed)
