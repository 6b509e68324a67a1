"""Sessions that come and do not last, or do not come at all: the caller hears so within three seconds and how it ends within ten."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.life import Phase
from agent.call.model_leg import Leg, LegOptions, ModelLeg
from agent.errors import Fate
from tests.call.calls import MOMENT, TROUBLE, Bench, say, talking

SETUP = 0.5


def own_lines(bench: Bench) -> list[str]:
    return [turn.agent for turn in bench.machine.turns.all if turn.own]


def serve(bench: Bench, seconds: float, lives: float, fate: Fate = Fate.RESUME) -> None:
    """A service whose every session is ready half a second after it is asked for, and lost `lives` after that."""
    until, opened, ready_at = bench.now + seconds, len(bench.all(e.OpenModel)), None
    asked_at: float | None = bench.now
    while bench.now < until and bench.is_in(Phase.TALKING):
        if len(bench.all(e.OpenModel)) > opened:
            opened, asked_at = len(bench.all(e.OpenModel)), bench.now
        if asked_at is not None and bench.now >= asked_at + SETUP:
            asked_at, ready_at = None, bench.now
            bench.tell(e.ModelReady(SETUP))
        if ready_at is not None and bench.now >= ready_at + lives:
            ready_at = None
            bench.tell(e.ModelEnded(fate, 1011, "Internal error encountered."))
        bench.run(0.02)


def test_sessions_that_die_as_soon_as_they_are_ready_are_no_recovery() -> None:
    bench = talking()
    lost_at = bench.now
    bench.tell(e.ModelEnded(Fate.RESUME, 1011, "Internal error encountered."))
    serve(bench, 60.0, lives=0.2)
    assert own_lines(bench) == [MOMENT.text, TROUBLE.text]
    words = [at - lost_at for at, command in bench.log if at > lost_at and type(command) is e.Play]
    assert words[0] <= 3.0
    assert bench.now - lost_at <= 10.1
    # Each waits a little longer than the one before: nobody hammers a service that is ill.
    opened = [at - lost_at for at, each in bench.log if at >= lost_at and type(each) is e.OpenModel]
    gaps = [round(after - before, 1) for before, after in zip(opened, opened[1:], strict=False)]
    assert gaps == [0.7, 0.7 + 0.5, 0.7 + 1.0, 0.7 + 2.0]
    bench.run(1.3)
    assert bench.ended("model_lost")


def test_a_service_that_sends_everybody_away_at_once_is_left_within_ten_seconds() -> None:
    bench = talking()
    began = bench.now
    bench.tell(e.ModelGoingAway(0.0))
    while bench.is_in(Phase.TALKING) and bench.now < began + 60.0:
        bench.run(SETUP)
        if bench.is_in(Phase.TALKING):
            bench.tell(e.ModelReady(SETUP))
            bench.tell(e.ModelGoingAway(0.0))
    assert bench.now - began <= 10.6
    assert own_lines(bench)[-1] == TROUBLE.text


def test_a_session_that_lives_a_while_has_a_budget_of_its_own_again() -> None:
    bench = talking()
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    serve(bench, 14.0, lives=2.5)
    assert bench.is_in(Phase.TALKING)
    assert own_lines(bench) == []


def test_one_session_that_does_not_last_costs_the_caller_no_waiting() -> None:
    leg = ModelLeg(LegOptions())
    leg.open(0.0)
    leg.opened(0.5)
    assert leg.lost(Fate.RESUME, 100.0, owed=False)
    assert leg.due(100.0)
    leg.open(100.0)
    leg.opened(100.5)
    assert leg.without_session_since() is None
    assert leg.lost(Fate.RESUME, 101.0, owed=False)
    assert leg.due(101.0)
    assert leg.without_session_since() == 100.0


@pytest.mark.parametrize("disclosure", [False, True])
def test_a_caller_whose_first_session_does_not_come_is_told_in_time(disclosure: bool) -> None:
    """Connecting has five seconds, the phone rings for two of them."""
    bench = Bench(disclosure=disclosure)
    bench.run(2.0)
    bench.connect()
    answered = bench.now
    for _ in range(4):
        bench.run(5.0 - bench.now % 5.0)
        if bench.is_in(Phase.TALKING) and bench.machine._call.leg.state is Leg.OPENING:
            bench.tell(e.ModelEnded(Fate.RESUME, None, "not connected within 5 s"))
    sounds = [at - answered for at, command in bench.log if type(command) is e.Play]
    assert [at for at in sounds if at >= 1.0][0] == pytest.approx(2.0, abs=0.05)
    assert own_lines(bench)[-2:] == [MOMENT.text, TROUBLE.text]
    closed = [at for at, command in bench.log if type(command) is e.CloseModel]
    assert closed[0] - answered <= 10.01
    assert bench.ended("model_lost")


def test_a_service_that_refuses_while_it_rings_has_used_up_some_of_its_time() -> None:
    bench = Bench()
    bench.run(1.0)
    bench.tell(e.ModelEnded(Fate.RESUME, None, "ConnectionRefusedError"))
    bench.run(1.0)
    bench.connect()
    bench.run(2.1)
    assert own_lines(bench) == [MOMENT.text]
    bench.run(7.0)
    assert own_lines(bench) == [MOMENT.text, TROUBLE.text]


def test_a_first_session_that_comes_late_is_one_like_any_other() -> None:
    bench = Bench()
    bench.run(2.0)
    bench.connect()
    bench.run(3.0)
    bench.tell(e.ModelReady(5.0))
    bench.answer(1.0, "Hello, how can I help?")
    bench.run(3.0)
    assert own_lines(bench) == [MOMENT.text]
    assert bench.is_in(Phase.TALKING)
    bench.tell(e.TurnComplete())
    say(bench, 0.8, "When do you open?")
    lost_at = bench.now
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    bench.run(9.9)
    assert bench.is_in(Phase.TALKING)  # ten seconds from now, not from the call's beginning
    bench.run(0.2)
    assert bench.now - lost_at < 10.2
    assert bench.is_in(Phase.ENDING)


def test_while_a_reply_is_heard_nobody_is_told_that_it_takes_a_moment() -> None:
    bench = talking()
    bench.answer(5.0, "A long answer.")
    bench.run(0.1)
    bench.tell(e.ModelEnded(Fate.RESUME, 1006, ""))
    bench.run(4.0)
    bench.tell(e.ModelReady(4.0))
    bench.run(3.0)
    assert own_lines(bench) == []


def test_a_hop_that_cannot_wait_and_takes_long_is_talked_about_where_somebody_waits() -> None:
    bench = talking()
    bench.tell(e.ModelGoingAway(2.5))
    bench.caller_talks(1.5)
    bench.run(5.0)
    assert len(bench.all(e.OpenModel)) == 2
    assert own_lines(bench) == [MOMENT.text]
