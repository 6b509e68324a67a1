"""`pickup bench`: what its figures mean, on timelines made by hand; and once for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.cli.parts import bench_figures as figures, cost
from agent.cli.parts.bench_report import BenchReport, Seen, Spent, Spread, lines, report
from agent.errors import UserError
from agent.simulator.records import Chunk, Moment, SessionRecord
from agent.simulator.report import (
    CallReport,
    ClearReceived,
    Ended,
    LegReport,
    MediaReceived,
    SpokenUtterance,
    Underrun,
)

EXAMPLE = Path(__file__).parent / "examples" / "bench.json"
START = 1000.0
"""When the caller's timeline begins, on the machine's clock."""


def caller(frames: int = 50, **changes: Any) -> CallReport:
    leg = LegReport("MZ1", "ws://test", 0.0, sent_s=[0.02 * (at + 1) for at in range(frames)])
    plain: dict[str, Any] = {"ended": Ended.CALLER_HUNG_UP, "start_now_s": START, "legs": [leg]}
    return CallReport(call_sid="CA1", **(plain | changes))


def session(frames: int = 50, late: float = 0.003, **changes: Any) -> SessionRecord:
    chunks = [Chunk(START + 0.02 * (at + 1) + late, 320) for at in range(frames)]
    return SessionRecord(1, audio_in=chunks, **changes)


def talk(
    sent: list[tuple[float, int]],
    got: list[tuple[float, int, float]],
    *more: Moment,
    clears: tuple[ClearReceived, ...] = (),
) -> figures.Call:
    """A greeting, then one reply at 10 s: chunks of the model's and messages at the phone, in seconds."""
    moments = [Moment(START - 1, "first_audio"), Moment(START + 10, "first_audio"), *more]
    return figures.Call(
        caller(media=[MediaReceived(*each) for each in got], clears=list(clears)),
        session(audio_out=[Chunk(START + at, samples) for at, samples in sent], moments=moments),
    )


# ---------------------------------------------------------------------------- up


def test_every_frame_of_the_callers_is_timed() -> None:
    times = figures.up_ms(figures.Call(caller(), session()))
    assert times == pytest.approx([3.0] * 50)


def test_frames_that_came_merged_waited_longer() -> None:
    both = [Chunk(START + 0.045, 640)]
    times = figures.up_ms(figures.Call(caller(2), SessionRecord(1, audio_in=both)))
    assert times == pytest.approx([25.0, 5.0])


def test_what_never_came_is_lost_and_what_a_hang_up_overtook_is_not() -> None:
    assert figures.lost_up_ms(figures.Call(caller(50), session(47))) == 0
    assert figures.lost_up_ms(figures.Call(caller(50), session(40))) == pytest.approx(200)
    assert figures.lost_up_ms(figures.Call(caller(50, lost_ms=20.0), session(50))) == 20


def test_an_onset_is_timed_by_its_sound() -> None:
    spoken = [SpokenUtterance(1, "hello", 0.4 + 0.005, 1.0, interrupts=False)]
    ends = figures.Call(
        caller(spoken=spoken), session(moments=[Moment(START + 0.4 + 0.02 + 0.004, "onset")])
    )
    assert figures.onset_ms(ends) == pytest.approx([4.0])
    assert not figures.onset_ms(figures.Call(caller(spoken=spoken), session()))


def test_both_ends_of_each_call_are_put_together() -> None:
    early, late = caller(), caller(start_now_s=START + 0.2)
    first = session()
    second = SessionRecord(2, audio_in=[Chunk(START + 0.225, 320)])
    deaf = SessionRecord(3)
    assert figures.matched([late, early], [deaf, second, first]) == [(early, first), (late, second)]


# ---------------------------------------------------------------------------- down


def test_a_reply_is_late_by_what_the_server_added_and_not_by_what_it_queued() -> None:
    """Two chunks of 100 ms come at once: the second one waits for the first on any telephone."""
    call = talk(
        [(10.0, 2400), (10.001, 2400)],
        [(10.004, 800, 0.0), (10.006, 800, 98.0)],
    )
    (reply,) = figures.replies(call)
    assert figures.down_ms(reply) == pytest.approx([4.0, 4.0])
    assert figures.lost_down_ms(reply) == 0


def test_a_hole_delays_everything_behind_it() -> None:
    call = talk([(10.0, 2400), (10.0, 2400)], [(10.0, 800, 0.0), (10.13, 800, 0.0)])
    (reply,) = figures.replies(call)
    assert figures.down_ms(reply) == pytest.approx([0.0, 30.0])


def test_a_model_that_stalls_is_not_the_servers_fault() -> None:
    call = talk([(10.0, 2400), (10.5, 2400)], [(10.002, 800, 0.0), (10.502, 800, 0.0)])
    (reply,) = figures.replies(call)
    assert figures.down_ms(reply) == pytest.approx([2.0, 2.0])


