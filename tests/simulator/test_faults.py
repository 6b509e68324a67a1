"""Faults as they are written."""

from __future__ import annotations

import pytest

from agent.errors import UserError
from agent.simulator.faults import SETUP, TAKES_VALUE, Fault, parse


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("malformed", Fault("malformed", "", 0.0)),
        ("close=1011@3.5", Fault("close", "1011", 3.5)),
        ("close=1008:Go away@setup", Fault("close", "1008:Go away", SETUP)),
        ("stall=0.3", Fault("stall", "0.3", 0.0)),
        ("no_setup", Fault("no_setup", "", SETUP)),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gremlin", "no fault 'gremlin': there are close, malformed"),
        ("", "no fault ''"),
        ("close", "close takes a value"),
        ("malformed=1", "malformed takes no value"),
        ("close=99", "close takes CODE or CODE:REASON"),
        ("close=1011@soon", "'soon' is not a number of seconds"),
        ("stall=-1", "'-1' is not a number of seconds"),
        ("stall=nan", "'nan' is not a number of seconds"),
    ],
)
def test_a_wrong_fault_is_told_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert complaint in str(caught.value)


def test_closes_have_the_reason_that_usually_comes_with_them() -> None:
    assert parse("close=1011").closing == (1011, "Internal error encountered.")
    assert parse("close=4000").closing == (4000, "")
    assert parse("close=1000:Bye: now").closing == (1000, "Bye: now")


def test_all_faults_are_documented() -> None:
    import agent.simulator.faults

    for name in TAKES_VALUE:
        assert f"\n    {name}" in (agent.simulator.faults.__doc__ or "")
