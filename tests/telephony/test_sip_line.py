"""What a SIP line writes into a ring that the library plays: judged by what the ring holds when more comes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

pytest.importorskip("baresip", reason="the extra sip is not installed")

from baresip.audio import AudioInfo
from baresip.call import CallState

from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.events import Mark, Pcm8k, Play
from agent.protocols.sip.address import address
from agent.telephony.sip_line import Invite, SipLine

if TYPE_CHECKING:
    from baresip.call import Call

FRAME = Pcm8k(320)
"""20 ms that nobody hears."""


class Ring:
    """The library's side of one call's sound."""

    def __init__(self) -> None:
        self.held = 0

    def info(self) -> AudioInfo:
        return AudioInfo(True, True, 8000, 1, 20, 8000, 1, self.held, 0, 16_000, 16_000)

    def write(self, pcm: bytes) -> int:
        self.held += len(pcm)
        return len(pcm)

    def plays(self) -> None:
        self.held = max(0, self.held - len(FRAME))


class Spoken:
    """A line whose call talks, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ring = Ring()
        self.levels: list[int] = []  # what the ring held when more came, in ms
        call = SimpleNamespace(
            state=CallState.ESTABLISHED, audio=self.ring, on=lambda _: None, call_id="x"
        )
        wakeups = Wakeups(asyncio.get_running_loop(), lambda: self.now)
        invite = Invite("x", "sip:caller@127.0.0.1", address("sip:agent@127.0.0.1"), {})
        self.line = SipLine(cast("Call", call), invite, wakeups, Tasks("test"))

    def speaks(self, frames: int, together: int = 1) -> None:
        """So many frames live, the first few of them at once."""
        for n in range(frames):
            self.now += 0.02
            self.ring.plays()
            if n + 1 >= together:
                for _ in range(together if n + 1 == together else 1):
                    self.levels.append(self.ring.held // 16)
                    self.line.send(Play(FRAME))


async def test_what_a_stall_left_in_the_ring_is_gone_after_some_seconds() -> None:
    spoken = Spoken()
    spoken.speaks(100)
    assert set(spoken.levels) == {0}
    spoken.speaks(50, together=4)
    assert spoken.levels[-1] == 60
    spoken.speaks(200)
    assert spoken.levels[-1] == 0


async def test_a_reply_that_is_ahead_keeps_its_lead_and_its_marks() -> None:
    spoken = Spoken()
    for n in range(20):
        spoken.line.send(Play(FRAME))
        spoken.line.send(Mark(f"{n}"))
    assert spoken.ring.held == 400 * 16
    spoken.speaks(300)
    assert spoken.levels[-1] == 380
