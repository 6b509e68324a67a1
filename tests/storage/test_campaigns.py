"""Campaigns: stored whole or not at all, dialled at their rate and no more at a time than they may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.storage import campaigns as room
from agent.storage.attempts import Attempts, AttemptState, Caps, Taker, Wanted
from agent.storage.campaigns import Campaign, Campaigns, CampaignState, Progress
from agent.storage.database import Database, RecordRefused
from agent.storage.do_not_call import DoNotCall, OptOut


def campaign(**fields: Any) -> Campaign:
    base: dict[str, Any] = {
        "id": "k",
        "digest": "d",
        "agent": "reminder",
        "rate": 2.0,
        "concurrency": 3,
        "begun_at": 90.0,
    }
    return Campaign(**(base | fields))


def number(n: int) -> str:
    return f"+1555{n:07}"


def rows(many: int, of: str = "k") -> list[Wanted]:
    return [
        Wanted(
            id=f"{of}-{n}",
            idempotency_key=f"{of}/{n}",
            number=number(n),
            agent="reminder",
            not_before=100.0,
            campaign=of,
            row=n,
        )
        for n in range(many)
    ]


def at(now: float) -> Taker:
    return Taker("here", now, now + 30)


@pytest.fixture
def campaigns(database: Database) -> Campaigns:
    return Campaigns(database)


async def test_a_campaign_is_stored_once_with_all_its_rows(
    campaigns: Campaigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "AT_ONCE", 4)
    many = 4 + 4 + 1
    assert await campaigns.begin(campaign(), rows(many))
    assert not await campaigns.begin(campaign(rate=9.0), rows(3))
    assert await campaigns.get("k") == campaign()
    assert await campaigns.get("other") is None
    assert await campaigns.every() == [campaign()]
    assert [each.row for each in await campaigns.rows("k")] == list(range(many))
    progress = await campaigns.progress("k")
    assert progress == Progress(waiting=many, active=0, ended={}, next_at=100.0)
    assert progress.total == many


async def test_a_row_that_is_no_number_stops_all_of_it(campaigns: Campaigns) -> None:
    bad = [*rows(2), Wanted(id="x", idempotency_key="x", number="112", agent="a", not_before=0.0)]
    with pytest.raises(RecordRefused):
        await campaigns.begin(campaign(), bad)
    assert await campaigns.every() == []


async def test_numbers_on_the_list_are_told_and_not_dialled(
    campaigns: Campaigns, database: Database
) -> None:
    await DoNotCall(database).add(OptOut(number=number(1), since=50.0, why="said_so"))
    await campaigns.begin(campaign(), rows(3))
    assert (await campaigns.progress("k")).ended == {"do_not_call": 1}
    claimed = [await campaigns.claim("k", at(100.0 + n)) for n in range(3)]
    assert [each and each.row for each in claimed] == [0, 2, None]


async def test_the_rate_is_kept(campaigns: Campaigns) -> None:
    await campaigns.begin(campaign(rate=2.0, concurrency=100), rows(9))
    claimed = [now for now in range(16) if await campaigns.claim("k", at(100.0 + now / 8))]
    assert claimed == [0, 4, 8, 12]


async def test_no_more_at_a_time_than_it_may(campaigns: Campaigns, database: Database) -> None:
    attempts = Attempts(database)
    await campaigns.begin(campaign(rate=100.0), rows(10))
    claimed = [await campaigns.claim("k", at(100.0 + n)) for n in range(5)]
    assert [each and each.row for each in claimed] == [0, 1, 2, None, None]
    await attempts.placed("k-1", 1, "CA1")
    assert await campaigns.claim("k", at(110.0)) is None
    await attempts.end("k-1", 1, "completed", 111.0)
    after = await campaigns.claim("k", at(112.0))
    assert after is not None
    assert after.row == 3
    progress = await campaigns.progress("k")
    assert (progress.waiting, progress.active, progress.ended) == (6, 3, {"completed": 1})


async def test_racing_claimers_stay_below_the_concurrency(
    campaigns: Campaigns, database_url: str
) -> None:
    await campaigns.begin(campaign(rate=1e18), rows(20))  # as fast as one likes
    others = [Campaigns(Database(database_url)) for _ in range(6)]
    try:
        claimed = await asyncio.gather(*(each.claim("k", at(100.0)) for each in others))
    finally:
        for each in others:
            await each._database.close()
    assert sum(each is not None for each in claimed) == 3


async def test_a_pause_dials_nothing_and_going_on_forgets_nothing(campaigns: Campaigns) -> None:
    await campaigns.begin(campaign(), rows(2))
    assert await campaigns.running() == ["k"]
    assert await campaigns.change("k", CampaignState.PAUSED)
    assert await campaigns.running() == []
    assert await campaigns.claim("k", at(100.0)) is None
    assert await campaigns.change("k", CampaignState.RUNNING, rate=9.0, concurrency=1)
    assert not await campaigns.change("other", CampaignState.RUNNING)
    assert await campaigns.get("k") == campaign(rate=9.0, concurrency=1)
    assert await campaigns.claim("k", at(101.0)) is not None
    assert await campaigns.claim("k", at(102.0)) is None


async def test_campaigns_and_single_calls_keep_apart_but_share_the_caps(
    campaigns: Campaigns, database: Database
) -> None:
    attempts = Attempts(database)
    await campaigns.begin(campaign(rate=100.0), rows(3))
    assert await attempts.claim(at(100.0)) is None
    alone = Wanted(id="a", idempotency_key="a", number=number(99), agent="reminder", not_before=0.0)
    await attempts.reserve(alone, 99.0)
    caps = Caps(per_hour=2)
    assert await campaigns.claim("k", at(100.0), caps) is not None
    assert await attempts.claim(at(100.0), caps) is not None
    assert await campaigns.claim("k", at(101.0), caps) is None


async def test_what_ended_without_anybody_is_dialled_again_when_it_is_due(
    campaigns: Campaigns, database: Database
) -> None:
    attempts = Attempts(database)
    await campaigns.begin(campaign(), rows(1))
    await campaigns.claim("k", at(100.0))
    await attempts.again("k-0", 1, "busy", 101.0, 400.0)
    assert (await campaigns.progress("k")).next_at == 400.0
    assert await campaigns.claim("k", at(399.0)) is None
    again = await campaigns.claim("k", at(400.0))
    assert again is not None
    assert (again.tries, again.state) == (2, AttemptState.PLACING)
