"""`pickup doctor --live`: what a model does not take of a setup is found by halves, and no setup is sent twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings as how, strategies as st

from agent.cli.doctor import DoctorReport, examine
from agent.cli.parts import checks, checks_outside
from agent.cli.parts.live_setup import search
from agent.config.settings import Settings
from agent.server.verdicts import FILE, Verdict, Verdicts
from agent.simulator import faults
from agent.simulator.brain import BenchBrain
from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from tests.calls.exchange import within
from tests.calls.test_refused_setup import PATHS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALL = set(PATHS)
SLOW = pytest.mark.slow


async def searched(
    options: str, refuses: Callable[[frozenset[str]], bool]
) -> tuple[str | None, str, int]:
    """The search among options that have one letter each; and how many setups it asked about."""
    asked = set()

    async def accepts(kept: frozenset[str]) -> bool:
        asked.add(kept)
        return not refuses(kept)

    refused, accepted = await search(list(options), accepts)
    smallest = None if refused is None else "".join(sorted(refused))
    return smallest, "".join(sorted(accepted)), len(asked)


async def test_one_culprit_is_found_by_halves() -> None:
    smallest, largest, asked = await searched("abcdefghijklmnop", lambda kept: "k" in kept)
    assert (smallest, largest) == ("k", "abcdefghijlmnop")
    assert asked <= 10


async def test_two_that_do_not_go_together_are_named_together() -> None:
    smallest, largest, _ = await searched("abcdef", lambda kept: {"b", "e"} <= kept)
    assert (smallest, largest) == ("be", "abcdf")


async def test_a_setup_that_is_accepted_is_asked_about_once() -> None:
    assert await searched("abc", lambda kept: False) == (None, "abc", 1)
    assert await searched("", lambda kept: False) == (None, "", 0)


@how(max_examples=60)
@given(
    st.lists(
        st.frozensets(st.sampled_from("abcdefgh"), min_size=1, max_size=3), min_size=1, max_size=4
    )
)
async def test_whatever_is_refused_both_answers_hold(bad: list[frozenset[str]]) -> None:
    def refuses(kept: frozenset[str]) -> bool:
        return any(each <= kept for each in bad)

    smallest, largest, _ = await searched("abcdefgh", refuses)
    assert smallest is not None
    assert refuses(frozenset(smallest))
    assert not any(refuses(frozenset(smallest) - {option}) for option in smallest)
    assert not refuses(frozenset(largest))
    assert all(refuses(frozenset(largest) | {option}) for option in set("abcdefgh") - set(largest))


# ---- over the wire


class World:
    """A stand-in that refuses, an agent, and doctor's report on the two."""

    def __init__(self, gemini: GeminiStandIn, url: str, folder: Path) -> None:
        self.gemini = gemini
        self.folder = folder
        environ = {"GEMINI_URL": url.replace("http", "ws"), "DATA_DIR": str(folder / "data")}
        self.settings = Settings.load(environ | {"PORT": "0"})

    async def report(self) -> DoctorReport:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checks_outside, "OUTSIDE_CHECKS", ())
            return await examine(self.settings, self.folder, live=True)


async def diagnosed(folder: Path, *given: str) -> tuple[DoctorReport, GeminiStandIn]:
    (folder / "agents").mkdir()
    (folder / "agents" / "desk.yaml").write_text("name: Desk\npersona: You answer.\n")
    conduct = Conduct(setup_seconds=0.01, faults=tuple(map(faults.parse, given)))
    async with serving(Options(conduct=conduct), lambda: BenchBrain(0.4)) as (gemini, url):
        report = await World(gemini, url, folder).report()
        await within(2.0, lambda: gemini.stats().live == 0, "a session was left open")
    return report, gemini


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        pytest.param(kind, option, marks=() if option == "voice" else SLOW)
        for kind in ("refuse", "refuse-unnamed")
        for option in PATHS
    ],
)
async def test_the_field_that_is_refused_is_found(tmp_path: Path, kind: str, option: str) -> None:
    report, gemini = await diagnosed(tmp_path, f"{kind}=setup.{PATHS[option]}")
    (live,) = report.live
    beside = {"tool_behaviour": {"tools"}}.get(option, set())  # has its place in the tools only
    beyond = {"tools": {"tool_behaviour"}}.get(option, set())
    assert live.refused is not None and live.accepted is not None and live.why
    assert set(live.refused) == {option} | beside
    assert set(live.accepted) | beyond == ALL - {option} | beyond
    line = report.checks[-1]
    assert (line.name, line.verdict, report.ok) == ("live desk", "fail", False)
    assert f"Smallest that is refused: {', '.join(live.refused)}." in line.text
    assert line.mend
    stats = gemini.stats()
    assert stats.repeated_setups == 0
    assert live.sessions == stats.opened <= 14


async def test_a_setup_that_is_taken_is_told_with_all_that_is_in_it(tmp_path: Path) -> None:
    report, _ = await diagnosed(tmp_path)
    (live,) = report.live
    assert (live.refused, set(live.accepted or ()), live.sessions) == (None, ALL, 1)
    assert report.checks[-1].verdict == "ok"


async def test_a_model_that_takes_nothing_is_not_searched(tmp_path: Path) -> None:
    report, _ = await diagnosed(tmp_path, "refuse-unnamed=setup.systemInstruction")
    (live,) = report.live
    assert (live.refused, live.accepted, live.sessions) == ([], None, 2)
    assert "even model, persona and sound alone" in report.checks[-1].text


async def test_a_key_that_is_refused_says_nothing_about_the_setup(tmp_path: Path) -> None:
    report, _ = await diagnosed(tmp_path, "bad-key")
    (live,) = report.live
    assert (live.refused, live.accepted, live.sessions) == (None, None, 1)
    assert "API key not valid" in report.checks[-1].text


async def test_without_a_key_no_session_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_outside, "OUTSIDE_CHECKS", ())
    given = Settings.load({"PORT": "0", "DATA_DIR": str(tmp_path / "data")})
    report = await examine(given, tmp_path, live=True)
    assert (report.checks[-1].name, report.checks[-1].verdict, report.live) == ("live", "skip", [])


async def test_what_calls_found_out_is_told_without_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks_outside, "OUTSIDE_CHECKS", ())
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "desk.yaml").write_text("name: Desk\npersona: You answer.\n")
    (tmp_path / "data").mkdir()
    given = Settings.load({"PORT": "0", "DATA_DIR": str(tmp_path / "data")})
    (agent,) = checks.readable_agents(given, tmp_path).values()
    now = datetime.now(UTC).timestamp()

    async def line() -> Any:
        report = await examine(given, tmp_path)
        return next(each for each in report.checks if each.name == "setups")

    assert (await line()).verdict == "ok"
    for age, verdict in ((7200.0, "warn"), (90_000.0, "ok")):
        verdicts = Verdicts(tmp_path / "data" / FILE)
        verdicts.keep(
            Verdict(
                model=given.gemini_model,
                agent=agent.digest(),
                name=agent.name,
                left_out=["voice"],
                why="Unknown name",
                found_at=now - age,
            )
        )
        verdicts.write()
        said = await line()
        assert said.verdict == verdict
        assert ("Desk does without voice" in said.text) is (verdict == "warn")


def test_the_report_is_json() -> None:
    empty = DoctorReport(v=1, ok=True, checks=[])
    assert json.loads(msgspec.json.encode(empty)) == {"v": 1, "ok": True, "checks": [], "live": []}
