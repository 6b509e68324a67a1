"""The Media Streams wire from Twilio's side: each rule by name, each message as documented."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, strategies as st

from agent.simulator.media_stream import (
    RULES,
    BrokenRule,
    Clear,
    Mark,
    Media,
    StreamWriter,
    connected,
    decode,
)

SID = "MZ" + "0" * 32
AUDIO = base64.b64encode(b"\x7f" * 160).decode()


def message(**fields: object) -> str:
    return json.dumps(fields)


BROKEN = [
    ("not-json", "hello"),
    ("not-json", '{"event":"clear"'),
    ("wrong-type", "[1]"),
    ("wrong-type", "null"),
    ("missing-field", message(streamSid=SID)),
    ("unknown-event", message(event="speak", streamSid=SID)),
    ("unknown-event", message(event=7, streamSid=SID)),
    ("unknown-event", message(event="stop", streamSid=SID)),
    ("missing-field", message(event="clear")),
    ("missing-field", message(event="media", streamSid=SID)),
    ("missing-field", message(event="media", streamSid=SID, media={})),
    ("missing-field", message(event="mark", streamSid=SID, mark={})),
    ("extra-field", message(event="clear", streamSid=SID, clear={})),
    ("extra-field", message(event="media", streamSid=SID, media={"payload": AUDIO, "track": "o"})),
    ("extra-field", message(event="media", streamSid=SID, media={"payload": AUDIO}, chunk=1)),
    ("missing-field", message(event="media", streamSid=SID, media={"playload": AUDIO})),
    ("wrong-type", message(event="media", streamSid=SID, media=AUDIO)),
    ("wrong-type", message(event="media", streamSid=SID, media={"payload": 5})),
    ("wrong-type", message(event="mark", streamSid=SID, mark={"name": 5})),
    ("wrong-type", message(event="mark", streamSid=5, mark={"name": "a"})),
    ("wrong-stream-sid", message(event="clear", streamSid="MZ1")),
    ("bad-base64", message(event="media", streamSid=SID, media={"payload": "####"})),
    ("bad-base64", message(event="media", streamSid=SID, media={"payload": AUDIO[:-1]})),
    (
        "file-header",
        message(
            event="media",
            streamSid=SID,
            media={"payload": base64.b64encode(b"RIFF\0\0\0\0WAVEfmt ").decode()},
        ),
    ),
]


@pytest.mark.parametrize(("rule", "text"), BROKEN)
def test_a_broken_rule_is_named_with_its_document(rule: str, text: str) -> None:
    with pytest.raises(BrokenRule) as broken:
        decode(text, SID)
    violation = broken.value.violation
    assert violation.rule == rule
    assert violation.doc == RULES[rule]
    assert violation.doc.startswith("https://www.twilio.com/docs/")
    assert rule in broken.value.close_reason()
    assert len(broken.value.close_reason().encode()) <= 123


def test_bytes_that_are_no_utf8_are_not_json() -> None:
    with pytest.raises(BrokenRule, match="not-json"):
        decode(b'{"event":"mark","streamSid":"\xff","mark":{"name":"a"}}', SID)


def test_the_three_documented_messages_are_taken() -> None:
    media = decode(message(event="media", streamSid=SID, media={"payload": AUDIO}), SID)
    assert isinstance(media, Media)
    assert media.media.payload == b"\x7f" * 160
    mark = decode(message(event="mark", streamSid=SID, mark={"name": "turn 1"}), SID)
    assert isinstance(mark, Mark)
    assert mark.mark.name == "turn 1"
    assert isinstance(decode(message(event="clear", streamSid=SID), SID), Clear)


@given(st.one_of(st.text(), st.binary(), st.from_type(dict).map(str)))
def test_whatever_comes_is_taken_or_breaks_a_named_rule(raw: str | bytes) -> None:
    try:
        decode(raw, SID)
    except BrokenRule as broken:
        assert broken.violation.rule in RULES


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "event": st.sampled_from(["media", "mark", "clear", "start"]) | json_values,
            "streamSid": st.just(SID) | json_values,
            "media": st.fixed_dictionaries({}, optional={"payload": json_values}) | json_values,
            "mark": st.fixed_dictionaries({}, optional={"name": json_values}) | json_values,
        },
    )
)
def test_no_object_passes_with_other_fields_than_the_documented_ones(
    fields: dict[str, object],
) -> None:
    allowed = {"media": {"media"}, "mark": {"mark"}, "clear": set[str]()}
    try:
        decode(json.dumps(fields), SID)
    except BrokenRule:
        return
    event = fields["event"]
    assert isinstance(event, str)
    assert fields.keys() == {"event", "streamSid"} | allowed[event]
    assert fields["streamSid"] == SID


def test_counters_are_strings_and_the_format_is_numbers() -> None:
    writer = StreamWriter(account_sid="AC1", call_sid="CA1", stream_sid=SID, first_ms=63)
    texts = [
        connected(),
        writer.start({'na"me': "value"}),
        writer.media(b"\xff" * 160),
        writer.dtmf("#"),
        writer.mark('quo"te'),
        writer.media(b"\x00" * 160),
        writer.stop(),
    ]
    assert [json.loads(text) for text in texts] == [
        {"event": "connected", "protocol": "Call", "version": "1.0.0"},
        {
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": SID,
            "start": {
                "accountSid": "AC1",
                "streamSid": SID,
                "callSid": "CA1",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {'na"me': "value"},
            },
        },
        {
            "event": "media",
            "sequenceNumber": "2",
            "streamSid": SID,
            "media": {
                "track": "inbound",
                "chunk": "1",
                "timestamp": "63",
                "payload": base64.b64encode(b"\xff" * 160).decode(),
            },
        },
        {
            "event": "dtmf",
            "sequenceNumber": "3",
            "streamSid": SID,
            "dtmf": {"track": "inbound_track", "digit": "#"},
        },
        {"event": "mark", "sequenceNumber": "4", "streamSid": SID, "mark": {"name": 'quo"te'}},
        {
            "event": "media",
            "sequenceNumber": "5",
            "streamSid": SID,
            "media": {
                "track": "inbound",
                "chunk": "2",
                "timestamp": "83",
                "payload": base64.b64encode(b"\x00" * 160).decode(),
            },
        },
        {
            "event": "stop",
            "sequenceNumber": "6",
            "streamSid": SID,
            "stop": {"accountSid": "AC1", "callSid": "CA1"},
        },
    ]
    assert writer.chunks == 2
