"""A call's sessions: one after the other, never two at once, and a replaced one is heard no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from agent import events as e
from agent.drive.tasks import Tasks
from agent.errors import Fate, UserError
from agent.server.sessions import Sessions
from tests.telephony.fakes import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.models.live import LiveSession

LOST = e.ModelEnded(Fate.RESUME, 1006, "gone")
REFUSED = e.ModelEnded(Fate.STEP_DOWN, 1007, "setup.voice is unknown")


class Session:
    """One session; `lets_go` cleared: its socket takes its time to close."""

    def __init__(self, log: list[str], n: int, sink: Callable[[e.ModelEvent], None]) -> None:
        self.sink = sink
        self.sent: list[e.ModelCommand] = []
        self.lets_go = asyncio.Event()
        self.lets_go.set()
        self._log = log
        self._n = n

    def open(self) -> None:
        self._log.append(f"open {self._n}")

    def send(self, command: e.ModelCommand) -> None:
        self.sent.append(command)

    async def close(self) -> None:
        await self.lets_go.wait()
        self._log.append(f"close {self._n}")


class Bench:
    """Sessions, and what became of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.made: list[Session] = []
        self.asked: list[tuple[e.OpenModel, str]] = []
        self.events: list[e.ModelEvent] = []
        self.mistake = ""
        self.tasks = Tasks("call")
        self.sessions = Sessions(self._make, self.events.append, self.tasks)

    def _make(
        self, wanted: e.OpenModel, refusal: str, sink: Callable[[e.ModelEvent], None]
    ) -> LiveSession:
        if self.mistake:
            raise UserError(self.mistake)
        self.asked.append((wanted, refusal))
        self.made.append(Session(self.log, len(self.made) + 1, sink))
        return cast("LiveSession", self.made[-1])

    async def open(self) -> Session:
        self.sessions.send(e.OpenModel())
        await settle()
        return self.made[-1]


async def test_a_session_is_made_as_it_is_asked_for_and_opened() -> None:
    bench = Bench()
    wanted = e.OpenModel(handle="h1")
    bench.sessions.send(wanted)
    await settle()
    assert bench.asked == [(wanted, "")]
    assert bench.log == ["open 1"]


async def test_commands_go_to_the_session_that_there_is() -> None:
    bench = Bench()
    bench.sessions.send(e.SendText("nobody hears this"))
    first = await bench.open()
    bench.sessions.send(e.SendText("one"))
    second = await bench.open()
    bench.sessions.send(e.SendText("two"))
    assert (first.sent, second.sent) == ([e.SendText("one")], [e.SendText("two")])


async def test_the_old_socket_is_closed_before_the_new_one_is_opened() -> None:
    bench = Bench()
    first = await bench.open()
    first.lets_go.clear()
    await bench.open()
    assert bench.log == ["open 1"]
    first.lets_go.set()
    await settle()
    assert bench.log == ["open 1", "close 1", "open 2"]


async def test_of_two_that_are_asked_for_at_once_only_the_last_is_opened() -> None:
    bench = Bench()
    first = await bench.open()
    first.lets_go.clear()
    await bench.open()
    await bench.open()
    first.lets_go.set()
    await settle()
    assert bench.log.count("open 2") == 0
    assert bench.log[-1] == "open 3"


async def test_what_a_replaced_session_tells_means_nothing() -> None:
    bench = Bench()
    first = await bench.open()
    second = await bench.open()
    first.sink(LOST)
    second.sink(e.ModelReady(0.3))
    assert bench.events == [e.ModelReady(0.3)]


async def test_the_next_setup_is_told_why_the_last_was_refused() -> None:
    bench = Bench()
    (await bench.open()).sink(REFUSED)
    (await bench.open()).sink(LOST)
    await bench.open()
    assert [refusal for _, refusal in bench.asked] == ["", "setup.voice is unknown", ""]


async def test_a_setup_that_cannot_be_made_is_the_end_of_the_model_and_not_of_the_process() -> None:
    bench = Bench()
    bench.mistake = "gemini-1 has no voice"
    bench.sessions.send(e.OpenModel())
    await settle()
    assert bench.events == [e.ModelEnded(Fate.FATAL, None, "gemini-1 has no voice")]
    assert bench.tasks.failures == []


async def test_after_close_nothing_is_opened_and_nothing_is_heard() -> None:
    bench = Bench()
    await bench.sessions.close()
    first = await bench.open()
    first.lets_go.clear()
    second = await bench.open()
    closing = bench.tasks.start("close", bench.sessions.close())
    first.lets_go.set()
    await closing
    await settle()
    assert "open 2" not in bench.log
    second.sink(LOST)
    assert bench.events == []
