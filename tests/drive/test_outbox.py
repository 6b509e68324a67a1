"""The queue before a socket: bounded in milliseconds of audio, in order, emptied by one writer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from agent.drive.socket import Closed, Outbox
from agent.drive.tasks import Tasks
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Sequence


class Wire:
    """Takes what is written; `reads` cleared: the peer reads nothing."""

    def __init__(self, limit_ms: float = 2000.0) -> None:
        self.written: list[str | bytes] = []
        self.overflows = 0
        self.reads = asyncio.Event()
        self.reads.set()
        self.outbox = Outbox(self.write, limit_ms=limit_ms, overflow=self.overflow)

    async def write(self, message: str | bytes) -> None:
        await self.reads.wait()
        self.written.append(message)

    def overflow(self) -> None:
        self.overflows += 1


async def test_messages_are_written_in_the_order_in_which_they_came() -> None:
    wire, tasks = Wire(), Tasks("test")
    wire.outbox.put("before the writer")
    writer = tasks.start("writer", wire.outbox.run())
    await settle()
    for text in "abc":
        wire.outbox.put(text, 20.0)
    await settle()
    wire.outbox.put("later")
    await settle()
    assert wire.written == ["before the writer", "a", "b", "c", "later"]
    assert wire.outbox.queued_ms == 0.0
    wire.outbox.end()
    await writer


async def test_a_message_that_can_go_at_once_goes_so_and_never_before_one_that_waits() -> None:
    wire, tasks = Wire(), Tasks("test")
    free = True

    def offer(message: str | bytes) -> bool:
        if free:
            wire.written.append(message)
        return free

    outbox = Outbox(wire.write, overflow=wire.overflow, offer=offer)
    outbox.put("the writer is not there yet", 20.0)
    writer = tasks.start("writer", outbox.run())
    await settle()
    outbox.put("at once", 20.0)
    assert wire.written == ["the writer is not there yet", "at once"]
    free = False
    wire.reads.clear()
    outbox.put("full", 20.0)
    await settle()
    free = True
    outbox.put("behind it", 20.0)
    assert outbox.queued_ms == 20.0  # one is on its way, and one waits
    wire.reads.set()
    await settle()
    outbox.put("at once again", 20.0)
    assert wire.written[2:] == ["full", "behind it", "at once again"]
    assert outbox.queued_ms == 0.0
    outbox.end()
    await writer
    outbox.put("too late")
    assert len(wire.written) == 5


async def test_one_that_holds_more_than_its_limit_overflows_once_and_takes_no_more() -> None:
    wire = Wire(limit_ms=100.0)
    for n in range(5):
        wire.outbox.put(str(n), 20.0)
    assert wire.overflows == 0  # 100 ms is what may wait
    for _ in range(3):
        wire.outbox.put("too much", 20.0)
    wire.outbox.put("words")
    assert wire.overflows == 1
    assert wire.outbox.queued_ms == 120.0


async def test_messages_without_sound_do_not_count() -> None:
    wire = Wire(limit_ms=100.0)
    for _ in range(1000):
        wire.outbox.put("mark")
    assert wire.overflows == 0


async def test_what_a_stalled_peer_is_sent_counts_until_it_is_handed_over() -> None:
    wire, tasks = Wire(limit_ms=100.0), Tasks("test")
    tasks.start("writer", wire.outbox.run())
    wire.reads.clear()
    for _ in range(6):  # one is in the transport's hands, five wait
        wire.outbox.put("audio", 20.0)
        await settle()
    assert (wire.overflows, wire.outbox.queued_ms) == (0, 100.0)
    wire.outbox.put("audio", 20.0)
    assert wire.overflows == 1
    await tasks.close()


async def test_sound_that_waits_is_dropped_and_control_messages_stay_in_order() -> None:
    wire, tasks = Wire(limit_ms=100.0), Tasks("test")
    for text, ms in (("mark 1", 0.0), ("audio", 60.0), ("mark 2", 0.0), ("audio", 40.0)):
        wire.outbox.put(text, ms)
    wire.outbox.drop_audio()
    assert wire.outbox.queued_ms == 0.0
    wire.outbox.put("clear")
    wire.outbox.put("new", 100.0)  # the whole limit is free again
    assert wire.overflows == 0
    wire.outbox.end()
    await tasks.start("writer", wire.outbox.run())
    assert wire.written == ["mark 1", "mark 2", "clear", "new"]


async def test_dropping_while_a_message_is_being_written_keeps_the_count_right() -> None:
    wire, tasks = Wire(), Tasks("test")
    tasks.start("writer", wire.outbox.run())
    wire.reads.clear()
    wire.outbox.put("in the transport's hands", 20.0)
    await settle()
    wire.outbox.put("waiting", 20.0)
    wire.outbox.drop_audio()
    wire.reads.set()
    await settle()
    assert wire.written == ["in the transport's hands"]
    assert wire.outbox.queued_ms == 0.0
    await tasks.close()


async def test_at_the_end_what_waits_is_written_and_nothing_more_is_taken() -> None:
    wire, tasks = Wire(), Tasks("test")
    writer = tasks.start("writer", wire.outbox.run())
    await settle()
    wire.outbox.put("goodbye", 20.0)
    wire.outbox.end()
    wire.outbox.put("too late", 20.0)
    wire.outbox.end()
    await writer
    assert wire.written == ["goodbye"]


async def test_a_socket_that_closes_ends_the_writer() -> None:
    async def closed(message: str | bytes) -> None:
        raise Closed(1006, "gone")

    outbox = Outbox(closed, overflow=lambda: None)
    outbox.put("x")
    with pytest.raises(Closed) as error:
        await outbox.run()
    assert (error.value.code, error.value.reason) == (1006, "gone")
    assert str(error.value) == "socket closed (1006): gone"


@given(st.lists(st.sampled_from([0.0, 20.0, 100.0]), max_size=60), st.integers(1, 7))
def test_whatever_comes_in_goes_out_once_and_in_order(sizes: Sequence[float], every: int) -> None:
    async def scene() -> None:
        wire, tasks = Wire(limit_ms=1e9), Tasks("test")
        writer = tasks.start("writer", wire.outbox.run())
        for n, ms in enumerate(sizes):
            wire.outbox.put(str(n), ms)
            if n % every == 0:
                await settle()
        wire.outbox.end()
        await writer
        assert wire.written == [str(n) for n in range(len(sizes))]
        assert wire.outbox.queued_ms == pytest.approx(0.0)

    virtually(scene())
