"""Twilio's media stream as a machine: what each message means, and what it survives."""

from __future__ import annotations

import base64
import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from agent.errors import LineProtocolError, OwnFault
from agent.events import (
    Clear,
    HangUp,
    LineAudio,
    LineDigit,
    LineEnded,
    LineMark,
    Mark,
    Pcm8k,
    Play,
)
from agent.protocols.base import LineFacts, StreamStart
from agent.protocols.twilio.stream import TRANSITIONS, State, TwilioStream

VECTORS = Path(__file__).parents[2] / "vectors" / "twilio"
STREAM = "MZ1"
SILENCE = b"\xff"  # mu-law


def vectors(name: str) -> list[dict[str, Any]]:
    header, *lines = (VECTORS / name).read_text().splitlines()
    assert json.loads(header)["source"].startswith("https://www.twilio.com/")
    return [json.loads(line) for line in lines]


def text(event: str, number: int | None = None, **details: object) -> str:
    message: dict[str, object] = {"event": event, "streamSid": STREAM, **details}
    if number is not None:
        message["sequenceNumber"] = str(number)
    return json.dumps(message)


def start(**changes: object) -> str:
    details: dict[str, object] = {
        "accountSid": "AC1",
        "streamSid": STREAM,
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t"},
    }
    return text("start", 1, start={**details, **changes})


def media(number: int, payload: bytes = SILENCE * 160) -> str:
    return text(
        "media",
        number,
        media={"track": "inbound", "payload": base64.b64encode(payload).decode()},
    )


def started(now: float = 0.0) -> TwilioStream:
    stream = TwilioStream(now)
    stream.receive('{"event":"connected","protocol":"Call","version":"1.0.0"}', now)
    stream.receive(start(), now)
    return stream


def plain(event: object) -> dict[str, Any]:
    """An event as the vectors write it."""
    match event:
        case StreamStart():
            return {"start": {name: getattr(event, name) for name in event.__struct_fields__}}
        case LineAudio(pcm):
            return {"audio": list(array("h", pcm))}
        case LineDigit(digit):
            return {"digit": digit}
        case LineMark(name):
            return {"mark": name}
        case LineEnded(reason):
            return {"ended": reason}
        case _:
            raise AssertionError(event)


def test_every_message_of_the_documents() -> None:
    stream = TwilioStream(0.0)
    for vector in vectors("stream.jsonl"):
        events = stream.receive(json.dumps(vector["send"]), 0.1)
        assert [plain(event) for event in events] == vector["expect"]
    assert stream.counts() == {}
    assert stream.state is State.STOPPED


@pytest.mark.parametrize("vector", vectors("broken.jsonl"), ids=lambda vector: str(vector["name"]))
def test_one_broken_message_costs_at_most_its_own_sound(vector: dict[str, Any]) -> None:
    stream = started()
    events = stream.receive(vector["raw"], 0.02)
    assert (
        sum(event.pcm.samples for event in events if isinstance(event, LineAudio))
        == (vector["samples"])
    )
    assert stream.counts() == {vector["fault"]: 1}
    assert len(stream.receive(media(9), 0.04)) == 1
    assert stream.state is State.STARTED


def test_unreadable_sound_becomes_silence_as_long_as_the_frames_before_it() -> None:
    stream = started()
    stream.receive(media(2, bytes(800)), 0.1)
    (event,) = stream.receive(media(3, b""), 0.2)
    assert event == LineAudio(Pcm8k(bytes(1600)))


@pytest.mark.parametrize("size", [1, 159, 160, 161, 320, 8000])
def test_sound_of_any_length_is_taken(size: int) -> None:
    (event,) = started().receive(media(2, bytes(size)), 0.1)
    assert isinstance(event, LineAudio)
    assert event.pcm.samples == size


def test_a_gateway_may_leave_out_connected_stream_ids_and_sequence_numbers() -> None:
    stream = TwilioStream(0.0)
    assert isinstance(stream.receive(start(), 0.1)[0], StreamStart)
    bare = json.dumps({"event": "media", "media": {"payload": "/w=="}})
    assert len(stream.receive(bare, 0.2)) == 1
    assert len(stream.receive(bare, 0.3)) == 1
    assert stream.counts() == {}


def test_numbers_may_be_numbers() -> None:
    stream = started()
    stream.receive(media(2).replace('"2"', "2"), 0.1)
    stream.receive(media(2).replace('"2"', "2"), 0.1)
    assert stream.counts() == {"repeated": 1}


# ---- order -----------------------------------------------------------------------------------


def test_a_message_that_was_overtaken_is_taken_once() -> None:
    stream = started()
    order = [2, 4, 3, 3, 4, 5]
    heard = [len(stream.receive(media(number), 0.1)) for number in order]
    assert heard == [1, 1, 1, 0, 0, 1]
    assert stream.counts() == {"skipped": 1, "late": 1, "repeated": 2}


