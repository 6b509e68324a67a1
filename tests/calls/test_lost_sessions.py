"""Sessions that are lost at any moment of a conversation, and what the caller notices: a pause, and no more.

The figures are of many losses: `make slow FULL=1` does all two hundred, another run a tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.simulator import faults
from agent.simulator.account import MISSING
from agent.simulator.gemini_setup import Conduct
from tests.calls.exchange import exchange
from tests.calls.own_process import apart
from tests.calls.survival import SIDE_BY_SIDE, Crowd, cost, hazard, sid

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("close=1006", "deadline-expired", "internal-error", "aborted")
"""After these the session can be resumed."""


@pytest.mark.slow
@pytest.mark.measure
@pytest.mark.timeout(900)
async def test_sessions_that_are_lost_at_random_moments_come_back(
    tmp_path: Path, full: bool
) -> None:
    # In a process with its callers the service would have no time to spare at so many calls: the figure would be its own.
    crowd = Crowd(tmp_path, calls=SIDE_BY_SIDE if full else 4, says=14 if full else 8)
    count = 200 if full else 20
    async with apart(tmp_path, brain=crowd.brain, agent=crowd.agent, conduct=Conduct()) as here:
        async with hazard(here, *KINDS, count=count, between=(4.0, 9.0)) as danger:
            before = here.sample()
            calls = await crowd.talk(here, 500.0, think=(0.3, 1.0))
            spent = here.spent(before, here.sample())
        losses = crowd.losses(here)
        print(cost(losses, crowd.usual()), dict(danger.struck))
        shortest = min(call.report.seconds for call in calls)
        print(f"{spent}; {crowd.calls} side by side for {shortest:.0f} s")
        struck = sum(danger.struck.values())
        assert struck >= 0.9 * count  # those who said all that they had to say have hung up
        # A loss may hit the session that was just being opened: that is one recovery, not two.
        assert struck >= len(losses) >= 0.9 * struck
        ended = [(await here.record(sid(n))).end_reason for n in range(crowd.calls)]
        assert ended == ["caller_hung_up"] * crowd.calls
        assert crowd.unanswered() == []
        # After the last answer nobody waits for anything.
        back = sorted(loss.silence for loss in losses if loss.silence is not None)
        assert sum(each < 10.0 for each in back) >= 0.99 * len(back)
        assert back[int(0.95 * len(back)) - 1] <= 3.0
        # No word is lost, and none is answered twice: each thing was understood in whole, in one session or another.
        assert [loss for loss in losses if loss.lost_ms] == []
        stats = here.gemini.stats()
        understood = {text for session in stats.sessions for text in session.heard}
        together = crowd.run_together()
        assert understood | together >= {f"words {n}" for n in range(crowd.calls * crowd.says)}
        assert len(together) <= 0.05 * crowd.calls * crowd.says
        assert stats.utterances.answered_twice == 0
        # The account does not always know the first second of an utterance again that was cut off twice: one in a hundred.
        here.excused = [each for each in stats.violations if each.rule == MISSING]
        print(
            f"{len(together)} run together, {len(here.excused)} not known again; {stats.tools.issued} tool calls"
            f" issued, {stats.tools.reissued} of them again, {crowd.written.total()} done"
        )
        assert all(each.detail.startswith("what was being said") for each in here.excused)
        assert len(here.excused) <= 0.01 * struck
        # What was stopped is not heard again, and what a tool does is done once.
        assert [
            clear.stale_ms for call in calls for clear in call.report.clears if clear.stale_ms
        ] == []
        assert stats.tools.issued >= crowd.calls * crowd.says * 0.9
        # A call that goes out as its session is cut off may reach nobody.
        assert crowd.written.total() >= 0.9 * (stats.tools.issued - stats.tools.reissued)
        assert {what: n for what, n in crowd.written.items() if n > 1} == {}
        assert list(crowd.asked)[0].startswith("The caller is on the")
        assert crowd.asked[next(iter(crowd.asked))] == crowd.calls  # greeted once each


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", ["speech2", "heard2", "reply2+0.2"])
async def test_a_connection_that_is_only_half_there_is_noticed_within_ten_seconds(
    tmp_path: Path, moment: str
) -> None:
    """Nothing is read or sent for 20 s, no pong either; the caller waits for an answer that will never come."""
    crowd = Crowd(tmp_path, calls=2, says=3)
    half = (faults.parse(f"half-open=20@{moment}x2"),)
    async with exchange(
        tmp_path, brain=crowd.brain, agent=crowd.agent, conduct=Conduct(), faults=half
    ) as here:
        await crowd.talk(here, 80.0)
        losses = crowd.losses(here)
        print(cost(losses, crowd.usual()))
        assert len(losses) == crowd.calls
        assert [loss for loss in losses if loss.lost_ms] == []
        assert crowd.unanswered() == []
        assert crowd.longest_wait() <= 10.0 + 3.0  # noticed, and then a new session
        assert set(crowd.written.values()) == {1}


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_a_resumed_session_that_has_forgotten_the_call_is_told_it_again(
    tmp_path: Path,
) -> None:
    """No token is left of the snapshot, and the model would greet in the middle of the call."""
    crowd = Crowd(tmp_path, calls=1, says=3)
    lost = (faults.parse("connection-lost@heard2x1"), faults.parse("forgets"))
    # Ten seconds' tokens of it.
    agent = crowd.agent | {"persona": "You are the front desk of Harbour Dental. " * 25}
    async with exchange(
        tmp_path, brain=crowd.brain, agent=agent, conduct=Conduct(), faults=lost
    ) as here:
        (call,) = await crowd.talk(here, 60.0)
        assert (
            here.opened == 3
        )  # the one that was lost, the one that had forgotten, the one that was told
        assert crowd.unanswered() == []
        stats = here.gemini.stats()
        assert (stats.utterances.missing, stats.utterances.answered_twice) == (0, 0)
        assert stats.sessions[-1].resumed_from is None
        assert await here.metric("pickup_sessions_forgotten_total") == 1
        assert "told again" in here.log.getvalue()
        # The greeting and three answers: nobody was greeted twice.
        assert [round(part.heard_ms / 600) for part in call.report.heard] == [1, 2, 2, 2]
