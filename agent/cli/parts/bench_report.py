"""What `pickup bench` answers with: one row of figures, and what was promised of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from agent.audio.playout import PlayoutOptions
from agent.audio.resample import Downsample24to8, Upsample8to16
from agent.cli.parts import bench_figures as figures
from agent.cli.parts.cost import interpreter, others_percent, percent, scheduling, stolen_percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.cli.parts.cost import Cores, Sample
    from agent.simulator.report import CallReport

GENERATOR_PERCENT = 70.0
"""Of a core: a busier generator measures its own delays, so the row is void."""
TOP_UP_MS = PlayoutOptions().top_up * 1000


class Spread(msgspec.Struct, frozen=True):
    """A distribution: how many there were, and milliseconds; None where there were none."""

    n: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, values: Iterable[float], extra: float = 0.0) -> Spread:
        """Summarise, with `extra` added to each."""
        array = np.fromiter(values, np.float64) + extra
        if not len(array):
            return cls(0)
        marks = np.percentile(array, [50, 95, 99, 100])
        return cls(len(array), *(round(float(mark), 2) for mark in marks))


class Generator(msgspec.Struct, frozen=True):
    """A process of the load's, and its share of a core in the steady window."""

    name: str
    cpu_percent: float


class BenchReport(msgspec.Struct, kw_only=True):
    """One row. Percents are of one core, MB are a million bytes.

    Attributes:
        ok: the calls lived, and the row counts.
        void: why it does not.
        seconds: of the steady window, in which CPU is counted.
        server_core, generator_core: where they were pinned.
        scheduling: of all processes of the bench.
        python: of all of them; `optimised` where its build says that it was made with profile-guided optimisation.
        server_cpu_percent: user and system time of the server's process, all its threads.
        others_percent: of the server's core, what went to nobody of ours: a row with much of it is worth little.
        stolen_percent: of the time, how long the worse of both cores was given to another machine by the host;
            sound stands still meanwhile, so the tails of a row with much of it are the host's.
        memory_mb_per_call: resident memory with the calls less without, after a first call, shared out.
        up_ms: a frame written by the caller -> received by the model; of every frame, the resampler's shift included.
        onset_ms: the same, of the frames in which speech began, by their sound.
        down_ms: the model's first audio of a reply written -> heard, the resampler's shift included.
        down_all_ms: the same of every chunk of audio, less what it waits behind the chunks before it.
        late_ms: by how much the phone's lead had sunk below its top-up mark when the next frames came.
        stop_ms: first sample of what a caller says over the agent's words -> `clear` at the phone.
        voice_detection: whether the server listened for voices itself.
        listened_percent: of the calls' time, what it listened to.
        clear_ms: `interrupted` written -> `clear` at the phone.
        answer_ms: TwiML answered -> first frame, less the stand-in's own delay to `start`.
        underruns: holes inside a reply.
        lost_ms: sound that was lost, both ways.
        stale_frames: frames of an interrupted reply that came after its `clear`.
        unanswered: interruptions that no `clear` followed.
        replies, interruptions: how many there were.
        violations: rules of either wire that the server broke.
        generator_late_ms: how late the callers themselves were (99th percentile of the worst call).
    """

    v: int = 1
    ok: bool
    void: list[str]
    calls: int
    seconds: float
    server_core: int
    generator_core: int
    scheduling: str
    python: str
    server_cpu_percent: float
    server_cpu_percent_per_call: float
    others_percent: float
    stolen_percent: float
    generators: list[Generator]
    generator_late_ms: float
    memory_mb_per_call: float
    up_ms: Spread
    onset_ms: Spread
    down_ms: Spread
    down_all_ms: Spread
    late_ms: Spread
    voice_detection: bool
    listened_percent: float
    stop_ms: Spread
    clear_ms: Spread
    answer_ms: Spread
    replies: int
    interruptions: int
    underruns: int
    lost_ms: float
    stale_frames: float
    unanswered: int
    violations: list[str]


