"""A thousand tool calls, twenty telephone calls side by side: delays, failures, cancellations and hops, each answered exactly once.

The model here is one that behaves as badly as Live models are known to: it asks again while a tool runs, cancels and asks again, and
after a hop goes on from its last snapshot and asks for everything since then with new ids. Time is the loop's own.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from agent.call.tool_calls import STILL_RUNNING, ToolCalls
from agent.drive.tasks import Tasks
from agent.errors import ToolFailed
from agent.events import CancelTool, SendToolResult, StartTool, ToolCalled
from agent.tools.base import Answer, Declaration
from agent.tools.effects import Effects, MemoryJournal
from agent.tools.toolbox import Toolbox
from tests.telephony.fakes import virtually

if TYPE_CHECKING:
    from agent.events import AnyCommand, ToolFinished

SIDE_BY_SIDE, EACH = 20, 50

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class World:
    """What tools do to it."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.done: Counter[int] = Counter()


class Look:
    """A tool that takes its time and fails in every way there is; what it does depends on `n` alone."""

    declaration = Declaration("look", "Look.", SCHEMA)

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, args: dict[str, Any]) -> Answer:
        return await self._work(args["n"], effect=False)

    async def _work(self, n: int, *, effect: bool) -> Answer:
        dice = random.Random(n)
        await asyncio.sleep(dice.choice([0.0, dice.uniform(0, 2), dice.uniform(0, 12)]))
        fate = dice.random()
        if fate < 0.1:
            raise ToolFailed(f"{n} cannot be done.")
        if fate < 0.15:
            raise ZeroDivisionError
        if effect:
            self._world.done[n] += 1
        if fate < 0.2:
            raise ZeroDivisionError  # too late
        return Answer({"n": n if fate < 0.95 else object()})


class Act(Look):
    """The same with an effect."""

    declaration = Declaration("act", "Act.", SCHEMA)

    async def run(self, args: dict[str, Any]) -> Answer:
        raise AssertionError

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        self._world.begun[args["n"]] += 1
        return await self._work(args["n"], effect=True)


