"""What calls cost: by the listed prices, worked out by hand."""

from __future__ import annotations

import pytest

from agent.events import ModelUsage
from agent.server.budget import DAY, Ledger, Prices

MIDNIGHT = 20_000 * DAY


def test_a_turn_is_billed_by_modality() -> None:
    usage = ModelUsage(
        prompt=1_500,
        response=250,
        total=1_750,
        prompt_by={"TEXT": 500, "AUDIO": 1_000},
        response_by={"AUDIO": 200, "TEXT": 50},
    )
    by_hand = (500 * 0.75 + 1_000 * 3.00 + 200 * 12.00 + 50 * 4.50) / 1e6
    assert Prices().tokens(usage) == pytest.approx(by_hand)


def test_a_minute_of_listening_and_one_of_speech_cost_what_the_list_says() -> None:
    heard = ModelUsage(prompt=25 * 60, prompt_by={"AUDIO": 25 * 60})
    said = ModelUsage(response=25 * 60, response_by={"AUDIO": 25 * 60})
    assert round(Prices().tokens(heard), 4) == 0.0045  # the list: about $0.005
    assert round(Prices().tokens(said), 3) == 0.018  # the list: $0.018


def test_tokens_of_an_unknown_kind_count_as_the_dearest() -> None:
    assert Prices().tokens(ModelUsage(prompt=1_000_000)) == pytest.approx(3.0)
    assert Prices().tokens(ModelUsage(response=1_000_000)) == pytest.approx(12.0)
    odd = ModelUsage(prompt=1_000_000, prompt_by={"SMELL": 1_000_000})
    assert Prices().tokens(odd) == pytest.approx(3.0)
    more_by_than_all = ModelUsage(prompt=0, prompt_by={"TEXT": 1_000_000})
    assert Prices().tokens(more_by_than_all) == pytest.approx(0.75)


@pytest.mark.parametrize(("seconds", "minutes"), [(0, 0), (0.1, 1), (60, 1), (60.1, 2), (600, 10)])
def test_begun_minutes_are_billed(seconds: float, minutes: int) -> None:
    assert Prices(minute=0.5).line(seconds) == 0.5 * minutes


def test_a_day_is_over_when_its_calls_have_cost_enough() -> None:
    ledger = Ledger(10.0)
    ledger.ended("a", 6.0, MIDNIGHT + 5)
    ledger.runs("b", 3.0)
    assert not ledger.over(MIDNIGHT + 6)
    ledger.runs("b", 4.0)
    assert ledger.over(MIDNIGHT + 6)
    assert ledger.spent(MIDNIGHT + 6) == 10.0
    ledger.ended("b", 4.5, MIDNIGHT + 7)
    assert ledger.spent(MIDNIGHT + 8) == 10.5


def test_the_next_day_begins_with_what_still_runs() -> None:
    ledger = Ledger(10.0)
    ledger.ended("a", 9.0, MIDNIGHT - 5)
    ledger.runs("b", 2.0)
    assert ledger.over(MIDNIGHT - 1)
    assert ledger.spent(MIDNIGHT) == 2.0
    assert ledger.begins(MIDNIGHT + 4711.5) == MIDNIGHT


def test_the_records_know_what_others_spent() -> None:
    ledger = Ledger(10.0)
    ledger.ended("a", 1.0, MIDNIGHT + 1)
    ledger.recorded(9.5, MIDNIGHT + 2)
    ledger.runs("b", 0.5)
    assert ledger.over(MIDNIGHT + 3)


def test_without_a_limit_a_day_is_never_over() -> None:
    ledger = Ledger()
    ledger.ended("a", 1e9, MIDNIGHT)
    assert not ledger.over(MIDNIGHT)
