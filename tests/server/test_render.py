"""Rendering an agent's own disclosure: the right words are kept, anything else is thrown away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from agent import events as e
from agent.config.agent_file import AgentFile
from agent.drive.tasks import Tasks
from agent.errors import Fate
from agent.server.lines import LineStore
from agent.server.render import READER, WITHIN, Renderer, render_lines
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.models.live import LiveSession

MODEL = "gemini-3.8-live"
OWN = "Sie sprechen mit Harbour Dental, einem Automaten."
WANTED = ("disclosure", OWN)
DESK = AgentFile(name="Desk", persona="You answer.", disclosure=OWN)
SOUND = e.Pcm24k(b"\x01\x02" * 2400)
DONE = (e.GenerationComplete(), e.TurnComplete())


class Reader:
    """A session that says what it was made with when it is asked to."""

    def __init__(self, *answer: e.ModelEvent) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.instructions: list[str] = []
        self.closed = 0
        self.sink: Callable[[e.ModelEvent], None] = lambda event: None

    def __call__(self, instruction: str, sink: Callable[[e.ModelEvent], None]) -> LiveSession:
        self.instructions.append(instruction)
        self.sink = sink
        return cast("LiveSession", self)

    def open(self) -> None:
        asyncio.get_running_loop().call_soon(self.sink, e.ModelReady(0.3))

    def send(self, command: e.ModelCommand) -> None:
        assert isinstance(command, e.SendText)
        self.asked.append(command.text)
        for event in self.answer:
            self.sink(event)

    async def close(self) -> None:
        self.closed += 1


def said(*words: str) -> Sequence[e.ModelEvent]:
    return [e.ModelAudio(SOUND), *(e.AgentSaid(text) for text in words), *DONE]


@pytest.fixture
def store(tmp_path: Path) -> LineStore:
    return LineStore(tmp_path / "lines")


def kept(store: LineStore) -> e.Pcm24k | None:
    line = store.lines_for(DESK).disclosure
    return line.pcm if line is not None and line.text == OWN else None


async def test_the_right_words_are_kept(store: LineStore) -> None:
    reader = Reader(e.ModelAudio(SOUND), *said("Sie sprechen mit ", "Harbour Dental,", OWN[32:]))
    assert await render_lines(DESK, MODEL, store, reader)
    assert kept(store) == SOUND + SOUND
    assert reader.instructions == [READER]
    assert reader.asked == [f"Say exactly this: {OWN}"]
    assert reader.closed == 1


async def test_only_the_words_count_not_how_they_are_written(store: LineStore) -> None:
    reader = Reader(*said("sie sprechen mit HARBOUR dental - einem automaten"))
    assert await render_lines(DESK, MODEL, store, reader)
    assert kept(store) == SOUND


@pytest.mark.parametrize(
    "answer",
    [
        said("Sure! ", OWN),
        said(OWN, " How can I help?"),
        said("Sie sprechen mit Harbour Dental, keinem Automaten."),
        said(),
        [e.AgentSaid(OWN), *DONE],  # the words, and no sound
        [e.ModelAudio(SOUND), e.AgentSaid(OWN), e.ModelEnded(Fate.FATAL, 1008, "quota")],
        [e.ModelEnded(Fate.FRESH, 1011, "gone")],
    ],
    ids=["before", "after", "other", "silent", "no sound", "lost at the end", "lost"],
)
async def test_anything_else_is_thrown_away(
    store: LineStore, answer: Sequence[e.ModelEvent]
) -> None:
    reader = Reader(*answer)
    assert not await render_lines(DESK, MODEL, store, reader)
    assert kept(store) is None
    assert store.wanted(DESK, MODEL) == [WANTED]
    assert reader.closed == 1


async def test_what_a_session_says_after_its_turn_changes_nothing(store: LineStore) -> None:
    reader = Reader(*said(OWN), *DONE, e.ModelEnded(Fate.FRESH, 1000, "bye"))
    assert await render_lines(DESK, MODEL, store, reader)
    assert kept(store) == SOUND


def test_a_session_that_never_finishes_is_given_up(store: LineStore) -> None:
    async def scene() -> None:
        reader = Reader(e.ModelAudio(SOUND), e.AgentSaid(OWN))
        assert not await render_lines(DESK, MODEL, store, reader)
        assert asyncio.get_running_loop().time() == pytest.approx(WITHIN, abs=0.1)
        assert reader.closed == 1

    virtually(scene())
    assert kept(store) is None


async def test_a_server_that_stops_closes_the_session(store: LineStore) -> None:
    reader, tasks = Reader(), Tasks("server")
    tasks.start("render", render_lines(DESK, MODEL, store, reader))
    await settle()
    await tasks.close()
    assert reader.closed == 1
    assert tasks.failures == []


async def test_what_is_there_already_is_not_asked_for(store: LineStore) -> None:
    store.keep(DESK, OWN, MODEL, SOUND)
    reader = Reader()
    assert await render_lines(DESK, MODEL, store, reader)
    assert reader.instructions == []


async def test_each_text_is_tried_once_in_a_process(store: LineStore) -> None:
    tasks, reader = Tasks("server"), Reader(*said("nonsense"))
    renderer = Renderer(store, tasks)
    for _ in range(3):
        renderer.want(DESK, MODEL, reader)
        await settle()
    assert len(reader.instructions) == 1
    renderer.want(DESK.model_copy(update={"disclosure": "Anders."}), MODEL, reader)
    renderer.want(DESK, "gemini-4-live", reader)
    await settle()
    assert len(reader.instructions) == 3
    assert tasks.failures == []


async def test_an_agent_that_needs_none_is_not_rendered(store: LineStore) -> None:
    tasks, reader = Tasks("server"), Reader()
    renderer = Renderer(store, tasks)
    renderer.want(DESK.model_copy(update={"disclosure": False}), MODEL, reader)
    await settle()
    assert reader.instructions == []