def test_what_the_phone_did_not_get_is_lost_unless_somebody_cut_it_off() -> None:
    next_reply = Moment(START + 20, "first_audio")
    sent, got = [(10.0, 2400), (10.0, 2400)], [(10.0, 800, 0.0)]
    lost, last = figures.replies(talk(sent, got, next_reply))
    assert figures.lost_down_ms(lost) == pytest.approx(100)
    assert figures.lost_down_ms(last) == 0
    cut = Moment(START + 10.1, "interrupted")
    reply, _ = figures.replies(talk(sent, got, cut, next_reply))
    assert reply.interrupted
    assert figures.lost_down_ms(reply) == 0
    assert len(figures.down_ms(reply)) == 1


def test_the_lead_is_late_only_once_it_was_full() -> None:
    got = [(10.0, 800, 0.0), (10.0, 800, 300.0), (10.1, 320, 365.0), (10.2, 320, 350.0)]
    (reply,) = figures.replies(talk([(10.0, 9600)], got))
    assert figures.late_ms(reply, 360.0) == [0.0, 10.0]


# ---------------------------------------------------------------------------- interruptions


def test_an_interruption_is_timed_to_its_clear() -> None:
    stop = Moment(START + 10.5, "interrupted")
    clear = ClearReceived(10.503, 300.0, [], stale_ms=20.0)
    cuts = figures.cuts(talk([(10.0, 2400)], [(10.0, 800, 0.0)], stop, clears=(clear,)))
    assert cuts.clear_ms == pytest.approx([3.0])
    assert (cuts.unanswered, cuts.stale_ms) == (0, 20.0)


def test_an_interruption_without_a_clear_is_counted() -> None:
    stops = (Moment(START + 10.5, "interrupted"), Moment(START + 20.5, "interrupted"))
    clear = ClearReceived(12.0, 0.0, [])
    cuts = figures.cuts(talk([(10.0, 2400)], [(10.0, 800, 0.0)], *stops, clears=(clear,)))
    assert (cuts.clear_ms, cuts.unanswered) == ([], 2)


def test_a_clear_that_came_before_the_interruption_was_the_servers_own() -> None:
    stop = Moment(START + 10.5, "interrupted")
    clear = ClearReceived(10.3, 300.0, [])
    call = talk([(10.0, 2400)], [(10.0, 800, 0.0)], stop, clears=(clear,))
    cuts = figures.cuts(call)
    assert (cuts.clear_ms, cuts.early, cuts.unanswered) == ([], 1, 0)


def test_a_stop_is_timed_from_the_callers_first_sample() -> None:
    said = [
        SpokenUtterance(1, "over the agent", 10.2, 11.0, interrupts=True),
        SpokenUtterance(2, "in a silence", 15.0, 16.0, interrupts=False),
        SpokenUtterance(3, "unheeded", 20.0, 21.0, interrupts=True),
    ]
    clears = [ClearReceived(10.3, 300.0, []), ClearReceived(15.1, 0.0, [])]
    call = figures.Call(caller(spoken=said, clears=clears), session())
    assert figures.stop_ms(call) == pytest.approx([100.0])


