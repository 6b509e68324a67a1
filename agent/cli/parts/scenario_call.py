"""Holds one scenario's call, and judges it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from agent.cli.parts.scenario_verdict import (
    CheckedScenario,
    CheckedTool,
    CheckedTurn,
    judge,
    judge_call,
)
from agent.cli.parts.text_model import answering, script_of
from agent.config.variables import with_variables
from agent.drive.tasks import Tasks
from agent.events import Pcm8k
from agent.server.text_call import TextCall, assembled
from agent.simulator.script import Play, find_clip
from agent.simulator.wav import read_phone_wav
from agent.tools.base import CallInfo

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.config.scenario import Scenario, ScenarioTurn
    from agent.config.settings import Settings

ENDS_WITHIN = 10.0
"""Seconds that a call may take to end once its caller has hung up."""


class Case(NamedTuple):
    """A scenario and whom it is for."""

    file: Path
    scenario: Scenario
    agent: AgentFile
    name: str


def prepared(file: Path, scenario: Scenario, agent: AgentFile, name: str) -> Case:
    """The scenario with its values in the agent's words.

    Raises:
        UserError: a variable is missing or unknown, or a clip is.
    """
    case = Case(file, scenario, with_variables(agent, scenario.variables), name)
    for turn in scenario.turns:
        if turn.clip:
            _spoken(turn.clip, file)
    return case


async def hold(
    case: Case, settings: Settings, agents: AgentFiles, disk: Executor, *, stand_in: bool
) -> CheckedScenario:
    """Hold the call to its end; what goes wrong in it is in the result."""
    play = Play(script_of(case.scenario, case.agent), case.file.parent) if stand_in else None
    tasks = Tasks(f"check {case.file.name}")
    async with (
        answering(settings, play) as answered,
        assembled(answered, agents, tasks, disk, transfers=case.scenario.transfers) as assembly,
    ):
        info = CallInfo(
            assembly.wiring.new_id(),
            case.agent.name,
            case.scenario.number or "",
            case.scenario.direction,
            dict(case.scenario.variables),
        )
        call = TextCall(assembly, case.agent, info, transfers=case.scenario.transfers)
        began = assembly.wiring.wakeups.now()
        running = tasks.start_read("call", call.run())
        caller = _Caller(case, call)
        failures = []
        try:
            async with asyncio.timeout(case.scenario.seconds):
                await caller.hold()
        except TimeoutError:
            failures.append(f"not over after {case.scenario.seconds:g} s")
        finally:
            caller.judge()
            call.hang_up()
            await asyncio.wait([running], timeout=ENDS_WITHIN)
        seconds = round(assembly.wiring.wakeups.now() - began, 3)
        failures += caller.not_reached()
        failures += judge_call(
            case.scenario.expect,
            caller.turns,
            first_word=call.first_word,
            ended=call.reason,
            transferred=call.floor.transferred,
        )
        return CheckedScenario(
            name=case.scenario.name,
            file=str(case.file),
            agent=case.name,
            ok=not failures and not any(turn.failures for turn in caller.turns),
            seconds=seconds,
            first_word_seconds=call.first_word,
            ended=call.reason or None,
            transferred=call.floor.transferred,
            folder=str(assembly.wiring.folder(info.id).absolute()),
            turns=caller.turns,
            failures=failures,
        )


class _Caller:
    """Does turn after turn, each when it is the caller's.

    Attributes:
        turns: those that are over, judged.
    """

    def __init__(self, case: Case, call: TextCall) -> None:
        self.turns: list[CheckedTurn] = []
        self._case = case
        self._call = call
        self._steps = list(case.scenario.turns)
        self._waits: ScenarioTurn | None = None  # for its answer
        self._done = 0
        if not self._steps[0].acts:
            self._waits = self._steps.pop(0)

    async def hold(self) -> None:
        """Return when the last answer was heard, or the call is over."""
        while self._steps:
            step = self._steps[0]
            if not await self._turn(step):
                return
            self.judge()
            self._waits = self._steps.pop(0)
            if step.hangs_up:
                self._call.hang_up()
                await self._call.over.wait()
                return
            self._act(step)
        await self._call.may_speak()

    async def _turn(self, step: ScenarioTurn) -> bool:
        if step.interrupts is None:
            return await self._call.may_speak()
        return await self._call.may_interrupt(step.interrupts)

    def judge(self) -> None:
        """The turn that waited for an answer has got what it gets."""
        turn, self._waits = self._waits, None
        if turn is None:
            return
        floor = self._call.floor
        tools = [CheckedTool(use.name, use.args, use.response, use.seconds) for use in floor.tools]
        checked = CheckedTurn(
            n=self._done,
            caller=turn.say or turn.press or turn.clip or "",
            agent=" ".join(floor.said.split()),
            first_word_seconds=self._call.waited,
            tools=tools,
            failures=[],
        )
        self._done += 1
        wrong = judge(turn.expect, checked)
        self.turns.append(msgspec.structs.replace(checked, failures=wrong))

    def not_reached(self) -> list[str]:
        """What the caller did not come to do."""
        ended = self._call.reason or "nothing"
        return [
            f"the call was over ({ended}) before: {step.say or step.press or step.clip}"
            for step in self._steps
            if not step.hangs_up
        ]

    def _act(self, step: ScenarioTurn) -> None:
        if step.clip:
            self._call.speak(_spoken(step.clip, self._case.file))
        elif step.say:
            self._call.say(step.say)
        for key in (step.press or "").upper():
            self._call.press(key)


def _spoken(clip: str, file: Path) -> Pcm8k:
    samples = read_phone_wav(find_clip(clip, file.parent))
    return Pcm8k(samples.astype("<i2").tobytes())