class Conversation:
    """One telephone call's model, and an account of what it asked and was told."""

    def __init__(self, number: int, world: World, journal: MemoryJournal, server: Tasks) -> None:
        self.dice = random.Random(-number)
        self.calls = ToolCalls()
        self.tasks = Tasks(f"call {number}")
        effects = Effects(f"call-{number}", journal, server, lambda tool, error: None)
        tools = [Look(world), Act(world)]
        self.box = Toolbox(tools, self.finished, self.tasks, lambda tool, error: None, effects)
        self.number = number
        self.ids = 0
        self.session = 0
        self.asked: dict[str, tuple[int, str, int]] = {}  # id: session, tool, n
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.cancelled: set[str] = set()
        self.void: set[str] = set()  # of sessions that are gone
        self.since: list[tuple[str, int]] = []  # wishes since the snapshot
        self.later: list[tuple[str, int]] = []  # wishes that were cancelled and will be back
        self.refused: set[int] = set()  # wishes that were cancelled and not asked for again
        self.told: dict[int, dict[str, Any]] = {}

    # ---- the model

    async def live(self) -> None:
        for n in range(EACH):
            wish = (self.dice.choice(["look", "act"]), self.number * EACH + n)
            self.since.append(wish)
            self.ask(*wish)
            await asyncio.sleep(self.dice.uniform(0, 1.5))
            self.misbehave(wish)
            if self.later and self.dice.random() < 0.3:
                self.ask(*self.later.pop())
        await self.quiet()
        self.hop()  # a last session has to be told everything too
        await self.quiet()

    async def quiet(self) -> None:
        while len(self.calls):  # noqa: ASYNC110 - the time is not ours to wait for
            await asyncio.sleep(1.0)

    def misbehave(self, wish: tuple[str, int]) -> None:
        whim = self.dice.random()
        if whim < 0.2 and wish in [self.asked[call][1:] for call in self.open()]:
            self.ask(*wish)  # impatient: again
        elif whim < 0.3:
            self.cancel(again=self.dice.random() < 0.5)
        elif whim < 0.35:
            self.hop()
        elif (
            whim < 0.5 and not len(self.calls) and not self.later
        ):  # a function that runs allows no snapshot
            self.calls.snapshot()
            self.since.clear()

    def ask(self, tool: str, n: int) -> None:
        self.ids += 1
        call = f"{self.session}-{self.ids}"
        self.asked[call] = (self.session, tool, n)
        self.answers[call] = []
        self.do(self.calls.called(ToolCalled(call, tool, {"n": n})))
        if self.dice.random() < 0.05:
            self.do(self.calls.called(ToolCalled(call, tool, {"n": n})))  # told twice

    def open(self) -> list[str]:
        return [
            call
            for call in self.asked
            if not self.answers[call] and call not in self.cancelled | self.void
        ]

    def cancel(self, *, again: bool) -> None:
        if not (waiting := self.open()):
            return
        call = self.dice.choice(waiting)
        _, tool, n = self.asked[call]
        self.cancelled.add(call)
        self.do(self.calls.cancelled([call]))
        if again:
            self.later.append((tool, n))
        else:
            self.refused.add(n)
            self.since = [wish for wish in self.since if wish[1] != n]

    def hop(self) -> None:
        self.void.update(self.open())
        self.calls.session_gone()
        self.session += 1
        self.later.clear()
        for tool, n in list(self.since):  # it has forgotten that it asked
            self.ask(tool, n)

    # ---- what it is told

    def do(self, commands: list[AnyCommand]) -> None:
        for command in commands:
            match command:
                case SendToolResult(id=call, response=response):
                    assert self.asked[call][0] == self.session, "told to a session that is gone"
                    self.answers[call].append(response)
                    if response != STILL_RUNNING:
                        self.told[self.asked[call][2]] = response
                case StartTool() | CancelTool():
                    self.box.send(command)
                case _:
                    raise AssertionError(command)

    def finished(self, event: ToolFinished) -> None:
        self.do(self.calls.finished(event)[1])


async def everybody(world: World) -> list[Conversation]:
    journal, server = MemoryJournal(), Tasks("server")
    conversations = [Conversation(n, world, journal, server) for n in range(SIDE_BY_SIDE)]
    async with asyncio.TaskGroup() as group:
        for each in conversations:
            group.create_task(each.live())
    assert [len(each.tasks) for each in conversations] == [0] * SIDE_BY_SIDE
    await server.close(grace=20.0)
    return conversations


def test_each_of_a_thousand_is_answered_once_and_nothing_is_done_twice() -> None:
    world = World()
    conversations = virtually(everybody(world))
    counted: Counter[str] = Counter()
    for each in conversations:
        for call, (_, _, n) in each.asked.items():
            answers = len(each.answers[call])
            if call in each.cancelled or call in each.void:
                assert answers == 0, f"{call} was answered after it was void"
                counted["cancelled" if call in each.cancelled else "void"] += 1
            else:
                assert answers == 1, f"{call} was answered {answers} times"
                counted["answered"] += 1
            assert n in each.told or n in each.refused, f"the wish {n} was lost"
        for n, response in each.told.items():
            said = str(response.get("error", ""))
            if world.begun[n] and "not known" not in said:
                assert world.done[n] == ("cannot be done" not in said), f"{n}: {response}"
                counted["certain"] += 1
            elif world.begun[n]:
                counted["said to be unknown"] += 1
    assert max(world.begun.values()) == max(world.done.values()) == 1
    counted["effects"] = sum(world.done.values())
    print(dict(counted))
    wishes = SIDE_BY_SIDE * EACH
    assert sum(len(each.told) + len(each.refused - each.told.keys()) for each in conversations) == (
        wishes
    )
    assert all(counted[what] > wishes / 50 for what in ("cancelled", "void", "said to be unknown"))
