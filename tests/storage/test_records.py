"""Records in a real database: one per call, one ending, one use of a token; by many processes at once."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from agent.errors import StorageError, UserError
from agent.storage import tables
from agent.storage.database import Database, RecordRefused
from agent.storage.migrate import HEAD, MIGRATIONS
from agent.storage.records import CallRecord, Records, State


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
    }
    return CallRecord(**(base | fields))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records/pickup.db"


@pytest.fixture
def records(database: Database) -> Records:
    return Records(database)


@pytest.fixture
async def in_a_file(url: str) -> AsyncIterator[Records]:
    """In a new SQLite file."""
    opened = await Records.open(url)
    yield opened
    await opened.close()


class Nursery:
    """Children that share one import (`nursery.py`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        script = Path(__file__).with_name("nursery.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(script.parents[2])},
        )
        self._born = 0

    def fork(self, what: str, *args: Any) -> tuple[int, Path]:
        """A child's process id and the file that it prints to."""
        self._born += 1
        output = self._folder / f"child-{self._born}"
        return self._ask(what, str(output), *args), output

    def wait(self, child: int) -> int:
        return self._ask("wait", child)

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, *line: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    started = Nursery(tmp_path_factory.mktemp("nursery"))
    yield started
    started.close()


# ---- one call, one record


async def test_a_record_comes_back_as_it_was(records: Records) -> None:
    record = make(from_number="+15550001234", to_number="+15550009876", metrics={"lost_ms": 1.5})
    assert await records.create(record)
    assert await records.get("c1") == record
    assert await records.by_provider_id("CA-c1") == record
    assert await records.get("c2") is None


async def test_a_repeated_webhook_makes_no_second_record(records: Records) -> None:
    assert await records.create(make("c1", provider_call_id="CA-1"))
    assert not await records.create(make("c2", provider_call_id="CA-1"))
    assert not await records.create(make("c1", provider_call_id="CA-2"))
    assert [record.id for record in await records.recent()] == ["c1"]


async def test_the_same_id_at_two_providers_is_two_calls(records: Records) -> None:
    assert await records.create(make("c1", provider_call_id="1"))
    assert await records.create(make("c2", provider_call_id="1", provider="asterisk"))


async def test_calls_whose_provider_id_is_not_known_yet_do_not_collide(records: Records) -> None:
    assert await records.create(make("c1", provider_call_id=None))
    assert await records.create(make("c2", provider_call_id=None))


async def test_the_life_of_a_call(records: Records) -> None:
    await records.create(make())
    await records.answered("c1", 102.0)
    await records.answered("c1", 103.0)
    assert await records.finish("c1", "caller_hung_up", 110.0, legs=2, metrics={"underruns": 0})
    record = await records.get("c1")
    assert record == make(
        state=State.ENDED,
        answered_at=102.0,
        ended_at=110.0,
        end_reason="caller_hung_up",
        legs=2,
        metrics={"underruns": 0},
    )


async def test_a_call_ends_once(records: Records) -> None:
    await records.create(make())
    assert await records.finish("c1", "goodbye", 110.0)
    assert not await records.finish("c1", "internal_error", 111.0)
    await records.answered("c1", 112.0)
    record = await records.get("c1")
    assert record is not None
    assert (record.state, record.end_reason, record.answered_at) == (State.ENDED, "goodbye", None)
    assert not await records.finish("unknown", "goodbye", 110.0)


# ---- leases


async def test_only_a_lapsed_lease_is_swept(records: Records) -> None:
    await records.create(make("mine", instance="here"))
    await records.create(make("theirs", instance="there"))
    await records.create(make("done", instance="there"))
    await records.finish("done", "goodbye", 105.0)
    assert await records.renew("here", 140.0) == 1
    assert await records.sweep(129.0) == []
    assert await records.sweep(131.0) == ["theirs"]
    assert await records.sweep(131.0) == []
    swept = await records.get("theirs")
    assert swept is not None
    assert (swept.state, swept.end_reason, swept.ended_at) == (State.CRASHED, "crash", 130.0)


async def test_a_call_that_lives_after_all_has_the_last_word(records: Records) -> None:
    await records.create(make())
    assert await records.sweep(200.0) == ["c1"]
    assert await records.finish("c1", "goodbye", 210.0)
    record = await records.get("c1")
    assert record is not None
    assert (record.state, record.end_reason) == (State.ENDED, "goodbye")


async def test_a_lease_is_never_shortened(records: Records) -> None:
    await records.create(make())
    assert await records.renew("here", 150.0) == 1
    assert await records.renew("here", 140.0) == 0
    assert await records.sweep(149.0) == []


# ---- tokens


async def test_of_ten_that_spend_a_token_one_may(records: Records) -> None:
    spent = await asyncio.gather(*(records.spend("t", "c1", 160.0) for _ in range(10)))
    assert sorted(spent) == [False] * 9 + [True]


async def test_old_tokens_are_forgotten_long_after_they_expired(records: Records) -> None:
    assert await records.spend("t", "c1", 160.0)
    await records.sweep(160.0 + 3599.0)
    assert not await records.spend("t", "c1", 160.0)
    await records.sweep(160.0 + 3601.0)
    assert await records.spend("t", "c1", 160.0)


@pytest.mark.timeout(60)
def test_processes_that_open_at_once_spend_each_token_once(
    nursery: Nursery, tmp_path: Path
) -> None:
    # Each round begins with no file: the racers also make and migrate it at once.
    for round_ in range(2):
        url = f"sqlite:///{tmp_path}/{round_}/pickup.db"
        racers = [nursery.fork("spend", url, f"call-{n}", 20) for n in range(2)]
        assert [nursery.wait(child) for child, _ in racers] == [0, 0]
        printed = [output.read_text().split() for _, output in racers]
        assert [words.pop() for words in printed] == ["done"] * 2
        won = [token for words in printed for token in words]
        assert sorted(won, key=int) == [str(n) for n in range(20)]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_processes_that_open_postgresql_at_once_spend_each_token_once(
    nursery: Nursery, empty_postgresql: str
) -> None:
    url = empty_postgresql
    racers = [nursery.fork("spend", url, f"call-{n}", 20) for n in range(4)]
    assert [nursery.wait(child) for child, _ in racers] == [0] * 4
    won = [token for _, output in racers for token in output.read_text().split()[:-1]]
    assert sorted(won, key=int) == [str(n) for n in range(20)]


# ---- lists


async def test_the_newest_calls_come_first_and_page_by_page(records: Records) -> None:
    for n in range(5):
        await records.create(make(f"c{n}", started_at=100.0 + n))
    first = await records.recent(limit=2)
    assert [record.id for record in first] == ["c4", "c3"]
    second = await records.recent(limit=2, before=first[-1].started_at)
    assert [record.id for record in second] == ["c2", "c1"]


# ---- the file


async def test_the_file_is_for_its_owner_and_safe_against_a_loss_of_power(
    in_a_file: Records, tmp_path: Path
) -> None:
    await in_a_file.create(make())
    folder = tmp_path / "records"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "pickup.db-wal" in modes
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    async with in_a_file.database.engine.connect() as connection:
        assert (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar() == "wal"
        assert (await connection.exec_driver_sql("PRAGMA synchronous")).scalar() == 2
        assert (await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar() == 5000


async def test_the_migrations_make_the_tables_that_the_code_uses(
    records: Records, tmp_path: Path
) -> None:
    def compare(connection: sa.Connection) -> list[Any]:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    async with records.database.engine.connect() as connection:
        assert await connection.run_sync(compare) == []


def test_the_newest_migration_is_the_one_that_opens_without_alembic() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_opening_again_changes_nothing(records: Records, database_url: str) -> None:
    await records.create(make())
    again = await Records.open(database_url)
    assert await again.get("c1") == make()
    await again.close()


@pytest.mark.parametrize(
    "url", ["", "data/pickup.db", "mysql://host/name", "nosuch://host/name", "sqlite://"]
)
async def test_a_url_that_cannot_work_is_the_users_to_mend(url: str) -> None:
    with pytest.raises(UserError, match="DATABASE_URL"):
        await Records.open(url)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_the_ways_to_write_a_postgresql_url(empty_postgresql: str) -> None:
    records = await Records.open(f"{empty_postgresql}&sslmode=prefer")
    assert await records.create(make())
    await records.close()
    with pytest.raises(StorageError):
        await Records.open("postgresql://pickup@127.0.0.1:1/none?sslmode=disable")


async def test_a_database_of_a_newer_version_is_refused_in_one_line(url: str) -> None:
    await (await Records.open(url)).close()
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(UserError, match="newer version"):
        await Records.open(url)


async def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("these are not the tables you are looking for" * 50)
    with pytest.raises(StorageError):
        await Records.open(f"sqlite:///{tmp_path}/x.db")


async def test_an_error_does_not_quote_what_was_to_be_written(records: Records) -> None:
    async with records.database.engine.connect() as connection:
        await connection.exec_driver_sql("DROP TABLE calls")
    with pytest.raises(StorageError) as caught:
        await records.create(make(from_number="+15550001234"))
    assert "1234" not in str(caught.value)


async def test_what_the_tables_refuse_is_not_tried_again(records: Records) -> None:
    with pytest.raises(RecordRefused):
        await records.create(make(agent=None))


# ---- killed in mid-write


def kill_and_count(nursery: Nursery, url: str, kills: int) -> None:
    """SIGKILL a writer again and again: all that it acknowledged is there, once, and ended."""
    chance = random.Random(kills)
    acknowledged: list[int] = []
    for _ in range(kills):
        first = max(acknowledged, default=-1) + 1
        child, output = nursery.fork("write", url, first, msgspec.json.encode(make()).decode())
        while not output.exists() or not output.read_bytes():
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(nursery.wait(child)) == signal.SIGKILL
        acknowledged += map(int, output.read_text().split("\n")[:-1])
    database = sqlite3.connect(url.removeprefix("sqlite:///"))
    rows = database.execute("SELECT id, state, metrics FROM calls").fetchall()
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    ended = {call: json.loads(metrics) for call, state, metrics in rows if state == State.ENDED}
    assert len(rows) == len({row[0] for row in rows})
    assert len(acknowledged) == len(set(acknowledged)) >= kills
    assert {f"call-{n}": {"n": n} for n in acknowledged}.items() <= ended.items()
    assert len(rows) <= len(acknowledged) + kills


@pytest.mark.timeout(60)
def test_what_was_acknowledged_survives_sigkill(nursery: Nursery, url: str) -> None:
    kill_and_count(nursery, url, 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_acknowledged_survives_a_hundred_sigkills(nursery: Nursery, url: str) -> None:
    kill_and_count(nursery, url, 100)
