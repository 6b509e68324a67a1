"""A database that is slow or down costs a call nothing, and nothing of the call is lost."""

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from agent.errors import StorageError, UserError
from agent.storage import durable as durable_module, migrate, spool as spool_module
from agent.storage.database import RecordRefused
from agent.storage.durable import DurableRecords
from agent.storage.records import CallRecord, Records, State
from agent.storage.spool import (
    Answered,
    AnyOperation,
    Create,
    Finish,
    Spend,
    Spool,
    SpoolFile,
    apply,
)


def make(call: str = "c1", **fields: Any) -> CallRecord:
    base: dict[str, Any] = {
        "id": call,
        "provider": "twilio",
        "provider_call_id": f"CA-{call}",
        "instance": "here",
        "alive_until": 130.0,
        "direction": "inbound",
        "agent": "front_desk",
        "started_at": 100.0,
        "version": "0.1.0",
        "from_number": "+15550001234",
    }
    return CallRecord(**(base | fields))


class Place:
    """A folder with a database and spools, and what happens to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "pickup.db"
        self.url = f"sqlite:///{self.file}"
        self.spools = folder / "spool"
        self._born = 0

    async def open(self, now: float = 100.0) -> DurableRecords:
        self._born += 1
        return await DurableRecords.open(self.url, self.spools, f"i{self._born}", now)

    def waiting(self) -> list[str]:
        """What the spools hold, by the operations' names."""
        spools = sorted(self.spools.glob("*.jsonl"))
        lines = [line for path in spools for line in path.read_text().splitlines()]
        return [json.loads(line)["op"] for line in lines]

    def busy(self) -> "contextlib.closing[sqlite3.Connection]":
        """Another writer keeps the database for as long as this is open."""
        other = sqlite3.connect(self.file, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        return contextlib.closing(other)

    async def found(self, call: str = "c1") -> CallRecord | None:
        records = await Records.open(self.url)
        try:
            return await records.get(call)
        finally:
            await records.close()


def is_down(durable: DurableRecords) -> bool:
    return durable.down


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def durable(place: Place) -> AsyncIterator[DurableRecords]:
    opened = await place.open()
    yield opened
    await opened.close()


async def test_a_database_that_answers_takes_records_at_once(
    durable: DurableRecords, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "BUDGET", 5.0)  # the machine's pace is another matter
    assert not is_down(durable)
    assert await durable.create(make())
    assert not await durable.create(make())
    await durable.answered("c1", 101.0)
    assert await durable.finish("c1", "goodbye", 110.0, legs=1, metrics={"underruns": 0})
    assert durable.spooled == 0
    ended = make(
        state=State.ENDED,
        answered_at=101.0,
        ended_at=110.0,
        end_reason="goodbye",
        legs=1,
        metrics={"underruns": 0},
    )
    assert await durable.get("c1") == await durable.by_provider_id("CA-c1") == ended
    assert await durable.recent() == [ended]
    assert not place.spools.exists() or place.waiting() == []


async def test_a_busy_database_costs_a_call_a_fifth_of_a_second_once(
    durable: DurableRecords, place: Place
) -> None:
    clock = asyncio.get_running_loop().time
    with place.busy():
        began = clock()
        assert await durable.create(make())
        assert 0.15 < clock() - began < 3.0
        began = clock()
        await durable.answered("c1", 101.0)
        await durable.finish("c1", "goodbye", 110.0)
        assert clock() - began < 3.0
        assert is_down(durable)
        assert place.waiting() == ["create", "answered", "finish"]
        with pytest.raises(StorageError):
            await durable.spend("t", "c1", 160.0)
    await durable.keep(120.0)
    assert not is_down(durable)
    assert place.waiting() == []
    record = await durable.get("c1")
    assert record is not None
    assert (record.state, record.answered_at, record.end_reason) == (State.ENDED, 101.0, "goodbye")
    assert len(await durable.recent()) == 1


async def test_a_database_that_is_down_at_the_start_is_tried_again(place: Place) -> None:
    place.file.mkdir(parents=True)  # no database can be opened here
    durable = await place.open()
    assert is_down(durable)
    assert await durable.create(make())
    await durable.finish("c1", "goodbye", 110.0)
    with pytest.raises(StorageError):
        await durable.get("c1")
    with pytest.raises(StorageError):
        await durable.spend("t", "c1", 160.0)
    await durable.spent("t", "c1", 160.0)
    place.file.rmdir()
    await durable.keep(120.0)
    assert not is_down(durable)
    record = await durable.get("c1")
    assert record is not None
    assert record.state is State.ENDED
    assert not await durable.spend("t", "c1", 160.0)
    await durable.close()


async def test_a_url_that_cannot_work_ends_the_start(place: Place) -> None:
    with pytest.raises(UserError):
        await DurableRecords.open("mysql://host/name", place.spools, "i", 100.0)


async def test_after_a_crash_the_next_process_takes_the_spool_over(place: Place) -> None:
    dead = SpoolFile(place.spools, "dead")
    lines = [Create(make()), Answered("c1", 101.0), Finish("c1", "goodbye", 110.0)]
    dead.append(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + b'{"op":"fin')
    os.close(dead._descriptor or 0)
    # Its lease ran out long ago, but its own words about the call come first.
    durable = await place.open(now=500.0)
    record = await durable.get("c1")
    assert record is not None
    assert (record.state, record.end_reason, record.ended_at) == (State.ENDED, "goodbye", 110.0)
    await durable.close()
    assert list(place.spools.iterdir()) == []


async def test_the_spool_of_a_living_process_is_left_alone(place: Place) -> None:
    alive = SpoolFile(place.spools, "alive")
    alive.append(msgspec.json.encode(Create(make())) + b"\n")
    durable = await place.open()
    assert await durable.get("c1") is None
    assert place.waiting() == ["create"]
    await durable.close()
    alive.close()
    assert place.waiting() == ["create"]


async def test_what_waits_goes_to_the_database_before_the_process_does(place: Place) -> None:
    durable = await place.open()
    with place.busy():
        assert await durable.create(make())
        await durable.finish("c1", "goodbye", 110.0)
        assert place.waiting() == ["create", "finish"]
    await durable.close()  # it is back, and nobody has looked since
    assert place.waiting() == []
    found = await place.found()
    assert found is not None and found.end_reason == "goodbye"


async def test_what_cannot_go_there_waits_for_the_next_process(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "BUSY_MS", 500)  # the last statement waits as long, and we for it
    durable = await place.open()
    with place.busy(), patch.object(durable_module, "LAST_TRY", 0.05):
        assert await durable.create(make())
        await durable.close()
        assert place.waiting() == ["create"]
    await (await place.open()).close()
    assert await place.found() is not None


async def test_what_an_earlier_process_left_open_is_closed(place: Place) -> None:
    first = await place.open()
    await first.create(make(instance="i1"))
    await first.close()
    second = await place.open(now=125.0)
    assert await second.keep(129.0) == []
    assert await second.keep(131.0) == ["c1"]
    await second.close()


async def test_our_own_calls_stay_alive_through_an_outage(place: Place) -> None:
    durable = await place.open()
    await durable.create(make(instance="i1"))
    with place.busy(), pytest.raises(StorageError):
        await durable.spend("t", "c", 1.0)
    assert (
        await durable.keep(200.0) == []
    )  # the lease of 130 ran out; it is renewed before the sweep
    record = await durable.get("c1")
    assert record is not None
    assert (record.state, record.alive_until) == (State.RINGING, 230.0)
    await durable.close()


async def test_it_keeps_the_records_by_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "RENEW_EVERY", 0.01)
    durable = await place.open()
    await durable.create(make(instance="i1"))
    running = asyncio.ensure_future(durable.run(lambda: 300.0))
    async with asyncio.timeout(5):
        while (await place.found()) != make(instance="i1", alive_until=330.0):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    await durable.close()


