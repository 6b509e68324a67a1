"""Who answers a call that is held in writing: Gemini, or the built-in stand-in inside this process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import SecretStr

from agent.cli.serve import STAND_IN_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.config.agent_file import AgentFile
    from agent.config.scenario import Scenario
    from agent.config.settings import Settings
    from agent.simulator.script import Play, Script

LOST = "That is not in my script."
"""What the stand-in answers to words that nobody wrote an answer for."""

SETUP_SECONDS = 0.1
"""The stand-in need not be as slow as the service where somebody waits for it."""


def fakes(settings: Settings, *, stand_in: bool) -> str:
    """Why the stand-in answers; empty where a model does. Plain ws is somebody's own stand-in, on this machine."""
    if stand_in:
        return "--stand-in"
    if settings.api_key is not None or settings.gemini_url.startswith("ws://"):
        return ""
    return "no GEMINI_API_KEY"


@asynccontextmanager
async def answering(settings: Settings, play: Play | None) -> AsyncIterator[Settings]:
    """The settings of calls that are answered: by the stand-in that plays `play`, or (None) by a model."""
    if play is None:
        key = settings.api_key or SecretStr(STAND_IN_KEY)
        yield settings.model_copy(update={"gemini_api_key": key})
        return
    from agent.simulator.gemini import Options, serving
    from agent.simulator.gemini_setup import Conduct
    from agent.simulator.script import ScriptBrain

    options = Options(conduct=Conduct(setup_seconds=SETUP_SECONDS))
    async with serving(options, lambda: ScriptBrain(play)) as (_, origin):
        yield settings.model_copy(
            update={
                "gemini_url": origin.replace("http", "ws", 1),
                "gemini_api_key": SecretStr(STAND_IN_KEY),
            }
        )


def script_of(scenario: Scenario, agent: AgentFile) -> Script:
    """What the stand-in plays in a scenario: its own words of each turn, and the agent's greeting before them."""
    from agent.simulator.script import Line, Script, ScriptedTurn, ToolCall

    greeting = Line(agent.greeting.say or "Hello.")
    turns = []
    for turn in scenario.turns:
        if turn.stand_in is None:
            continue
        answer = Line(turn.stand_in.says, turn.stand_in.clip or "")
        if not turn.acts:
            greeting = answer
            continue
        tools = tuple(ToolCall(each.name, each.args) for each in turn.stand_in.tools)
        then = Line(turn.stand_in.then) if turn.stand_in.then else None
        caller = Line(turn.say or _keys(turn.press), turn.clip or "")
        turns.append(ScriptedTurn(caller, answer, tools, then))
    return Script(scenario.name, greeting, tuple(turns), Line(LOST), scenario.pace)


def _keys(pressed: str | None) -> str:
    """What the model is told of keys has them in it."""
    return pressed or ""
