"""Effects: at most once, and unknown where nobody knows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.drive.tasks import Tasks
from agent.errors import OutcomeUnknown, StorageError, ToolFailed
from agent.tools.base import Answer, Declaration
from agent.tools.effects import Effects, MemoryJournal
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine


class Order:
    """A tool that counts what it did, and does it as it is told."""

    declaration = Declaration("order", "Order.")

    def __init__(self, work: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.keys: list[str] = []
        self.ended = 0
        self._work = work

    async def run(self, args: dict[str, Any]) -> Answer:
        raise AssertionError("an effect is carried out")

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        self.keys.append(key)
        if self._work is not None:
            await self._work()
        self.ended += 1
        return Answer({"order": len(self.keys)})


class Broken(MemoryJournal):
    """A journal that takes no intent, or no result."""

    def __init__(self, *, begin: bool) -> None:
        super().__init__()
        self._begin = begin

    async def begin(self, call: str, key: str, tool: str) -> Any:
        if self._begin:
            raise StorageError("down")
        return await super().begin(call, key, tool)

    async def finish(self, call: str, key: str, response: dict[str, Any]) -> None:
        raise StorageError("down")


class Scene:
    """A call's effects; each ask is a task, as a toolbox makes it."""

    def __init__(self, tool: Order, journal: MemoryJournal | None = None) -> None:
        self.tool = tool
        self.journal = journal or MemoryJournal()
        self.server, self.call = Tasks("server"), Tasks("call")
        self.faults: list[BaseException] = []
        self.effects = self.of_call("call-1")

    def of_call(self, call: str) -> Effects:
        return Effects(
            call, self.journal, self.server, lambda tool, error: self.faults.append(error)
        )

    def ask(self, **args: Any) -> asyncio.Task[Answer]:
        return self.call.start_read("ask", self.effects.once(self.tool, args, 10.0))


def play(scene: Coroutine[Any, Any, None]) -> None:
    virtually(scene)


async def test_the_intent_is_there_before_and_the_result_after() -> None:
    seen: list[Any] = []

    async def look() -> None:
        seen.append(dict(scene.journal.begun))

    scene = Scene(Order(look))
    assert (await scene.ask(pizza=1)).response == {"order": 1}
    (key,) = scene.tool.keys
    assert seen == [{key: None}]
    assert scene.journal.begun == {key: {"order": 1}}


async def test_the_same_thing_ordered_again_is_another_order_but_not_while_it_runs() -> None:
    gate = asyncio.Event()
    scene = Scene(Order(gate.wait))
    first, second = scene.ask(pizza=1), scene.ask(pizza=1)
    await settle()
    assert len(scene.tool.keys) == 1
    gate.set()
    assert [(await each).response for each in (first, second)] == [{"order": 1}] * 2
    assert (await scene.ask(pizza=1)).response == {"order": 2}
    assert len(set(scene.tool.keys)) == 2


async def test_the_order_of_arguments_means_nothing_their_values_and_the_call_do() -> None:
    scene = Scene(Order())
    for call, args in (
        ("call-1", {"a": 1, "b": 2}),
        ("call-1", {"a": 2, "b": 2}),
        ("call-2", {"a": 1, "b": 2}),
    ):
        await scene.of_call(call).once(scene.tool, args, 10.0)
    assert len(set(scene.tool.keys)) == 3
    again = scene.of_call("call-1").once(scene.tool, {"b": 2, "a": 1}, 10.0)
    assert (await again).response == {"order": 1}  # told by the journal, as after a crash
    assert len(scene.tool.keys) == 3


async def test_what_was_begun_and_never_ended_is_unknown_and_not_begun_again() -> None:
    scene = Scene(Order())
    await scene.ask()
    (key,) = scene.tool.keys
    scene.journal.begun[key] = None  # as a crash leaves it
    with pytest.raises(OutcomeUnknown, match="order was begun before: it is not known whether"):
        await scene.of_call("call-1").once(scene.tool, {}, 10.0)
    assert len(scene.tool.keys) == 1


async def test_a_cancelled_call_lets_it_end_and_its_answer_is_kept() -> None:
    gate = asyncio.Event()
    scene = Scene(Order(gate.wait))
    first = scene.ask(pizza=1)
    await settle()
    first.cancel()
    await settle()
    second = scene.ask(pizza=1)  # asked for again while it runs
    await settle()
    second.cancel()
    await settle()
    gate.set()
    await settle()
    assert scene.tool.ended == 1
    assert (await scene.ask(pizza=1)).response == {"order": 1}  # and after it has ended
    assert len(scene.tool.keys) == 1
    assert (await scene.ask(pizza=1)).response == {"order": 2}  # that was told: this is another


