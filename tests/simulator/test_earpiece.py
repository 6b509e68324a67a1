"""Twilio's playout buffer and the caller's ear, with literal times."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from agent.simulator.earpiece import BUFFER_MAX_SAMPLES, Earpiece, Sounds
from agent.simulator.media_stream import BrokenRule
from agent.simulator.report import AgentSpeaks, AgentStops

LOUD = b"\x10"  # mu-law, about a quarter of full scale
QUIET = b"\xff"


def speech(ms: int) -> bytes:
    return (LOUD + b"\x90") * (ms * 4)


def hush(ms: int) -> bytes:
    return QUIET * (ms * 8)


def test_audio_plays_in_real_time_from_the_moment_it_comes() -> None:
    ear = Earpiece(100.0, sounds=(sounds := Sounds()))
    ear.receive(speech(40), 100.5)
    ear.receive(hush(20), 100.5)
    assert sounds.mulaw() == hush(500) + speech(40) + hush(20)
    assert [(m.at_s, m.samples, m.buffered_ms) for m in ear.media] == [
        (0.5, 320, 0.0),
        (0.5, 160, 40.0),
    ]
    assert ear.buffered_peak == 480


def test_a_mark_comes_back_when_the_audio_before_it_was_played() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(100), 1.0)
    ear.mark("one", 1.0)
    ear.receive(speech(100), 1.0)
    ear.mark("two", 1.01)
    assert ear.due(1.099) == []
    assert ear.due(1.1) == ["one"]
    assert ear.due(1.3) == ["two"]
    assert [(m.name, m.received_s, m.echoed_s, m.cleared) for m in ear.marks] == [
        ("one", 1.0, 1.1, False),
        ("two", 1.01, 1.3, False),
    ]


def test_a_mark_comes_back_at_once_when_nothing_is_buffered() -> None:
    ear = Earpiece(0.0)
    ear.mark("first", 2.0)
    assert ear.due(2.0) == ["first"]
    ear.receive(speech(20), 3.0)
    ear.mark("later", 4.0)
    assert ear.due(4.0) == ["later"]


def test_clear_drops_what_is_unplayed_and_returns_every_pending_mark_at_once() -> None:
    ear = Earpiece(0.0, sounds=(sounds := Sounds()))
    ear.receive(speech(100), 1.0)
    ear.mark("heard", 1.0)
    ear.receive(speech(1000), 1.0)
    ear.mark("lost", 1.0)
    ear.mark("lost too", 1.0)
    cleared = ear.clear(1.2)
    assert cleared.marks == ["heard", "lost", "lost too"]
    assert cleared.dropped_ms == pytest.approx(900)
    assert [(mark.name, mark.cleared) for mark in ear.marks] == [
        ("heard", False),
        ("lost", True),
        ("lost too", True),
    ]
    assert ear.due(9.0) == []
    assert len(sounds.mulaw()) == 1.2 * 8000
    assert ear.attention.heard[0].heard_ms == pytest.approx(200)


def test_audio_right_after_clear_is_stale_and_audio_of_the_next_reply_is_not() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(500), 1.0)
    ear.clear(1.2)
    ear.receive(speech(40), 1.25)  # was on its way
    ear.receive(hush(40), 1.25)  # silence harms nobody
    ear.receive(speech(20), 1.5)  # the same leak goes on
    ear.receive(speech(500), 2.5)  # the next reply
    assert ear.clears[0].stale_ms == pytest.approx(60)


def test_a_hole_inside_a_reply_is_an_underrun_and_silence_between_replies_is_none() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(100), 1.0)
    ear.receive(speech(100), 1.15)  # 50 ms too late
    ear.receive(speech(100), 2.0)  # another utterance
    ear.clear(2.05)
    ear.receive(speech(100), 2.2)  # after clear, nothing is missing
    assert [(u.at_s, round(u.gap_ms)) for u in ear.underruns] == [(1.1, 50)]


def test_a_gap_below_a_millisecond_is_the_jitter_of_our_own_socket() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(20), 1.0)
    ear.receive(speech(20), 1.0205)
    assert ear.underruns == []


def test_ten_minutes_unplayed_are_too_much() -> None:
    ear = Earpiece(0.0)
    ear.receive(b"\xff" * BUFFER_MAX_SAMPLES, 1.0)
    with pytest.raises(BrokenRule, match="buffer-overflow"):
        ear.receive(b"\xff", 1.0)
    ear.receive(b"\xff", 1.1)  # some was played meanwhile


def test_utterances_are_what_lies_between_two_silences() -> None:
    ear = Earpiece(0.0, quiet_s=0.6)
    ear.receive(hush(100) + speech(200) + hush(300) + speech(100) + hush(1000), 1.0)
    ear.receive(speech(100), 2.7)
    events = [
        event
        for tick in range(50, 200)
        for event in ear.attention.listen(ear.position(tick * 0.02), tick * 0.02)
    ]
    assert [(type(event), round(event.at_s, 3)) for event in events] == [
        (AgentSpeaks, 1.1),
        (AgentStops, 1.7),
        (AgentSpeaks, 2.7),
        (AgentStops, 2.8),
    ]
    assert [heard.heard_ms for heard in ear.attention.heard] == [
        pytest.approx(600),
        pytest.approx(100),
    ]


def test_a_hole_is_not_counted_as_heard() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(100), 1.0)
    ear.receive(speech(100), 1.2)
    ear.attention.listen(ear.position(2.0), 2.0)
    assert ear.attention.heard[0].end_s == 1.3
    assert ear.attention.heard[0].heard_ms == pytest.approx(200)


def test_a_stream_that_ends_takes_its_audio_and_marks_with_it() -> None:
    ear = Earpiece(0.0)
    ear.receive(speech(1000), 1.0)
    ear.mark("never", 1.0)
    ear.attention.listen(ear.position(1.1), 1.1)
    (stops,) = ear.stream_gone(1.2)
    assert isinstance(stops, AgentStops)
    assert stops.heard_ms == pytest.approx(200)
    assert ear.due(9.0) == []
    assert ear.attention.voice_began is None


def test_a_cut_in_the_middle_of_nothing_changes_nothing() -> None:
    sounds = Sounds()
    sounds.cut(100)
    assert sounds.mulaw() == b""
    sounds.place(0, b"ab")
    sounds.place(4, b"cd")
    sounds.cut(1)
    assert sounds.mulaw() == b"a"


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["media", "mark", "clear", "wait"]), st.integers(1, 900), st.booleans()
        ),
        max_size=40,
    )
)
def test_whatever_comes_marks_return_once_in_order_and_heard_audio_never_overlaps(
    steps: list[tuple[str, int, bool]],
) -> None:
    ear = Earpiece(0.0, sounds=(sounds := Sounds()))
    now, sent, returned, queued = 0.0, [], [], 0
    for number, (kind, amount, loud) in enumerate(steps):
        if kind == "media":
            ear.receive((LOUD if loud else QUIET) * amount, now)
            queued += amount
        elif kind == "mark":
            sent.append(str(number))
            ear.mark(str(number), now)
        elif kind == "clear":
            returned += ear.clear(now).marks
        else:
            now += amount / 8000
        returned += ear.due(now)
        ear.attention.listen(ear.position(now), now)
    dropped = sum(clear.dropped_ms for clear in ear.clears) * 8
    now += 1_000
    returned += ear.due(now)
    ear.attention.listen(ear.position(now), now)
    assert returned == sent
    loud_samples = sum(mark == LOUD[0] for mark in sounds.mulaw())
    assert sum(media.samples for media in ear.media) == queued
    assert loud_samples <= queued - round(dropped) + 1
    ends = [0.0]
    for heard in ear.attention.heard:
        assert heard.start_s >= ends[-1]
        ends.append(heard.end_s)
