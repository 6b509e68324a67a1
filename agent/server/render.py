"""Renders an agent's own sentences once, in the agent's voice and language, by the model that answers its calls.

The words are checked: what the model says it said must be what it was asked to say, or the sound is thrown away and the shipped
sentence stays. A disclosure that says something else would be worse than one in another voice.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import structlog

from agent.events import (
    AgentSaid,
    ModelAudio,
    ModelEnded,
    ModelReady,
    Pcm24k,
    SendText,
    TurnComplete,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config.agent_file import AgentFile
    from agent.drive.tasks import Tasks
    from agent.events import ModelEvent
    from agent.models.live import LiveSession
    from agent.server.lines import LineStore

log = structlog.get_logger()

READER = """\
You are a voice that reads one sentence aloud for a recording. Say exactly the words you are given, once, calmly and clearly, and \
nothing else."""

WITHIN = 30.0
"""Seconds that a rendering may take."""


class Rendering:
    """One sentence on its way from the model to a file."""

    def __init__(self, text: str) -> None:
        self.done: asyncio.Future[Pcm24k | None] = asyncio.get_running_loop().create_future()
        self.session: LiveSession | None = None
        self._text = text
        self._sound = bytearray()
        self._said = ""

    def take(self, event: ModelEvent) -> None:
        """An event of the session."""
        match event:
            case ModelReady() if self.session is not None:
                self.session.send(SendText(f"Say exactly this: {self._text}"))
            case ModelAudio(pcm=pcm):
                self._sound += pcm
            case AgentSaid(text=text):
                self._said += text
            case TurnComplete():
                good = _words(self._said) == _words(self._text)
                self._finish(Pcm24k(self._sound) if good and self._sound else None)
            case ModelEnded():
                self._finish(None)
            case _:
                pass

    def _finish(self, sound: Pcm24k | None) -> None:
        if not self.done.done():
            self.done.set_result(sound)


async def render_lines(
    agent: AgentFile,
    model: str,
    lines: LineStore,
    open_session: Callable[[str, Callable[[ModelEvent], None]], LiveSession],
) -> bool:
    """Render what `lines` still wants of this agent, one after the other; says whether it now has it all.

    Args:
        agent: whose sentences.
        model: the model's name, part of the files'.
        lines: where they are kept.
        open_session: makes a session from an instruction and a sink.
    """
    complete = True
    for name, text in lines.wanted(agent, model):
        sound = await _read_aloud(text, open_session)
        if sound is None:
            complete = False
            log.warning(
                "a line was not rendered; the shipped one is said", agent=agent.name, line=name
            )
        else:
            lines.keep(agent, text, model, sound)
            seconds = round(sound.seconds, 1)
            log.info("a line was rendered", agent=agent.name, line=name, seconds=seconds)
    return complete


async def _read_aloud(
    text: str, open_session: Callable[[str, Callable[[ModelEvent], None]], LiveSession]
) -> Pcm24k | None:
    rendering = Rendering(text)
    rendering.session = session = open_session(READER, rendering.take)
    session.open()
    try:
        async with asyncio.timeout(WITHIN):
            return await rendering.done
    except TimeoutError:
        return None
    finally:
        await session.close()


class Renderer:
    """Looks after the sentences of all agents for as long as the server lives."""

    def __init__(self, lines: LineStore, tasks: Tasks) -> None:
        self._lines = lines
        self._tasks = tasks
        self._tried: set[tuple[str, str]] = set()

    def want(
        self,
        agent: AgentFile,
        model: str,
        open_session: Callable[[str, Callable[[ModelEvent], None]], LiveSession],
    ) -> None:
        """See that this agent's own sentences get rendered, beside the calls; tried once per agent and process."""
        key = (agent.digest(), model)
        if key not in self._tried and self._lines.wanted(agent, model):
            self._tried.add(key)
            work = render_lines(agent, model, self._lines, open_session)
            self._tasks.start(f"render {agent.name}", work)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
