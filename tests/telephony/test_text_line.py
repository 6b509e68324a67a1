"""A line without a telephone keeps a telephone's time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent import events as e
from agent.drive.wakeups import Wakeups
from agent.telephony.text_line import LATE, TextLine
from tests.telephony.fakes import virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SPEECH = e.Pcm8k(b"\1\0" * 8000)


class Scene:
    """A line, and what its call was told when."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        self.began = loop.time()
        self.told: list[tuple[float, e.LineEvent]] = []
        self.line = TextLine(self._tell, Wakeups(loop, loop.time))

    def _tell(self, event: e.LineEvent) -> None:
        self.told.append((round(self.now() - self.began, 3), event))

    def of(self, kind: type[e.LineEvent]) -> list[tuple[float, e.LineEvent]]:
        return [(t, event) for t, event in self.told if isinstance(event, kind)]


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await scene(Scene())

    virtually(all_of_it())


def test_it_is_never_silent_and_says_aloud_what_it_is_given() -> None:
    async def scene(s: Scene) -> None:
        await asyncio.sleep(0.1)
        s.line.speak(e.Pcm8k(b"\1\0" * 200))
        assert not s.line.quiet
        await asyncio.sleep(0.9)
        frames = [event.pcm for _, event in s.of(e.LineAudio) if isinstance(event, e.LineAudio)]
        assert len(frames) == pytest.approx(50, abs=1)
        assert {len(frame) for frame in frames} == {320}
        assert [any(frame) for frame in frames].count(True) == 2
        assert s.line.quiet

    play(scene)


def test_marks_come_back_when_the_sound_before_them_was_played() -> None:
    async def scene(s: Scene) -> None:
        s.line.send(e.Play(SPEECH))
        s.line.send(e.Mark("a"))
        s.line.send(e.Play(SPEECH))
        s.line.send(e.Mark("b"))
        assert s.line.sound_at == s.began
        await asyncio.sleep(1.5)
        assert [t for t, _ in s.of(e.LineMark)] == [pytest.approx(1.0, abs=0.025)]
        assert not s.line.quiet
        await asyncio.sleep(1.0)
        assert [t for t, _ in s.of(e.LineMark)][1] == pytest.approx(2.0, abs=0.025)
        assert s.line.quiet

    play(scene)


def test_a_clear_empties_it_and_returns_its_marks() -> None:
    async def scene(s: Scene) -> None:
        s.line.send(e.Play(SPEECH))
        s.line.send(e.Mark("a"))
        await asyncio.sleep(0.2)
        s.line.send(e.Clear())
        await asyncio.sleep(0.05)
        assert [t for t, _ in s.of(e.LineMark)] == [pytest.approx(0.22, abs=0.025)]
        s.line.listen_anew()
        s.line.send(e.Play(e.Pcm8k(bytes(320))))
        assert s.line.sound_at is None  # silence is no sound
        s.line.send(e.Play(SPEECH))
        assert s.line.sound_at == pytest.approx(s.now() + 0.02, abs=0.001)

    play(scene)


@pytest.mark.parametrize(("who", "how"), [("agent", "closed"), ("caller", "stopped")])
def test_either_side_hangs_up_once(who: str, how: str) -> None:
    async def scene(s: Scene) -> None:
        for _ in range(2):
            if who == "agent":
                s.line.send(e.HangUp())
            else:
                s.line.hang_up()
        assert s.line.ended.done()
        s.line.type("Hello?")
        s.line.press("1")
        s.line.send(e.Play(SPEECH))
        await asyncio.sleep(0.5)
        assert [event for _, event in s.told] == [e.LineEnded(how)]  # type: ignore[arg-type]

    play(scene)


def test_written_words_and_keys_are_events() -> None:
    async def scene(s: Scene) -> None:
        s.line.type("When do you open?")
        s.line.press("#")
        s.line.send(e.Digits("1"))  # nothing: the line does not say that it sends them
        assert [event for _, event in s.told] == [
            e.CallerTyped("When do you open?"),
            e.LineDigit("#"),
        ]
        assert not s.line.sends_digits

    play(scene)


def test_frames_that_a_stall_made_late_are_left_out() -> None:
    async def scene(s: Scene) -> None:
        await asyncio.sleep(0.1)
        before = len(s.of(e.LineAudio))
        s.line._frame_at -= LATE * 5
        await asyncio.sleep(0.1)
        assert len(s.of(e.LineAudio)) - before <= 7

    play(scene)