class Spent(NamedTuple):
    """What the machine spent in the steady window.

    Attributes:
        server: process id.
        generators: the load's processes, by name.
        memory_mb: of the server, before the calls and with them.
    """

    cores: Cores
    server: int
    generators: dict[str, int]
    before: Sample
    after: Sample
    memory_mb: tuple[float, float]


class Seen(NamedTuple):
    """What the calls showed.

    Attributes:
        wanted: how many calls were to be placed.
        violations: of the model's wire.
        voice_detection: whether the server listened for voices itself.
        listened: seconds of sound that it listened to.
    """

    wanted: int
    callers: list[CallReport]
    calls: list[figures.Call]
    violations: list[str]
    voice_detection: bool = False
    listened: float = 0.0


def report(spent: Spent, seen: Seen) -> BenchReport:
    """Make the row."""
    window = (spent.before, spent.after)
    server = percent(spent.server, *window)
    generators = [
        Generator(name, round(percent(pid, *window), 1)) for name, pid in spent.generators.items()
    ]
    replies = [reply for call in seen.calls for reply in figures.replies(call)]
    cuts = [figures.cuts(call) for call in seen.calls]
    shift_up, shift_down = Upsample8to16.delay * 1000, Downsample24to8.delay * 1000
    broken = [str(each) for caller in seen.callers for each in caller.violations]
    stolen = max(stolen_percent(core, *window) for core in spent.cores)
    void = _void(seen, generators, same=spent.cores.server == spent.cores.generators)
    low, high = spent.memory_mb
    return BenchReport(
        ok=not void,
        void=void,
        calls=seen.wanted,
        seconds=round(spent.after.uptime_s - spent.before.uptime_s, 1),
        server_core=spent.cores.server,
        generator_core=spent.cores.generators,
        scheduling=scheduling(),
        python=interpreter(),
        server_cpu_percent=round(server, 2),
        server_cpu_percent_per_call=round(server / seen.wanted, 3),
        others_percent=round(_others(spent), 1),
        stolen_percent=round(stolen, 2),
        generators=generators,
        generator_late_ms=round(max((each.late_ms_p99 for each in seen.callers), default=0.0), 2),
        memory_mb_per_call=round((high - low) / seen.wanted, 3),
        up_ms=Spread.of((ms for call in seen.calls for ms in figures.up_ms(call)), shift_up),
        onset_ms=Spread.of(ms for call in seen.calls for ms in figures.onset_ms(call)),
        down_ms=Spread.of((ms for each in replies for ms in figures.down_ms(each)[:1]), shift_down),
        down_all_ms=Spread.of((ms for each in replies for ms in figures.down_ms(each)), shift_down),
        late_ms=Spread.of(ms for each in replies for ms in figures.late_ms(each, TOP_UP_MS)),
        voice_detection=seen.voice_detection,
        listened_percent=round(_listened(seen), 2),
        stop_ms=Spread.of(ms for call in seen.calls for ms in figures.stop_ms(call)),
        clear_ms=Spread.of(ms for each in cuts for ms in each.clear_ms),
        answer_ms=Spread.of(_answers(seen.callers)),
        replies=len(replies),
        interruptions=sum(len(each.clear_ms) + each.early + each.unanswered for each in cuts),
        underruns=sum(len(each.underruns) for each in seen.callers),
        lost_ms=round(_lost(seen.calls, replies), 1),
        stale_frames=round(sum(each.stale_ms for each in cuts) / 20, 2),
        unanswered=sum(each.unanswered for each in cuts),
        violations=broken + seen.violations,
    )


def _answers(callers: list[CallReport]) -> list[float]:
    return [
        each.first_frame_ms - each.start_delay_ms
        for each in callers
        if each.first_frame_ms is not None and each.start_delay_ms is not None
    ]


def _listened(seen: Seen) -> float:
    """Percent of the calls' time."""
    seconds = 0.02 * sum(len(figures.frames(each)) for each in seen.callers)
    return 100 * seen.listened / seconds if seconds else 0.0


