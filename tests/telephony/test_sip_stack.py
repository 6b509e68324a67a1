"""The SIP library's pulse."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from agent.drive.tasks import Tasks
from agent.drive.wakeups import Wakeups
from agent.protocols.sip.address import Listening
from tests.telephony.fakes import virtually

pytest.importorskip("baresip", reason="the extra `sip` is not installed")

from baresip.errors import CommandTimeout, RuntimeDead

from agent.telephony import sip

if TYPE_CHECKING:
    from baresip import Runtime

OPTIONS = sip.SipOptions(Listening("127.0.0.1", 5060), (20000, 20100), 3)


class Deaf:
    """A library that answers as `answers` say, once a look: "ok", "late" or "dead"."""

    def __init__(self, answers: str) -> None:
        self.answers = answers.split()

    async def set_sip_trace(self, enabled: bool) -> None:
        answer = self.answers.pop(0)
        if answer == "late":
            await asyncio.sleep(5)
            raise CommandTimeout("no completion")
        if answer == "dead":
            raise RuntimeDead("ended")


@pytest.mark.parametrize(
    ("answers", "told", "seconds"),
    [("ok late ok late late", 1, 65), ("late late", 1, 30), ("ok dead", 0, 20)],
)
def test_a_library_that_hangs_is_dead_and_one_that_is_late_once_is_not(
    answers: str, told: int, seconds: float
) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        deaths: list[float] = []
        stack = sip.SipStack(
            OPTIONS,
            wakeups=Wakeups(loop, loop.time),
            tasks=Tasks("sip"),
            rings=lambda line: None,
            died=lambda: deaths.append(loop.time()),
        )
        stack._runtime = cast("Runtime", Deaf(answers))
        begun = loop.time()
        await stack._feel_pulse()
        assert len(deaths) == told
        assert loop.time() - begun == pytest.approx(seconds)

    virtually(scene())