# ---- the spool itself


async def test_the_spool_is_for_its_owner_only(place: Place) -> None:
    spool = Spool(place.spools, "me")
    await spool.append(Create(make()))
    assert stat.S_IMODE(place.spools.stat().st_mode) == 0o700
    assert stat.S_IMODE((place.spools / "me.jsonl").stat().st_mode) == 0o600
    await spool.close()


async def test_an_operation_is_safely_on_the_disk_when_it_is_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    spool = Spool(place.spools, "me")
    await spool.append(Spend("t", "c", 1.0))
    assert synced == [len((place.spools / "me.jsonl").read_bytes())] != [0]
    await spool.close()


async def test_a_full_spool_refuses_the_newest(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LIMIT", 2)
    spool = Spool(place.spools, "me")
    await spool.append(Create(make()))
    await spool.append(Answered("c1", 1.0))
    with pytest.raises(StorageError, match="full"):
        await spool.append(Finish("c1", "goodbye", 2.0))
    assert spool.oldest == Create(make())
    assert len(spool) == 2
    await spool.close()


async def test_on_a_full_disk_operations_wait_in_memory(place: Place) -> None:
    spool = Spool(place.spools, "me")
    place.spools.mkdir(parents=True)
    spool._file._descriptor = os.open("/dev/full", os.O_RDWR)
    await spool.append(Answered("c1", 1.0))
    assert (len(spool), spool.volatile) == (1, 1)
    assert spool.oldest == Answered("c1", 1.0)
    os.close(spool._file._descriptor)
    spool._file._descriptor = None
    spool.forget_oldest()
    await spool.clear()
    assert spool.volatile == 0
    await spool.close()


async def test_a_file_that_grows_too_large_loses_no_earlier_line(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(place.spools, "me")
    await spool.append(Answered("c1", 1.0))
    real, room = os.write, [10]

    def write(descriptor: int, data: Any) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data)[: room.pop()])

    monkeypatch.setattr(os, "write", write)
    await spool.append(Answered("c2", 1.0))
    monkeypatch.setattr(os, "write", real)
    await spool.append(Answered("c3", 1.0))
    assert spool.volatile == 1
    assert len(spool) == 3
    lines = (place.spools / "me.jsonl").read_text().splitlines()
    assert [json.loads(line)["call"] for line in lines] == ["c1", "c3"]
    await spool.close()


