"""Gemini's messages: whatever comes, what fits is kept, what does not is counted, nothing raises."""

import base64
import json

import pytest
from hypothesis import given, settings, strategies as st

from agent.protocols.gemini.messages import Faults, Message, ServerMessage, Usage, _fields, parse

AUDIO = {
    "serverContent": {
        "modelTurn": {
            "parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAECAw=="}}]
        }
    }
}


def test_text_and_binary_frames_read_the_same() -> None:
    faults = Faults()
    text = json.dumps(AUDIO)
    assert parse(text, faults) == parse(text.encode(), faults)
    assert faults.counts == {}


def test_an_empty_setup_complete_is_present() -> None:
    message = parse(b'{"setupComplete": {}}', Faults())
    assert message is not None
    assert message.setup_complete is not None


def test_an_absent_setup_complete_is_absent() -> None:
    faults = Faults()
    assert parse(b"{}", faults) == ServerMessage()
    assert parse(b'{"setupComplete": null}', faults) == ServerMessage()
    assert faults.counts == {}


def test_an_unknown_field_costs_only_itself() -> None:
    faults = Faults()
    message = parse(json.dumps({**AUDIO, "brandNew": {"deep": [1]}}), faults)
    assert message == parse(json.dumps(AUDIO), faults)
    assert faults.counts == {"unknown field brandNew": 1}


def test_numbers_may_be_strings() -> None:
    message = parse(
        b'{"usageMetadata": {"totalTokenCount": "12"}, "x": 1}', faults := Faults()
    )  # the slow path
    assert message is not None
    assert message.usage_metadata == Usage(total_token_count=12)
    assert parse(b'{"usageMetadata": {"totalTokenCount": "12"}}', faults) == message


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b'{"a": "\xff"}',
        b'{"serverContent": {"inputTranscription": {"text": "\xff"}}}',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"toolCall": {"functionCalls": [{"name": "x", "args": ' + b'{"a":' * 100_000,
        '{"a": "\ud800"}',
        b'{"setupComplete": {}} {}',
    ],
)
def test_a_frame_that_is_no_json_object_is_counted(frame: str | bytes) -> None:
    faults = Faults()
    assert parse(frame, faults) is None
    assert faults.counts == {"malformed frame": 1}


def test_the_peer_cannot_fill_memory_with_names() -> None:
    faults = Faults()
    for n in range(1000):
        parse(json.dumps({f"{n}" + "x" * 1000: 1}), faults)
    assert len(faults.counts) == Faults.KINDS + 1
    assert sum(faults.counts.values()) == 1000
    assert max(map(len, faults.counts)) <= 80


def test_sound_survives_the_slow_path() -> None:
    sound = bytes(range(256))
    data = base64.b64encode(sound).decode()
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data, "new": True}}
    message = parse(json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}}), Faults())
    assert message is not None
    assert message.server_content is not None
    assert message.server_content.model_turn is not None
    blob = message.server_content.model_turn.parts[0].inline_data
    assert blob is not None
    assert blob.data == sound


def wire_names(kind: type[Message]) -> set[str]:
    """Every name that a message and those inside it use."""
    names = set()
    for name, field in _fields(kind).items():
        names.add(name)
        if field.message is not None:
            names |= wire_names(field.message)
    return names


names = st.sampled_from(sorted(wire_names(ServerMessage)))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(json_values)
def test_any_json_is_read_or_counted(value: object) -> None:
    faults = Faults()
    message = parse(json.dumps(value), faults)
    assert (message is None) == (not isinstance(value, dict))
    if message is None:
        assert faults.counts == {"malformed frame": 1}


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_frame_is_read_or_counted(frame: str | bytes) -> None:
    parse(frame, Faults())
