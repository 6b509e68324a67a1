"""How the caller's audio reaches the model: at once, in order, and never faster than permitted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from agent.audio.resample import Upsample8to16
from agent.call.options import UplinkOptions
from agent.call.uplink import Toll, Uplink
from agent.events import EndAudio, Pcm8k, SendAudio, SendText, SendToolResult
from tests.call.calls import SILENCE, VOICE

OPTIONS = UplinkOptions()


def sent(commands: list[object]) -> bytes:
    return b"".join(command.pcm for command in commands if isinstance(command, SendAudio))


def noise(seconds: float) -> Pcm8k:
    samples = np.random.default_rng(1).integers(-9000, 9000, round(seconds * 8000))
    return Pcm8k(samples.astype("<i2").tobytes())


def frames(pcm: Pcm8k) -> list[Pcm8k]:
    return [Pcm8k(pcm[at : at + 320]) for at in range(0, len(pcm), 320)]


def drain(uplink: Uplink, begin: float) -> list[tuple[float, object]]:
    """All that the uplink sends when it is woken at its deadlines, with times."""
    log: list[tuple[float, object]] = [(begin, each) for each in uplink.due(begin)]
    while (deadline := uplink.deadline()) is not None:
        now = max(deadline, begin)
        got = uplink.due(now)
        assert got, "a deadline at which nothing is due"
        log += [(now, each) for each in got]
    return log


def test_in_steady_state_each_frame_leaves_at_once() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    for n in range(100):
        uplink.feed(SILENCE, n * 0.02)
        (command,) = uplink.due(n * 0.02)
        assert isinstance(command, SendAudio)
        assert command.pcm.seconds == pytest.approx(0.02)
    assert uplink.toll == Toll()


def test_a_backlog_of_ten_seconds_goes_merged_paced_in_order_and_whole() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    pcm = noise(10.0)
    for frame in frames(pcm):
        uplink.feed(frame, 0.0)
    uplink.open()
    log = drain(uplink, 10.0)
    commands = [command for _, command in log]
    assert sent(commands) == Upsample8to16().feed(pcm)
    assert all(isinstance(c, SendAudio) and c.pcm.seconds <= 0.1 + 1e-9 for c in commands)
    assert len(commands) <= 110
    assert 10.0 / 4 <= log[-1][0] - 10.0 <= 10.0 / 3.4
    assert uplink.toll.merged == uplink.toll.delayed == pytest.approx(10.0)
    assert uplink.toll.dropped == 0


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.2), st.integers(1, 400)),
        min_size=1,
        max_size=120,
    ),
    st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_and_however_late_the_limits_hold(
    arrivals: list[tuple[float, int]], opened_after: int
) -> None:
    uplink = Uplink(OPTIONS, 0.0)
    log: list[tuple[float, object]] = []
    now = 0.0
    whole = bytearray()
    reference = Upsample8to16()
    for n, (pause, samples) in enumerate(arrivals):
        if n == opened_after:
            uplink.open()
            uplink.say(SendText("hello"))
        now += pause
        pcm = Pcm8k(bytes([n % 251, 1] * samples))
        whole += reference.feed(pcm)
        uplink.feed(pcm, now)
        log += [(now, each) for each in uplink.due(now)]
    if opened_after >= len(arrivals):
        assert not log
        return
    log += drain(uplink, now)
    commands = [command for _, command in log]
    assert bytes(whole).startswith(sent(commands))
    times = [at for at, _ in log]
    for begin in times:
        inside = [each for at, each in log if begin <= at < begin + 1.0]
        assert len(inside) <= 60
        assert sum(c.pcm.seconds for c in inside if isinstance(c, SendAudio)) <= 4.0


def test_words_and_results_overtake_audio() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for _ in range(50):
        uplink.feed(SILENCE, 0.0)
    uplink.say(SendText("first"))
    uplink.say(SendText("second"))
    uplink.open()
    commands = uplink.due(1.0)
    assert commands[:2] == [SendText("first"), SendText("second")]


def test_at_most_sixty_messages_in_any_second() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    for n in range(100):
        uplink.say(SendText(str(n)))
    log = drain(uplink, 5.0)
    assert [at for at, _ in log] == [5.0] * 60 + [6.0] * 40


def test_nothing_is_said_to_a_session_that_is_not_ready() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.say(SendText("hello"))
    uplink.feed(VOICE, 0.0)
    assert uplink.due(0.0) == []
    assert uplink.deadline() is None


def test_before_ready_the_last_ten_seconds_are_kept_and_the_rest_is_counted() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for n in range(600):
        uplink.feed(SILENCE, n * 0.02)
    assert uplink.waiting == pytest.approx(10.0)
    assert uplink.toll.dropped == pytest.approx(2.0)


def test_a_session_that_is_slow_for_half_a_minute_loses_the_oldest() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    for _ in range(1550):
        uplink.feed(SILENCE, 0.0)
    assert uplink.waiting == pytest.approx(30.0)
    assert uplink.toll.dropped == pytest.approx(1.0)


def test_a_closed_uplink_counts_what_it_lost() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for _ in range(10):
        uplink.feed(VOICE, 0.0)
    uplink.close()
    assert uplink.waiting == 0
    assert uplink.toll.dropped == pytest.approx(0.2)
    assert uplink.speech_sent


def test_speech_counts_as_sent_when_its_last_frame_has_left() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    for n in range(20):
        uplink.feed(VOICE, n * 0.02)
    assert not uplink.speech_sent
    uplink.open()
    drain(uplink, 1.0)
    assert uplink.speech_sent


def test_larger_messages_in_steady_state_are_a_setting() -> None:
    uplink = Uplink(UplinkOptions(message=0.06), 0.0)
    uplink.open()
    out = []
    for n in range(6):
        uplink.feed(SILENCE, n * 0.02)
        out.append([c.pcm.seconds for c in uplink.due(n * 0.02) if isinstance(c, SendAudio)])
    assert out == [[], [], [0.06], [], [], [0.06]]


def speak(uplink: Uplink, begin: float, *parts: tuple[Pcm8k, float]) -> float:
    """Feed frames for so many seconds each; returns the time after them."""
    now = begin
    for frame, seconds in parts:
        for _ in range(round(seconds / 0.02)):
            uplink.feed(frame, now)
            now += 0.02
    return now


def test_a_reply_does_not_answer_what_still_waits_in_a_backlog() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    now = speak(uplink, 0.0, (VOICE, 1.0), (SILENCE, 1.0), (VOICE, 1.0), (SILENCE, 0.2))
    uplink.open()
    uplink.due(now)  # the first tenth of a second
    uplink.answering()
    drain(uplink, now)
    uplink.forget(now)  # the reply is generated to its end
    assert uplink.again()
    assert uplink.waiting == pytest.approx(3.2, abs=0.1)  # nothing of it was answered


def test_a_reply_that_comes_while_the_caller_speaks_leaves_his_sentence_whole() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    now = 0.0
    for frame, seconds in ((VOICE, 1.0), (SILENCE, 1.0), (VOICE, 0.8)):
        for _ in range(round(seconds / 0.02)):
            uplink.feed(frame, now)
            uplink.due(now)
            now += 0.02
    assert uplink.answering() == pytest.approx(2.0, abs=0.05)  # it answers the first sentence
    uplink.forget(now)
    assert uplink.again()
    assert uplink.waiting == pytest.approx(0.8 + 0.3, abs=0.1)


def test_a_reply_to_all_that_was_said_leaves_nothing() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    now = 0.0
    for frame, seconds in ((VOICE, 1.0), (SILENCE, 0.7)):
        for _ in range(round(seconds / 0.02)):
            uplink.feed(frame, now)
            uplink.due(now)
            now += 0.02
    assert uplink.answering() is None
    uplink.forget(now)
    assert not uplink.again()


def test_what_has_to_be_heard_again_is_kept_whole_while_there_is_no_session() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    uplink.open()
    now = speak(uplink, 0.0, (VOICE, 8.0))
    drain(uplink, now)
    assert uplink.again()
    uplink.pause()  # the next session is gone before it heard a word of it
    speak(uplink, now, (VOICE, 8.0))
    assert uplink.waiting == pytest.approx(16.0, abs=0.2)
    assert uplink.toll.dropped == 0.0


def test_an_answer_that_is_not_wanted_any_more_is_not_sent() -> None:
    uplink = Uplink(OPTIONS, 0.0)
    kept, text = SendToolResult("2", "echo", {}), SendText("Hello.")
    for command in (SendToolResult("1", "echo", {}), text, kept):
        uplink.say(command)
    uplink.unsay(["1", "3"])
    uplink.open()
    assert uplink.due(0.0) == [text, kept]


def test_the_callers_end_is_told_behind_what_he_said() -> None:
    uplink = Uplink(UplinkOptions(), 0.0)
    for n in range(10):
        uplink.feed(VOICE, 0.02 * n)
    uplink.end()
    uplink.feed(SILENCE, 0.2)
    uplink.open()
    told = [command for _, command in drain(uplink, 0.2)]
    kinds = [type(command) for command in told]
    assert kinds == [SendAudio, SendAudio, EndAudio, SendAudio]
    assert uplink.deadline() is None


def test_the_callers_end_needs_no_more_sound_to_be_told() -> None:
    uplink = Uplink(UplinkOptions(), 0.0)
    uplink.open()
    uplink.end()
    assert uplink.deadline() == 0.0
    assert uplink.due(1.0) == [EndAudio()]


def test_a_word_is_heard_again_without_what_was_said_before_it_and_with_its_end() -> None:
    uplink = Uplink(UplinkOptions(), 0.0)
    uplink.open()
    assert not uplink.again_and_end(0.0)
    now = speak(uplink, 0.0, (VOICE, 1.0), (SILENCE, 2.0))
    word = now
    now = speak(uplink, now, (VOICE, 0.4), (SILENCE, 1.0))
    now = drain(uplink, now)[-1][0] + 1.0
    assert uplink.again_and_end(word)
    uplink.feed(SILENCE, now)
    told = [command for _, command in drain(uplink, now)]
    again = told[: [type(command) for command in told].index(EndAudio)]
    seconds = sum(command.pcm.seconds for command in again if isinstance(command, SendAudio))
    assert 0.8 <= seconds <= 1.0  # what leads in, the word, a fifth of a second
