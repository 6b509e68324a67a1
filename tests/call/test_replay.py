"""Replay's pure part: the same events lead to the same commands, and whatever does not is told."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import msgspec
import pytest

from agent import events as e
from agent.audio.level import loudness, steady
from agent.call import replay as room
from agent.call.machine import CallMachine
from agent.call.options import OwnLine
from agent.call.replay import FoundLines, Replay, find_lines
from agent.events import Pcm8k, Pcm24k
from agent.storage.flight_reader import recorded
from tests.call import calls
from tests.call.calls import HELLO, TROUBLE, Bench, say, speech, talking

OWN = Bench(disclosure=True).machine.own
LINES = FoundLines(OWN)
SHIPPED = {name: line for name, line in msgspec.structs.asdict(OWN).items() if line is not None}
SOUNDS = [line.pcm for line in SHIPPED.values()]


class Entry(NamedTuple):
    t: float
    event: e.AnyEvent | None
    commands: list[dict[str, Any]]
    silenced: bool = False


TAPE: list[Entry] = []


class Taped(CallMachine):
    """A machine whose every step is recorded, as a session does."""

    def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
        commands = super().handle(event, now)
        if isinstance(event, e.CallStarted):
            options = msgspec.to_builtins(self._call.options)
            event = msgspec.structs.replace(event, options=options, lines=self.own.keys())
        TAPE.append(Entry(now, event, recorded(commands)))
        return commands

    def tick(self, now: float) -> list[e.AnyCommand]:
        commands = super().tick(now)
        TAPE.append(Entry(now, None, recorded(commands)))
        return commands


@pytest.fixture(scope="module")
def call() -> list[Entry]:
    """A conversation: disclosure, greeting, a question, an answer that is interrupted, a goodbye."""
    TAPE.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "CallMachine", Taped)
        bench = talking(disclosure=True)
    say(bench, 1.0, "Where can I park?")
    bench.answer(4.0, "Right behind the building.", complete=False)
    bench.run(1.5)
    bench.tell(e.Interrupted())
    bench.tell(e.TurnComplete())
    say(bench, 0.5, "Thanks, bye.")
    bench.tell(e.ToolCalled("1", "end_call", {"why": "bye"}))
    bench.tell(e.ToolFinished("1", "end_call", {"ok": True}, e.EndAfterGoodbye()))
    bench.answer(1.0, "Goodbye.")
    bench.run(1.5)
    bench.tell(e.TurnComplete())
    bench.run(0.5)
    assert bench.ended("agent_hung_up")
    return list(TAPE)


def replayed(entries: list[Entry], lines: FoundLines = LINES, **options: Any) -> Replay:
    """The call again, as if it had been recorded with these options."""
    first = entries[0].event
    assert isinstance(first, e.CallStarted)
    changed = msgspec.structs.replace(first, options=first.options | options)
    replay = Replay(changed, lines, recorded)
    for entry in entries:
        replay.step(entry)
    return replay


def kinds(commands: list[dict[str, Any]]) -> set[str]:
    return {command["kind"] for command in commands}


def test_a_recorded_call_leads_to_the_same_commands(call: list[Entry]) -> None:
    replay = replayed(call)
    assert replay.differences == []
    assert replay.sound
    assert replay.fault == ""
    assert replay.machine.reason == "agent_hung_up"
    assert replay.ticks == sum(entry.event is None for entry in call) > 10
    assert replay.events + replay.ticks == len(call)
    assert replay.commands == sum(len(entry.commands) for entry in call) > 300
    done = [kind for entry in call for kind in kinds(entry.commands)]
    assert {"answer", "play", "mark", "clear", "keep_heard", "send_audio", "finish"} <= set(done)


def test_a_changed_option_is_a_difference_where_it_first_matters(call: list[Entry]) -> None:
    first = replayed(call, greeting="Say nothing.").differences
    assert [(each.event, each.today[0]["text"]) for each in first] == [
        ("model_ready", "Say nothing.")
    ]
    playout = {"lead": 0.2, "top_up": 0.16}
    difference = replayed(call, playout=playout).differences[0]
    started = next(entry for entry in call if isinstance(entry.event, e.LineStarted))
    assert (difference.t, difference.event) == (started.t, "line_started")
    sent = [
        sum(command["pcm"][0] for command in commands if command["kind"] == "play")
        for commands in (difference.recorded, difference.today)
    ]
    assert sent == [3200, 1600]  # the lead, at 8 kHz


def test_another_sound_of_the_same_length_is_a_difference(call: list[Entry]) -> None:
    lower = OwnLine("disclosure", HELLO.text, Pcm24k(speech(1.0)[::-1]))
    replay = replayed(call, FoundLines(msgspec.structs.replace(OWN, disclosure=lower)))
    assert replay.sound
    assert replay.differences
    assert {kind for each in replay.differences for kind in kinds(each.today)} <= {
        "play",
        "mark",
        "keep_heard",
        "send_audio",
    }


def test_a_wake_up_that_the_record_does_not_have_is_made(call: list[Entry]) -> None:
    """The caller's stream breaks, and nobody brings the caller back: nothing but time passes."""
    before = [entry for entry in call if entry.t < 103.5]
    bench = Bench(disclosure=True)
    for entry in before[1:]:
        if entry.event is None:
            bench.machine.tick(entry.t)
        else:
            bench.machine.handle(entry.event, entry.t)
    broken = before[-1].t + 0.001
    lost: list[e.AnyEvent | None] = [e.LineEnded("lost"), None]
    entries = list(before)
    for t, event in zip((broken, broken + 10.0), lost, strict=True):
        done = bench.machine.tick(t) if event is None else bench.machine.handle(event, t)
        entries.append(Entry(t, event, recorded(done)))
    assert kinds(entries[-1].commands) >= {"hang_up", "finish"}
    assert replayed(entries).differences == []
    sooner, then = replayed(entries, park_within=5.0).differences
    assert (sooner.event, sooner.recorded) == ("wake_up", [])
    assert sooner.t == pytest.approx(broken + 5.0)
    assert sooner.today == entries[-1].commands
    assert (then.event, then.today) == ("tick", [])
    late = replayed(
        entries, park_within=9.5
    )  # no loop is late by a second: the record's tick will do
    assert late.differences == []


