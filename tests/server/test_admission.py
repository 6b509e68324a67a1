"""Admission by literal times: how many sessions begin in a second, and the breaker that a used-up quota opens."""

from __future__ import annotations

import pytest

from agent.server.admission import FEWEST, OPEN_SECONDS, PROBE_SECONDS, Admission, Breaker


def test_a_full_house_may_ring_at_once_and_that_many_in_each_second_after() -> None:
    admission = Admission(20)
    assert [admission.admit(1.0) for _ in range(20)] == [""] * 20
    assert admission.admit(1.0) == "rate"
    assert [admission.admit(1.5) for _ in range(11)] == [""] * 10 + ["rate"]
    assert [admission.admit(100.0) for _ in range(21)] == [""] * 20 + ["rate"]


def test_a_small_house_may_ring_again_at_once() -> None:
    admission = Admission(1)
    assert [admission.admit(1.0) for _ in range(FEWEST)] == [""] * FEWEST


def test_sessions_that_replace_lost_ones_count_and_are_never_refused() -> None:
    admission = Admission(20)
    for _ in range(1000):
        admission.replaced(5.0)
    assert admission.admit(5.9) == "rate"
    assert admission.admit(6.1) == ""  # a storm is paid off within a second


def test_a_used_up_quota_keeps_new_calls_out_for_half_a_minute_then_tries_one() -> None:
    admission = Admission(20)
    assert admission.admit(10.0) == ""
    admission.ended(10.5, over_quota=True)
    assert admission.breaker(11.0) is Breaker.OPEN
    assert admission.admit(10.5 + OPEN_SECONDS - 0.1) == "quota"
    assert admission.breaker(41.0) is Breaker.HALF_OPEN
    assert [admission.admit(41.0), admission.admit(41.0)] == ["", "quota"]
    admission.ready(41.5)
    assert admission.breaker(41.5) is Breaker.CLOSED
    assert admission.admit(41.6) == ""


def test_a_trial_that_is_refused_opens_it_again() -> None:
    admission = Admission(20)
    admission.ended(0.0, over_quota=True)
    assert admission.admit(30.0) == ""
    admission.ended(30.2, over_quota=True)
    assert admission.admit(30.0 + OPEN_SECONDS) == "quota"
    assert admission.admit(30.2 + OPEN_SECONDS) == ""


@pytest.mark.parametrize("ends", [True, False])
def test_a_trial_that_says_nothing_makes_room_for_the_next(ends: bool) -> None:
    admission = Admission(20)
    admission.ended(0.0, over_quota=True)
    assert admission.admit(30.0) == ""
    if ends:  # lost for another reason
        admission.ended(31.0, over_quota=False)
        assert admission.admit(31.0) == ""
    else:  # the caller hung up before it was known
        assert admission.admit(30.0 + PROBE_SECONDS - 0.1) == "quota"
        assert admission.admit(30.0 + PROBE_SECONDS) == ""


def test_a_session_that_becomes_ready_while_it_is_open_proves_nothing() -> None:
    admission = Admission(20)
    admission.ended(0.0, over_quota=True)
    admission.ready(1.0)  # it was begun before
    assert admission.breaker(2.0) is Breaker.OPEN
