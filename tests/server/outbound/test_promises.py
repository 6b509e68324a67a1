"""Promised calls: ordered once when they are due, by the rules of every order; what may not be, is left to a person."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agent.config.agent_files import AgentFiles
from agent.errors import StorageError
from agent.server.outbound import promises as room
from agent.server.outbound.destinations import Destinations
from agent.server.outbound.orders import Orders
from agent.server.outbound.promises import LATEST, Promises
from agent.storage.attempts import AttemptState, Caps
from agent.storage.callbacks import Callback, CallbackState
from agent.storage.do_not_call import OptOut
from agent.storage.records import CallRecord, Records
from agent.storage.tables import callbacks

if TYPE_CHECKING:
    from pathlib import Path

    from agent.server.stores import Stores
    from agent.storage.attempts import Attempt

NUMBER, OTHER, OURS = "+12125551234", "+12125559876", "+15551234567"
WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC
AGENT = """\
name: Front desk
persona: You call back about {{callback_note}}.
variables: {callback_note: ""}
outbound: {calling_hours: "00:00-24:00", callbacks: caller}
"""


class Desk:
    """Who orders promised calls, and what came of it."""

    def __init__(self, folder: Path, stores: Stores, caps: Caps) -> None:
        self.stores = stores
        self.wall = WALL
        self.stirred = 0
        ids = iter(range(1000))
        self.promises = Promises(
            Orders(
                attempts=stores.attempts,
                agents=AgentFiles(folder, print),
                destinations=lambda: Destinations(frozenset({"US"}), frozenset({OURS})),
                caller_id=OURS,
                caps=caps,
            ),
            stores,
            Records(stores.database),
            stir=self.stir,
            new_id=lambda: f"id{next(ids)}",
            wall=lambda: self.wall,
        )

    def stir(self) -> None:
        self.stirred += 1

    async def promised(self, name: str = "p1", **what: Any) -> None:
        given: dict[str, Any] = {"call": "call-1", "agent": "Front desk", "number": NUMBER}
        given |= {"note": "A\nbill."}
        given |= {"made_at": WALL - 3600, "at": WALL - 1}
        await self.stores.callbacks.schedule(Callback(id=name, **(given | what)))

    async def ordered(self) -> list[Attempt]:
        await self.promises.order_due()
        return await self.stores.attempts.recent()

    async def open(self) -> list[str]:
        return [each.id for each in await self.stores.callbacks.open()]


@pytest.fixture
def caps() -> Caps:
    return Caps()


@pytest.fixture
async def desk(tmp_path: Path, stores: Stores, caps: Caps) -> Desk:
    (tmp_path / "desk.yaml").write_text(AGENT)
    called: dict[str, Any] = {
        "provider": "twilio",
        "provider_call_id": "CA1",
        "instance": "i",
        "version": "1",
    }
    known = CallRecord(
        id="call-1",
        alive_until=WALL,
        direction="inbound",
        agent="Front desk",
        started_at=WALL - 4000,
        from_number=NUMBER,
        to_number=OURS,
        **called,
    )
    await Records(stores.database).create(known)
    return Desk(tmp_path, stores, caps)


async def test_what_is_due_is_ordered_once_however_often_anybody_looks(desk: Desk) -> None:
    await desk.promised()
    (attempt,) = await desk.ordered()
    assert (attempt.number, attempt.agent, attempt.state) == (NUMBER, "desk", AttemptState.RESERVED)
    assert attempt.variables == {"callback_note": "A bill."}
    assert (await desk.open(), desk.stirred) == ([], 1)
    assert await desk.ordered() == [attempt]
    assert desk.stirred == 1


async def test_two_processes_that_see_the_same_promise_order_one_call(desk: Desk) -> None:
    await desk.promised()
    await asyncio.gather(*(desk.promises.order_due() for _ in range(5)))
    assert len(await desk.stores.attempts.recent()) == 1


async def test_nobody_is_called_before_the_time_or_long_after_it(desk: Desk) -> None:
    await desk.promised("early", at=WALL + 1)
    await desk.promised("late", at=WALL - LATEST - 1)
    assert await desk.ordered() == []
    assert await desk.open() == ["late", "early"]


async def test_without_the_switch_promises_are_for_people(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT.replace(", callbacks: caller", ""))
    await desk.promised()
    assert (await desk.ordered(), await desk.open()) == ([], ["p1"])


async def test_another_number_than_the_callers_is_left_to_a_person_and_told_once(
    desk: Desk,
) -> None:
    await desk.promised(number=OTHER)
    await desk.promised("unknown", call="no-such-call")
    with capture_logs() as logs:
        assert await desk.ordered() == await desk.ordered() == []
    assert [line["callback"] for line in logs] == ["p1", "unknown"]
    assert OTHER not in str(logs)
    assert await desk.open() == ["p1", "unknown"]


async def test_an_agent_may_be_let_call_any_number(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT.replace("callbacks: caller", "callbacks: any"))
    await desk.promised(number=OTHER)
    assert [attempt.number for attempt in await desk.ordered()] == [OTHER]


async def test_the_number_of_whom_we_had_called_is_his_own(desk: Desk) -> None:
    called = await Records(desk.stores.database).get("call-1")
    assert called is not None
    ours = {"id": "call-2", "provider_call_id": "CA2", "direction": "outbound-api"}
    changed = {each: getattr(called, each) for each in called.__struct_fields__}
    changed |= ours | {"from_number": OURS, "to_number": OTHER}
    await Records(desk.stores.database).create(CallRecord(**changed))
    await desk.promised(call="call-2", number=OTHER)
    assert [attempt.number for attempt in await desk.ordered()] == [OTHER]


async def test_who_wants_no_calls_any_more_gets_none(desk: Desk) -> None:
    await desk.promised()
    await desk.stores.do_not_call.add(OptOut(number=NUMBER, since=WALL, why="key"))
    assert (await desk.ordered(), await desk.open()) == ([], [])
    (kept,) = await desk.stores.callbacks.of_call("call-1")
    assert kept.state == CallbackState.CANCELLED


async def test_outside_the_hours_it_waits_for_them(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT.replace("00:00-24:00", "20:00-21:00"))
    await desk.promised()
    (attempt,) = await desk.ordered()
    assert attempt.not_before > WALL


@pytest.mark.parametrize("caps", [Caps(per_hour=1)])
async def test_a_cap_lets_it_wait(desk: Desk) -> None:
    await desk.promised("first", at=WALL - 2)
    await desk.promised("second")
    assert len(await desk.ordered()) == 1
    assert await desk.open() == ["second"]


async def test_a_promise_that_was_ordered_with_other_words_is_not_ordered_again(
    desk: Desk, tmp_path: Path
) -> None:
    await desk.promised()
    (attempt,) = await desk.ordered()
    again = sa.update(callbacks).values(state=CallbackState.WANTED)
    await desk.stores.database.write(
        again
    )  # as if a process had died before it settled the promise
    (tmp_path / "desk.yaml").write_text(
        AGENT.replace('callback_note: ""', 'other: ""').replace("{{callback_note}}", "it")
    )
    assert (await desk.ordered(), await desk.open()) == ([attempt], [])


async def test_a_number_that_nobody_may_call_is_left_to_a_person(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "desk.yaml").write_text(AGENT.replace("callbacks: caller", "callbacks: any"))
    await desk.promised(number="+19005551234")
    assert (await desk.ordered(), await desk.open()) == ([], ["p1"])


async def test_a_database_that_is_away_is_asked_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    times = 0

    async def away() -> int:
        nonlocal times
        times += 1
        if times == 1:
            raise StorageError("away")
        asked.set()
        return 0

    monkeypatch.setattr(room, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(desk.promises, "order_due", away)
    with capture_logs() as logs:
        keeping = asyncio.ensure_future(desk.promises.keep())
        await asked.wait()
        keeping.cancel()
    assert [line["why"] for line in logs] == ["away"]
