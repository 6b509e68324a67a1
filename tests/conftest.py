"""What holds for every test: nothing is skipped in silence, and slow machines are given time."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import given, settings
from hypothesis.strategies import text
from structlog.stdlib import ProcessorFormatter

from agent.drive.logs import FLOORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CI = bool(os.environ.get("CI"))

ALLOWED_SKIPS: dict[str, str] = {}
"""Tests, by the beginning of their ids, that may be skipped under CI, each with the reason why that loses nothing."""

# A deadline of wall time fails on a shared core; and a run of CI should tell the same story twice.
settings.register_profile("pickup", deadline=None, derandomize=CI)
settings.load_profile("pickup")


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether to run as long and as many as the figures in README (make slow FULL=1)."""
    return bool(os.environ.get("FULL"))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with tables and nothing in them, to be copied: making them costs more than most tests."""
    from agent.storage.database import Database

    async def migrate() -> None:
        await (await Database.open(f"sqlite:///{path}")).close()

    path = tmp_path_factory.mktemp("template") / "pickup.db"
    asyncio.run(migrate())
    return path


@pytest.fixture(autouse=True)
def logs_of_this_test_alone() -> Iterator[None]:
    """Commands and servers set up the logs of the whole process, on a stream that is closed with the test: so they are undone."""
    root = logging.getLogger()
    level, kept = root.level, set(root.handlers)
    yield
    ours = [each for each in root.handlers if isinstance(each.formatter, ProcessorFormatter)]
    if any(each not in kept for each in ours) or root.level != level:
        root.handlers[:] = [each for each in root.handlers if each in kept or each not in ours]
        root.setLevel(level)
        for name in FLOORS:
            logging.getLogger(name).setLevel(logging.NOTSET)
        structlog.reset_defaults()


class Skips:
    """Counts what a run skipped; under CI a skip that is not allowed fails the run."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._add(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._add(report.nodeid, report.longrepr)

    def _add(self, name: str, longrepr: object) -> None:
        self.seen[name] = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)

    def forbidden(self) -> list[str]:
        """Return the tests that were skipped and must not be."""
        return [
            name
            for name in self.seen
            if CI and not name.startswith(tuple(ALLOWED_SKIPS) or ("\0",))
        ]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self.forbidden() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        say = terminalreporter.write_line
        if not self.seen:
            say("Skipped: nothing.")
        for name, why in self.seen.items():
            allowed = next(
                (text for start, text in ALLOWED_SKIPS.items() if name.startswith(start)), ""
            )
            say(f"Skipped: {name}: {why}{f' (allowed: {allowed})' if allowed else ''}")
        if self.forbidden():
            say(f"FAILED: {len(self.forbidden())} skipped, and CI must skip nothing.", red=True)


def pytest_collection(session: pytest.Session) -> None:
    """What is imported and collected stays: to look through it for garbage again and again is a third of the time."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let hypothesis list all of Unicode's letters now: seconds, once, that no test's time-out should pay."""
    gc.freeze()
    gc.enable()

    @given(text())
    @settings(max_examples=1, database=None)
    def first(letters: str) -> None:
        assert isinstance(letters, str)

    if session.items and not session.config.option.collectonly:
        first()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Skips(), "pickup-skips")
