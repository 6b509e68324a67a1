"""The proof of a hop: its length, what was lost of the caller's words, and the silence that it cost."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.hops import MOST_HOPS, SETTLED, Hop, Hops, Moment
from agent.errors import Fate
from tests.call.calls import Bench, say, talking

NOTHING = Moment(due=False, playing=False, voice_at=0.0, speaks=False, caught_up=True, dropped=0.0)


def lose(bench: Bench, fate: Fate = Fate.RESUME) -> None:
    bench.tell(e.ModelEnded(fate, 1006, "lost"))


def back(bench: Bench, seconds: float) -> None:
    """The next session is ready after so long."""
    bench.run(seconds)
    bench.tell(e.ModelReady(seconds))
    bench.run(0.05)


def told(bench: Bench) -> list[str]:
    return [command.text for command in bench.all(e.Tell) if isinstance(command, e.Tell)]


def the_one(bench: Bench) -> Hop:
    (hop,) = bench.machine.metrics.hops
    return hop


def test_a_hop_in_a_silent_moment_costs_nothing() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.ModelGoingAway(50.0))
    bench.run(0.1)
    assert len(bench.all(e.OpenModel)) == 2
    back(bench, 0.4)
    assert the_one(bench).planned
    assert told(bench) == ["hop 500 ms, 0 ms of caller audio lost, 0 ms of silence added"]


def test_words_during_a_hop_cost_the_silence_until_the_session_has_them_all() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.ModelGoingAway(50.0))
    bench.run(0.02)
    bench.caller_talks(0.4)
    back(bench, 1.0)
    bench.run(2.0)
    hop = the_one(bench)
    assert hop.ms == pytest.approx(1000, abs=40)
    # quiet from 0.4 s on; ready at 1 s; the words go four times faster than they came
    assert 500 < hop.silence_ms < 900
    assert hop.lost_ms == 0


def test_words_that_go_on_after_a_hop_cost_nothing() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    bench.tell(e.ModelGoingAway(50.0))
    bench.run(0.02)
    bench.caller_talks(3.0)
    back(bench, 0.8)
    bench.run(3.0)
    assert the_one(bench).silence_ms < 50


def test_a_reply_that_broke_off_costs_the_silence_until_it_is_said_again() -> None:
    bench = talking()
    bench.tell(e.ModelHandle("h1", resumable=True))
    say(bench, 1.0, "When do you open?")
    bench.answer(1.0, "We open", complete=False)
    bench.run(0.3)
    lose(bench)
    back(bench, 1.0)
    bench.run(0.95)
    assert bench.machine.metrics.hops == []  # nothing is said yet
    bench.answer(1.0, "We open at eight.")
    assert not the_one(bench).planned
    # 0.7 s of it were still played; 2 s after the loss the agent speaks again
    assert the_one(bench).silence_ms == pytest.approx(1300, abs=60)
    assert told(bench)[0].startswith("recovery 1000 ms, 0 ms of caller audio lost, 1")


def test_a_reply_that_plays_on_until_the_next_word_costs_nothing() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    bench.answer(5.0, "We open", complete=False)
    bench.run(0.3)
    lose(bench)
    back(bench, 1.0)
    bench.answer(1.0, "at eight.")
    assert the_one(bench).silence_ms == 0


def test_words_that_may_not_be_sent_again_are_lost_and_counted() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    lose(bench, Fate.FRESH)
    back(bench, 0.4)
    bench.run(0.5)
    bench.answer(1.0, "At eight.")
    hop = the_one(bench)
    assert hop.lost_ms == pytest.approx(1000, abs=150)  # the meter's voice ends a little late
    assert hop.silence_ms == pytest.approx(950, abs=60)


def test_ringing_is_no_silence() -> None:
    bench = Bench()
    bench.run(0.1)
    bench.tell(e.ModelReady(0.1))
    lose(bench)
    back(bench, 0.3)
    bench.answer(1.0, "Hello.")
    assert the_one(bench).silence_ms == 0


def test_attempts_that_fail_are_part_of_one_recovery() -> None:
    bench = talking()
    lose(bench)
    bench.run(0.1)
    lose(bench)
    back(bench, 1.0)
    assert the_one(bench).ms == pytest.approx(1100, abs=10)


def test_a_call_whose_session_never_was_has_no_hop() -> None:
    bench = Bench()
    lose(bench)
    back(bench, 0.6)
    bench.connect()
    bench.run(0.1)
    assert bench.machine.metrics.hops == []


def test_a_call_that_ends_meanwhile_closes_the_account() -> None:
    bench = talking()
    say(bench, 1.0, "When do you open?")
    bench.answer(0.2, "We", complete=False)
    lose(bench)
    back(bench, 0.3)
    assert bench.machine.metrics.hops == []
    bench.disconnect()
    assert the_one(bench).ms == pytest.approx(300, abs=10)
    assert isinstance(bench.log[-1][1], e.Finish)


def test_a_call_that_ends_without_a_session_had_no_hop() -> None:
    bench = talking()
    lose(bench)
    bench.disconnect()
    assert bench.machine.metrics.hops == []


def test_a_session_that_is_lost_before_the_last_one_was_settled_is_another_hop() -> None:
    hops = Hops()
    hops.ready(0.0, asked=False)
    assert hops.gone(1.0, planned=False, broke_off=True, dropped=0.0) is None
    hops.ready(2.0, asked=False)
    assert hops.follow(2.0, NOTHING) is None
    first = hops.gone(3.0, planned=True, broke_off=False, dropped=0.25)
    assert first == Hop(at=1.0, planned=False, ms=1000.0, lost_ms=250.0, silence_ms=1000.0)
    hops.ready(3.5, asked=True)
    assert hops.follow(3.5 + SETTLED, NOTHING) is not None
    assert not hops.following
    assert hops.follow(20.0, NOTHING) is None
    assert len(hops.made) == 2


def test_only_so_many_are_kept() -> None:
    hops = Hops()
    for n in range(MOST_HOPS + 5):
        hops.ready(float(n), asked=False)
        hops.follow(float(n), NOTHING)
        hops.gone(n + 0.5, planned=True, broke_off=False, dropped=0.0)
    assert len(hops.made) == MOST_HOPS
