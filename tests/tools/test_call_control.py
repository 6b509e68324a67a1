"""The tools that act on the call itself: what they ask of it, and what they refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.errors import ToolFailed
from agent.events import CollectKeys, HoldCall, PressKeys, ResumeCall, TransferAfterGoodbye
from agent.tools.arguments import fit
from agent.tools.base import Answer, Tool
from agent.tools.collect_digits import CollectDigits
from agent.tools.hold import Hold
from agent.tools.send_digits import SendDigits
from agent.tools.transfer_call import Choice, TransferCall

ASKED: list[tuple[str, str]] = []


async def ask(target: str, summary: str) -> None:
    if target == "nobody":
        raise ToolFailed("Nobody answered.")
    ASKED.append((target, summary))


DESK = TransferCall(
    {"reception": Choice("for everything else", 20.0), "dr_lee": Choice("", 30.0)}, ask
)
WARM = TransferCall({"anna": Choice("", 20.0, True), "nobody": Choice("", 30.0, True)}, ask)


def run(tool: Tool, **args: Any) -> Answer:
    return asyncio.run(tool.run(args))


def complaints(tool: Tool, **args: Any) -> list[str]:
    return fit(tool.declaration.parameters, args)[1]


def test_a_target_is_one_of_those_that_the_agents_file_names() -> None:
    parameters = DESK.declaration.parameters
    assert parameters is not None
    assert parameters["properties"]["target"]["enum"] == ["reception", "dr_lee"]
    assert "reception: for everything else; dr_lee" in DESK.declaration.description
    assert run(DESK, target="dr_lee").effect == TransferAfterGoodbye("dr_lee", 45.0)


@pytest.mark.parametrize(
    "target", ["+15551234567", "Reception", "", None, 7, ["reception"], "reception;dr_lee"]
)
def test_nobody_else_is_called_whatever_the_model_says(target: object) -> None:
    assert complaints(DESK, target=target)
    with pytest.raises(ToolFailed, match="reception, dr_lee"):
        run(DESK, target=target)


def test_keys_are_pressed() -> None:
    assert run(SendDigits(), digits="1w2#").effect == PressKeys("1w2#")


@pytest.mark.parametrize("digits", ["", "12a", "1" * 33, "1,2", 12])
def test_what_is_no_key_is_refused(digits: object) -> None:
    assert complaints(SendDigits(), digits=digits)


def test_a_number_is_collected() -> None:
    assert run(CollectDigits(), most=4).effect == CollectKeys(most=4)
    wanted = run(CollectDigits(), most=16, seconds=5, secret=True).effect
    assert wanted == CollectKeys(most=16, within=5.0, secret=True)
    assert complaints(CollectDigits(), most=0)


def test_a_call_is_held_and_resumed() -> None:
    assert run(Hold(), action="hold").effect == HoldCall(60.0)
    assert run(Hold(), action="hold", seconds=30, caller_asked=True).effect == HoldCall(30.0, True)
    assert run(Hold(), action="resume").effect == ResumeCall()
    assert complaints(Hold(), action="hold", seconds=100_000)


def test_a_person_is_asked_first_where_the_agents_file_wants_it() -> None:
    ASKED.clear()
    assert run(WARM, target="anna", summary="Bo, about a bill.").effect == TransferAfterGoodbye(
        "anna", 35.0
    )
    assert ASKED == [("anna", "Bo, about a bill.")]
    with pytest.raises(ToolFailed, match="Nobody answered"):
        run(WARM, target="nobody")
    assert WARM.declaration.deadline == 80.0 and DESK.declaration.deadline is None
    assert "anna (is asked first, while you go on talking); nobody" in WARM.declaration.description
