"""One call without a telephone: the same machine, model session, tools and record, on a line that carries written words.

Tools really run. Only what takes a telephone network is played: nobody is called, and a transfer comes to what it is told.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from agent.errors import ToolFailed
from agent.events import PutThrough
from agent.server.assembly import Around, Assembly
from agent.server.floor import Floor
from agent.server.live_call import LiveCall
from agent.telephony.text_line import TextLine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Executor

    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.drive.tasks import Tasks
    from agent.events import AnyCommand, AnyEvent, LineEvent, Pcm8k, TransferOutcome
    from agent.tools.base import CallInfo

log = structlog.get_logger()

LOOK_EVERY = 0.02
"""Seconds between looks whether the caller may speak: a frame."""

CONNECTED_AFTER = 0.5
"""Seconds that a transfer takes to come to what it comes to."""


class Nobody:
    """Stands for the people whom a caller is put through to first.

    Args:
        outcome: what asking them comes to.
    """

    def __init__(self, outcome: TransferOutcome) -> None:
        self._outcome = outcome

    async def ask(self, info: CallInfo, agent: AgentFile, target: str, summary: str) -> None:
        if self._outcome != "connected":
            raise ToolFailed("They do not take the call. The caller is still with you.")


class TextCall:
    """A call that is held in writing; `run` it beside whoever writes.

    Args:
        assembly: what calls are made of.
        agent: the agent, with the call's values in its words.
        info: who calls.
        transfers: what a transfer comes to.
        seen: told of each step, after the floor.
        own_said: told of each sentence that Pickup says itself.

    Attributes:
        floor: whose turn it is.
        over: set when the call has ended and its record is written.
        first_word: seconds from the answer to the agent's first sound; None: there was none.
    """

    def __init__(
        self,
        assembly: Assembly,
        agent: AgentFile,
        info: CallInfo,
        *,
        transfers: TransferOutcome = "connected",
        seen: Callable[[float, AnyEvent | None, list[AnyCommand]], None] | None = None,
        own_said: Callable[[float, str], None] | None = None,
    ) -> None:
        self.floor = Floor()
        self.over = asyncio.Event()
        self.first_word: float | None = None
        self.call = LiveCall(info, agent, assembly.wiring, self._saw)
        self.line: TextLine | None = None
        self._wiring = assembly.wiring
        self._transfers = transfers
        self._seen = seen
        self._own_said = own_said
        self._left = False
        self._turns = 0  # of which it was told, or that are none of ours
        self._now = assembly.wiring.wakeups.now
        self._answered_at = self._said_at = 0.0

    async def run(self) -> str:
        """Live the call to its end; returns the record's `end_reason`."""
        tasks = self._wiring.tasks
        tasks.start(f"answer {self.call.id}", self._answer())
        try:
            return await self.call.run()
        finally:
            self.over.set()

    @property
    def reason(self) -> str:
        """The record's `end_reason`; empty while the call goes on."""
        return self.call.reason

    # ---- what the caller does

    async def may_speak(self) -> bool:
        """Wait until it is the caller's turn, and all that the agent said was heard; False: the call is over."""
        while not self.over.is_set() and not self.reason:
            at = self.call.t() if self.floor.collects else self.floor.open_at()
            there = self.line is not None and self.line.quiet and not self.call.leaving
            if at is not None and self.call.t() >= at and there:
                return True
            await asyncio.sleep(LOOK_EVERY)
        return False

    async def may_interrupt(self, after: float = 0.0) -> bool:
        """Wait until the agent has been heard for so many seconds; False: the call is over."""
        while not self.over.is_set() and not self.reason:
            since = None if self.line is None else self.line.sound_at
            if since is not None and self._now() - since >= after:
                return True
            await asyncio.sleep(LOOK_EVERY)
        return False

    def say(self, text: str) -> None:
        """Write to the agent."""
        self._begin().type(text)

    def speak(self, pcm: Pcm8k) -> None:
        """Say it aloud; what the agent answers is counted from its end."""
        self._begin(pcm.seconds).speak(pcm)

    def press(self, digit: str) -> None:
        self._begin().press(digit)

    def hang_up(self) -> None:
        """The caller has left, or leaves as soon as he is on the line (again)."""
        self._left = True
        if self.line is not None:
            self.line.hang_up()

    @property
    def waited(self) -> float | None:
        """Seconds from the caller's last words to the agent's first sound after them; None: there was none."""
        sound = None if self.line is None else self.line.sound_at
        return None if sound is None else round(max(0.0, sound - self._said_at), 3)

    def _begin(self, seconds: float = 0.0) -> TextLine:
        assert self.line is not None  # nobody speaks before it is the caller's turn
        self.floor.begin()
        self.line.listen_anew()
        self._said_at = self._now() + seconds
        return self.line

    # ---- what happens to it

    async def _answer(self) -> None:
        await self.call.answered
        if not self.reason:
            self._answered_at = self._said_at = self._now()
            self._attach(1)

    def _attach(self, leg: int) -> None:
        def hear(event: LineEvent) -> None:
            self.call.hear(line, event)

        self.line = line = TextLine(hear, self._wiring.wakeups)
        self.call.attach(line, leg)
        if self._left:
            line.hang_up()

    def _saw(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        line, stale = self.line, self.floor.stale
        self.floor.saw(t, event, commands)
        if stale and not self.floor.stale and line is not None:
            line.listen_anew()  # what was heard until now was of the turn before
        if self.first_word is None and line is not None and line.sound_at is not None:
            self.first_word = round(max(0.0, line.sound_at - self._answered_at), 3)
        if any(isinstance(command, PutThrough) for command in commands):
            self._wiring.tasks.start(f"transfer {self.call.id}", self._transfer())
        self._tell_own_lines(t)
        if self._seen is not None:
            self._seen(t, event, commands)

    def _tell_own_lines(self, t: float) -> None:
        turns = self.call.turns
        for turn in turns[self._turns :]:
            if turn.own and self._own_said is not None:
                self._own_said(t, turn.agent)
        self._turns = len(turns)

    async def _transfer(self) -> None:
        """The network's part in a transfer: it succeeds, or the caller is back on another stream."""
        await asyncio.sleep(CONNECTED_AFTER)
        self.call.transfer_ended(self._transfers)
        if self._transfers != "connected" and not self.reason:
            self._attach(self.call.leg + 1)


@asynccontextmanager
async def assembled(
    settings: Settings,
    agents: AgentFiles,
    tasks: Tasks,
    disk: Executor,
    *,
    transfers: TransferOutcome = "connected",
) -> AsyncIterator[Assembly]:
    """What one or several text calls are made of; closed when the last of them is over."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    around = Around(tasks, disk, Nobody(transfers), settings.secret)
    assembly = Assembly.of(settings, agents, around)
    try:
        yield assembly
    finally:
        await assembly.wiring.toolkit.close()
        await tasks.close()
        await assembly.stores.close()
        assembly.wiring.wakeups.close()
