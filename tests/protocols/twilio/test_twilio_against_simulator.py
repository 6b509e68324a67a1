"""Our end of the wire against the simulator's, which shares no code with it."""

from __future__ import annotations

from hypothesis import given, strategies as st

from agent.events import Clear, LineAudio, LineDigit, LineEnded, LineMark, Mark, Pcm8k, Play
from agent.protocols.base import StreamStart
from agent.protocols.twilio.stream import TwilioStream
from agent.protocols.twilio.webhook import Form, Signatures
from agent.simulator import media_stream as twilio, signature

SID = "MZ" + "0" * 32
COMMANDS = st.one_of(
    st.builds(lambda frames: Play(Pcm8k(b"\x00\x10" * 160 * frames)), st.integers(1, 25)),
    st.builds(Mark, st.text(max_size=40)),
    st.just(Clear()),
)


def opened() -> tuple[TwilioStream, twilio.StreamWriter, StreamStart]:
    phone = twilio.StreamWriter(account_sid="AC1", call_sid="CA1", stream_sid=SID, first_ms=20)
    stream = TwilioStream(0.0)
    stream.receive(twilio.connected(), 0.0)
    (start,) = stream.receive(phone.start({"token": 'a"é'}), 0.0)
    assert isinstance(start, StreamStart)
    return stream, phone, start


@given(st.lists(COMMANDS, max_size=10))
def test_the_strict_stand_in_takes_all_that_we_send(commands: list[Play | Mark | Clear]) -> None:
    stream, _, _ = opened()
    for command in commands:
        message = stream.send(command)
        assert message is not None
        taken = twilio.decode(message, SID)
        if isinstance(command, Play):
            assert isinstance(taken, twilio.Media)
            assert len(taken.media.payload) == command.pcm.samples
        elif isinstance(command, Mark):
            assert isinstance(taken, twilio.Mark)
            assert taken.mark.name == command.name
        else:
            assert isinstance(taken, twilio.Clear)


# A sound that begins like a file is a fault: see test_twilio_stream.
SOUNDS = st.binary(min_size=1, max_size=800).filter(lambda sound: not sound.startswith(b"RIFF"))


@given(SOUNDS, st.text(max_size=20), st.sampled_from("0123456789*#"))
def test_we_take_all_that_the_stand_in_sends(sound: bytes, name: str, digit: str) -> None:
    stream, phone, start = opened()
    assert (start.stream_id, start.parameters) == (SID, {"token": 'a"é'})
    (audio,) = stream.receive(phone.media(sound), 0.1)
    assert isinstance(audio, LineAudio)
    assert audio.pcm.samples == len(sound)
    assert stream.receive(phone.mark(name), 0.1) == [LineMark(name)]
    assert stream.receive(phone.dtmf(digit), 0.1) == [LineDigit(digit)]
    assert stream.receive(phone.stop(), 0.1) == [LineEnded("stopped")]
    assert stream.counts() == {}


def test_we_accept_what_the_stand_in_signs() -> None:
    check = Signatures("token", "http://127.0.0.1:8080")
    fields = {"CallSid": "CA1", "From": "+15550100001", "Empty": ""}
    webhook = signature.sign("token", "http://127.0.0.1:8080/twilio/voice", fields)
    assert check.webhook("/twilio/voice", Form(fields.items()), webhook)
    assert check.upgrade("/m", signature.sign("token", "ws://127.0.0.1:8080/m"))
