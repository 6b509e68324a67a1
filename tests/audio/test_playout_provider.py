"""The playout clock against a literal model of a provider: stalls, drift, ways, and any story."""

from __future__ import annotations

import heapq
import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from agent.audio.playout import Heard, Playout, PlayoutOptions
from agent.events import Mark, Pcm8k, Play

FRAME = 160


def tone(samples: int, first: int = 0) -> Pcm8k:
    """Samples that say their own position (mod 2**15), so that any misplaced one shows."""
    return Pcm8k((np.arange(first, first + samples) % 32768).astype("<i2").tobytes())


def attached() -> Playout:
    playout = Playout(PlayoutOptions())
    playout.attach(0.0)
    return playout


class Provider:
    """A literal model of a far end: plays 20 ms packets from a buffer, echoes marks, clears.

    It knows nothing of our clock: it has its own rate (`speed`), and every message takes `way`
    seconds.
    """

    def __init__(self, *, speed: float = 1.0, way: float = 0.0) -> None:
        self.packet = 0.02 / speed
        self.way = way
        self.inbox: list[tuple[float, int, Play | Mark | None]] = []
        self.buffer: deque[bytes | str] = deque()
        self.played = bytearray()
        self.holes: list[tuple[float, float]] = []
        self.echoes: list[tuple[float, str]] = []
        self.idle_since: float | None = None
        self.busy_until = 0.0
        self.most = 0
        self._serial = 0

    def send(self, now: float, commands: list[Play | Mark] | list[None]) -> None:
        for command in commands:
            self._serial += 1
            heapq.heappush(self.inbox, (now + self.way, self._serial, command))

    def run(self, until: float) -> None:
        while self.inbox and self.inbox[0][0] <= until:
            at, _, command = heapq.heappop(self.inbox)
            self._play(at)
            if not self.buffer:
                self.busy_until = max(self.busy_until, at)
            if command is None:
                marks = [each for each in self.buffer if isinstance(each, str)]
                self.buffer.clear()
                self.echoes += [(at + self.way, name) for name in marks]
            elif isinstance(command, Mark):
                self.buffer.append(command.name)
            else:
                assert len(command.pcm) % (2 * FRAME) == 0
                assert command.pcm
                if self.idle_since is not None and at > self.idle_since:
                    self.holes.append((self.idle_since, at))
                self.idle_since = None
                for begin in range(0, len(command.pcm), 2 * FRAME):
                    self.buffer.append(command.pcm[begin : begin + 2 * FRAME])
                self.most = max(self.most, sum(len(x) for x in self.buffer if isinstance(x, bytes)))
            self._play(at)
        self._play(until)

    def _play(self, until: float) -> None:
        """Packets leave one after the other; a mark returns when the one before it has ended."""
        while self.buffer and self.busy_until <= until + 1e-12:
            head = self.buffer.popleft()
            if isinstance(head, str):
                self.echoes.append((self.busy_until + self.way, head))
            else:
                self.played += head
                self.busy_until += self.packet
        if not self.buffer and self.played and self.idle_since is None and self.busy_until <= until:
            self.idle_since = self.busy_until


def call(
    playout: Playout,
    provider: Provider,
    seconds: float,
    *,
    stalls: list[tuple[float, float]] | None = None,
    grid: float = 0.005,
) -> None:
    """Drive `playout` as an event loop does: on a grid, and not at all while it is stalled."""
    for step in range(1, round(seconds / grid)):
        now = step * grid
        provider.run(now)
        if any(begin <= now < end for begin, end in stalls or []):
            continue
        while provider.echoes and provider.echoes[0][0] <= now:
            playout.mark_played(provider.echoes.pop(0)[1], now)
        deadline = playout.deadline()
        if deadline is not None and deadline <= now:
            commands = playout.due(now)
            provider.send(now, commands)
        assert not playout.overdue(now)


@settings(max_examples=60, deadline=None)
@given(
    begin=st.floats(0.01, 3.0),
    way=st.floats(0.0, 0.08),
    speed=st.floats(0.9995, 1.0005),
)
def test_a_stall_of_300_ms_is_not_heard(begin: float, way: float, speed: float) -> None:
    playout = attached()
    provider = Provider(speed=speed, way=way)
    playout.feed(tone(32_000))
    playout.end_utterance()
    call(playout, provider, 5.0, stalls=[(begin, begin + 0.3)])
    assert provider.holes == []
    assert bytes(provider.played) == bytes(tone(32_000))
    assert playout.underruns == 0


def test_stalls_one_after_the_other_are_not_heard() -> None:
    playout = attached()
    provider = Provider(way=0.03)
    playout.feed(tone(80_000))
    call(playout, provider, 9.5, stalls=[(t * 0.35, t * 0.35 + 0.3) for t in range(1, 25)])
    assert provider.holes == []
    assert provider.most <= 2 * 3200 + 2 * 480  # the lead, and what the way there and back hides


@pytest.mark.parametrize("speed", [0.999, 1.001])
def test_drift_of_the_providers_clock_is_followed(speed: float) -> None:
    playout = attached()
    provider = Provider(speed=speed, way=0.02)
    playout.feed(tone(40 * 8000))
    playout.feed(tone(20 * 8000, 40 * 8000))
    call(playout, provider, 55.0)
    assert provider.holes == []
    assert playout.heard(55.0) == pytest.approx(len(provider.played) / 2, abs=8000 * 0.045)