def test_a_sequence_number_beyond_any_sense_deafens_nobody_for_long() -> None:
    stream = started()
    stream.receive(media(10**30), 0.1)
    with pytest.raises(LineProtocolError, match="50 unreadable messages in a row"):
        for number in range(2, 100):
            stream.receive(media(number), 0.1)
    assert stream.counts()["repeated"] == 50


@given(st.lists(st.integers(2, 70), max_size=80))
def test_each_number_is_taken_once(numbers: list[int]) -> None:
    stream = started()
    taken = [n for n in numbers if stream.state is State.STARTED and _heard(stream, n)]
    assert len(taken) == len(set(taken))
    if stream.state is State.STARTED and numbers:
        oldest = max(numbers) - 63
        assert {n for n in numbers if n >= oldest} <= set(taken)


def _heard(stream: TwilioStream, number: int) -> bool:
    try:
        return bool(stream.receive(media(number), 0.1))
    except LineProtocolError:
        return False


# ---- state -----------------------------------------------------------------------------------

EXAMPLES = {
    "connected": '{"event":"connected","protocol":"Call","version":"1.0.0"}',
    "start": start(),
    "media": media(2),
    "mark": text("mark", 2, mark={"name": "m"}),
    "dtmf": text("dtmf", 2, dtmf={"digit": "5"}),
    "stop": text("stop", 2, stop={}),
}
WAYS = {
    State.NEW: [],
    State.CONNECTED: ["connected"],
    State.STARTED: ["connected", "start"],
    State.STOPPED: ["connected", "start", "stop"],
}


@pytest.mark.parametrize("event", EXAMPLES)
@pytest.mark.parametrize("state", State)
def test_every_event_in_every_state_does_what_the_table_says(state: State, event: str) -> None:
    stream = TwilioStream(0.0)
    for step in WAYS[state]:
        stream.receive(EXAMPLES[step], 0.0)
    assert stream.state is state
    if (state, event) == (State.STARTED, "start"):
        with pytest.raises(LineProtocolError, match="a second start") as caught:
            stream.receive(EXAMPLES[event], 0.0)
        assert caught.value.close_code == 1008
        assert stream.state is State.STOPPED
        return
    events = stream.receive(EXAMPLES[event], 0.0)
    expected = TRANSITIONS.get((state, event))
    assert stream.state is (expected or state)
    if expected is None:
        assert events == []
        assert stream.counts() == {"misplaced": 1}
    else:
        assert stream.counts() == {}


def test_a_call_that_stops_before_it_started_has_simply_ended() -> None:
    stream = TwilioStream(0.0)
    assert stream.receive(EXAMPLES["stop"], 0.1) == [LineEnded("stopped")]


def test_a_stop_whose_details_cannot_be_read_still_stops() -> None:
    stop = '{"event":"stop","sequenceNumber":"x","stop":{}}'
    assert started().receive(stop, 0.1) == [LineEnded("stopped")]


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        (
            start(mediaFormat={"encoding": "audio/x-l16", "sampleRate": 16000, "channels": 1}),
            1003,
            "mediaFormat is audio/x-l16/16000/1",
        ),
        (
            start(mediaFormat={"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2}),
            1003,
            "mediaFormat is audio/x-mulaw/8000/2",
        ),
        (start(callSid=""), 1008, "does not name its stream and call"),
        (start(streamSid=""), 1008, "does not name its stream and call"),
        (text("start", 1), 1008, "does not name its stream and call"),
        (start(callSid=5), 1008, "start cannot be read"),
        (start(customParameters={"a": []}), 1008, "start cannot be read"),
        ("x" * 65_537, 1009, "65537 characters"),
    ],
)
def test_a_stream_that_cannot_become_a_call_is_refused(message: str, code: int, says: str) -> None:
    stream = TwilioStream(0.0)
    with pytest.raises(LineProtocolError, match=says) as caught:
        stream.receive(message, 0.1)
    assert caught.value.close_code == code
    assert stream.state is State.STOPPED
    assert stream.deadline() is None
    assert stream.receive(EXAMPLES["connected"], 0.2) == []


def test_a_megabyte_ends_a_started_stream() -> None:
    stream = started()
    with pytest.raises(LineProtocolError) as caught:
        stream.receive(media(2, bytes(1_000_000)), 0.1)
    assert caught.value.close_code == 1009


def test_fifty_unreadable_messages_in_a_row_end_the_stream() -> None:
    stream = started()
    for _ in range(49):
        assert stream.receive(b"\x00", 0.1) == []
    stream.receive(media(2), 0.1)
    for _ in range(49):
        stream.receive(b"\x00", 0.1)
    with pytest.raises(LineProtocolError) as caught:
        stream.receive(b"\x00", 0.1)
    assert caught.value.close_code == 1007
    assert stream.counts() == {"binary": 99}


# ---- time ------------------------------------------------------------------------------------


