"""One call, wired: whatever goes wrong in it, it ends, its record is closed, and nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent import __version__, events as e
from agent.errors import OwnFault
from agent.server.live_call import LAST_WORDS, LiveCall
from agent.tools.base import CallInfo
from tests.server.bench import WALL, Bench, FakeLine, FakeModel, FakeRecorder
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class Scene:
    """A call that runs, with its line."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        wiring = bench.wiring
        self.call = LiveCall(CallInfo("call-1", "Desk"), wiring.agent_for("+1"), wiring)
        self.line = FakeLine()
        self.running = wiring.tasks.start_read("call", self.call.run())

    def attach(self, leg: int = 1) -> None:
        self.line = FakeLine()
        self.call.attach(self.line, leg)

    def hear(self, event: e.LineEvent) -> None:
        self.call.hear(self.line, event)

    @property
    def model(self) -> FakeModel:
        return self.bench.model

    @property
    def recorder(self) -> FakeRecorder:
        return self.bench.wiring.recorders[-1]


def play(tmp_path: Path, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        bench = Bench(tmp_path)
        played = Scene(bench)
        await settle()
        await scene(played)
        assert played.running.done()
        assert len(played.call._tasks) == 0
        assert played.recorder.closed == 1

    virtually(all_of_it())


def test_a_call_from_its_first_ring_to_its_record(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        assert s.call.reason == ""
        assert s.call.answered.done()  # the fake model speaks at once
        started = s.recorder.entries[0]
        assert isinstance(started, e.CallStarted)
        assert (started.call, started.version, started.agent) == ("call-1", __version__, "Desk")
        assert started.wall == pytest.approx(WALL, abs=1.0)
        assert started.options["answer_within"] == 2.0
        s.attach()
        await asyncio.sleep(1.0)
        s.hear(e.LineEnded("stopped"))
        assert await s.running == s.call.reason == "caller_hung_up"
        assert s.line.hung_up
        assert s.model.closed == 1
        (transcript,) = s.recorder.transcripts
        assert (transcript["v"], transcript["call"], transcript["agent"]) == (1, "call-1", "Desk")
        assert transcript["end_reason"] == "caller_hung_up"
        assert [turn["n"] for turn in transcript["turns"]] == [0]
        figures = s.call.figures()
        assert figures["turns"] == transcript["turns"]
        assert figures["unrecorded_ms"] == 0.0
        assert figures["underruns"] == s.call.counted.underruns

    play(tmp_path, scene)


def test_a_fault_of_the_machine_ends_the_call_and_closes_everything(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        await settle()

        def fault(event: Any, now: float) -> list[e.AnyCommand]:
            raise OwnFault("cannot happen")

        s.call._machine.handle = fault  # type: ignore[method-assign]
        s.hear(e.LineDigit("1"))
        assert await s.running == "internal_error"
        assert s.line.hung_up
        assert s.model.closed == 1
        assert s.recorder.transcripts[0]["end_reason"] == "internal_error"

    play(tmp_path, scene)


@pytest.mark.parametrize("what", ["no model", "broken"])
def test_parts_that_cannot_be_joined_end_the_call_as_a_fault_of_ours(
    tmp_path: Path, what: str
) -> None:
    async def all_of_it() -> None:
        bench = Bench(tmp_path)
        bench.wiring.conduct[what] = True
        scene = Scene(bench)
        assert await scene.running == scene.call.reason == "internal_error"
        assert scene.call.answered.done()
        assert scene.recorder.closed == 1
        assert [model.closed for model in bench.wiring.models] == [1] * (what == "broken")

    virtually(all_of_it())


def test_a_child_that_fails_ends_the_call(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        async def child() -> None:
            raise ZeroDivisionError

        s.attach()
        s.call._tasks.start("model", child())
        assert await s.running == "internal_error"
        assert s.line.hung_up

    play(tmp_path, scene)


def test_a_tool_that_fails_does_not(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        s.call._tool_failed("book", ZeroDivisionError())
        await asyncio.sleep(1.0)
        assert not s.running.done()
        s.call.abandon("caller_hung_up")
        assert await s.running == "caller_hung_up"

    play(tmp_path, scene)


def test_the_agent_hangs_up_by_its_tool(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        await asyncio.sleep(1.0)
        for command in s.line.sent:
            if isinstance(command, e.Mark):
                s.hear(e.LineMark(command.name))
        s.model.sink(e.ToolCalled("1", "end_call", {}))
        assert await asyncio.wait_for(s.running, 30.0) == "agent_hung_up"
        results = [c for c in s.model.sent if isinstance(c, e.SendToolResult)]
        assert [result.id for result in results] == ["1"]

    play(tmp_path, scene)


def test_a_server_that_stops_ends_the_call_in_the_middle(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        await settle()
        s.running.cancel()
        await asyncio.wait([s.running])
        assert s.running.cancelled()
        assert s.call.reason == "server_stopped"
        assert s.line.hung_up
        assert s.recorder.transcripts[0]["end_reason"] == "server_stopped"

    play(tmp_path, scene)


def test_a_socket_that_does_not_close_is_not_waited_for_for_long(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        s.line.ended = asyncio.get_running_loop().create_future()
        s.line.send = s.line.sent.append  # type: ignore[assignment]  # ends never
        s.call.abandon("caller_hung_up")
        before = asyncio.get_running_loop().time()
        await s.running
        after = asyncio.get_running_loop().time()
        assert after - before == pytest.approx(LAST_WORDS, abs=0.1)

    play(tmp_path, scene)


def test_a_second_stream_dismisses_the_first(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach(1)
        first = s.line
        s.attach(2)
        await settle()
        assert first.hung_up
        assert s.call.leg == 2
        s.call.hear(first, e.LineEnded("stopped"))  # late
        await settle()
        assert not s.running.done()
        kinds = [type(entry) for entry in s.recorder.entries if not isinstance(entry, e.LineMark)]
        at = kinds.index(e.LineStarted)
        assert kinds[at : at + 3] == [e.LineStarted, e.LineEnded, e.LineStarted]
        s.hear(e.LineEnded("stopped"))
        assert await s.running == "caller_hung_up"

    play(tmp_path, scene)


def test_a_line_ends_once_whoever_tells_first(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        await settle()
        s.hear(e.LineEnded("lost"))
        s.call.line_ended()
        s.hear(e.LineEnded("closed"))
        await settle()
        ends = [entry for entry in s.recorder.entries if isinstance(entry, e.LineEnded)]
        assert ends == [e.LineEnded("lost")]
        s.call.abandon("caller_hung_up")
        await s.running

    play(tmp_path, scene)


def test_after_the_end_nothing_reaches_the_record(tmp_path: Path) -> None:
    async def scene(s: Scene) -> None:
        s.attach()
        s.call.abandon("caller_hung_up")
        await s.running
        count = len(s.recorder.entries)
        s.hear(e.LineDigit("1"))
        s.call.abandon("internal_error")
        s.model.end()
        await settle()
        assert len(s.recorder.entries) == count
        assert s.call.reason == "caller_hung_up"

    play(tmp_path, scene)
