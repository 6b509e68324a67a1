"""The connection to the model is changed under a conversation, and the caller notices nothing.

The figures are of many hops: `make slow FULL=1` does all hundred, another run a tenth.
"""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING

import pytest

from agent.simulator import faults
from agent.simulator.gemini_setup import Conduct
from tests.calls.exchange import exchange
from tests.calls.own_process import apart
from tests.calls.survival import SIDE_BY_SIDE, Crowd, cost, sid

if TYPE_CHECKING:
    from pathlib import Path

PROOF = re.compile(r"hop \d+ ms, 0 ms of caller audio lost, \d+ ms of silence added")


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(600)
async def test_a_hundred_hops_cost_no_word_and_hardly_any_silence(
    tmp_path: Path, full: bool
) -> None:
    """`goAway` two seconds into each session, in the middle of a conversation without long pauses."""
    crowd = Crowd(tmp_path, calls=SIDE_BY_SIDE if full else 2, says=6)
    going = (faults.parse("goaway=10@2"),)
    async with apart(
        tmp_path, brain=crowd.brain, agent=crowd.agent, conduct=Conduct(faults=going)
    ) as here:
        before = here.sample()
        calls = await crowd.talk(here, 120.0, think=(0.3, 1.0))
        spent = here.spent(before, here.sample())
        hops = crowd.losses(here)
        print(cost(hops, crowd.usual()), spent)
        assert len(hops) >= (100 if full else 10)
        assert all(hop.planned for hop in hops)
        assert crowd.unanswered() == []
        assert [hop for hop in hops if hop.lost_ms] == []
        # One greeting each, and nothing else that the model had to be asked for.
        assert list(crowd.asked.values()) == [crowd.calls]
        assert {len(call.report.heard) for call in calls} == {1 + crowd.says}
        counted = here.gemini.stats().utterances
        assert (counted.heard, counted.answered) == (crowd.calls * crowd.says,) * 2
        assert (counted.missing, counted.answered_twice, counted.begun_again) == (0, 0, 0)
        # Silence as the record has it, and as the caller's ear has it.
        usual = crowd.usual()
        for added in ([hop.silence_ms / 1000 for hop in hops], [hop.added(usual) for hop in hops]):
            assert sum(each > 0.5 for each in added) <= max(1, len(hops) // 20)
            assert [
                hop for hop, each in zip(hops, added, strict=True) if each > hop.setup + 0.3
            ] == []
        assert set(crowd.written.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["goaway-then-silence=3@3", "goaway-then-aborted=3@3"])
async def test_a_service_that_goes_away_early_or_falls_silent_is_left_before_it_matters(
    tmp_path: Path, fault: str
) -> None:
    crowd = Crowd(tmp_path, calls=2, says=3)
    async with exchange(
        tmp_path,
        brain=crowd.brain,
        agent=crowd.agent,
        conduct=Conduct(),
        faults=(faults.parse(fault),),
    ) as here:
        await crowd.talk(here, 60.0)
        hops = crowd.losses(here)
        print(cost(hops, crowd.usual()))
        assert len(hops) >= 2
        assert crowd.unanswered() == []
        assert [hop for hop in hops if hop.lost_ms] == []
        assert set(crowd.written.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_call_of_many_connections_grows_in_nothing_and_is_told_whole(
    tmp_path: Path, full: bool
) -> None:
    """The service's limit on a connection: 45 s and twelve hops, or (a tenth) 6 s and three."""
    limit, least = (45.0, 12) if full else (6.0, 3)
    crowd = Crowd(tmp_path, calls=1, says=110 if full else 7)
    conduct = Conduct(session_limit_seconds=limit, goaway_seconds=limit / 4)
    async with exchange(tmp_path, brain=crowd.brain, agent=crowd.agent, conduct=conduct) as here:
        calls = await crowd.talk(here, 700.0 if full else 60.0, watch=True)
        hops = crowd.losses(here)
        print(cost(hops, crowd.usual()))
        assert len(hops) >= least
        assert [hop for hop in hops if hop.lost_ms or not hop.planned] == []
        assert crowd.unanswered() == []
        # Tasks and sockets while it talks (a tool or a hop has some for a moment): not more in its last half than in its first.
        half = len(crowd.seen) // 2
        assert median(crowd.seen[half:]) <= median(crowd.seen[:half])
        # Every word stands in the transcript once and in order; beside it, at most, the first half of a
        # question whose answer a forced hop broke off, since that was asked and answered twice.
        said = [each.text for each in calls[0].report.spoken]
        lines = here.transcript(sid(0))
        assert [line["text"] for line in lines if line["text"] in said] == said
        assert len([line for line in lines if line["who"] == "agent"]) >= 1 + crowd.says


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_each_hop_is_proved_on_the_record_and_in_the_log(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path, calls=1, says=2)
    going = (faults.parse("goaway=10@2x1"),)
    async with exchange(
        tmp_path, brain=crowd.brain, agent=crowd.agent, conduct=Conduct(), faults=going
    ) as here:
        await crowd.talk(here, 30.0)
        (hop,) = crowd.losses(here)
        told = [
            command["text"]
            for entry in here.events(sid(0))
            for command in entry["do"]
            if command["kind"] == "tell"
        ]
        (line,) = told
        assert PROOF.fullmatch(line)
        assert line.startswith(f"hop {hop.ms:.0f} ms")
        assert here.log.getvalue().count(line) == 1
