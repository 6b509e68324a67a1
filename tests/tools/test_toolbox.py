"""The toolbox: each call of a tool is answered exactly once, whatever the tool does, unless it is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent.drive.tasks import Tasks
from agent.errors import ToolFailed
from agent.events import CancelTool, EndAfterGoodbye, StartTool, ToolFinished
from agent.tools import toolbox as room
from agent.tools.base import Answer, Declaration
from agent.tools.effects import Effects, MemoryJournal
from agent.tools.end_call import EndCall
from agent.tools.toolbox import AT_ONCE, DEADLINE, Toolbox
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Says:
    """A tool that does what it is made of."""

    def __init__(self, name: str, work: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
        properties = {"table": {"type": "integer"}}
        self.declaration = Declaration(
            name, "Does something.", {"type": "object", "properties": properties}
        )
        self._work = work

    async def run(self, args: dict[str, Any]) -> Answer:
        answer: Answer = await self._work(args)
        return answer


class Bench:
    """A toolbox and what came out of it."""

    def __init__(self, **tools: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
        self.answers: list[ToolFinished] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.tasks = Tasks("call")
        self.box = Toolbox(
            [*(Says(name, work) for name, work in tools.items()), EndCall()],
            self.answers.append,
            self.tasks,
            lambda tool, error: self.faults.append((tool, error)),
            no_effects(self.tasks),
        )

    def start(self, name: str, call: str = "1", **args: Any) -> None:
        self.box.send(StartTool(call, name, args))

    def error(self) -> str:
        (answer,) = self.answers
        assert answer.effect is None
        assert set(answer.response) == {"error"}
        return str(answer.response["error"])


def no_effects(tasks: Tasks) -> Effects:
    return Effects("call-1", MemoryJournal(), tasks, lambda tool, error: None)


async def echo(args: dict[str, Any]) -> Answer:
    return Answer({"heard": args})


async def forever(args: dict[str, Any]) -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


def raising(error: BaseException) -> Callable[[dict[str, Any]], Awaitable[Answer]]:
    async def work(args: dict[str, Any]) -> Answer:
        raise error

    return work


async def test_a_tool_runs_with_its_arguments_and_its_answer_comes_back_once() -> None:
    bench = Bench(echo=echo)
    bench.start("echo", "7", table=4)
    assert bench.answers == []  # beside the conversation, not inside it
    await settle()
    assert bench.answers == [ToolFinished("7", "echo", {"heard": {"table": 4}})]


async def test_an_unknown_tool_is_answered_with_the_names_that_there_are() -> None:
    bench = Bench(echo=echo)
    bench.start("ech0")
    assert bench.error() == "There is no tool named ech0. There are: echo, end_call."


async def test_without_any_tools_it_says_so() -> None:
    answers: list[ToolFinished] = []
    tasks = Tasks("call")
    box = Toolbox([], answers.append, tasks, lambda tool, error: None, no_effects(tasks))
    box.send(StartTool("1", "echo", {}))
    assert answers[0].response == {"error": "There is no tool named echo. There are: none."}


async def test_a_tool_that_cannot_says_so_in_its_own_words() -> None:
    bench = Bench(book=raising(ToolFailed("There is no table at eight.")))
    bench.start("book")
    await settle()
    assert bench.error() == "There is no table at eight."
    assert bench.faults == []


async def test_what_a_tool_raises_stays_in_the_log_and_the_model_learns_only_that_it_failed() -> (
    None
):
    bench = Bench(book=raising(ZeroDivisionError("secret detail")))
    bench.start("book")
    await settle()
    assert bench.error() == "book failed."
    ((tool, error),) = bench.faults
    assert (tool, type(error)) == ("book", ZeroDivisionError)


async def test_a_tool_that_is_cancelled_by_its_own_doing_is_answered_too() -> None:
    bench = Bench(book=raising(asyncio.CancelledError()))
    bench.start("book")
    await settle()
    assert bench.error() == "book failed."


@pytest.mark.parametrize("nonsense", [None, "done"])
async def test_a_tool_that_gives_back_no_answer_has_failed(nonsense: Any) -> None:
    async def work(args: dict[str, Any]) -> Any:
        return nonsense

    bench = Bench(book=work)
    bench.start("book")
    await settle()
    assert bench.error() == "book failed."
    assert [tool for tool, _ in bench.faults] == ["book"]


async def test_what_is_not_json_is_not_passed_on_and_the_operator_learns_why() -> None:
    async def work(args: dict[str, Any]) -> Answer:
        return Answer({"when": object()})

    bench = Bench(book=work)
    bench.start("book")
    await settle()
    assert bench.error() == "book has run, but what it answered cannot be passed on."
    ((tool, error),) = bench.faults
    assert (tool, type(error)) == ("book", TypeError)


async def test_ten_megabytes_are_not_passed_on() -> None:
    async def work(args: dict[str, Any]) -> Answer:
        return Answer({"all": "x" * 10_000_000})

    bench = Bench(book=work)
    bench.start("book")
    await settle()
    assert bench.error() == (
        "book has run, but answered with 10.0 MB, and at most 64 kB can be passed on. Ask for less."
    )


async def test_arguments_that_do_not_fit_never_reach_the_tool() -> None:
    bench = Bench(echo=echo)
    bench.start("echo", table="four", guests=2)
    await settle()
    assert bench.error() == (
        'echo was not called right, and nothing was done: table should be a whole number, not "four"; '
        "there is no argument guests (there are: table)."
    )


async def test_a_tool_without_arguments_does_not_mind_what_it_is_sent() -> None:
    bench = Bench()
    bench.start("end_call", reason="goodbye")
    await settle()
    assert bench.answers[0].effect == EndAfterGoodbye()


def test_a_tool_that_takes_too_long_is_given_up_and_stopped() -> None:
    async def scene() -> None:
        bench = Bench(book=forever)
        bench.start("book")
        await asyncio.sleep(DEADLINE - 0.1)
        assert bench.answers == []
        await asyncio.sleep(0.2)
        assert bench.error() == "book took too long and was given up."
        assert len(bench.tasks) == 0

    virtually(scene())


async def test_a_cancelled_call_is_stopped_and_never_answered() -> None:
    bench = Bench(book=forever)
    bench.start("book")
    await settle()
    bench.box.send(CancelTool("1"))
    bench.box.send(CancelTool("1"))
    bench.box.send(CancelTool("nobody"))
    await settle()
    assert bench.answers == []
    assert len(bench.tasks) == 0


async def test_a_tool_that_does_not_let_itself_be_cancelled_is_not_answered_either() -> None:
    async def stubborn(args: dict[str, Any]) -> Answer:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return Answer({"result": "anyway"})
        raise AssertionError

    async def spiteful(args: dict[str, Any]) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    bench = Bench(stubborn=stubborn, spiteful=spiteful)
    bench.start("stubborn", "1")
    bench.start("spiteful", "2")
    await settle()
    bench.box.send(CancelTool("1"))
    bench.box.send(CancelTool("2"))
    await settle()
    assert bench.answers == []


async def test_an_id_that_was_cancelled_may_be_used_again() -> None:
    bench = Bench(book=forever, echo=echo)
    bench.start("book", "1")
    await settle()
    bench.box.send(CancelTool("1"))
    bench.start("echo", "1")
    await settle()
    assert [answer.name for answer in bench.answers] == ["echo"]


async def test_only_so_many_run_at_once_and_one_more_is_told_so() -> None:
    bench = Bench(book=forever)
    for n in range(AT_ONCE):
        bench.start("book", str(n))
    await settle()
    assert bench.answers == []
    bench.start("book", "one more")
    assert bench.error() == "Too many tools are running. Try again in a moment."
    bench.box.send(CancelTool("0"))
    bench.start("end_call", "now there is room")
    await settle()
    assert [answer.name for answer in bench.answers] == ["book", "end_call"]
    await bench.tasks.close()


async def test_the_same_call_told_twice_runs_once_also_where_the_box_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 1)
    ran = 0

    async def count(args: dict[str, Any]) -> Answer:
        nonlocal ran
        ran += 1
        await asyncio.sleep(0)
        return Answer({"result": "done"})

    bench = Bench(count=count)
    bench.start("count", "1")
    bench.start("count", "1")
    await settle()
    assert ran == 1
    assert [answer.response for answer in bench.answers] == [{"result": "done"}]


async def test_tools_run_beside_each_other_and_answer_as_they_are_done() -> None:
    first = asyncio.Event()

    async def waits(args: dict[str, Any]) -> Answer:
        await first.wait()
        return Answer({})

    bench = Bench(waits=waits, echo=echo)
    bench.start("waits", "slow")
    bench.start("echo", "quick")
    await settle()
    first.set()
    await settle()
    assert [answer.id for answer in bench.answers] == ["quick", "slow"]


async def test_end_call_asks_the_call_to_end_after_the_goodbye() -> None:
    bench = Bench()
    bench.start("end_call", "1")
    await settle()
    (answer,) = bench.answers
    assert answer.effect == EndAfterGoodbye()
    assert "goodbye" in answer.response["result"]


def test_end_call_is_declared_as_the_model_needs_it() -> None:
    declared = EndCall().declaration
    assert (declared.name, declared.parameters) == ("end_call", None)
    assert "goodbye" in declared.description