async def test_a_cancelled_call_that_failed_is_told_when_it_is_asked_again() -> None:
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise ToolFailed("The kitchen is closed.")

    scene = Scene(Order(fail))
    first = scene.ask()
    await settle()
    first.cancel()
    await settle()
    gate.set()
    await settle()
    with pytest.raises(ToolFailed, match="The kitchen is closed"):
        await scene.ask()
    assert len(scene.tool.keys) == 1


async def test_a_call_that_ends_does_not_cut_it_short() -> None:
    gate = asyncio.Event()
    scene = Scene(Order(gate.wait))
    scene.ask()
    await settle()
    await scene.call.close()
    gate.set()
    await settle()
    assert scene.tool.ended == 1
    assert list(scene.journal.begun.values()) == [{"order": 1}]


async def test_a_server_that_ends_leaves_it_unknown() -> None:
    scene = Scene(Order(asyncio.Event().wait))
    asked = scene.ask()
    await settle()
    await scene.server.close()
    await asyncio.wait([asked])
    assert asked.cancelled()
    assert list(scene.journal.begun.values()) == [None]


def test_what_takes_too_long_is_unknown_and_not_begun_again() -> None:
    async def scene() -> None:
        scene = Scene(Order(asyncio.Event().wait))
        for why in ("took too long", "was begun before"):
            with pytest.raises(OutcomeUnknown, match=f"order {why}: it is not known"):
                await scene.ask()
        assert len(scene.tool.keys) == 1
        assert list(scene.journal.begun.values()) == [None]
        assert len(scene.server) == 0

    play(scene())


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_what_fails_half_way_is_unknown(error: BaseException) -> None:
    async def fail() -> None:
        raise error

    scene = Scene(Order(fail))
    with pytest.raises(OutcomeUnknown, match="order failed half-way") as raised:
        await scene.ask()
    assert type(raised.value.__cause__) is type(error)
    assert list(scene.journal.begun.values()) == [None]
    with pytest.raises(OutcomeUnknown, match="was begun before"):
        await scene.ask()
    assert len(scene.tool.keys) == 1


async def test_what_says_that_it_was_not_done_may_be_tried_again() -> None:
    async def fail() -> None:
        raise ToolFailed("The kitchen is closed.")

    scene = Scene(Order(fail))
    for _ in range(2):
        with pytest.raises(ToolFailed, match="The kitchen is closed"):
            await scene.ask()
    assert list(scene.journal.begun.values()) == [{"error": "The kitchen is closed."}] * 2


async def test_what_itself_does_not_know_stays_unknown() -> None:
    async def fail() -> None:
        raise OutcomeUnknown("No answer from the kitchen.")

    scene = Scene(Order(fail))
    with pytest.raises(OutcomeUnknown, match="No answer from the kitchen"):
        await scene.ask()
    assert list(scene.journal.begun.values()) == [None]


async def test_without_an_intent_nothing_is_done() -> None:
    scene = Scene(Order(), Broken(begin=True))
    with pytest.raises(ToolFailed, match="order cannot be done just now, and nothing was done"):
        await scene.ask()
    assert scene.tool.keys == []


async def test_a_result_that_cannot_be_written_is_told_all_the_same() -> None:
    scene = Scene(Order(), Broken(begin=False))
    assert (await scene.ask()).response == {"order": 1}
    assert [type(fault) for fault in scene.faults] == [StorageError]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a thousand processes and more, where all are wanted
def test_a_process_killed_at_any_step_does_nothing_twice_and_says_what_is_unknown(
    tmp_path: Path, full: bool
) -> None:
    count = 250 if full else 25
    script = Path(__file__).parent / "kill_effects.py"
    ran = subprocess.run(
        [sys.executable, script, tmp_path / "pickup.db", str(count)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(script.parent.parent.parent)},
    )
    seen = json.loads(ran.stdout)
    print(seen)
    assert seen == {
        "before the intent": {"killed, then done: done 1 times": count},
        "after the intent": {"killed, then unknown: done 0 times": count},
        "after the deed": {"killed, then unknown: done 1 times": count},
        "after the result": {"killed, then done: done 1 times": count},
        "never": {"done, then done: done 1 times": count},
    }