def test_a_machine_that_always_wants_to_be_woken_does_not_hang_the_replay(
    call: list[Entry],
) -> None:
    replay = replayed(call[:1])
    replay.machine.deadline = lambda: 0.0  # type: ignore[method-assign]
    replay.step(Entry(1000.0, None, []))
    assert replay.ticks == 1


def test_a_step_that_breaks_a_rule_of_the_machine_is_a_difference_and_the_last(
    call: list[Entry],
) -> None:
    kept: list[Any] = []
    first = cast("e.CallStarted", call[0].event)
    replay = Replay(first, LINES, recorded, lambda *step: kept.append(step))
    stopped = e.LineEnded("stopped")
    for entry in (call[0], Entry(100.5, stopped, []), *call[1:]):
        replay.step(entry)
    assert replay.fault == "a call that is ringing was told line_stopped"
    (difference,) = replay.differences
    assert difference.today == [{"kind": "fault", "text": replay.fault}]
    assert (difference.t, difference.event, difference.recorded) == (100.5, "line_ended", [])
    assert kept[1:] == [(100.5, stopped, [])]
    assert replay.events == 2


def test_a_bug_of_the_machine_comes_through_and_its_step_is_kept(
    call: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(CallMachine):
        def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
            raise KeyError("a bug")

    monkeypatch.setattr(room, "CallMachine", Broken)
    kept: list[Any] = []
    replay = Replay(
        cast("e.CallStarted", call[0].event), LINES, recorded, lambda *step: kept.append(step)
    )
    with pytest.raises(KeyError):
        replay.step(call[0])
    assert kept == [(100.0, call[0].event, [])]


def silent(entry: Entry) -> Entry:
    match entry.event:
        case e.LineAudio(pcm=pcm):
            return entry._replace(
                event=e.LineAudio(Pcm8k(steady(loudness(pcm), pcm.samples))), silenced=True
            )
        case e.ModelAudio(pcm=pcm):
            return entry._replace(event=e.ModelAudio(Pcm24k(len(pcm))), silenced=True)
        case _:
            return entry


def test_sound_that_was_not_kept_is_compared_by_its_length(call: list[Entry]) -> None:
    entries = [silent(entry) for entry in call]
    replay = replayed(entries)
    assert not replay.sound
    assert replay.differences == []
    assert replayed(entries, playout={"mark_every": 0.1}).differences[0].event == "line_started"


def test_a_line_that_is_lost_counts_only_where_it_is_said(call: list[Entry]) -> None:
    own = msgspec.structs.replace(OWN, trouble=OwnLine("trouble", "Trouble.", speech(0.7)))
    found = find_lines(own.keys(), SOUNDS, {})
    assert found.missing == {"trouble"}
    assert found.own.disclosure == HELLO
    assert found.own.trouble == OwnLine("trouble", "Trouble.", Pcm24k(33600))
    replay = replayed(call, found)
    assert replay.sound
    assert replay.differences == []
    found = find_lines(OWN.keys(), [], {})
    replay = replayed(call, found)
    assert not replay.sound
    assert replay.differences == []


def test_lines_are_found_by_their_sound() -> None:
    low = OwnLine("trouble", "My line is bad.", Pcm24k(speech(1.0)[::-1]))
    own = msgspec.structs.replace(OWN, trouble=low)
    assert find_lines(own.keys(), [Pcm24k(bytes(2)), *SOUNDS, low.pcm], {}) == FoundLines(own)


def test_a_record_that_does_not_tell_its_lines_has_the_shipped_ones() -> None:
    assert find_lines({}, [], SHIPPED) == FoundLines(OWN, told=False)


def test_a_line_that_the_record_lacks_is_shipped_if_the_machine_needs_it() -> None:
    keys = {"trouble": TROUBLE.key}  # and it had no disclosure
    without = msgspec.structs.replace(OWN, disclosure=None)
    assert find_lines(keys, SOUNDS, SHIPPED) == FoundLines(without)


def test_options_that_the_record_lacks_are_todays() -> None:
    options = {"greeting": "Hi.", "of_another_version": 1}
    started = e.CallStarted("c", 0.0, 0.0, "0", "front_desk", "f", options)
    replay = Replay(started, LINES, recorded)
    ready = Entry(0.1, e.ModelReady(0.1), [{"kind": "send_text", "text": "Hi."}])
    for entry in (Entry(0.0, started, []), ready):
        replay.step(entry)
    assert [each for each in replay.differences if each.event == "model_ready"] == []
    with pytest.raises(msgspec.ValidationError):
        Replay(msgspec.structs.replace(started, options={}), LINES, recorded)