async def test_lines_that_nobody_can_read_are_put_aside(place: Place) -> None:
    dead = SpoolFile(place.spools, "dead")
    dead.append(b'{"op":"of a later version"}\n' + msgspec.json.encode(Answered("c1", 1.0)) + b"\n")
    os.close(dead._descriptor or 0)
    spool = Spool(place.spools, "me")
    await spool.adopt()
    assert spool.oldest == Answered("c1", 1.0)
    assert (place.spools / "refused").read_text() == '{"op":"of a later version"}\n'
    await spool.close()


async def test_what_the_database_will_never_take_does_not_stand_in_the_way(
    durable: DurableRecords, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Records, *args: Any) -> bool:
        raise RecordRefused("no")

    await durable.create(make())
    durable.down = True
    await durable.answered("c1", 101.0)
    await durable.finish("c1", "goodbye", 110.0)
    monkeypatch.setattr(Records, "answered", refuse)
    await durable.keep(120.0)
    await durable.answered("c1", 102.0)
    assert durable.refused == 2
    assert len((place.spools / "refused").read_text().splitlines()) == 2
    record = await durable.get("c1")
    assert record is not None
    assert record.state is State.ENDED


async def test_two_processes_that_find_one_spool_lose_nothing(place: Place) -> None:
    dead = SpoolFile(place.spools, "dead")
    dead.append(msgspec.json.encode(Answered("c1", 1.0)) + b"\n")
    os.close(dead._descriptor or 0)
    one, two = Spool(place.spools, "one"), Spool(place.spools, "two")
    await asyncio.gather(one.adopt(), two.adopt())
    assert len(one) + len(two) >= 1
    await one.close()
    await two.close()


def test_a_file_that_another_process_took_for_an_orphan_is_made_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, lock = SpoolFile(place.spools, "mine"), fcntl.flock
    stolen: list[int] = []

    def steal_first(descriptor: int, how: int) -> None:
        if not stolen:
            stolen.append(descriptor)
            (place.spools / "mine.jsonl").unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", steal_first)
    mine.append(b"{}\n")
    assert (place.spools / "mine.jsonl").read_bytes() == b"{}\n"
    mine.close()


def test_the_lock_is_held_for_life(place: Place) -> None:
    mine = SpoolFile(place.spools, "mine")
    mine.append(b"{}\n")
    with open(place.spools / "mine.jsonl") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    mine.close()


# ---- any order of failures


