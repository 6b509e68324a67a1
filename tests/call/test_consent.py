"""Sound is kept from the moment on at which the caller has heard that it is."""

from __future__ import annotations

import pytest

from agent import events as e
from agent.call.options import OwnLine
from tests.call.calls import MOMENT, Bench, say, speech, talking

CONSENT = OwnLine("consent", "This call is being recorded.", speech(0.8))
FILLER = OwnLine("filler", "I am looking that up.", speech(0.5))


def test_the_line_is_said_after_the_disclosure_and_before_the_greeting() -> None:
    bench = talking(disclosure=True, own={"consent": CONSENT})
    texts = [turn.agent for turn in bench.machine.turns.all]
    assert texts[1:] == [CONSENT.text, "Hello, how can I help?"]


def test_sound_is_kept_once_it_was_heard_to_its_end() -> None:
    bench = Bench(disclosure=True, own={"consent": CONSENT})
    bench.tell(e.ModelReady(0.3))
    bench.answer(1.0, "Hello.")
    bench.run(0.5)
    assert bench.times(e.KeepSound) == []  # it rings
    bench.connect()
    bench.run(1.7)  # of 1.8 s
    assert bench.times(e.KeepSound) == []
    bench.run(0.3)
    (at,) = bench.times(e.KeepSound)
    assert at == pytest.approx(0.5 + 1.8, abs=0.1)
    bench.run(5.0)
    assert len(bench.all(e.KeepSound)) == 1


def test_a_caller_who_speaks_over_it_hears_it_all_the_same() -> None:
    bench = Bench(own={"consent": CONSENT})
    bench.tell(e.ModelReady(0.3))
    bench.answer(1.0, "Hello.")
    bench.connect()
    bench.run(0.3)
    bench.caller_talks(0.5)
    bench.run(0.1)
    bench.tell(e.Interrupted())
    bench.run(1.0)
    (at,) = bench.times(e.KeepSound)
    assert at == pytest.approx(0.8, abs=0.1)


def test_a_caller_who_hangs_up_before_its_end_is_not_recorded() -> None:
    bench = Bench(own={"consent": CONSENT})
    bench.connect()
    bench.run(0.5)
    bench.disconnect()
    bench.run(1.0)
    assert bench.ended("caller_hung_up")
    assert bench.all(e.KeepSound) == []


def test_without_the_line_nothing_waits_for_it() -> None:
    assert talking(disclosure=True).all(e.KeepSound) == []


@pytest.mark.parametrize(("own", "said"), [({"filler": FILLER}, FILLER), ({}, MOMENT)])
def test_while_a_tool_runs_the_agents_own_filler_is_said(
    own: dict[str, OwnLine], said: OwnLine
) -> None:
    bench = talking(own=own)
    say(bench, 1.0, "What about my order?")
    bench.tell(e.ToolCalled("1", "find_order", {}))
    bench.run(6.0)
    assert bench.machine.turns.all[-1].agent == said.text
