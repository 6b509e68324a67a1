"""`/livez`, `/readyz` and `/metrics` as an orchestrator sees them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from agent.server.health import Health
from agent.server.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from agent.server.switchboard import Switchboard
    from agent.storage.durable import DurableRecords


class Board:
    def __init__(self) -> None:
        self.draining = self.full = False
        self.active = 0
        self.metrics = Metrics(lambda: self.active)


class Records:
    down = False


class Usage(NamedTuple):
    total: int
    free: int


class Bench:
    """The three routes, with what they look at."""

    def __init__(self, folder: Path) -> None:
        self.board, self.records = Board(), Records()
        self.sip_dead = False
        health = Health(
            cast("Switchboard", self.board),
            cast("DurableRecords", self.records),
            folder,
            lambda: self.sip_dead,
        )
        self.client = TestClient(Starlette(routes=health.routes()))

    def ready(self) -> tuple[int, dict[str, Any]]:
        answer = self.client.get("/readyz")
        return answer.status_code, json.loads(answer.text)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 50))
    return Bench(tmp_path)


def test_a_process_that_turns_lives_whatever_else_is_wrong(bench: Bench) -> None:
    bench.board.draining = bench.records.down = True
    answer = bench.client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_ready_says_what_it_looked_at(bench: Bench) -> None:
    bench.board.active = 3
    assert bench.ready() == (
        200,
        {
            "draining": False,
            "disk_low": False,
            "sip_dead": False,
            "calls": 3,
            "full": False,
            "database_down": False,
        },
    )


def test_a_draining_process_gets_no_new_calls(bench: Bench) -> None:
    bench.board.draining = True
    status, body = bench.ready()
    assert (status, body["draining"]) == (503, True)


def test_nor_does_one_that_hears_no_sip_any_more(bench: Bench) -> None:
    bench.sip_dead = True
    status, body = bench.ready()
    assert (status, body["sip_dead"]) == (503, True)


@pytest.mark.parametrize(("free", "status"), [(4, 503), (5, 200)])
def test_neither_does_one_whose_disk_is_full(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, free: int, status: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, free))
    assert bench.ready() == (status, bench.ready()[1])
    assert bench.ready()[1]["disk_low"] == (status == 503)


def test_full_or_without_a_database_it_stays_ready(bench: Bench) -> None:
    bench.board.full = bench.records.down = True
    status, body = bench.ready()
    assert status == 200
    assert (body["full"], body["database_down"]) == (True, True)


def test_metrics_are_served_in_prometheus_own_format(bench: Bench) -> None:
    bench.board.active = 2
    answer = bench.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "pickup_calls_active 2.0" in answer.text
