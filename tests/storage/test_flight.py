"""The flight record: what a call did, exactly enough to play it again, at a cost that no call notices."""

import asyncio
import json
import re
import resource
import stat
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args
from unittest.mock import patch

import pytest
from hypothesis import given, settings, strategies as st

from agent import events as e
from agent.audio.level import loudness, steady
from agent.drive.tasks import Tasks
from agent.errors import Fate, StorageError
from agent.storage import flight, flight_format
from agent.storage.flight import FlightRecorder
from agent.storage.flight_files import FlightFiles, line_rate, salvage
from agent.storage.flight_format import CallerTrack, Draft
from agent.storage.flight_reader import Entry, read_flight, recorded
from agent.storage.numbers import number_hash
from agent.storage.records import CallRecord, Records

RATE = 8000


def tone(kind: type[e.Pcm], samples: int, first: int = 1) -> Any:
    """Samples that tell where they belong: they count."""
    return kind(b"".join((first + n).to_bytes(2, "little") for n in range(samples)))


class Desk:
    """A recorder and what it reports."""

    def __init__(self, folder: Path, *, sound: bool = True) -> None:
        self.folder = folder
        self.errors: list[StorageError] = []
        self.tasks = Tasks("call")
        self.disk = ThreadPoolExecutor(1)
        self.recorder = FlightRecorder(
            folder, self.tasks, sound=sound, disk=self.disk, failed=self.errors.append
        )

    def entries(self) -> list[Entry]:
        return list(read_flight(self.folder))

    def entries_so_far(self) -> list[Entry]:
        return self.entries() if (self.folder / "events.jsonl").exists() else []

    def wav(self, rate: int = RATE) -> tuple[list[int], list[int]]:
        """Left and right samples."""
        with wave.open(str(self.folder / "call.wav"), "rb") as file:
            assert file.getparams()[:3] == (2, 2, rate)
            data = memoryview(file.readframes(file.getnframes())).cast("h")
        return list(data[0::2]), list(data[1::2])


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**options: Any) -> Desk:
        desks.append(Desk(tmp_path / "calls" / f"call-{len(desks)}", **options))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.tasks.close(grace=5)
        desk.disk.shutdown()
        assert desk.tasks.failures == []


CALL: list[tuple[float, e.AnyEvent | None, list[e.AnyCommand]]] = [
    (
        0.0,
        e.CallStarted("c", 1.7e9, 0.0, "0.1.0", "front_desk", "f00", {"lead": 0.4}),
        [e.SendText("Greet the caller.")],
    ),
    (0.31, e.ModelReady(0.31), []),
    (0.5, e.LineStarted(1), [e.Answer()]),
    (0.52, e.LineAudio(tone(e.Pcm8k, 160)), [e.SendAudio(tone(e.Pcm16k, 320))]),
    (0.1 + 0.44, e.LineAudio(tone(e.Pcm8k, 161, 161)), []),
    (0.6, e.ModelAudio(tone(e.Pcm24k, 241)), []),
    (0.62, None, [e.Play(tone(e.Pcm8k, 160)), e.Mark("m1")]),
    (0.7, e.ModelAudio(tone(e.Pcm24k, 1, 242)), []),
    (0.9, e.CallerSaid('Grüezi \u2028 "hello"', finished=True), []),
    (1.0, e.ToolCalled("t1", "end_call", {"why": None}), [e.StartTool("t1", "end_call", {})]),
    (1.1, e.ToolFinished("t1", "end_call", {}, e.EndAfterGoodbye()), [e.Clear(), e.HangUp()]),
    (1.2, None, []),
    (1.3, e.ModelEnded(Fate.RESUME, None, "gone"), [e.Finish("goodbye")]),
]
"""A little of everything."""


async def fly(desk: Desk, call: list[Any] = CALL) -> None:
    for t, event, commands in call:
        desk.recorder.record(t, event, commands)
    await desk.recorder.close()


# ---- reading back what was written


