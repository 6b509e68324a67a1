"""Callers whom nobody can talk to, on a line that brings its own calls: they hear why, or the line goes on to somebody else.

A PBX or a trunk that gets 486 tries the next destination, and so does Asterisk's dial plan when a call was not answered. A caller
who hears a sentence has been answered, and is nobody else's any more. So a sentence is said only where the deployment wants it,
to so many callers at a time; all the others are refused unheard.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.audio.playout import PlayoutOptions
from agent.call.downlink import Downlink
from agent.errors import UserError
from agent.events import LINE_PCM, LineEnded, LineMark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.call.options import OwnLine
    from agent.call.ports import AttachedLine
    from agent.config.agent_file import AgentFile
    from agent.drive.wakeups import Wakeups
    from agent.events import LineEvent
    from agent.protocols.door import Caller, Say
    from agent.server.lines import LineStore

STILL = 0.2
"""Seconds from the sentence's last sample to the hang-up: so long the other side's jitter buffer may hold it back."""


class Refusals:
    """What refused callers hear, and how many do.

    Args:
        lines: our own sentences.
        agent_for: the agent that a number reaches; raises `UserError` where there is none.
        wakeups: the process's clock and schedule.
        most: how many may listen at once; one more is refused unheard.

    Attributes:
        speaking: how many do.
    """

    def __init__(
        self,
        lines: LineStore,
        agent_for: Callable[[str], AgentFile],
        wakeups: Wakeups,
        most: int,
    ) -> None:
        self.speaking = 0
        self._lines = lines
        self._agent_for = agent_for
        self._wakeups = wakeups
        self._most = most

    def sentence(self, caller: Caller, words: Say) -> OwnLine | None:
        """The sound of what this caller is to be told; None where it cannot be said, or not now."""
        if self.speaking >= self._most:
            return None
        try:
            agent = self._agent_for(caller.to_number)
        except UserError:
            return None
        return self._lines.refusal(agent, words.text)

    @contextmanager
    def telling(self, line: AttachedLine, sentence: OwnLine) -> Iterator[Telling]:
        """`line` has been answered, or is about to be: one of those who listen, as long as the context lasts."""
        self.speaking += 1
        telling = Telling(line, sentence, self._wakeups)
        try:
            yield telling
        finally:
            self.speaking -= 1
            telling.close()


class Telling:
    """One sentence on its way to a caller.

    Args:
        line: where he is; it has to bring what it hears to `hear`.
        sentence: what he is told.
        wakeups: the process's clock and schedule.
    """

    def __init__(self, line: AttachedLine, sentence: OwnLine, wakeups: Wakeups) -> None:
        options = PlayoutOptions()
        self._line = line
        self._now = wakeups.now
        self._longest = sentence.pcm.seconds + options.lead + options.patience
        self._downlink = Downlink(options)
        self._downlink.say_whole(sentence.pcm)
        self._told = asyncio.Event()
        self._wakeup = wakeups.register(self._look)

    async def say(self) -> None:
        """Say it now; ends when it was heard, when the caller is gone, or when the line does not play it."""
        now = self._now()
        self._downlink.line(LINE_PCM[self._line.rate])
        self._downlink.playout.attach(now)
        self._look(now)
        try:
            async with asyncio.timeout(self._longest):
                await self._told.wait()
            await asyncio.sleep(STILL)
        except TimeoutError:
            return

    def hear(self, event: LineEvent) -> None:
        """The line tells what happened; but for marks and its end that is nobody's business."""
        if isinstance(event, LineEnded):
            self.close()
        elif isinstance(event, LineMark) and not self._told.is_set():
            now = self._now()
            self._downlink.playout.mark_played(event.name, now)
            self._look(now)

    def close(self) -> None:
        """Say nothing more."""
        self._told.set()
        self._wakeup.at(None)

    def _look(self, now: float) -> None:
        playout = self._downlink.playout
        for command in self._downlink.due(now):
            self._line.send(command)
        if playout.settled(now) or playout.overdue(now):
            self.close()
        else:
            self._wakeup.at(playout.deadline())
