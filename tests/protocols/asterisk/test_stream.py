"""Asterisk's WebSocket channel, message by message, at literal times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from agent.audio import g711
from agent.errors import LineProtocolError, OwnFault
from agent.events import (
    Answer,
    Clear,
    Digits,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)
from agent.protocols.asterisk.stream import (
    COMMAND_BYTES,
    HELD_FRAMES,
    MAX_BAD_RUN,
    AsteriskStream,
    Fault,
    State,
)
from agent.protocols.base import StreamStart

MEDIA_START: dict[str, Any] = {
    "event": "MEDIA_START",
    "connection_id": "e226e283-c90a-4ea9-9e37-389000b9ef47",
    "channel": "WebSocket/agent",
    "channel_id": "pbx1-123456789.999",
    "format": "ulaw",
    "optimal_frame_size": 160,
    "ptime": 20,
    "channel_variables": {"PICKUP_CUSTOMER": "Ada", "DIALSTATUS": "", "PICKUP": "no"},
}
FRAME = b"\xff" * 160
SPEECH = Play(Pcm8k(b"\x10\x20" * 320))  # 40 ms


def started(now: float = 0.0) -> AsteriskStream:
    stream = AsteriskStream(now)
    stream.receive(json.dumps(MEDIA_START), now)
    return stream


def event(name: str, **members: Any) -> str:
    return json.dumps({"event": name, **members})


def test_it_begins_with_a_start_that_brings_our_variables_and_no_others() -> None:
    stream = AsteriskStream(10.0)
    assert stream.deadline() == 15.0
    assert stream.receive(json.dumps(MEDIA_START), 10.1) == [
        StreamStart(
            stream_id="e226e283-c90a-4ea9-9e37-389000b9ef47",
            call_id="pbx1-123456789.999",
            account="",
            parameters={"customer": "Ada"},
            encoding="ulaw",
            rate=8000,
        )
    ]
    assert stream.counts() == {}


@pytest.mark.parametrize(
    ("message", "code", "why"),
    [
        (MEDIA_START | {"format": "slin16"}, 1003, "needs c(ulaw)"),
        (MEDIA_START | {"optimal_frame_size": 320}, 1003, "needs c(ulaw)"),
        (MEDIA_START | {"channel_id": ""}, 1008, "does not name its channel"),
    ],
)
def test_a_start_that_cannot_become_a_call_is_refused(
    message: dict[str, Any], code: int, why: str
) -> None:
    stream = AsteriskStream(0.0)
    with pytest.raises(LineProtocolError, match="Asterisk: ") as refused:
        stream.receive(json.dumps(message), 0.1)
    assert (refused.value.close_code, why in str(refused.value)) == (code, True)
    assert stream.state is State.STOPPED
    assert stream.receive(FRAME, 0.2) == []
    assert stream.tick(99.0) == []
    assert stream.deadline() is None


def test_plain_text_control_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(LineProtocolError, match=r"f\(json\)"):
        AsteriskStream(0.0).receive("MEDIA_START connection_id:1 channel:a format:ulaw", 0.1)


def test_without_a_start_in_time_it_is_refused() -> None:
    stream = AsteriskStream(0.0)
    assert stream.tick(4.9) == []
    with pytest.raises(LineProtocolError, match="within 5 s"):
        stream.tick(5.0)


def test_a_second_start_is_refused() -> None:
    stream = started()
    with pytest.raises(LineProtocolError, match="second"):
        stream.receive(json.dumps(MEDIA_START), 1.0)


def test_what_asterisk_tells_during_a_call() -> None:
    stream = started()
    assert stream.receive(FRAME, 0.02) == [LineAudio(g711.decode(FRAME))]
    assert stream.receive(event("DTMF_END", digit="#", channel_id="1"), 0.1) == [LineDigit("#")]
    assert stream.receive(event("MEDIA_MARK_PROCESSED", correlation_id="m1"), 0.2) == [
        LineMark("m1")
    ]
    for name in ("STATUS", "QUEUE_DRAINED", "MEDIA_BUFFERING_COMPLETED"):
        assert stream.receive(event(name, channel_id="1"), 0.3) == []
    assert stream.counts() == {}
    assert stream.receive(event("ERROR", error_text="no"), 0.4) == []
    assert stream.receive(event("MEDIA_PARTY"), 0.4) == []
    assert stream.receive(event("DTMF_END", digit="11"), 0.4) == []
    assert stream.receive(event("DTMF_END"), 0.4) == []
    assert stream.receive(b"", 0.4) == []
    assert stream.counts() == {"refused": 1, "unknown": 1, "malformed": 2, "empty": 1}


def test_commands_are_short_and_one_a_frame() -> None:
    stream = started()
    assert stream.send(Answer()) == '{"command":"ANSWER"}'
    assert stream.send(SPEECH) == g711.encode(SPEECH.pcm)
    assert stream.send(Mark("7")) == '{"command":"MARK_MEDIA","correlation_id":"7"}'
    assert stream.send(Clear()) == '{"command":"FLUSH_MEDIA"}'
    assert stream.send(HangUp()) == '{"command":"HANGUP"}'
    assert stream.send(Digits("1")) is None
    assert stream.replies() == []


def test_what_asterisk_would_not_read_is_never_sent() -> None:
    stream = started()
    longest = stream.send(Mark("m" * 83))
    assert isinstance(longest, str)
    assert len(longest) == COMMAND_BYTES - 1
    with pytest.raises(OwnFault, match="128 bytes"):
        stream.send(Mark("m" * 84))
    with pytest.raises(OwnFault, match="whole frames"):
        stream.send(Play(Pcm8k(b"\0" * 322)))


def test_before_the_start_nothing_is_sent_and_nothing_is_heard() -> None:
    stream = AsteriskStream(0.0)
    assert stream.send(Answer()) is None
    assert stream.receive(FRAME, 0.1) == []
    assert stream.receive(event("DTMF_END", digit="1"), 0.1) == []
    assert stream.counts() == {"misplaced": 2}


def test_rubbish_is_counted_and_too_much_of_it_ends_the_stream() -> None:
    stream = started()
    for n in range(MAX_BAD_RUN - 1):
        assert stream.receive("{" if n % 2 else '{"event":7}', 0.1) == []
    stream.receive(FRAME, 0.2)  # which begins the count anew
    for _ in range(MAX_BAD_RUN - 1):
        stream.receive("[" * 5000, 0.3)
    with pytest.raises(LineProtocolError) as refused:
        stream.receive("", 0.4)
    assert refused.value.close_code == 1007
    assert stream.faults[Fault.MALFORMED] == 2 * MAX_BAD_RUN - 1


# ---- Asterisk's queue


def test_sound_and_marks_wait_in_order_while_the_queue_is_full() -> None:
    stream = started()
    stream.receive(event("MEDIA_XOFF", channel_id="1"), 1.0)
    assert stream.send(SPEECH) is None
    assert stream.send(Mark("1")) is None
    stream.receive(event("MEDIA_XOFF", channel_id="1"), 1.0)  # told twice
    assert stream.replies() == []
    stream.receive(event("MEDIA_XON", channel_id="1"), 2.0)
    mark = '{"command":"MARK_MEDIA","correlation_id":"1"}'
    assert stream.replies() == [g711.encode(SPEECH.pcm), mark]
    assert stream.replies() == []
    assert stream.send(SPEECH) is not None
    stream.receive(event("MEDIA_XON", channel_id="1"), 2.0)  # nothing waits
    assert stream.replies() == []


def test_what_waits_too_long_is_dropped_from_its_end() -> None:
    stream = started()
    stream.receive(event("MEDIA_XOFF"), 1.0)
    for _ in range(HELD_FRAMES // 2 + 3):
        stream.send(SPEECH)
    assert stream.counts() == {"overflow": 3}
    stream.receive(event("MEDIA_XON"), 1.0)
    assert len(stream.replies()) == HELD_FRAMES // 2


def test_a_flush_drops_what_waits_and_asks_whether_there_is_room_now() -> None:
    stream = started()
    stream.receive(event("MEDIA_XOFF"), 1.0)
    stream.send(SPEECH)
    assert stream.send(Clear()) == '{"command":"FLUSH_MEDIA"}'
    assert stream.replies() == ['{"command":"GET_STATUS"}']
    stream.receive(event("STATUS", queue_full=True), 1.1)
    assert stream.send(SPEECH) is None
    stream.receive(event("STATUS", queue_full=False), 1.1)
    assert stream.replies() == [g711.encode(SPEECH.pcm)]


# ---- silence


def test_a_line_that_sends_nothing_is_silent_to_the_model() -> None:
    stream = started()
    stream.receive(FRAME, 1.0)
    assert stream.deadline() == 1.5
    assert stream.tick(1.4) == []
    assert stream.tick(1.5) == [LineAudio(Pcm8k(bytes(2 * 4000)))]
    assert stream.deadline() == pytest.approx(1.6)
    assert stream.tick(1.6) == [LineAudio(Pcm8k(bytes(2 * 800)))]
    stream.receive(FRAME, 1.7)
    assert stream.deadline() == pytest.approx(2.2)


def test_a_line_that_sends_nothing_is_asked_whether_it_is_there() -> None:
    stream = started()
    stream.receive(FRAME, 1.0)
    stream.tick(10.9)
    assert stream.replies() == []
    stream.tick(11.0)
    stream.tick(11.1)
    assert stream.replies() == ['{"command":"GET_STATUS"}']
    stream.receive(event("STATUS", queue_full=False), 11.2)
    assert LineEnded("lost") not in stream.tick(30.0)
    assert stream.replies() == ['{"command":"GET_STATUS"}']
    assert stream.tick(31.2) == [LineEnded("lost")]
    assert stream.state is State.STOPPED


NAMES = ("MEDIA_START", "MEDIA_XOFF", "MEDIA_XON", "STATUS", "DTMF_END", "ERROR", "X", "")
EVENTS = st.builds(
    lambda name, member, value: json.dumps({"event": name, member: value}),
    st.sampled_from(NAMES),
    st.sampled_from(("digit", "correlation_id", "queue_full", "format")),
    st.one_of(st.text(max_size=5), st.booleans(), st.none()),
)
MESSAGES = st.one_of(st.binary(max_size=400), st.text(max_size=60), EVENTS)


@settings(max_examples=100)
@given(st.lists(MESSAGES, max_size=20))
def test_nothing_that_comes_raises_anything_but_a_refusal(messages: list[str | bytes]) -> None:
    stream = started()
    for n, message in enumerate(messages):
        try:
            stream.receive(message, float(n))
            stream.tick(float(n))
        except LineProtocolError:
            assert stream.state is State.STOPPED