# ---------------------------------------------------------------------------- cost


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with one process of 3 s of CPU and two cores."""
    (tmp_path / "7").mkdir()
    ticks = os.sysconf("SC_CLK_TCK")
    spent = f"{2 * ticks} {1 * ticks}"
    (tmp_path / "7" / "stat").write_text(f"7 (a (b) c) R {' '.join(['1'] * 10)} {spent} 0 0\n")
    (tmp_path / "7" / "statm").write_text("9000 1000 50 1 0 1 0\n")
    (tmp_path / "uptime").write_text("500.25 900.00\n")
    core = f"{5 * ticks} 0 {1 * ticks} {90 * ticks} {4 * ticks} 0 0 {2 * ticks} 77 77"
    (tmp_path / "stat").write_text(f"cpu  1 2 3\ncpu0 {core}\ncpu1 {core}\nintr 1 2\n")
    return tmp_path


def test_proc_is_read_as_linux_writes_it(proc: Path) -> None:
    taken = cost.sample([7], proc)
    assert taken == cost.Sample(500.25, {7: 3.0}, {0: 6.0, 1: 6.0}, {0: 2.0, 1: 2.0})
    assert cost.resident_mb(7, proc) == pytest.approx(1000 * os.sysconf("SC_PAGE_SIZE") / 1e6)


def test_percents_are_of_one_core() -> None:
    before = cost.Sample(100.0, {7: 3.0, 8: 0.0}, {0: 50.0}, {0: 1.0})
    after = cost.Sample(110.0, {7: 5.0, 8: 1.0}, {0: 54.0}, {0: 1.5})
    assert cost.percent(7, before, after) == pytest.approx(20)
    assert cost.others_percent(0, before, after, [7, 8]) == pytest.approx(10)
    assert cost.stolen_percent(0, before, after) == pytest.approx(5)


def test_a_machine_that_cannot_count_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cost.check_machine()
    monkeypatch.setattr(cost, "PROC", Path("/nowhere"))
    with pytest.raises(UserError, match="Linux only"):
        cost.check_machine()


def test_who_is_started_on_a_core_stays_there() -> None:
    allowed = os.sched_getaffinity(0)
    where = cost.cores()
    with cost.pinned(where.server):
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            check=True,
        )
    assert child.stdout.decode().strip() == str({where.server})
    assert os.sched_getaffinity(0) == allowed


# ---------------------------------------------------------------------------- the row


def row(generators: dict[str, float] | None = None, **changes: Any) -> BenchReport:
    """The row of one good call; `generators`: percent of a core by name."""
    load = {"model": 10.0, "callers": 20.0} if generators is None else generators
    pids = {name: pid for pid, name in enumerate(load, 2)}
    spent_s = {1: 0.5} | {pids[name]: percent / 10 for name, percent in load.items()}
    before = cost.Sample(100.0, dict.fromkeys(spent_s, 0.0), {0: 0.0, 1: 0.0}, {0: 0.0, 1: 0.0})
    after = cost.Sample(110.0, spent_s, {0: 1.5, 1: 4.0}, {0: 0.1, 1: 0.3})
    spent = Spent(cost.Cores(0, 1), 1, pids, before, after, (80.0, 80.5))
    callers = [caller(**changes)]
    calls = figures.matched(callers, [session()])
    return report(spent, Seen(1, callers, calls, []))


def test_a_good_row() -> None:
    good = row()
    assert (good.ok, good.void) == (True, [])
    assert good.server_cpu_percent_per_call == pytest.approx(5)
    assert good.others_percent == pytest.approx(10)
    assert good.stolen_percent == pytest.approx(3)  # of the worse core
    assert good.memory_mb_per_call == pytest.approx(0.5)
    assert good.up_ms.n == 50
    assert good.up_ms.p50 == pytest.approx(
        3 + 1000 * 31 / 16000, abs=0.2
    )  # with the filter's shift
    assert good.down_ms == Spread(0)


def test_a_busy_generator_voids_the_row() -> None:
    void = row({"model": 40.0, "callers": 31.0})
    assert not void.ok
    assert void.void == ["the generators used 71 % of their core, more than 70 %"]


def test_a_call_that_ended_early_voids_the_row() -> None:
    assert row(ended=Ended.LINE_LOST).void == ["1 calls ended early: line_lost"]


def test_calls_that_never_came_void_the_row() -> None:
    good = row()
    spent = Spent(
        cost.Cores(0, 0),
        1,
        {"callers": 2},
        cost.Sample(1.0, {1: 0.0, 2: 0.0}, {0: 0.0}, {0: 0.0}),
        cost.Sample(2.0, {1: 0.1, 2: 0.1}, {0: 0.5}, {0: 0.0}),
        (1.0, 2.0),
    )
    bad = report(spent, Seen(2, [caller()], [], []))
    assert good.ok
    assert len(bad.void) == 2
    assert "2 calls never reached the model" in bad.void[1]
    assert bad.others_percent == pytest.approx(30)


def test_what_was_promised_is_judged() -> None:
    """The figures of a bad row: every promise is missed, and says so."""
    worst = Spread(1, 30.0, 30.0, 30.0, 60.0)
    bad = msgspec.structs.replace(
        row(underruns=[Underrun(1.0, 10.0)]),
        server_cpu_percent_per_call=2.1,
        memory_mb_per_call=1.1,
        up_ms=worst,
        down_ms=worst,
        clear_ms=worst,
        answer_ms=worst,
        lost_ms=20.0,
        stale_frames=1.0,
        unanswered=1,
        voice_detection=True,
        listened_percent=10.5,
        violations=["rule: broken"],
    )
    assert {line.kept for line in lines(bad) if line.promise} == {False}
    assert {line.kept for line in lines(row()) if line.promise} <= {True, False, None}


def test_the_answer_is_as_the_example_shows() -> None:
    text = EXAMPLE.read_text()
    decoded = msgspec.json.decode(text, type=BenchReport, strict=True)
    assert msgspec.to_builtins(decoded) == json.loads(text)
    assert len(lines(decoded)) == 16


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_calls_for_real(tmp_path: Path) -> None:
    """A few calls against a server of their own: every figure is there, and nothing was lost."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "bench", "--calls", "3", "--seconds", "8", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "DATA_DIR": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    (line,) = done.stdout.splitlines()
    answer = msgspec.json.decode(line, type=BenchReport, strict=True)
    assert msgspec.json.decode(line).keys() == msgspec.json.decode(EXAMPLE.read_bytes()).keys()
    assert answer.ok
    assert answer.calls == 3
    assert answer.lost_ms == 0
    assert answer.stale_frames == 0
    assert not answer.violations
    assert answer.up_ms.n > 3 * 8 * 50
    assert min(answer.replies, answer.down_ms.n, answer.onset_ms.n, answer.answer_ms.n) >= 3
    assert answer.server_cpu_percent > 0
    assert {each.name for each in answer.generators} == {"model", "callers"}
    assert not list(tmp_path.glob("bench-*"))
