"""Whose turn it is: when the agent has said what it says, and what belongs to which answer."""

from __future__ import annotations

from typing import Any

from agent import events as e
from agent.errors import Fate
from agent.server.floor import AFTER_TOOL, SETTLED, Floor

SOUND = e.ModelAudio(e.Pcm24k(b"\1\0"))


def told(*steps: tuple[float, e.AnyEvent | list[e.AnyCommand]]) -> Floor:
    floor = Floor()
    tell(floor, *steps)
    return floor


def tell(floor: Floor, *steps: tuple[float, e.AnyEvent | list[e.AnyCommand]]) -> None:
    for t, step in steps:
        if isinstance(step, list):
            floor.saw(t, None, step)
        else:
            floor.saw(t, step, [])


def result(**response: Any) -> list[e.AnyCommand]:
    return [e.SendToolResult("1", "book", response)]


def test_the_caller_waits_until_the_agents_turn_is_over() -> None:
    floor = told((1.0, e.AgentSaid("At ")), (1.1, SOUND))
    assert floor.open_at() is None
    tell(floor, (1.2, e.AgentSaid("eight.")), (2.0, e.TurnComplete()))
    assert floor.open_at() == 2.0 + SETTLED
    assert floor.said.strip() == "At eight."
    tell(floor, (2.1, SOUND))
    assert floor.open_at() is None


def test_a_turn_without_a_sound_is_no_answer() -> None:
    assert told((1.0, e.TurnComplete())).open_at() is None


def test_a_tool_is_waited_for_and_what_is_said_about_its_result() -> None:
    floor = told(
        (1.0, SOUND), (1.5, e.ToolCalled("1", "book", {"day": 1})), (2.0, e.TurnComplete())
    )
    assert floor.open_at() is None
    tell(
        floor, (1.6, e.ToolCalled("1", "book", {"day": 1}))
    )  # said twice, and one call all the same
    tell(floor, (3.0, result(ok=True)), (3.1, result(ok=False)))
    assert floor.open_at() == 3.0 + AFTER_TOOL
    (use,) = floor.tools
    assert (use.name, use.args, use.response, use.seconds) == (
        "book",
        {"day": 1},
        {"ok": True},
        1.5,
    )


def test_a_cancelled_tool_is_not_waited_for() -> None:
    floor = told((1.0, SOUND), (1.1, e.ToolCalled("1", "book", {})), (1.2, e.TurnComplete()))
    tell(floor, (2.0, e.ToolsCancelled(["1", "2"])))
    assert floor.open_at() == 2.0 + SETTLED
    assert floor.tools[0].response is None


def test_what_is_left_of_a_turn_that_the_caller_broke_into_is_no_answer() -> None:
    floor = told((1.0, e.AgentSaid("You can park")), (1.0, SOUND))
    floor.begin()
    tell(floor, (1.5, e.AgentSaid(" behind the")), (1.5, SOUND), (1.6, e.TurnComplete()))
    assert floor.said.strip() == ""
    assert floor.open_at() is None
    tell(floor, (2.0, e.AgentSaid("On Sundays")), (2.0, SOUND), (3.0, e.TurnComplete()))
    assert floor.said.strip() == "On Sundays"
    assert floor.open_at() == 3.0 + SETTLED
    floor.begin()
    assert (floor.said, floor.open_at(), floor.stale) == ("", None, False)


def test_a_lost_session_ends_its_turn() -> None:
    floor = told((1.0, SOUND), (2.0, e.ModelEnded(Fate.RESUME, 1006, "")))
    assert floor.open_at() == 2.0 + SETTLED


def test_keys_are_asked_for_and_transfers_counted() -> None:
    asked = told((1.0, e.ToolCalled("1", "collect_digits", {})))
    assert asked.collects
    done = told((1.0, e.ToolCalled("1", "collect_digits", {})), (2.0, result()))
    assert not done.collects
    away = told((3.0, [e.PutThrough("office"), e.HangUp()]))
    assert away.transferred == ["office"]