def test_an_interruption_is_cut_where_the_clear_arrives() -> None:
    playout, provider = attached(), Provider(way=0.04)
    playout.feed(tone(32_000))
    call(playout, provider, 2.0)
    assert playout.rewind(2.003)
    provider.send(2.003, [None])
    provider.run(3.0)
    assert playout.sent == len(provider.played) / 2
    assert playout.heard(2.003) == pytest.approx(playout.sent - 0.08 * 8000, abs=160 + 40)
    assert playout.heard(2.2) == playout.sent


def test_a_provider_that_stops_in_the_middle_of_a_packet_leaves_no_error_that_adds_up() -> None:
    """Interrupted every quarter of a second in a sentence that goes on, as one is that nothing may cut."""
    playout = attached()
    playout.feed(tone(20 * 8000))
    cuts = [307, 521, 733, 1009, 1229, 1453, 1693, 1907, 2113, 2333, 2551, 2767, 2999, 3221, 3433]
    playing_until, marks, worst, most = 0.0, deque[tuple[float, str]](), 0.0, 0.0
    first, since = (
        0,
        0.0,
    )  # what the provider plays without a break: from where on the tape, and since when
    for ms in range(6000):
        now = ms / 1000
        if ms == 3500:
            playout.drop(playout.sent)
        elif ms == 5000:  # the next sentence, after a silence: it is not heard before it is said
            playout.feed(tone(8000))
        while marks and marks[0][0] <= now:
            playout.mark_played(marks.popleft()[1], now)
        if ms in cuts and playout.rewind(now):
            playing_until = now  # what it held is gone at once, the rest of the packet too
            marks.clear()
        position = playout.sent
        for command in playout.due(now):
            if isinstance(command, Play):
                if playing_until <= now:
                    first, since = position, now
                playing_until = max(playing_until, now) + command.pcm.seconds
                position += command.pcm.samples
            else:
                marks.append((playing_until, command.name))
        worst = max(worst, (playout.heard(now) - first) / 8000 - (now - since))
        most = max(most, playing_until - now)
    assert worst <= 0.001
    assert most <= 0.401


class Story:
    """A call told step by step: our side, the provider's side, and what must have been said."""

    def __init__(self, grid: int, way: int) -> None:
        self.playout = attached()
        self.grid, self.way = grid, way / 1000
        self.provider = Provider(way=self.way)
        self.clock = 0  # milliseconds
        self.tape = bytearray()
        self.taken: list[Heard] = []
        self.names: set[str] = set()
        self.heard = 0

    @property
    def now(self) -> float:
        return self.clock / 1000

    def feed(self, samples: int) -> None:
        pcm = tone(samples, len(self.tape) // 2)
        assert self.playout.feed(pcm) == 0
        self.tape += pcm

    def end(self, _: int = 0) -> None:
        end = self.playout.end_utterance()
        assert end % FRAME == 0
        self.tape += bytes(2 * end - len(self.tape))

    def interrupt(self, _: int) -> None:
        if self.playout.rewind(self.now):
            self.provider.send(self.now, [None])
        self.playout.drop(self.playout.sent)
        del self.tape[2 * self.playout.sent :]

    def leg(self, gap: int) -> None:
        self.playout.detach(self.now)
        self.clock += gap
        self.playout.attach(self.now)
        self.provider = Provider(way=self.way)

    def wait(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, self.grid):
            self.clock += self.grid
            self.step(self.now)

    def step(self, now: float) -> None:
        playout = self.playout
        self.provider.run(now)
        while self.provider.echoes and self.provider.echoes[0][0] <= now:
            playout.mark_played(self.provider.echoes.pop(0)[1], now)
        position = playout.sent
        commands = playout.due(now)
        self.provider.send(now, commands)
        for command in commands:
            if isinstance(command, Mark):
                assert command.name not in self.names
                self.names.add(command.name)
            else:
                assert command.pcm.samples % FRAME == 0
                assert bytes(command.pcm) == self.tape[2 * position :][: len(command.pcm)]
                position += command.pcm.samples
        assert position == playout.sent
        assert self.heard <= playout.heard(now) <= playout.sent <= playout.queued
        assert (
            playout.sent - playout.heard(now) <= 3200 + (2 * self.way + 2 * self.grid / 1000) * 8000
        )
        self.heard = playout.heard(now)
        self.taken += playout.take_heard(now)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 3000)),
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.just("end"), st.just(0)),
        st.tuples(st.just("interrupt"), st.just(0)),
        st.tuples(st.just("leg"), st.integers(0, 300)),
    ),
    max_size=20,
)


@settings(max_examples=100, deadline=None)
@given(steps=steps, grid=st.sampled_from([3, 5, 20, 70]), way=st.integers(0, 80))
def test_every_sample_is_sent_in_order_and_heard_once(
    steps: list[tuple[str, int]], grid: int, way: int
) -> None:
    story = Story(grid, way)
    for kind, value in steps:
        getattr(story, kind)(value)
    story.end()
    story.wait(round(story.playout.unplayed(story.now) * 1000) + 2 * way + 3 * grid + 20)
    playout = story.playout
    assert playout.queued == playout.sent == story.heard == len(story.tape) // 2
    assert b"".join(each.pcm for each in story.taken) == story.tape
    until = -math.inf
    for each in story.taken:
        assert each.at >= until - 1e-6  # nothing overlaps
        until = each.at + each.pcm.seconds
    assert until <= story.now + 1e-6
    assert story.provider.most <= 2 * 3200 + 2 * FRAME * 2
