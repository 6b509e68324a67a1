"""Outbound calls: reserved once per key, claimed by one process, never dialled twice, never against the list or the caps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from agent.storage.attempts import Attempt, Attempts, AttemptState, Caps, Taker, Told, Wanted
from agent.storage.database import Database, RecordRefused
from agent.storage.do_not_call import DoNotCall, OptOut

ANNA, BEN, CARL = "+15550001111", "+15550002222", "+15550003333"


def wanted(attempt: str, number: str = ANNA, **fields: Any) -> Wanted:
    base: dict[str, Any] = {
        "id": attempt,
        "idempotency_key": f"key-{attempt}",
        "number": number,
        "agent": "reminder",
        "not_before": 100.0,
        "variables": {"name": "Anna"},
    }
    return Wanted(**(base | fields))


def at(now: float, instance: str = "here") -> Taker:
    return Taker(instance, now, now + 30)


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database)


@pytest.fixture
def do_not_call(database: Database) -> DoNotCall:
    return DoNotCall(database)


async def dial(attempts: Attempts, now: float, **fields: Any) -> Attempt:
    claimed = await attempts.claim(at(now, **fields))
    assert claimed is not None
    return claimed


# ---- reserving


async def test_a_reservation_is_as_it_was_wanted(attempts: Attempts) -> None:
    made = await attempts.reserve(wanted("a1"), 90.0)
    assert made.fresh
    assert made.refused is None
    assert made.attempt == Attempt(
        id="a1",
        idempotency_key="key-a1",
        number=ANNA,
        agent="reminder",
        variables={"name": "Anna"},
        campaign=None,
        row=0,
        state=AttemptState.RESERVED,
        reserved_at=90.0,
        not_before=100.0,
        tries=0,
        reason=None,
        provider_call_id=None,
        instance=None,
        alive_until=0.0,
        ended_at=None,
    )
    assert await attempts.get("a1") == await attempts.by_key("key-a1") == made.attempt
    assert await attempts.recent() == [made.attempt]


async def test_of_ten_that_reserve_with_one_key_one_does(attempts: Attempts) -> None:
    many = await asyncio.gather(
        *(attempts.reserve(wanted(f"a{n}", idempotency_key="same"), 90.0) for n in range(10))
    )
    assert sorted(made.fresh for made in many) == [False] * 9 + [True]
    assert len({made.attempt.id for made in many if made.attempt}) == 1
    assert len(await attempts.recent()) == 1


async def test_a_repeated_request_gets_its_call_also_when_a_new_one_would_be_refused(
    attempts: Attempts, do_not_call: DoNotCall
) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await do_not_call.add(OptOut(number=ANNA, since=91.0, why="said_so"))
    again = await attempts.reserve(wanted("a2", idempotency_key="key-a1"), 92.0)
    assert again.attempt is not None
    assert (again.attempt.id, again.fresh) == ("a1", False)
    assert (again.attempt.state, again.attempt.reason) == (AttemptState.ENDED, "do_not_call")


@pytest.mark.parametrize(
    "number", ["15550001111", "+0155500011", "+1555000111x", "", "+1 555", "+٣٣٣٣٣٣٣"]
)
async def test_only_numbers_in_e164_are_reserved_or_listed(
    attempts: Attempts, do_not_call: DoNotCall, number: str
) -> None:
    with pytest.raises(RecordRefused):
        await attempts.reserve(wanted("a1", number), 90.0)
    with pytest.raises(RecordRefused):
        await do_not_call.add(OptOut(number=number, since=1.0, why="imported"))


# ---- do not call


async def test_a_number_on_the_list_is_not_reserved(
    attempts: Attempts, do_not_call: DoNotCall
) -> None:
    opt_out = OptOut(number=ANNA, since=80.0, why="said_so", agent="reminder", call="c1")
    assert await do_not_call.add(opt_out)
    assert not await do_not_call.add(OptOut(number=ANNA, since=85.0, why="key"))
    assert await do_not_call.get(ANNA) == opt_out
    assert await do_not_call.recent() == [opt_out]
    refused = await attempts.reserve(wanted("a1"), 90.0)
    assert (refused.attempt, refused.refused) == (None, "do_not_call")
    assert (await attempts.reserve(wanted("a2", BEN), 90.0)).fresh
    assert await do_not_call.remove(ANNA)
    assert not await do_not_call.remove(ANNA)
    assert (await attempts.reserve(wanted("a1"), 91.0)).fresh


async def test_what_was_reserved_before_the_opt_out_is_never_dialled(
    attempts: Attempts, do_not_call: DoNotCall
) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await do_not_call.add(OptOut(number=ANNA, since=95.0, why="said_so"))
    assert await attempts.claim(at(100.0)) is None
    ended = await attempts.get("a1")
    assert ended is not None
    assert (ended.state, ended.reason, ended.ended_at) == (AttemptState.ENDED, "do_not_call", 95.0)


async def test_a_call_that_would_be_tried_again_is_not_after_the_opt_out(
    attempts: Attempts, do_not_call: DoNotCall
) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    await do_not_call.add(OptOut(number=ANNA, since=105.0, why="said_so"))
    assert await attempts.again("a1", 1, "busy", 110.0, 120.0)
    assert await attempts.claim(at(200.0)) is None


async def test_opting_out_while_others_reserve_and_dial_leaves_nothing_to_dial(
    attempts: Attempts, do_not_call: DoNotCall
) -> None:
    for n in range(10):
        await asyncio.gather(
            attempts.reserve(wanted(f"a{n}", number := f"+1555000{n:04}"), 90.0),
            do_not_call.add(OptOut(number=number, since=90.0, why="said_so")),
        )
    assert await attempts.claim(at(100.0)) is None


async def dial_on(database: Database, n: int, who: str, order: Iterator[int]) -> list[int]:
    """Want and dial a number again and again; when each dial that happened was asked for."""
    attempts, began = Attempts(database), []
    for more in range(4):
        asked = next(order)
        await attempts.reserve(wanted(f"a{n}-{more}-{id(database)}", who), 100.0)
        if (got := await attempts.claim(at(100.0))) is not None:
            began.append(asked)
            await attempts.again(got.id, got.tries, "busy", 100.0, 100.0)
    return began


async def opt_out_after(database: Database, seconds: float, who: str, order: Iterator[int]) -> int:
    """When it was done."""
    await asyncio.sleep(seconds)
    await DoNotCall(database).add(OptOut(number=who, since=100.0, why="said_so"))
    return next(order)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_once_somebody_has_opted_out_no_dial_begins(database_url: str, full: bool) -> None:
    rounds = 1000 if full else 50
    clients = [Database(database_url) for _ in range(3)]
    opting, *dialling = clients
    order, dialled = itertools.count(), 0
    try:
        for n in range(rounds):
            who = f"+1555{n:07}"
            done, one, other = await asyncio.gather(
                opt_out_after(opting, n % 10 / 200, who, order),
                dial_on(dialling[0], n, who, order),
                dial_on(dialling[1], n, who, order),
            )
            asked = one + other
            assert all(each < done for each in asked)
            assert await Attempts(opting).claim(at(1e9)) is None
            dialled += len(asked)
    finally:
        for client in clients:
            await client.close()
    print(f"{rounds} opted out while two dialled: {dialled} dials, none begun after")
    assert dialled > rounds / 10  # it was a race


# ---- caps


async def test_a_number_is_dialled_only_so_often_a_day(attempts: Attempts) -> None:
    caps = Caps(number_per_day=2)
    for n in range(2):
        assert (await attempts.reserve(wanted(f"a{n}"), 90.0, caps)).fresh
    # Both only wait, and count already.
    assert (await attempts.reserve(wanted("a2"), 90.0, caps)).refused == "number_per_day"
    assert (await attempts.reserve(wanted("b0", BEN), 90.0, caps)).fresh
    for now in (100.0, 101.0):
        await attempts.end((await dial(attempts, now)).id, 1, "completed", now + 0.5)
    assert (await attempts.reserve(wanted("a2"), 200.0, caps)).refused == "number_per_day"
    tomorrow = 101.0 + 86_400
    assert (await attempts.reserve(wanted("a2"), tomorrow, caps)).fresh


@pytest.mark.parametrize(
    ("caps", "seconds"), [(Caps(per_hour=3), 3600.0), (Caps(per_day=3), 86_400.0)]
)
async def test_all_calls_together_are_capped_at_exactly_so_many(
    attempts: Attempts, caps: Caps, seconds: float
) -> None:
    made = await asyncio.gather(
        *(attempts.reserve(wanted(f"a{n}", f"+155500010{n:02}"), 90.0, caps) for n in range(8))
    )
    assert sum(each.fresh for each in made) == 3
    assert {each.refused for each in made if not each.fresh} <= {"per_hour", "per_day"}
    for n in range(3):
        await dial(attempts, 100.0 + n)
    assert (await attempts.reserve(wanted("b"), 101.0 + seconds, caps)).fresh
    assert await attempts.dialled(since=100.5) == 2


async def test_retries_count_and_wait_for_the_caps_too(attempts: Attempts) -> None:
    caps = Caps(per_hour=2)
    await attempts.reserve(wanted("a1"), 90.0)
    for n, now in ((1, 100.0), (2, 110.0)):
        assert await attempts.claim(at(now), caps) is not None
        assert await attempts.again("a1", n, "busy", now + 1, now + 2)
    assert await attempts.claim(at(120.0), caps) is None
    third = await attempts.claim(at(100.0 + 3600), caps)
    assert third is not None
    assert third.tries == 3


async def test_the_cap_of_a_number_holds_back_its_calls_and_no_others(attempts: Attempts) -> None:
    caps = Caps(number_per_day=1)
    for attempt, number in (("a1", ANNA), ("a2", ANNA), ("b1", BEN)):
        await attempts.reserve(wanted(attempt, number), 90.0)
    claimed = [await attempts.claim(at(100.0 + n), caps) for n in range(3)]
    assert [each and each.id for each in claimed] == ["a1", "b1", None]


# ---- claiming


async def test_what_is_not_due_is_not_dialled(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1", not_before=150.0), 90.0)
    assert await attempts.claim(at(149.0)) is None
    claimed = await dial(attempts, 150.0)
    assert (claimed.id, claimed.state, claimed.tries) == ("a1", AttemptState.PLACING, 1)
    assert (claimed.instance, claimed.alive_until) == ("here", 180.0)


async def test_the_first_that_is_due_goes_first(attempts: Attempts) -> None:
    await attempts.reserve(wanted("late", ANNA, not_before=102.0), 90.0)
    await attempts.reserve(wanted("early", BEN, not_before=101.0), 91.0)
    assert [(await dial(attempts, 110.0)).id for _ in range(2)] == ["early", "late"]


async def test_one_number_is_never_rung_by_two_calls_at_once(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await attempts.reserve(wanted("a2"), 90.0)
    assert (await dial(attempts, 100.0)).id == "a1"
    assert await attempts.claim(at(100.0)) is None
    await attempts.placed("a1", 1, "CA1")
    assert await attempts.claim(at(101.0)) is None
    await attempts.end("a1", 1, "completed", 110.0)
    assert (await dial(attempts, 111.0)).id == "a2"


async def test_eight_claimers_never_share_a_call(database_url: str) -> None:
    # Each with connections of its own, as eight processes would have.
    claimers = [Attempts(Database(database_url)) for _ in range(8)]
    for n in range(16):
        await claimers[0].reserve(wanted(f"a{n}", f"+155500010{n:02}"), 90.0)

    async def claim_all(who: int) -> list[str]:
        mine = []
        while (claimed := await claimers[who].claim(at(100.0, f"i{who}"))) is not None:
            assert claimed.instance == f"i{who}"
            mine.append(claimed.id)
        return mine

    try:
        claimed = await asyncio.gather(*(claim_all(who) for who in range(8)))
    finally:
        for each in claimers:
            await each._database.close()
    every = [attempt for mine in claimed for attempt in mine]
    assert sorted(every) == sorted(f"a{n}" for n in range(16))


# ---- the life of a try


async def test_what_a_process_is_told_of_anothers_try_reaches_that_one(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    assert await attempts.told_of("here") == []
    assert not await attempts.told("a1", 2, "CA1", "caller_busy")
    assert await attempts.told("a1", 1, "CA1", "caller_busy")
    assert not await attempts.told("a1", 1, "CA1", "no_answer")
    assert await attempts.told_of("there") == []
    assert await attempts.told_of("here") == [Told("a1", 1, "CA1", "caller_busy")]
    assert await attempts.again("a1", 1, "caller_busy", 110.0, 200.0)
    assert await attempts.told_of("here") == []
    assert not await attempts.told("a1", 1, "CA1", "caller_busy")


async def test_a_call_is_placed_and_ends_once(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    assert await attempts.placed("a1", 1, "CA1")
    assert not await attempts.placed("a1", 1, "CA1")
    found = await attempts.by_provider_id("CA1")
    assert found is not None
    assert (found[0].state, found[0].provider_call_id, found[1]) == (AttemptState.PLACED, "CA1", 1)
    assert await attempts.by_provider_id("CA2") is None
    assert await attempts.end("a1", 1, "completed", 120.0)
    assert not await attempts.end("a1", 1, "failed", 121.0)
    assert not await attempts.again("a1", 1, "busy", 121.0, 130.0)
    ended = await attempts.get("a1")
    assert ended is not None
    assert (ended.state, ended.reason, ended.ended_at) == (AttemptState.ENDED, "completed", 120.0)


async def test_a_late_word_about_an_earlier_try_changes_nothing(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    await attempts.placed("a1", 1, "CA1")
    assert await attempts.again("a1", 1, "busy", 101.0, 105.0)
    second = await dial(attempts, 105.0)
    assert (second.tries, second.provider_call_id, second.reason) == (2, None, "busy")
    assert not await attempts.end("a1", 1, "completed", 106.0)
    assert not await attempts.placed("a1", 1, "CA1")
    found = await attempts.by_provider_id("CA1")
    assert found is not None
    assert (found[0].id, found[0].tries, found[1]) == ("a1", 2, 1)


async def test_a_word_from_the_provider_may_come_before_its_answer(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    assert await attempts.end("a1", 1, "failed", 100.5)
    assert not await attempts.placed("a1", 1, "CA1")
    found = await attempts.by_provider_id("CA1")
    assert found is not None
    assert found[0].state is AttemptState.ENDED


async def test_what_never_reached_the_provider_is_no_try(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    assert await attempts.not_placed("a1", 1, 130.0)
    assert not await attempts.not_placed("a1", 1, 130.0)
    assert await attempts.dialled(since=0.0) == 0
    assert await attempts.claim(at(129.0)) is None
    assert (await dial(attempts, 130.0)).tries == 1
    await attempts.placed("a1", 1, "CA1")
    assert not await attempts.not_placed("a1", 1, 140.0)


async def test_only_what_waits_can_be_cancelled(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await attempts.reserve(wanted("a2", BEN), 90.0)
    assert await attempts.cancel("a1", 95.0)
    claimed = await dial(attempts, 100.0)
    assert claimed.id == "a2"
    assert not await attempts.cancel("a2", 101.0)
    assert not await attempts.cancel("a1", 101.0)


# ---- processes that died


async def test_a_dead_process_leaves_its_calls_to_one_other(attempts: Attempts) -> None:
    for n in range(3):
        await attempts.reserve(wanted(f"a{n}", f"+155500010{n:02}"), 90.0)
        await dial(attempts, 100.0)
    await attempts.placed("a1", 1, "CA1")
    await attempts.end("a2", 1, "completed", 110.0)
    assert await attempts.adopt("there", 129.0, 159.0) == []
    adopted = await asyncio.gather(*(attempts.adopt(f"there{n}", 131.0, 161.0) for n in range(4)))
    found = [each for some in adopted for each in some]
    assert sorted((each.id, each.state) for each in found) == [
        ("a0", AttemptState.PLACING),
        ("a1", AttemptState.PLACED),
    ]
    assert {each.tries for each in found} == {1}


async def test_who_renews_keeps_its_calls(attempts: Attempts) -> None:
    await attempts.reserve(wanted("a1"), 90.0)
    await dial(attempts, 100.0)
    assert await attempts.renew("here", 150.0) == 1
    assert await attempts.renew("here", 140.0) == 0
    assert await attempts.renew("there", 160.0) == 0
    assert await attempts.adopt("there", 149.0, 179.0) == []
    assert len(await attempts.adopt("there", 151.0, 181.0)) == 1
