"""How many bytes a session is sent in a second at most, as they are on the wire."""

from __future__ import annotations

import bisect
from itertools import accumulate

import pytest

from agent.call.options import UplinkOptions
from agent.call.uplink import HEADROOM, MOST_URGENT, Uplink
from agent.events import SendText, SendToolResult
from agent.protocols.gemini.session import GeminiSession
from agent.protocols.gemini.setup import GeminiOptions
from tests.call.calls import VOICE

OPTIONS = UplinkOptions()
AUDIO_BYTES = 165_000
"""What `UplinkOptions` says of audio: 3.7 s of 16 kHz PCM as base64, and the JSON around it."""


def run(uplink: Uplink, begin: float) -> list[tuple[float, object]]:
    log: list[tuple[float, object]] = [(begin, each) for each in uplink.due(begin)]
    while (deadline := uplink.deadline()) is not None:
        now = max(deadline, begin)
        got = uplink.due(now)
        assert got, "a deadline at which nothing is due"
        log += [(now, each) for each in got]
    return log


def busiest_second(sizes: list[tuple[float, int]]) -> int:
    times = [at for at, _ in sizes]
    sums = [0, *accumulate(size for _, size in sizes)]
    return max(
        sums[bisect.bisect_left(times, at + 1.0 - 1e-9)] - sums[n] for n, at in enumerate(times)
    )


def test_the_bound_on_audio_follows_from_speed_and_message() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for n in range(500):  # 10 s before the session is ready
        uplink.feed(VOICE, n * 0.02)
    uplink.open()
    session = GeminiSession(GeminiOptions(model="gemini-3.8-live", system_instruction=""))
    session.connecting(0.0)
    session.opened(0.0)
    session.receive('{"setupComplete": {}}', 0.0)
    sizes = []
    for at, command in run(uplink, 10.0):
        sizes.append((at, len(session.send(command))))  # type: ignore[arg-type]
    seconds = OPTIONS.speed * HEADROOM + OPTIONS.merged
    assert busiest_second(sizes) <= AUDIO_BYTES
    assert busiest_second(sizes) >= 0.9 * seconds * 32_000 * 4 / 3  # and it is used


def test_results_of_any_size_leave_at_a_bounded_rate_and_audio_does_not_wait_for_them() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    for n in range(10):
        uplink.say(SendToolResult(str(n), "search", {"text": "x" * 30_000}))
    log: list[tuple[float, object]] = []
    for n in range(500):
        now = n * 0.02
        uplink.feed(VOICE, now)
        log += [(now, each) for each in uplink.due(now)]
    results = [(at, 30_000) for at, each in log if isinstance(each, SendToolResult)]
    assert len(results) == 10
    assert busiest_second(results) <= 2 * OPTIONS.words + 30_000
    assert len(log) == 510  # each frame of audio left at once


def test_words_that_wait_have_a_deadline() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    for _ in range(3):
        uplink.say(SendText("x" * OPTIONS.words))
    uplink.say(SendText("last"))
    log = run(uplink, 5.0)
    assert [at for at, _ in log] == pytest.approx([5.0, 5.0, 6.0, 7.0])


def test_a_model_that_asks_for_more_than_can_be_said_fills_no_memory() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for n in range(MOST_URGENT + 3):
        uplink.say(SendToolResult(str(n), "book", {}))
    assert uplink.toll.unsaid == 3
    uplink.open()
    log = run(uplink, 0.0)
    assert [each.id for _, each in log if isinstance(each, SendToolResult)] == [
        str(n) for n in range(MOST_URGENT)
    ]
    uplink.say(SendToolResult("next", "book", {}))  # there is room again
    assert uplink.toll.unsaid == 3
