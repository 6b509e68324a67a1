"""What a caller hears while something stands still: nothing, as long as the lead covers it.

Each is tried with a stall that no lead covers, too: then there is a hole, so the silence of the others proves something.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

import msgspec
import pytest

from agent.audio.playout import PlayoutOptions
from agent.cli.parts.children import Child
from agent.config.agent_files import EXAMPLES
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.crowd import CrowdOptions, small_talk
from agent.simulator.phone import Manners
from agent.simulator.records import SessionRecord, Stats
from agent.simulator.report import AgentSpeaks, AnyCallEvent, CallReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.measure, pytest.mark.timeout(120)]

TOKEN = "0123456789abcdef" * 2
REPLY_SECONDS = 4.0
LEAD_MS = PlayoutOptions().lead * 1000
SLACK = 0.03
"""Seconds by which this process may end a stall too late on a machine that does something else, too."""


class Exchange(NamedTuple):
    """A server and the model that answers, each a process of its own."""

    model: Child
    server: Child

    def stall_server(self, seconds: float) -> None:
        """Stop the server's process, and let it go on after so long."""
        pid = self.server.process.pid
        os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(seconds, os.kill, pid, signal.SIGCONT)

    def session(self) -> SessionRecord:
        with urlopen(f"{self.model.url}/stats", timeout=10) as answer:
            (session,) = msgspec.json.decode(answer.read(), type=Stats).sessions
        return session

    async def call(self, watch: Callable[[AnyCallEvent], None]) -> CallReport:
        """One question of the caller's, and the whole of the answer to it."""
        (question, *_) = small_talk(CrowdOptions(url="", calls=1, seconds=1.0))
        options = CallerOptions(
            url=self.server.url,
            auth_token=TOKEN,
            utterances=(question,),
            manners=Manners(hang_up_after_s=1.0),
            max_seconds=30.0,
        )
        return await run_caller(options, on_event=watch)


@pytest.fixture
def exchange(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Exchange]:
    """The parameter, where there is one, is a fault of the model's stand-in."""
    fault = getattr(request, "param", None)
    words = ("simulate", "gemini", "--brain", "bench", "--trace", "--setup-seconds", "0.3")
    words += ("--reply-seconds", f"{REPLY_SECONDS}", *(("--fault", fault) if fault else ()))
    with ExitStack() as stack:
        model = Child(words, os.environ, folder=tmp_path)
        stack.callback(model.stop)
        environ = os.environ | {
            "DATA_DIR": str(tmp_path),
            "PICKUP_AGENTS": str(EXAMPLES),
            "TWILIO_AUTH_TOKEN": TOKEN,
            "GEMINI_URL": model.url.replace("http", "ws", 1),
            "GEMINI_API_KEY": "stand-in",
            "LOG_LEVEL": "warning",
        }
        server = Child(("serve", "--port", "0", "--record"), environ, folder=tmp_path)
        stack.callback(server.stop)
        yield Exchange(model, server)


def longest_silence(report: CallReport) -> tuple[float, float]:
    """The longest time in which nothing came although more was to come, and what was buffered when it began (ms)."""
    times = [each.at_s for each in report.media]
    gaps = [
        ((then - now) * 1000, at)
        for at, (now, then) in enumerate(pairwise(times))
        if report.media[at + 1].buffered_ms > 0 or then - now < 1
    ]
    gap, at = max(gaps)
    return gap, report.media[at].buffered_ms + report.media[at].samples / 8


@pytest.mark.parametrize("seconds", [0.3, 0.6])
async def test_a_stall_of_the_server_is_not_heard_with_the_lead_full(
    exchange: Exchange, seconds: float
) -> None:
    spoken: list[AgentSpeaks] = []

    def watch(event: AnyCallEvent) -> None:
        if isinstance(event, AgentSpeaks):
            spoken.append(event)
            if len(spoken) > 1:  # the reply; the first was the greeting
                loop = asyncio.get_running_loop()
                loop.call_later(1.5, exchange.stall_server, seconds - SLACK)

    report = await exchange.call(watch)
    assert len(spoken) > 1
    gap_ms, buffered_ms = longest_silence(report)
    assert gap_ms >= (seconds - SLACK) * 1000  # it did stand still
    assert buffered_ms >= LEAD_MS - 60  # the lead is topped up below 360 ms
    assert bool(report.underruns) == (seconds * 1000 > LEAD_MS), report.underruns
    assert not report.violations


@pytest.mark.parametrize(
    ("exchange", "seconds"),
    [("stall=0.3@reply2+0.13", 0.3), ("stall=0.8@reply2+0.13", 0.8)],
    indirect=["exchange"],
)
async def test_a_stall_of_the_model_is_not_heard_with_half_a_second_unplayed(
    exchange: Exchange, seconds: float
) -> None:
    report = await exchange.call(lambda _: None)
    session = exchange.session()
    begun = [each.t for each in session.moments if each.what == "first_audio"][1]
    reply = [chunk for chunk in session.audio_out if chunk.t >= begun]
    stall, at = max((then.t - now.t, at) for at, (now, then) in enumerate(pairwise(reply)))
    received = sum(chunk.samples for chunk in reply[: at + 1]) / 24_000
    unplayed = received - (reply[at].t - begun)
    assert stall >= seconds
    assert 0.4 <= unplayed <= 0.65, unplayed
    assert bool(report.underruns) == (stall > unplayed), report.underruns
    assert not report.violations
