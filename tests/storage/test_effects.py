"""Effects of tools: begun by one, done once, and what nobody knows the end of is not done again."""

from __future__ import annotations

import asyncio

from agent.storage.database import Database
from agent.storage.effects import Begun, Done, Effects, Unknown
from agent.storage.records import Records
from tests.storage.test_records import make


async def test_an_effect_happens_once_and_its_result_is_remembered(database: Database) -> None:
    effects = Effects(database)
    assert await effects.begin("c1", "book 4", "book", 100.0) == Begun()
    assert await effects.begin("c1", "book 4", "book", 101.0) == Unknown()
    assert await effects.finish("c1", "book 4", {"result": "booked"}, 102.0)
    assert not await effects.finish("c1", "book 4", {"result": "other"}, 103.0)
    assert await effects.begin("c1", "book 4", "book", 104.0) == Done({"result": "booked"})


async def test_another_call_or_another_wish_is_another_effect(database: Database) -> None:
    effects = Effects(database)
    for call, key in (("c1", "a"), ("c1", "b"), ("c2", "a")):
        assert await effects.begin(call, key, "book", 100.0) == Begun()


async def test_of_ten_that_begin_one_may(database: Database) -> None:
    effects = Effects(database)
    begun = await asyncio.gather(*(effects.begin("c1", "k", "book", 100.0) for _ in range(10)))
    assert sorted(type(each).__name__ for each in begun) == ["Begun"] + ["Unknown"] * 9


async def test_what_surely_did_not_happen_may_be_begun_again(database: Database) -> None:
    effects = Effects(database)
    await effects.begin("c1", "k", "book", 100.0)
    assert await effects.withdraw("c1", "k")
    assert await effects.begin("c1", "k", "book", 101.0) == Begun()
    await effects.finish("c1", "k", {}, 102.0)
    assert not await effects.withdraw("c1", "k")


async def test_what_a_dead_call_began_is_there_for_a_person_to_look_at(database: Database) -> None:
    effects, records = Effects(database), Records(database)
    for call in ("dead", "ended", "alive"):
        await records.create(make(call))
        await effects.begin(call, "k", "book", 100.0)
    await records.finish("dead", "crash", 120.0)
    await records.finish("ended", "goodbye", 120.0)
    await effects.finish("ended", "k", {}, 110.0)
    (unknown,) = await effects.unknown()
    assert (unknown.call, unknown.key, unknown.tool, unknown.finished_at) == (
        "dead",
        "k",
        "book",
        None,
    )
