"""Faults as they are written."""

from __future__ import annotations

import pytest

from agent.errors import UserError
from agent.simulator.faults import NAMES, Fault, parse
from agent.simulator.menu import MENU, Takes, describe


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("malformed", Fault("malformed", "1", 0.0)),
        ("malformed=5@2", Fault("malformed", "5", 2.0)),
        ("close=1011@3.5", Fault("close", "1011", 3.5)),
        ("close=1011@3.5x2", Fault("close", "1011", 3.5, times=2)),
        ("close=1008:Go away@setup", Fault("close", "1008:Go away", after="setup")),
        ("stall=0.3", Fault("stall", "0.3", 0.0)),
        ("stall=3@reply2+0.5x1", Fault("stall", "3", 0.5, "reply", 2, 1)),
        ("unheard@heard", Fault("unheard", "", 0.0, "heard")),
        ("no_setup", Fault("no-setup", after="setup")),
        ("no-setup@setupx1", Fault("no-setup", after="setup", times=1)),
        ("handshake-hangs=30", Fault("handshake-hangs", "30", after="handshake")),
        ("connection-lost@4", Fault("close", "1006", 4.0, other_name="connection-lost")),
        ("quota", Fault("quota", "0", after="setup")),
        ("refuse=setup.tools", Fault("refuse", "setup.tools", after="setup")),
    ],
)
def test_a_fault_is_read(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gremlin", "no fault 'gremlin': there are handshake-refused, "),
        ("", "no fault ''"),
        ("close", "close takes CODE[:REASON]"),
        ("deaf=1", "deaf takes no value"),
        ("malformed=many", "'many' is not a count"),
        ("malformed@2\nx1", "no fault"),
        ("stall=1@setup", "'setup' is not a number of seconds"),
        ("stall=1@reply+soon", "'soon' is not a number of seconds"),
        ("stall=1@reply0", "'reply0' is not a number of seconds"),
        ("no-setup@5", "no-setup happens at the setup"),
        ("refuse=temperature", "'temperature' is not a path in the setup"),
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


def test_every_fault_of_the_menu_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len({(entry.name, entry.side) for entry in MENU}) == len(MENU)
    for entry in MENU:
        assert entry.name == entry.name.lower().replace("_", "-")
        assert entry.happens.endswith(".")
        assert entry.notices.endswith(".")
        assert entry.arm.startswith(entry.name)


def test_every_example_of_the_menu_can_be_armed_and_every_other_name_means_a_fault() -> None:
    for entry in NAMES.values():
        fault = parse(entry.arm)
        assert fault.name == (entry.means.partition("=")[0] or entry.name)
        assert fault.called == entry.name
        if entry.takes is Takes.NOTHING:
            assert parse(entry.name).name == fault.name


def test_the_menu_can_be_read() -> None:
    text = describe("gemini")
    assert "goaway-then-silence=SECONDS\n    `goAway`; from then on nothing" in text
    assert "malformed[=N]\n" in text
    assert "for example: --fault 'goaway=10@5x1'" in text
    assert "jitter=MS\n" in describe("twilio")
