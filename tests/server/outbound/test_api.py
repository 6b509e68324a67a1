"""`/api/calls`: who may order, what an order must be, and what each refusal looks like. Whole calls are in tests/calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from agent.config.agent_files import AgentFiles
from agent.errors import StorageError
from agent.server.outbound.api import LARGEST, STATUS, CallsApi, OrderedCall
from agent.server.outbound.destinations import Destinations
from agent.server.outbound.orders import IN_WORDS, Orders
from agent.server.stores import Stores
from agent.storage.attempts import Caps

NUMBER = "+12125551234"
NOON, NIGHT = 1_800_032_400.0, 1_800_000_000.0  # 12:00 and 03:00 in New York
AGENT = "name: Reminder\npersona: You remind {{who}}.\nvariables: {who: null}\n"
ORDER = {"to": NUMBER, "agent": "reminder", "variables": {"who": "Ada"}}


class Office:
    def __init__(self, folder: Path, stores: Stores) -> None:
        (folder / "reminder.yaml").write_text(AGENT)
        self.wall = NOON
        self.stirred = 0
        self.rings: set[str] = set()
        self.caller_id: str | None = "+15551234567"
        self._folder = folder
        self._stores = stores

    def client(self, *, token: str = "hush", dials: bool = True) -> httpx.AsyncClient:
        ids: Iterator[int] = iter(range(100))
        orders = Orders(
            self._stores.attempts,
            AgentFiles(self._folder, print),
            lambda: Destinations(frozenset({"US"})),
            self.caller_id,
            Caps(number_per_day=2),
        )

        def stir() -> None:
            self.stirred += 1

        api = CallsApi(
            orders,
            "hush",
            stir=stir if dials else None,
            take_back=lambda attempt: attempt in self.rings,
            new_id=lambda: f"id{next(ids)}",
            wall=lambda: self.wall,
        )
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=api.routes())),
            base_url="http://test",
            headers={"Authorization": f"Bearer {token}"},
        )


@pytest.fixture
def office(tmp_path: Path, stores: Stores) -> Office:
    return Office(tmp_path, stores)


async def refused(client: httpx.AsyncClient, **order: Any) -> tuple[int, str]:
    answer = await client.post("/api/calls", json=ORDER | order)
    return answer.status_code, answer.json()["error"]["why"]


async def test_an_order_is_taken_looked_at_and_taken_back(office: Office) -> None:
    async with office.client() as client:
        answer = await client.post("/api/calls", json=ORDER)
        told = msgspec.json.decode(answer.content, type=OrderedCall)
        assert (answer.status_code, told.state, told.not_before) == (202, "reserved", NOON)
        assert office.stirred == 1
        assert (await client.get(f"/api/calls/{told.id}")).json() == answer.json()
        assert (await client.delete(f"/api/calls/{told.id}")).status_code == 204
        assert (await client.get(f"/api/calls/{told.id}")).json()["reason"] == "cancelled"
        again = await client.delete(f"/api/calls/{told.id}")
        assert (again.status_code, again.json()["error"]["why"]) == (409, "too_late")
        office.rings.add(told.id)
        assert (await client.delete(f"/api/calls/{told.id}")).status_code == 204
        for answer in (await client.get("/api/calls/x"), await client.delete("/api/calls/x")):
            assert (answer.status_code, answer.json()["error"]["why"]) == (404, "unknown")
    assert NUMBER not in answer.text


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer hus", "Bearer hushh", "Basic hush", "hush"]
)
async def test_whoever_has_no_token_learns_nothing_but_that(header: str, office: Office) -> None:
    async with office.client() as client:
        for method, path in (("POST", "calls"), ("GET", "calls/x"), ("DELETE", "calls/x")):
            answer = await client.request(
                method, f"/api/{path}", headers={"Authorization": header}, content=b"{"
            )
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert office.stirred == 0


async def test_the_scheme_is_read_in_any_case(office: Office) -> None:
    async with office.client() as client:
        answer = await client.get("/api/calls/x", headers={"Authorization": "bearer  hush"})
    assert answer.status_code == 404  # RFC 9110, section 11.1


@pytest.mark.parametrize(
    ("order", "status", "why"),
    [
        ({"to": "2125551234"}, 422, "number"),
        ({"to": "+19005551234"}, 403, "destination"),
        ({"agent": "nobody"}, 422, "agent"),
        ({"agent": "../../etc/passwd"}, 422, "agent"),
        ({"variables": {}}, 422, "variables"),
        ({"variables": {"who": "Ada", "x": "1"}}, 422, "variables"),
        ({"variables": {"who": "A" * 501}}, 422, "variables"),
        ({"variables": {"who": "two\nlines"}}, 422, "variables"),
        ({"variables": {"who": 1}}, 400, "body"),
        ({"to": None}, 400, "body"),
        ({"more": 1}, 400, "body"),
    ],
)
async def test_every_mistake_in_an_order_is_one_clear_error(
    order: dict[str, Any], status: int, why: str, office: Office
) -> None:
    async with office.client() as client:
        assert await refused(client, **order) == (status, why)
    assert office.stirred == 0


async def test_a_body_that_is_no_order_is_refused(office: Office) -> None:
    async with office.client() as client:
        for content, status in ((b"", 400), (b"[]", 400), (b"{", 400), (b"x" * 70_000, 413)):
            answer = await client.post("/api/calls", content=content)
            assert (answer.status_code, answer.json()["error"]["why"]) == (status, "body")
    assert LARGEST < 70_000


async def test_a_key_that_is_none_is_refused(office: Office) -> None:
    async with office.client() as client:
        for key in ("", "two words", "k" * 201):
            answer = await client.post("/api/calls", json=ORDER, headers={"Idempotency-Key": key})
            assert (answer.status_code, answer.json()["error"]["why"]) == (400, "key")


async def test_a_key_counts_at_night_too(office: Office) -> None:
    async with office.client() as client:
        key = {"Idempotency-Key": "k1"}
        first = await client.post("/api/calls", json=ORDER, headers=key)
        office.wall = NIGHT + 86_400
        assert (await client.post("/api/calls", json=ORDER, headers=key)).json() == first.json()
        assert await refused(client) == (409, "hours")
        other = await client.post("/api/calls", json=ORDER | {"agent": "x"}, headers=key)
        assert (other.status_code, other.json()["error"]["why"]) == (409, "key")


async def test_at_night_an_order_may_wait_for_the_morning(office: Office) -> None:
    office.wall = NIGHT
    async with office.client() as client:
        assert await refused(client) == (409, "hours")
        waits = await client.post("/api/calls", json=ORDER | {"wait": True})
    assert waits.json()["not_before"] == NIGHT + 5 * 3600


async def test_a_cap_is_a_429(office: Office) -> None:
    async with office.client() as client:
        for _ in range(2):
            assert (await client.post("/api/calls", json=ORDER)).status_code == 202
        assert await refused(client) == (429, "number_per_day")


async def test_what_the_deployment_lacks_is_said(office: Office) -> None:
    async with office.client(dials=False) as client:
        assert await refused(client) == (503, "carrier")
    office.caller_id = None
    async with office.client() as client:
        assert await refused(client) == (422, "caller_id")


async def test_a_database_that_is_away_calls_nobody(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise StorageError("away")

    monkeypatch.setattr("agent.storage.attempts.Attempts.by_key", away)
    async with office.client() as client:
        assert await refused(client) == (503, "database")
    assert office.stirred == 0


def test_every_refusal_of_the_database_has_words_and_a_status() -> None:
    assert set(IN_WORDS) <= set(STATUS)