def test_five_seconds_without_a_start_are_enough() -> None:
    stream = TwilioStream(100.0)
    stream.receive(EXAMPLES["connected"], 104.0)
    assert stream.deadline() == 105.0
    assert stream.tick(104.999) == []
    with pytest.raises(LineProtocolError, match="no start within 5 s") as caught:
        stream.tick(105.0)
    assert caught.value.close_code == 1008
    assert stream.tick(106.0) == []


def test_twenty_seconds_without_a_message_are_a_lost_line() -> None:
    stream = started(100.0)
    assert stream.deadline() == 120.0
    stream.receive(media(2), 107.5)
    stream.receive(b"even rubbish is a sign of life", 108.0)
    assert stream.deadline() == 128.0
    assert stream.tick(127.999) == []
    assert stream.tick(128.0) == [LineEnded("lost")]
    assert stream.tick(129.0) == []
    assert stream.deadline() is None


# ---- what we send ----------------------------------------------------------------------------


def sent(stream: TwilioStream, command: Play | Mark | Clear) -> object:
    message = stream.send(command)
    assert message is not None
    return json.loads(message)


def test_what_we_send_has_exactly_the_members_of_the_documents() -> None:
    stream = started()
    assert sent(stream, Play(Pcm8k(bytes(640)))) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": base64.b64encode(SILENCE * 320).decode()},
    }
    assert sent(stream, Mark('turn 7 "é" \\')) == {
        "event": "mark",
        "streamSid": STREAM,
        "mark": {"name": 'turn 7 "é" \\'},
    }
    assert sent(stream, Clear()) == {"event": "clear", "streamSid": STREAM}
    assert stream.send(HangUp()) is None


def test_a_stream_id_cannot_break_out_of_its_string() -> None:
    stream = TwilioStream(0.0)
    stream.receive(start(streamSid='"},"x":{"'), 0.0)
    assert sent(stream, Clear()) == {"event": "clear", "streamSid": '"},"x":{"'}


def test_nothing_is_sent_outside_a_started_stream() -> None:
    stream = TwilioStream(0.0)
    assert stream.send(Clear()) is None
    stopped = started()
    stopped.receive(EXAMPLES["stop"], 0.1)
    assert stopped.send(Mark("late")) is None


def test_part_of_a_frame_is_our_own_fault() -> None:
    with pytest.raises(OwnFault, match="318 bytes"):
        started().send(Play(Pcm8k(bytes(318))))


def test_the_facts_of_the_line() -> None:
    assert TwilioStream.facts == LineFacts(rate=8000, frame=0.02, marks_confirmed=True)


# ---- anything at all ---------------------------------------------------------------------------

SCALARS = st.sampled_from(
    [None, True, 0, -1, 2, 1.5, 10**20, "", "2", "-1", "MZ1", "////", "é", "\x00"]
)
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.just("a"), SCALARS)
NAMES = st.sampled_from(["connected", "start", "media", "mark", "dtmf", "stop", "clear", ""])
MESSAGES = st.one_of(
    st.sampled_from([*EXAMPLES.values(), media(3, b""), "{" * 30_000, '{"a":' * 10_000]),
    st.sampled_from(
        ["", "\ud800", "null", "[]", '"media"', '{"event":null}', '{"event":"\\ud800"}']
    ),
    st.text('{}[]:,"\\eventmdia0123456789', max_size=30),
    st.binary(max_size=20),
    st.builds(
        lambda event, details: json.dumps({**details, "event": event}),
        NAMES,
        st.fixed_dictionaries(
            {},
            optional={
                "sequenceNumber": JSON,
                "streamSid": JSON,
                "media": JSON | st.fixed_dictionaries({"payload": JSON}, optional={"track": JSON}),
                "start": JSON,
                "mark": JSON | st.fixed_dictionaries({"name": JSON}),
                "dtmf": JSON | st.fixed_dictionaries({"digit": JSON}),
                "stop": JSON,
            },
        ),
    ),
)


@given(st.lists(MESSAGES, max_size=12), st.booleans())
def test_no_message_does_more_than_the_rules_allow(messages: list[str | bytes], go: bool) -> None:
    judge(messages, go)


@pytest.mark.slow
@pytest.mark.timeout(120)
@settings(max_examples=1_000, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.booleans())
def test_no_message_of_many_does_more_than_the_rules_allow(
    messages: list[str | bytes], go: bool
) -> None:
    judge(messages, go)


def judge(messages: list[str | bytes], go: bool) -> None:
    stream = started() if go else TwilioStream(0.0)
    ended = False
    for message in messages:
        try:
            events = stream.receive(message, 0.1)
        except LineProtocolError:
            assert not ended
            ended = True
            continue
        assert not (ended and events)
        for event in events:
            ended = ended or isinstance(event, LineEnded)
            if isinstance(event, LineAudio):
                assert len(event.pcm) % 2 == 0
    assert (stream.state is State.STOPPED) == ended
    assert (stream.deadline() is None) == ended
