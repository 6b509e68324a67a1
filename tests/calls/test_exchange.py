"""The rig of these tests finds what it looks for."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
import structlog

from tests.calls import exchange as rig
from tests.calls.exchange import AUTH_TOKEN, FROM, exchange, log_kept, no_canary_in

if TYPE_CHECKING:
    from pathlib import Path


def test_a_number_in_a_file_is_found_and_in_the_database_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "pickup.db").write_text(FROM)
    no_canary_in(tmp_path)
    (tmp_path / "events.jsonl").write_text(FROM.removeprefix("+"))
    with pytest.raises(AssertionError, match=re.escape("events.jsonl")):
        no_canary_in(tmp_path)


def test_a_secret_in_the_database_is_found(tmp_path: Path) -> None:
    (tmp_path / "pickup.db-wal").write_bytes(b"\0" + AUTH_TOKEN.encode())
    with pytest.raises(AssertionError):
        no_canary_in(tmp_path)


def test_a_traceback_in_the_log_is_found() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"), log_kept():
        try:
            print(1 / 0)
        except ZeroDivisionError as error:
            structlog.get_logger().error("it happened", exc_info=error)


async def test_a_task_that_is_left_is_found(tmp_path: Path) -> None:
    left: list[asyncio.Task[None]] = []
    with pytest.raises(AssertionError, match="somebody's"), patch.object(rig, "LEFT_SECONDS", 0.1):
        async with exchange(tmp_path):
            left.append(asyncio.create_task(asyncio.sleep(60), name="somebody's"))
    left[0].cancel()
