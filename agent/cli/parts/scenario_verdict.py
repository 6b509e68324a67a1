"""What a scenario expected and what came of it: the judgement, as plain functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from agent.config.scenario import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.config.scenario import Expected, ExpectedCall, ExpectedTool


class CheckedTool(msgspec.Struct, frozen=True):
    """A tool that the model called; `response` and `seconds` are None where it was cancelled or never answered."""

    name: str
    args: dict[str, Any]
    response: dict[str, Any] | None
    seconds: float | None


class CheckedTurn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn: what the caller did, what the agent answered, and what was expected and did not come.

    `first_word_seconds`: from the caller's last word to the agent's first sound, in the first turn from the answer.
    """

    n: int
    caller: str
    agent: str
    first_word_seconds: float | None
    tools: list[CheckedTool]
    failures: list[str]


class CheckedScenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario; `call` names its record's folder, None where it never began."""

    name: str
    file: str
    agent: str
    ok: bool
    seconds: float
    first_word_seconds: float | None
    ended: str | None
    transferred: list[str]
    folder: str | None
    turns: list[CheckedTurn]
    failures: list[str]


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `pickup check --json` prints. `answered_by`: the model's name, or `stand-in`."""

    v: int = 1
    ok: bool
    answered_by: str
    seconds: float
    junit: str | None
    scenarios: list[CheckedScenario]


def judge(expected: Expected, turn: CheckedTurn) -> list[str]:
    """What is wrong with one answer."""
    wrong = [f"did not say {each}" for each in expected.says if not said(each, turn.agent)]
    wrong += [f"said {each}" for each in expected.never_says if said(each, turn.agent)]
    for tool in expected.tool:
        wrong += _missing(tool, turn.tools)
    called = {each.name for each in turn.tools}
    wrong += [f"called {name}" for name in expected.no_tool if name in called]
    limit = expected.first_word_under
    if limit is not None and turn.first_word_seconds is None:
        wrong.append(f"no sound, and it should come within {limit:g} s")
    elif limit is not None and (turn.first_word_seconds or 0.0) >= limit:
        wrong.append(f"first word after {turn.first_word_seconds:.2f} s, not under {limit:g} s")
    return wrong


def judge_call(
    expected: ExpectedCall,
    turns: Sequence[CheckedTurn],
    *,
    first_word: float | None,
    ended: str,
    transferred: Sequence[str],
) -> list[str]:
    """What is wrong with a call as a whole."""
    everything = CheckedTurn(
        n=0,
        caller="",
        agent="\n".join(turn.agent for turn in turns),
        first_word_seconds=first_word,
        tools=[tool for turn in turns for tool in turn.tools],
        failures=[],
    )
    wrong = judge(expected, everything)
    if expected.ended and ended not in expected.ended:
        wrong.append(f"ended {ended or 'never'}, not {' or '.join(expected.ended)}")
    if expected.transferred is not None and expected.transferred not in transferred:
        there = ", ".join(transferred) or "nobody"
        wrong.append(f"put through to {there}, not to {expected.transferred}")
    return wrong


def said(wanted: str, text: str) -> bool:
    """Whether words stand in a text, whatever their case and the marks between them; or an expression is found."""
    expression = pattern(wanted)
    if expression is not None:
        return expression.search(text) is not None
    return f" {_plain(wanted)} " in f" {_plain(text)} "


def fits(wanted: Any, got: Any) -> bool:
    """Whether an argument is what was wanted: mappings may hold more, a text may be an expression."""
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(
            key in got and fits(value, got[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(got) == len(wanted)
            and all(fits(one, other) for one, other in zip(wanted, got, strict=True))
        )
    if isinstance(wanted, str):
        text = got if isinstance(got, str) else msgspec.json.encode(got).decode()
        expression = pattern(wanted)
        if expression is not None:
            return expression.search(text) is not None
        return wanted.casefold() == text.casefold()
    return bool(wanted == got) and isinstance(wanted, bool) == isinstance(got, bool)


def _missing(wanted: ExpectedTool, tools: Sequence[CheckedTool]) -> list[str]:
    """Why no call of a tool is the one that was wanted."""
    calls = [each.args for each in tools if each.name == wanted.name]
    if any(fits(wanted.with_, args) for args in calls):
        return []
    if not calls:
        return [f"did not call {wanted.name}"]
    shown = "; ".join(msgspec.json.encode(args).decode() for args in calls)
    return [f"called {wanted.name} with {shown}, not {msgspec.json.encode(wanted.with_).decode()}"]


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