class Flaky:
    """Records of which any operation may fail before or after it took effect, as a plan says."""

    def __init__(self, plan: list[str]) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.effects: dict[str, int] = {}
        self.tokens: set[str] = set()
        self._plan = plan

    async def create(self, record: CallRecord) -> bool:
        return await self._do(lambda: self._create(record))

    async def answered(self, call: str, at: float) -> None:
        await self._do(lambda: self._advance(call, State.ANSWERED, answered_at=at))

    async def finish(self, call: str, end_reason: str, ended_at: float, **_: Any) -> bool:
        return await self._do(
            lambda: self._advance(call, State.ENDED, end_reason=end_reason, ended_at=ended_at)
        )

    async def spend(self, token: str, call: str, expires: float) -> bool:
        return await self._do(lambda: self._spend(token))

    async def renew(self, instance: str, until: float) -> int:
        return 0

    async def sweep(self, now: float) -> list[str]:
        return []

    async def close(self) -> None:
        return None

    async def _do(self, effect: Callable[[], bool]) -> bool:
        fate = self._plan.pop(0) if self._plan else "fine"
        if fate == "lost":
            raise StorageError("planned")
        done = effect()
        if fate == "unknown":
            raise StorageError("planned, after the fact")
        if fate == "slow":
            await asyncio.sleep(0.003)
        return done

    def _create(self, record: CallRecord) -> bool:
        return self.calls.setdefault(record.id, record) is record

    def _advance(self, call: str, state: State, **fields: Any) -> bool:
        if call not in self.calls or self.calls[call].state >= state:
            return False
        self.calls[call] = msgspec.structs.replace(self.calls[call], state=state, **fields)
        self.effects[call] = self.effects.get(call, 0) + (state is State.ENDED)
        return True

    def _spend(self, token: str) -> bool:
        new = token not in self.tokens
        self.tokens.add(token)
        return new


fates = st.lists(st.sampled_from(["fine", "fine", "lost", "unknown", "slow"]), max_size=40)
acts = st.lists(st.sampled_from(["call", "keep", "crash"]), min_size=1, max_size=10)


@settings(max_examples=30, deadline=None)
@given(plan=fates, acts=acts)
def test_whatever_fails_each_call_has_one_record_with_its_own_ending(
    plan: list[str], acts: list[str]
) -> None:
    with TemporaryDirectory() as name, patch("os.fsync"):
        asyncio.run(live_through(Path(name) / "spool", plan, acts))


async def live_through(folder: Path, plan: list[str], acts: list[str]) -> None:
    flaky = Flaky(plan)
    instance = 0

    def start() -> DurableRecords:
        started = DurableRecords("", Spool(folder, f"i{instance}"), f"i{instance}")
        started._records = flaky  # type: ignore[assignment]
        started.down = False
        return started

    durable = start()
    calls: list[str] = []
    for act in acts:
        if act == "call":
            calls.append(f"c{len(calls)}")
            await a_call(durable, calls[-1])
        elif act == "keep":
            await durable.keep(0.0)
        else:  # the process is gone: its lock is free, its memory is lost
            await durable._tasks.close(grace=1)
            if durable._spool._file._descriptor is not None:
                os.close(durable._spool._file._descriptor)
            instance += 1
            durable = start()
    plan.clear()
    await durable.keep(0.0)
    assert set(flaky.calls) == set(calls)
    assert flaky.effects == dict.fromkeys(calls, 1)
    for n, call in enumerate(calls):
        record = flaky.calls[call]
        assert (record.state, record.end_reason) == (State.ENDED, f"why-{call}"), n
    assert flaky.tokens == {f"t-{call}" for call in calls}
    await durable.close()
    assert Place(folder.parent).waiting() == []


async def a_call(durable: DurableRecords, call: str) -> None:
    await durable.create(make(call))
    await durable.spent(f"t-{call}", call, 1.0)
    await durable.answered(call, 1.0)
    await durable.finish(call, f"why-{call}", 2.0)


async def test_calls_that_write_while_the_spool_is_replayed_keep_their_order(
    place: Place,
) -> None:
    flaky = Flaky(["lost"] + ["slow"] * 30)
    durable = DurableRecords("", Spool(place.spools, "i"), "i")
    durable._records = flaky  # type: ignore[assignment]
    durable.down = False
    await a_call(durable, "c0")
    work: list[Coroutine[Any, Any, Any]] = [durable.keep(0.0)]
    work += [a_call(durable, f"c{n}") for n in range(1, 8)]
    await asyncio.gather(*work)
    await durable.keep(0.0)
    assert flaky.effects == {f"c{n}": 1 for n in range(8)}
    await durable.close()


async def test_applying_twice_is_applying_once(place: Place) -> None:
    records = await Records.open(place.url)
    operations: list[AnyOperation] = [
        Create(make()),
        Answered("c1", 101.0),
        Finish("c1", "goodbye", 110.0, 1, {"a": 1}),
        Spend("t", "c1", 1.0),
    ]
    for operation in operations:
        assert await apply(operation, records)
    once = await records.get("c1")
    for operation in operations:
        await apply(operation, records)
    assert await records.get("c1") == once
    await records.close()
