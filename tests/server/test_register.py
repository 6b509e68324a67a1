"""The register: one record for each call, one use for each token, with a database or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from agent import __version__
from agent.protocols.token import TokenClaims, TokenRefusal
from agent.server import register as room
from agent.server.register import Register, derive
from agent.storage.numbers import number_hash
from agent.storage.records import LEASE
from tests.server.bench import WALL, FakeRecords, caller

if TYPE_CHECKING:
    from agent.storage.durable import DurableRecords

CALL = caller().call_id


class Bench:
    """A register, its database, and a wall clock moved by hand."""

    def __init__(self, records: FakeRecords | None = None) -> None:
        self.records = records or FakeRecords()
        self.wall = WALL
        self.register = Register(
            cast("DurableRecords", self.records),
            "instance",
            token_key=derive("secret", "call token"),
            number_key=derive("secret", "number"),
            wall=lambda: self.wall,
        )

    def claims(self, leg: int = 1) -> TokenClaims:
        claims = self.register.check(CALL, self.register.issue(CALL, leg))
        assert isinstance(claims, TokenClaims)
        return claims


def test_a_key_for_one_use_is_no_key_for_another() -> None:
    keys = {derive(secret, use) for secret in ("a", "b") for use in ("call token", "number")}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
    assert derive("a", "number") == derive("a", "number")


async def test_a_record_holds_what_is_known_when_it_rings() -> None:
    bench = Bench()
    await bench.register.create("call 1", "Desk", caller())
    (record,) = bench.records.created
    assert (record.id, record.provider, record.provider_call_id) == ("call 1", "twilio", CALL)
    assert (record.instance, record.agent, record.version) == ("instance", "Desk", __version__)
    assert (record.started_at, record.alive_until) == (WALL, WALL + LEASE)
    assert (record.from_number, record.to_number) == ("+15551234567", "+15557654321")
    assert record.number_hash == number_hash("+15551234567", derive("secret", "number"))
    assert record.number_hash is not None
    assert "1234567" not in record.number_hash


async def test_nothing_that_storage_cannot_take_reaches_the_call() -> None:
    bench = Bench(FakeRecords(full=True))
    await bench.register.create("call 1", "Desk", caller())
    await bench.register.answered("call 1")
    await bench.register.finish("call 1", "caller_hung_up", 1, {})
    assert (bench.records.created, bench.records.answers, bench.records.finished) == ([], [], {})


async def test_a_call_is_finished_with_its_figures() -> None:
    bench = Bench()
    await bench.register.create("call 1", "Desk", caller())
    await bench.register.answered("call 1")
    await bench.register.finish("call 1", "caller_hung_up", 2, {"underruns": 0})
    assert bench.records.answers == ["call 1"]
    assert bench.records.finished == {"call 1": ("caller_hung_up", 2, {"underruns": 0})}


async def test_how_a_call_ended_that_is_not_live_here() -> None:
    records = FakeRecords(reasons={"ended": "model_lost", "open": None})
    register = Bench(records).register
    assert await register.end_reason("ended") == "model_lost"
    assert await register.end_reason("open") == "crash"
    assert await register.end_reason("unknown") == "crash"
    records.down = True
    assert await register.end_reason("ended") == "crash"


def test_a_token_is_good_for_its_call_and_leg_and_for_a_minute() -> None:
    bench = Bench()
    token = bench.register.issue(CALL, 2)
    claims = bench.register.check(CALL, token)
    assert isinstance(claims, TokenClaims)
    assert claims.leg == 2
    assert bench.register.check("another", token) is TokenRefusal.FOREIGN
    assert bench.register.check(CALL, None) is TokenRefusal.MISSING
    bench.wall += 100.0
    assert bench.register.check(CALL, token) is TokenRefusal.EXPIRED


def test_no_two_tokens_are_alike() -> None:
    bench = Bench()
    assert len({bench.register.issue(CALL, 1) for _ in range(100)}) == 100


async def test_a_token_is_spent_once() -> None:
    bench = Bench()
    claims = bench.claims()
    assert await bench.register.spend(claims, "call 1")
    assert not await bench.register.spend(claims, "call 1")


async def test_a_replica_may_spend_what_another_one_issued() -> None:
    here, there = Bench(), Bench()
    there.records = here.records
    claims = here.claims()
    other = Bench(here.records)
    assert await other.register.spend(claims, "call 1")
    assert not await here.register.spend(claims, "call 1")


async def test_while_the_database_is_down_a_token_is_good_once_where_it_was_issued() -> None:
    records = FakeRecords(down=True)
    here, there = Bench(records), Bench(records)
    claims = here.claims()
    assert not await there.register.spend(claims, "call 1")
    assert await here.register.spend(claims, "call 1")
    assert not await here.register.spend(claims, "call 1")
    assert records.spooled == [claims.id]  # the database shall know when it is back


async def test_a_full_spool_keeps_no_caller_out_and_nobody_in_twice() -> None:
    bench = Bench(FakeRecords(down=True, full=True))
    claims = bench.claims()
    assert await bench.register.spend(claims, "call 1")
    assert not await bench.register.spend(claims, "call 1")


async def test_tokens_that_nobody_brings_back_are_forgotten() -> None:
    bench = Bench()
    for _ in range(50):
        bench.register.issue(CALL, 1)
    bench.wall += 60.0 + room.FORGET_AFTER + 1.0
    bench.register.issue(CALL, 1)
    assert len(bench.register._issued) == 1


@pytest.mark.parametrize("down", [False, True])
async def test_a_token_that_was_spent_is_forgotten(down: bool) -> None:
    bench = Bench(FakeRecords(down=down))
    await bench.register.spend(bench.claims(), "call 1")
    assert bench.register._issued == {}