async def test_every_event_comes_back_exactly(make: Callable[..., Desk]) -> None:
    desk = make()
    await fly(desk)
    entries = desk.entries()
    assert [(entry.t, entry.event) for entry in entries] == [(t, event) for t, event, _ in CALL]
    assert [type(entry.event) for entry in entries] == [type(event) for _, event, _ in CALL]
    assert [entry.commands for entry in entries] == [recorded(do) for _, _, do in CALL]
    sounds = [entry.event.pcm for entry in entries if isinstance(entry.event, e.ModelAudio)]
    assert [type(pcm) for pcm in sounds] == [e.Pcm24k, e.Pcm24k]


async def test_commands_that_differ_in_one_sample_are_recorded_differently() -> None:
    one, other = e.Pcm8k(b"\1\0\2\0"), e.Pcm8k(b"\1\0\3\0")
    assert recorded([e.Play(one)]) == recorded([e.Play(one)])
    assert recorded([e.Play(one)]) != recorded([e.Play(other)])
    assert recorded([e.Play(one)])[0]["pcm"][0] == 2


async def test_a_line_is_plain_json(make: Callable[..., Desk]) -> None:
    desk = make()
    await fly(desk)
    lines = [json.loads(line) for line in (desk.folder / "events.jsonl").read_bytes().splitlines()]
    assert lines[3] == {
        "v": 1,
        "t": 0.52,
        "kind": "line_audio",
        "pcm": ["caller.pcm", 4000, 160],
        "do": [{"kind": "send_audio", "pcm": [320, lines[3]["do"][0]["pcm"][1]]}],
    }
    assert lines[6]["kind"] == "tick"
    assert lines[7]["pcm"] == ["model.pcm", 241, 1]


def test_no_event_has_a_field_that_a_line_uses_itself() -> None:
    events = get_args(e.AnyEvent)
    assert len(events) > 15
    for event in events:
        assert not {"v", "t", "do", "kind"} & set(event.__struct_fields__)
        assert event.__struct_config__.tag not in ("tick", "gap")


async def test_without_sound_the_events_are_still_there(make: Callable[..., Desk]) -> None:
    desk = make(sound=False)
    desk.recorder.heard(0.6, tone(e.Pcm8k, 160))
    await fly(desk)
    assert {path.name for path in desk.folder.iterdir()} == {"events.jsonl"}
    entries = desk.entries()
    assert len(entries) == len(CALL)
    heard = [entry.event.pcm for entry in entries if isinstance(entry.event, e.LineAudio)]
    said = [event for _, event, _ in CALL if isinstance(event, e.LineAudio)]
    assert heard == [steady(loudness(event.pcm), event.pcm.samples) for event in said]
    assert heard[0] == b"\\\0" * 160  # as loud as it was, and nothing else
    with_sound = [entry for entry in entries if isinstance(entry.event, e.LineAudio | e.ModelAudio)]
    assert [entry for entry in entries if entry.silenced] == with_sound


async def test_sound_is_kept_from_the_moment_on_at_which_it_may_be(
    make: Callable[..., Desk],
) -> None:
    desk = make(sound=False)
    before, after = tone(e.Pcm8k, 160), tone(e.Pcm8k, 160, 161)
    desk.recorder.record(0.0, CALL[0][1], [])
    desk.recorder.record(1.0, e.LineStarted(1), [])
    desk.recorder.record(1.02, e.LineAudio(before), [])
    desk.recorder.heard(1.0, before)
    desk.recorder.record(2.0, None, [])
    desk.recorder.keep_sound()
    desk.recorder.keep_sound()
    desk.recorder.record(2.02, e.LineAudio(after), [])
    desk.recorder.heard(2.0, after)
    await desk.recorder.close()
    for track in desk.wav():
        assert track == [0] * 16000 + list(range(161, 321))
    _, _, one, _, other = desk.entries()
    assert isinstance(one.event, e.LineAudio)
    assert isinstance(other.event, e.LineAudio)
    assert (one.silenced, other.silenced) == (True, False)
    assert other.event.pcm == after


