"""Faults of the line, in literal times: what goes out in place of what, and when."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from agent.errors import UserError
from agent.simulator.bad_line import BadLine, LineFault, parse
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.media_stream import StreamWriter, connected
from agent.simulator.menu import side

if TYPE_CHECKING:
    from agent.simulator.report import CallReport

FRAME = b"\xff" * 160


class Line:
    """A stream that is written every 20 ms and distorted; keeps what goes out, and when."""

    def __init__(self, *faults: str, seed: str = "1", stream: int = 1) -> None:
        self.bad = BadLine(faults, seed, stream)
        self.writer = StreamWriter(
            account_sid="AC", call_sid="CA", stream_sid="MZ" + "0" * 32, first_ms=5
        )
        self.now = 10.0
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.send(connected())
        self.send(self.writer.start({}))

    def send(self, text: str) -> None:
        self.keep(self.bad.distort(text, self.now))

    def keep(self, outs: list[Any]) -> None:
        self.sent += [(round(self.now - 10, 3), json.loads(out)) for out in outs]

    def talk(self, frames: int) -> Line:
        """Send so many frames; the first goes out 20 ms after `start`."""
        for _ in range(frames):
            self.now += 0.02
            self.keep(self.bad.release(self.now))
            self.send(self.writer.media(FRAME))
        return self

    def chunks(self) -> list[int]:
        return [int(out["media"]["chunk"]) for _, out in self.sent if out["event"] == "media"]

    def times(self, event: str) -> list[float]:
        return [at for at, out in self.sent if out["event"] == event]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("loss=0.05", LineFault("loss", 0.05)),
        ("reset", LineFault("reset")),
        ("reset@2x1", LineFault("reset", 0.0, 101, 1)),
        ("stall=2@0", LineFault("stall", 2.0, 1)),
        ("drift=-0.1", LineFault("drift", -0.1)),
    ],
)
def test_a_fault_of_the_line_is_read(text: str, fault: LineFault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense", "no fault of the line is called 'nonsense': loss, "),
        ("goaway=1", "no fault of the line is called 'goaway'"),
        ("loss", "loss takes SHARE"),
        ("reset=1", "reset takes no value"),
        ("loss=2", "a share is 0 to 1"),
        ("drift=11", "at most 10 percent"),
        ("jitter=long", "'long' is not a number"),
        ("reset@soon", "'soon' is not a number of seconds"),
    ],
)
def test_a_wrong_fault_of_the_line_is_told_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert complaint in str(caught.value)


def test_every_example_of_the_line_can_be_armed() -> None:
    for entry in side("twilio").values():
        assert parse(entry.arm).name == entry.name
        BadLine([entry.arm]).distort(connected(), 0.0)


def test_a_share_of_the_frames_is_lost_and_the_same_ones_for_a_seed() -> None:
    first, same, other = (Line("loss=0.05", seed=seed).talk(2000).chunks() for seed in "112")
    assert 60 <= 2000 - len(first) <= 140
    assert first == sorted(set(first))
    assert first == same != other


def test_a_fault_may_begin_later_and_on_the_first_streams_only() -> None:
    late = Line("loss=1@2").talk(200)
    assert late.chunks() == list(range(1, 101))
    assert Line("loss=1@0x1", stream=1).talk(5).chunks() == []
    assert Line("loss=1@0x1", stream=2).talk(5).chunks() == [1, 2, 3, 4, 5]


def test_a_share_of_the_frames_comes_twice() -> None:
    chunks = Line("duplication=0.05").talk(2000).chunks()
    assert sorted(set(chunks)) == list(range(1, 2001))
    assert 60 <= len(chunks) - 2000 <= 140


def test_a_share_of_the_frames_comes_after_the_one_behind_it() -> None:
    line = Line("reordering=0.05").talk(2000)
    chunks = line.chunks()
    swapped = [at for at, chunk in enumerate(chunks[:-1]) if chunk > chunks[at + 1]]
    assert 60 <= len(swapped) <= 140
    assert {chunks[at] - chunks[at + 1] for at in swapped} == {1}
    assert len(set(chunks)) >= 1999


def test_frames_come_late_but_in_order_with_jitter() -> None:
    line = Line("jitter=200").talk(500)
    chunks = line.chunks()
    assert chunks == list(range(1, len(chunks) + 1))
    late = [at - 0.02 * chunk for at, chunk in zip(line.times("media"), chunks, strict=True)]
    assert -0.001 <= min(late) < 0.1
    assert 0.1 < max(late) <= 0.22


def test_a_stall_holds_everything_and_then_lets_all_of_it_go() -> None:
    line = Line("stall=0.19@1").talk(50)
    line.now += 0.01
    line.send(line.writer.mark("m"))
    line.talk(12)
    times = line.times("media")
    assert times[:50] == [round(0.02 * at, 3) for at in range(1, 51)]
    assert times[50:60] == [1.23] * 10
    assert times[60:] == [1.23, 1.25]
    assert line.times("mark") == [1.01]
    assert line.chunks() == list(range(1, 63))


def test_a_gap_is_never_filled() -> None:
    assert Line("gap=0.2@1").talk(70).chunks() == [*range(1, 51), *range(61, 71)]


@pytest.mark.parametrize(("fault", "frames"), [("drift=0.1", 2002), ("drift=-0.1", 1998)])
def test_a_clock_that_drifts_sends_more_or_fewer_frames_and_counts_them(
    fault: str, frames: int
) -> None:
    line = Line(fault).talk(2000)
    line.send(line.writer.stop())
    assert abs(len(line.chunks()) - frames) <= 1
    assert line.chunks() == list(range(1, len(line.chunks()) + 1))
    media = [out["media"] for _, out in line.sent if out["event"] == "media"]
    assert [int(one["timestamp"]) for one in media[:3]] == [5, 25, 45]
    assert int(media[-1]["timestamp"]) == 5 + 20 * (len(media) - 1)
    numbers = [int(out["sequenceNumber"]) for _, out in line.sent[1:]]
    assert numbers == list(range(1, len(numbers) + 1))


def test_marks_may_never_come_back_or_come_late() -> None:
    lost = Line("marks-lost")
    lost.send(lost.writer.mark("a"))
    assert lost.times("mark") == []
    late = Line("marks-late=1.49").talk(1)
    late.send(late.writer.mark("a"))
    late.talk(100)
    assert late.times("mark") == [1.52]
    # Numbered as they go out: a connection swaps nothing, so no number comes after a higher one.
    numbers = [int(out["sequenceNumber"]) for _, out in late.sent if "sequenceNumber" in out]
    assert numbers == list(range(1, len(numbers) + 1))
    assert late.chunks() == list(range(1, 102))


def test_the_end_of_a_stream_lets_everything_go() -> None:
    line = Line("stall=60@0").talk(10)
    assert line.chunks() == []
    line.send(line.writer.stop())
    assert line.chunks() == list(range(1, 11))
    assert line.sent[-1][1]["event"] == "stop"


def test_faults_add_up() -> None:
    line = Line("gap=0.2@0", "drift=10", "marks-lost").talk(110)
    line.send(line.writer.mark("a"))
    assert line.times("mark") == []
    assert line.chunks() == list(range(1, 111))


# ------------------------------------------------------------------ over a socket


async def _called(fault: str) -> tuple[CallReport, list[dict[str, Any]]]:
    """Call a server that sends a mark and listens; returns what it was sent."""
    got: list[dict[str, Any]] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            got.append(json.loads(message.data))
            if got[-1]["event"] == "start":
                await socket.send_json(
                    {"event": "mark", "streamSid": got[-1]["streamSid"], "mark": {"name": "m"}}
                )
        return socket

    app = web.Application()
    app.router.add_get("/media", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    options = CallerOptions(
        url=f"ws://127.0.0.1:{port}/media",
        start_delay_s=0.0,
        max_seconds=0.6,
        faults=(fault,),
        seed=1,
    )
    try:
        return await run_caller(options), got
    finally:
        await runner.cleanup()


async def test_faults_of_the_line_go_over_the_wire() -> None:
    faults = ("loss=0.5@0", "stall=0.3@0.1", "marks-lost", "drift=10@0", "jitter=100")
    calls = dict(zip(faults, await asyncio.gather(*map(_called, faults)), strict=True))
    chunks = {
        fault: [int(out["media"]["chunk"]) for out in got if out["event"] == "media"]
        for fault, (_, got) in calls.items()
    }
    for fault in ("stall=0.3@0.1", "marks-lost", "drift=10@0", "jitter=100"):
        assert chunks[fault] == list(range(1, len(chunks[fault]) + 1)), fault
    sent = calls["loss=0.5@0"][0].legs[0].frames_sent
    assert 0 < len(chunks["loss=0.5@0"]) < sent
    assert len(chunks["drift=10@0"]) > calls["drift=10@0"][0].legs[0].frames_sent
    marked = {fault for fault, (_, got) in calls.items() if any("mark" in out for out in got)}
    assert marked == set(faults) - {"marks-lost"}
    for report, got in calls.values():
        assert got[-1]["event"] == "stop"
        assert report.violations == []
