"""A setup that is refused: the caller gets an agent all the same, at once, and the next caller does not wait for the search."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from agent.server.verdicts import FILE, read
from agent.simulator import faults
from agent.simulator.phone import Manners
from agent.simulator.report import AgentSpeaks, Ended
from tests.calls.exchange import Exchange, Heard, exchange, words

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulator.report import AnyCallEvent

PATHS = {
    "voice": "generationConfig.speechConfig.voiceConfig.prebuiltVoiceConfig.voiceName",
    "transcribe_caller": "inputAudioTranscription",
    "transcribe_agent": "outputAudioTranscription",
    "compression_trigger": "contextWindowCompression.triggerTokens",
    "compression_target": "contextWindowCompression.slidingWindow.targetTokens",
    "tool_behaviour": "tools.functionDeclarations.behavior",
    "resumption": "sessionResumption",
    "tools": "tools",
}
"""Every optional field that a call's setup has, and where."""

EXTRA = sorted(set(PATHS) - {"resumption", "tools"})


def sid(n: int) -> str:
    return f"CA{n:032x}"


def wanted(how: str, option: str) -> list[str]:
    """What the ladder gives up."""
    if how == "refuse":
        return {"tools": ["tool_behaviour", "tools"]}.get(option, [option])
    return EXTRA if option in EXTRA else sorted(PATHS)


def figures(here: Exchange, n: int) -> dict[str, Any]:
    """The figures on a call's record."""
    with closing(sqlite3.connect(here.folder / "pickup.db")) as database:
        (row,) = database.execute(
            "SELECT metrics FROM calls WHERE provider_call_id = ?", (sid(n),)
        ).fetchall()
    return cast("dict[str, Any]", msgspec.json.decode(row[0]))


async def wave(here: Exchange, first: int, many: int) -> list[Heard]:
    """So many calls side by side, each answered; their CallSids end in `first` and what follows."""
    # One loop for all of them: the more there are, the longer an answer may take.
    waits = Manners(quiet_s=0.2, patience_s=0.6, hang_up_after_s=1.0 + 0.2 * (many - 1))
    how: dict[str, Any] = {"manners": waits, "max_seconds": 15.0}
    calls = [here.call(words(0.3), call_sid=sid(first + n), **how) for n in range(many)]
    heard = await asyncio.gather(*calls)
    for n, call in enumerate(heard):
        assert call.report.ended is Ended.CALLER_HUNG_UP
        assert len(call.report.heard) >= 2  # the greeting and an answer
        await here.record(sid(first + n))
    return heard


def first_word(call: Heard) -> float:
    """Seconds from the ring."""
    report = call.report
    assert report.first_word_ms is not None and report.twiml_ms is not None
    return (report.twiml_ms + report.first_word_ms) / 1000


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(120)
@pytest.mark.parametrize("option", PATHS)
@pytest.mark.parametrize("how", ["refuse", "refuse-unnamed"])
async def test_whatever_is_refused_the_caller_gets_an_agent_and_the_next_one_at_once(
    tmp_path: Path, how: str, option: str, full: bool
) -> None:
    """The first callers, before anything is known, and the next ones: twenty side by side each, or (a tenth) one."""
    many = 20 if full else 1
    fault = faults.parse(f"{how}=setup.{PATHS[option]}")
    async with exchange(tmp_path, faults=(fault,)) as here:
        early = await wave(here, 0, many)
        assert max(map(first_word, early)) < 5.0
        tried = here.opened
        assert 2 * many <= tried <= 3 * many
        late = await wave(here, many, many)
        assert here.opened == tried + many  # no search any more
        print(
            f"first word {max(map(first_word, early)):.2f} s, then {max(map(first_word, late)):.2f} s"
        )
        stats = here.gemini.stats()
        if many == 1:  # side by side they make the same discovery
            assert stats.repeated_setups == 0
        assert stats.refused == tried - many
        for n in range(2 * many):
            assert figures(here, n)["left_out"] == wanted(how, option)
        assert await here.metric("pickup_reduced_setups_total") == 2 * many
        (kept,) = read(here.folder / FILE)
        assert (kept.name, kept.left_out) == ("Test", wanted(how, option))


@pytest.mark.slow
async def test_the_verdict_outlives_the_server_and_not_the_agents_file(tmp_path: Path) -> None:
    fault = faults.parse(f"refuse=setup.{PATHS['voice']}")
    async with exchange(tmp_path, faults=(fault,)) as here:
        await here.call(call_sid=sid(0))
        await here.record(sid(0))
        wiring = here.building.switchboard._wiring  # type: ignore[union-attr]
        agent = wiring.agent_for("")
        known = type(wiring.verdicts)(here.folder / FILE)
        told = (wiring.settings.gemini_model, agent.digest(), wiring.wall())
        assert known.left_out(*told) == {"voice"}
        other = agent.model_copy(update={"voice": "Puck"})
        assert known.left_out(told[0], other.digest(), told[2]) == frozenset()


@pytest.mark.slow
async def test_a_used_up_quota_is_a_busy_line_and_live_calls_go_on(tmp_path: Path) -> None:
    async with exchange(tmp_path, faults=(faults.parse("quota=1"),)) as here:
        speaks = asyncio.Event()

        def meanwhile(event: AnyCallEvent) -> None:
            if isinstance(event, AgentSpeaks):
                speaks.set()

        stays = Manners(quiet_s=0.2, patience_s=0.6, hang_up_after_s=1.5)
        live = here.call(words(0.3), call_sid=sid(0), on_event=meanwhile, manners=stays)
        task = asyncio.ensure_future(live)
        await speaks.wait()
        for n in (1, 2):
            refused = await here.call(call_sid=sid(n))
            assert refused.report.ended is Ended.REJECTED
            assert "busy" in refused.report.said[0]
        assert here.opened == 2  # the second of them was not even tried
        assert await here.metric('pickup_refused_total{why="quota"}') == 1
        assert await here.metric("pickup_quota_breaker") == 1
        ended = await task
        assert ended.report.ended is Ended.CALLER_HUNG_UP
        assert len(ended.report.heard) >= 2
