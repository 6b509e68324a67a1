"""Which tools run for the model: once, and each call answered once, over all its sessions."""

from __future__ import annotations

from typing import Any

from agent.call.tool_calls import STILL_RUNNING, ToolCalls
from agent.events import CancelTool, SendToolResult, StartTool, ToolCalled, ToolFinished

DONE = {"result": "done"}


def called(call: str, name: str = "book", **args: Any) -> ToolCalled:
    return ToolCalled(call, name, args)


def finished(call: str) -> ToolFinished:
    return ToolFinished(call, "book", DONE)


def test_a_call_runs_and_is_answered() -> None:
    calls = ToolCalls()
    assert calls.called(called("1", table=4)) == [StartTool("1", "book", {"table": 4})]
    assert len(calls) == 1
    assert calls.finished(finished("1")) == (True, [SendToolResult("1", "book", DONE)])
    assert (len(calls), calls.answered) == (0, 1)
    assert calls.finished(finished("1")) == (False, [])


def test_a_call_told_twice_runs_once_also_after_its_answer() -> None:
    calls = ToolCalls()
    calls.called(called("1"))
    assert calls.called(called("1")) == []
    calls.finished(finished("1"))
    assert calls.called(called("1")) == []
    assert calls.answered == 1


def test_a_model_that_asks_again_while_it_runs_is_told_so_at_once() -> None:
    calls = ToolCalls()
    calls.called(called("1", table=4, day="mon"))
    again = called("2", day="mon", table=4)
    assert calls.called(again) == [SendToolResult("2", "book", STILL_RUNNING, silent=True)]
    assert calls.called(called("3", table=5, day="mon")) != []
    assert calls.finished(finished("1"))[1] == [SendToolResult("1", "book", DONE)]
    assert calls.called(called("4", table=4, day="mon")) == [
        StartTool("4", "book", {"table": 4, "day": "mon"})
    ]


def test_a_cancelled_call_is_stopped_once_and_never_answered() -> None:
    calls = ToolCalls()
    calls.called(called("1"))
    assert calls.cancelled(["1", "1", "nobody's"]) == [CancelTool("1")]
    assert calls.finished(finished("1")) == (False, [])
    assert calls.called(called("1")) == []  # told late
    assert calls.called(called("2")) == [StartTool("2", "book", {})]


def test_another_session_gets_the_answer_of_what_runs_under_its_own_id() -> None:
    calls = ToolCalls()
    calls.called(called("1"))
    calls.session_gone()
    assert calls.cancelled(["1"]) == []  # another session's ids are its own
    assert calls.called(called("7")) == []
    assert calls.finished(finished("1")) == (True, [SendToolResult("7", "book", DONE)])


def test_ids_that_sessions_share_are_two_calls() -> None:
    calls = ToolCalls()
    calls.called(called("1", table=4))
    calls.session_gone()
    assert calls.called(called("1", table=5)) == [StartTool("1+", "book", {"table": 5})]
    assert calls.cancelled(["1"]) == [CancelTool("1+")]


def test_what_ended_while_no_session_was_there_is_told_to_the_next() -> None:
    calls = ToolCalls()
    calls.called(called("1"))
    calls.session_gone()
    assert calls.finished(finished("1")) == (True, [])
    assert calls.called(called("7")) == [SendToolResult("7", "book", DONE)]
    calls.snapshot()
    assert calls.called(called("8")) == [StartTool("8", "book", {})]


def test_calls_without_an_id_are_told_apart() -> None:
    calls = ToolCalls()
    assert calls.called(called("", table=4)) == [StartTool("", "book", {"table": 4})]
    assert calls.called(called("", table=5)) == [StartTool("+", "book", {"table": 5})]
    assert calls.finished(finished("+"))[1] == [SendToolResult("", "book", DONE)]
    assert calls.finished(finished(""))[1] == [SendToolResult("", "book", DONE)]
    assert calls.called(called("", table=4)) != []


def test_a_call_that_ends_stops_what_runs() -> None:
    calls = ToolCalls()
    calls.called(called("1"))
    calls.called(called("2", table=4))
    assert calls.stop() == [CancelTool("1"), CancelTool("2")]
    assert (len(calls), calls.stop()) == (0, [])