def _lost(calls: list[figures.Call], replies: list[figures.Reply]) -> float:
    return sum(map(figures.lost_up_ms, calls)) + sum(map(figures.lost_down_ms, replies))


def _others(spent: Spent) -> float:
    """What strangers had of the server's core; on a machine of one core the load is no stranger."""
    ours = [spent.server]
    if spent.cores.server == spent.cores.generators:
        ours += spent.generators.values()
    return others_percent(spent.cores.server, spent.before, spent.after, ours)


def _void(seen: Seen, generators: list[Generator], *, same: bool) -> list[str]:
    """Why the row does not count: the load was too busy to be on time, or a call did not live."""
    why = ["one core for all: the server and the load disturb each other"] if same else []
    busy = sum(each.cpu_percent for each in generators)
    if busy > GENERATOR_PERCENT:
        why.append(
            f"the generators used {busy:.0f} % of their core, more than {GENERATOR_PERCENT:.0f} %"
        )
    ended = [str(each.ended) for each in seen.callers if each.ended != "caller_hung_up"]
    if ended:
        why.append(f"{len(ended)} calls ended early: {', '.join(sorted(set(ended)))}")
    if len(seen.calls) < seen.wanted:
        why.append(f"{seen.wanted - len(seen.calls)} calls never reached the model")
    return why


# ---- for people


class Line(NamedTuple):
    """A figure as it is printed.

    Attributes:
        kept: whether what was promised of it holds; None where nothing was.
    """

    name: str
    value: str
    promise: str = ""
    kept: bool | None = None


def lines(row: BenchReport) -> list[Line]:
    """The row, line by line, each with its promise."""
    cpu, memory = row.server_cpu_percent_per_call, row.memory_mb_per_call
    return [
        Line("server CPU per call", f"{cpu:.2f} % of a core", "at most 2 %", cpu <= 2),
        Line("memory per call", f"{memory:.2f} MB", "at most 1 MB", memory <= 1),
        _latency("added latency up", row.up_ms),
        Line("  by the sound's onset", _spread(row.onset_ms)),
        _latency("added latency down", row.down_ms),
        Line("  of every chunk", _spread(row.down_all_ms)),
        Line("lead topped up late by", _spread(row.late_ms)),
        Line("caller's voice -> clear", _spread(row.stop_ms)),
        Line(
            "listened to by our own detector",
            f"{row.listened_percent:g} % of the time" if row.voice_detection else "-",
            "at most 10 %" if row.voice_detection else "",
            row.listened_percent <= 10 if row.voice_detection else None,
        ),
        _limit("interrupted -> clear", row.clear_ms, row.clear_ms.p99, "p99 at most 10 ms", 10),
        _limit("TwiML -> first frame", row.answer_ms, row.answer_ms.max, "at most 50 ms", 50),
        _none("underruns", row.underruns, f"{row.underruns} in {row.replies} replies"),
        _none("lost", row.lost_ms, f"{row.lost_ms:g} ms"),
        _none("interrupted frames heard", row.stale_frames, f"{row.stale_frames:g}"),
        _none(
            "interruptions not acted on", row.unanswered, f"{row.unanswered} of {row.interruptions}"
        ),
        _none("rules broken", len(row.violations), "; ".join(row.violations[:3]) or "none"),
    ]


def _spread(spread: Spread) -> str:
    if spread.p50 is None:
        return "-"
    return f"{spread.p50:.1f} / {spread.p95:.1f} / {spread.p99:.1f} ms, max {spread.max:.1f} (n={spread.n})"


def _latency(name: str, spread: Spread) -> Line:
    kept = None
    if spread.p50 is not None and spread.p99 is not None:
        kept = spread.p50 <= 5 and spread.p99 <= 20
    return Line(name, _spread(spread), "p50 at most 5, p99 at most 20 ms", kept)


def _limit(name: str, spread: Spread, value: float | None, promise: str, limit: float) -> Line:
    return Line(name, _spread(spread), promise, None if value is None else value <= limit)


def _none(name: str, count: float, value: str) -> Line:
    return Line(name, value, "none", count == 0)