pcm8 = st.binary(max_size=40).map(lambda data: e.Pcm8k(data[: len(data) // 2 * 2]))
pcm24 = st.binary(max_size=40).map(lambda data: e.Pcm24k(data[: len(data) // 2 * 2]))
happenings = st.one_of(
    st.none(),
    st.builds(e.LineStarted, st.integers(1, 3)),
    st.builds(e.LineAudio, pcm8),
    st.builds(e.ModelAudio, pcm24),
    st.builds(e.CallerSaid, st.text()),
    st.builds(e.ToolCalled, st.text(), st.text(), st.dictionaries(st.text(), st.text())),
)
commands = st.lists(st.one_of(st.builds(e.Play, pcm8), st.builds(e.SendText, st.text())))


@settings(max_examples=40, deadline=None)
@given(
    call=st.lists(st.tuples(st.floats(0, 1), happenings, commands), max_size=20),
    takes=st.lists(st.booleans(), max_size=20),
)
def test_any_call_comes_back_as_it_was(call: list[Any], takes: list[bool]) -> None:
    draft, t, history = Draft(sound=True), 0.0, []
    with TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name) / "c"
        files = FlightFiles(folder)
        for (step, event, do), take in zip(call, takes + [False] * len(call), strict=False):
            t += step
            draft.record(t, event, do)
            history.append((t, event, recorded(do), False))
            if take:
                batch = draft.take()
                files.write(batch)
                draft.written(batch)
        files.write(draft.take())
        files.finish(b"")
        assert not call or [tuple(entry) for entry in read_flight(folder)] == history


# ---- records that are damaged


async def test_a_line_that_a_crash_tore_ends_the_record(make: Callable[..., Desk]) -> None:
    desk = make()
    await fly(desk)
    path = desk.folder / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert len(desk.entries()) == len(CALL) - 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ('{"v":1,"t":0,"kind":"no_such_event","do":[]}', "line 1"),
        (
            '{"v":1,"t":0,"kind":"line_audio","pcm":["model.wav",0,1],"do":[]}',
            "not a file of sound",
        ),
        ('{"v":1,"t":0,"kind":"line_audio","pcm":["../../x",0,1],"do":[]}', "not a file of sound"),
        ('{"v":1,"t":0,"kind":"line_audio","pcm":["caller.pcm",0,9],"do":[]}', "before sample 9"),
        ('{"v":1,"t":0,"kind":"line_audio","pcm":["model.pcm",0,1],"do":[]}', "model.pcm is gone"),
    ],
)
def test_a_record_that_cannot_be_read_says_where(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "events.jsonl").write_text(line + "\n")
    (tmp_path / "caller.pcm").write_bytes(bytes(4))
    with pytest.raises(StorageError, match=re.escape(message)):
        list(read_flight(tmp_path))


def test_a_call_without_a_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no flight record"):
        list(read_flight(tmp_path))


# ---- the recording


async def test_each_side_lies_where_it_was_really_heard(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.recorder.record(1.0, e.LineStarted(1), [])
    desk.recorder.record(1.03, e.LineAudio(tone(e.Pcm8k, 160)), [])  # 10 ms late: jitter
    desk.recorder.record(1.04, e.LineAudio(tone(e.Pcm8k, 160, 161)), [])
    desk.recorder.heard(0.5, tone(e.Pcm8k, 160))
    desk.recorder.heard(0.53, tone(e.Pcm8k, 160, 161))  # within 20 ms of its end: no gap
    desk.recorder.heard(2.0, tone(e.Pcm8k, 80, 321))
    await desk.recorder.close()
    caller, agent = desk.wav()
    assert len(caller) == len(agent) == 16080
    assert caller[8000:8320] == list(range(1, 321))
    assert not any(caller[:8000]) and not any(caller[8320:])
    assert agent[4000:4320] == list(range(1, 321))
    assert not any(agent[:4000]) and not any(agent[4320:16000])
    assert agent[16000:] == list(range(321, 401))


async def test_only_what_replay_needs_is_kept_and_only_for_its_owner(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    desk.recorder.heard(0.0, tone(e.Pcm8k, 160))
    await desk.recorder.write_transcript({"lines": [{"who": "caller", "text": "Grüezi"}]})
    await fly(desk)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in desk.folder.iterdir()}
    names = ("call.wav", "caller.pcm", "events.jsonl", "model.pcm", "transcript.json")
    assert modes == dict.fromkeys(names, 0o600)
    assert stat.S_IMODE(desk.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(desk.folder.parent.stat().st_mode) == 0o700
    transcript = json.loads((desk.folder / "transcript.json").read_text())
    assert transcript == {"lines": [{"who": "caller", "text": "Grüezi"}]}
    assert desk.errors == []


async def test_after_a_crash_the_recording_can_still_be_made(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.recorder.record(0.0, e.LineStarted(1), [])
    desk.recorder.record(0.02, e.LineAudio(tone(e.Pcm8k, 160)), [])
    desk.recorder.heard(0.02, tone(e.Pcm8k, 80))
    desk.recorder._flush()
    await desk.tasks.close(grace=5)  # and then the process is gone: nobody closes the recorder
    salvage(desk.folder)
    caller, agent = desk.wav()
    assert caller == [*range(1, 161), *[0] * 80]
    assert agent == [*[0] * 160, *range(1, 81)]
    desk.recorder._closed = True


@pytest.mark.parametrize("sound", [True, False])
async def test_a_wide_band_call_is_recorded_at_its_lines_rate(
    make: Callable[..., Desk], sound: bool
) -> None:
    desk = make(sound=sound)
    frames = [e.LineAudio(tone(e.Pcm16k, 320)), e.LineAudio(tone(e.Pcm16k, 320, 321))]
    said: list[e.AnyCommand] = [e.Play(tone(e.Pcm16k, 640))]
    desk.recorder.record(0.0, e.CallStarted("c", 1.7e9, 0.0, "0.1.0", "a", "f", {}), [])
    desk.recorder.record(0.5, e.LineStarted(1, rate=16000), said)
    for n, frame in enumerate(frames):
        desk.recorder.record(0.52 + 0.02 * n, frame, [])
    desk.recorder.heard(0.6, tone(e.Pcm16k, 80))
    desk.recorder.heard(0.605, tone(e.Pcm16k, 80, 81))
    await desk.recorder.close()
    _, started, *heard = desk.entries()
    assert started.commands[0]["pcm"][0] == 640
    assert [type(entry.event.pcm) for entry in heard if isinstance(entry.event, e.LineAudio)] == [
        e.Pcm16k
    ] * 2
    assert all(entry.silenced is not sound for entry in heard)
    if sound:
        assert [entry.event for entry in heard] == frames
        caller, agent = desk.wav(16000)
        assert caller[8000:8640] == [*range(1, 641)]
        assert agent[9600:9760] == [*range(1, 161)]


def test_a_record_that_tells_of_no_line_is_of_8_khz(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert line_rate(events) == 8000
    events.write_text('{"v":1,"t":0,"kind":"tick","do":[]}\n{"v":1,"t":1,"kind":"line_started","le')
    assert line_rate(events) == 8000


def test_salvaging_a_call_without_sound_makes_no_recording(tmp_path: Path) -> None:
    salvage(tmp_path)
    assert list(tmp_path.iterdir()) == []


def steps(track: CallerTrack, begin: float, count: int) -> list[int]:
    """Positions of so many 20 ms frames that arrive on time from `begin` on."""
    frame = e.Pcm8k(bytes(320))
    return [track.arrived(begin + 0.02 * n, frame) for n in range(count)]


def test_a_stall_and_the_burst_after_it_leave_the_time_line_alone() -> None:
    track = CallerTrack()
    track.leg(0.0)
    assert steps(track, 0.02, 50)[-1] == 49 * 160
    frame = e.Pcm8k(bytes(320))
    burst = [track.arrived(3.0, frame) for _ in range(100)]  # 2 s late, at once
    assert burst == [(50 + n) * 160 for n in range(100)]
    assert steps(track, 3.02, 100) == [(150 + n) * 160 for n in range(100)]


def test_a_real_hole_in_the_stream_becomes_silence_of_its_length() -> None:
    track = CallerTrack()
    track.leg(0.0)
    steps(track, 0.02, 50)
    after = steps(track, 4.02, 100)  # 3 s never came
    assert after[0] == 50 * 160
    assert after[-1] == round(5.98 * RATE)
    assert steps(track, 6.02, 1) == [6 * RATE]


def test_jitter_and_drift_below_a_fifth_of_a_second_are_no_hole() -> None:
    track = CallerTrack()
    track.leg(0.0)
    assert steps(track, 0.21, 100) == [160 * n for n in range(100)]


def test_a_second_leg_begins_at_its_own_time() -> None:
    track = CallerTrack()
    track.leg(0.0)
    steps(track, 0.02, 50)
    track.leg(7.0)
    assert steps(track, 7.02, 2) == [7 * RATE, 7 * RATE + 160]
    track.leg(7.0)  # never back
    assert steps(track, 7.06, 1) == [7 * RATE + 320]


# ---- a disk that fails, is full or is slow


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 64 kB (the kernel then refuses the write, as it does on a full disk)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_stops_the_recording_and_nothing_else(
    make: Callable[..., Desk], small_disk: None
) -> None:
    desk = make(sound=False)
    said = e.CallerSaid("x" * 1000)
    for n in range(200):
        desk.recorder.record(0.1 * n, said, [])
    await until(lambda: bool(desk.errors))
    stopped = desk.recorder.stopped_at
    for n in range(200, 400):
        desk.recorder.record(0.1 * n, said, [])
        desk.recorder.heard(0.1 * n, e.Pcm8k(bytes(320)))
    await desk.recorder.close()
    assert stopped == desk.recorder.stopped_at == 0.1 * 199
    assert [str(error) for error in desk.errors] == ["flight record not written: File too large"]
    assert desk.recorder._draft.waiting < 200_000


async def test_the_place_where_recording_stopped_is_marked(
    make: Callable[..., Desk], small_disk: None
) -> None:
    desk = make(sound=False)
    desk.recorder.record(0.0, e.CallerSaid("kept"), [])
    desk.recorder._flush()
    await until(lambda: desk.recorder._writing is None)
    for _ in range(200):
        desk.recorder.record(1.0, e.CallerSaid("x" * 1000), [])
    await until(lambda: bool(desk.errors))
    desk.recorder.record(9.5, e.CallerSaid("after"), [])
    await desk.recorder.close()
    lines = (desk.folder / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"v": 1, "t": 1.0, "kind": "gap", "until": 9.5, "do": []}
    assert [entry.event for entry in desk.entries()] == [e.CallerSaid("kept")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (a thread does it, and nothing tells us)
            await asyncio.sleep(0.001)


async def test_a_folder_that_cannot_be_made_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file is in the way")
    desk = Desk(tmp_path / "calls" / "c")
    desk.recorder.record(0.0, e.LineStarted(1), [])
    await desk.recorder.write_transcript([])
    await desk.recorder.close()
    desk.disk.shutdown()
    assert len(desk.errors) == 1


async def test_a_slow_disk_costs_sound_before_events_and_at_most_a_megabyte(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    gate = threading.Event()
    stuck = desk.disk.submit(gate.wait)
    second = e.ModelAudio(e.Pcm24k(bytes(48000)))
    for n in range(30):
        desk.recorder.record(float(n), second, [])
    assert desk.recorder._draft.waiting < flight_format.LIMIT + 10_000
    assert desk.recorder.lost_ms == 1000 * (30 - flight_format.LIMIT // 48000)
    gate.set()
    stuck.result()
    await until(lambda: desk.recorder._writing is None)
    desk.recorder.record(31.0, e.ModelAudio(tone(e.Pcm24k, 5)), [])
    await desk.recorder.close()
    entries = desk.entries()
    assert len(entries) == 31
    assert entries[-1].event == e.ModelAudio(tone(e.Pcm24k, 5))
    assert entries[29].event == second  # not kept, and read as silence of its length
    assert desk.errors == []


async def test_a_disk_that_hangs_for_good_stops_the_recording(make: Callable[..., Desk]) -> None:
    desk = make(sound=False)
    gate = threading.Event()
    desk.disk.submit(gate.wait)
    for n in range(1300):
        desk.recorder.record(float(n), e.CallerSaid("x" * 1000), [])
    assert [str(error) for error in desk.errors] == ["the disk is too slow for the flight record"]
    assert desk.recorder.stopped_at is not None
    assert desk.recorder._draft._steps == []
    gate.set()
    await desk.recorder.close()
    assert 100 < len(desk.entries()) < 1200


# ---- what it costs


async def test_lines_do_not_wait_for_the_call_to_end(
    make: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flight.FLUSH_EVERY <= 1.0
    monkeypatch.setattr(flight, "FLUSH_EVERY", 0.02)
    desk = make()
    desk.recorder.record(0.0, e.LineStarted(1), [])
    path = desk.folder / "events.jsonl"
    assert not path.exists()
    await until(path.exists)  # times out after 5 s
    desk.recorder.record(1.5, e.LineStarted(2), [])
    await until(lambda: len(path.read_bytes().splitlines()) == 2)
    await desk.recorder.close()


async def test_what_comes_while_the_disk_is_busy_is_written_next(
    make: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "FLUSH_EVERY", 0.01)
    desk = make()
    gate = threading.Event()
    desk.disk.submit(gate.wait)
    desk.recorder.record(0.0, e.LineStarted(1), [])
    await until(lambda: desk.recorder._writing is not None)
    desk.recorder.record(0.1, e.LineEnded("lost"), [])  # and then nothing for a long time
    gate.set()
    await until(lambda: len(desk.entries_so_far()) == 2)
    await desk.recorder.close()


def test_a_recorder_holds_nothing_but_sound_and_events() -> None:
    draft = Draft(sound=True)
    with pytest.raises(TypeError):
        draft.record(0.0, e.ToolCalled("1", "t", {"x": object()}), [])
    with pytest.raises(TypeError):
        draft.record(0.0, None, [e.StartTool("1", "t", {"x": object()})])


@pytest.mark.measure
def test_a_line_costs_a_few_microseconds() -> None:
    draft = Draft(sound=True)
    audio = e.LineAudio(e.Pcm8k(bytes(range(160)) * 2))
    up: list[e.AnyCommand] = [e.SendAudio(e.Pcm16k(bytes(640)))]
    down: list[e.AnyCommand] = [e.Play(e.Pcm8k(bytes(640))), e.KeepHeard(1.0, e.Pcm8k(bytes(640)))]
    best = 1e9
    for _ in range(5):
        begin = time.process_time()
        for n in range(1000):
            draft.record(0.02 * n, audio, up)
            draft.record(0.02 * n, None, down)
            if n % 50 == 0:
                draft.written(draft.take())
        best = min(best, (time.process_time() - begin) / 2000)
    print(f"{best * 1e6:.1f} us per line")
    assert best < 12e-6


async def test_phone_numbers_are_in_the_database_only(make: Callable[..., Desk]) -> None:
    desk = make()
    data = desk.folder.parents[1]
    number = "+15550001234"
    records = await Records.open(f"sqlite:///{data}/pickup.db")
    record = CallRecord(
        id=desk.folder.name,
        provider="twilio",
        provider_call_id="CA1",
        instance="i",
        alive_until=1.0,
        direction="inbound",
        agent="front_desk",
        started_at=0.0,
        version="0.1.0",
        from_number=number,
        number_hash=number_hash(number, b"key"),
    )
    await records.create(record)
    await fly(desk)
    await records.close()
    holding = [
        path.name
        for path in data.rglob("*")
        if path.is_file() and number[1:].encode() in path.read_bytes()
    ]
    assert holding == ["pickup.db"]
