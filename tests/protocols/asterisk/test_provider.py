"""Which Asterisk may connect, and who calls."""

from __future__ import annotations

from base64 import b64encode

import pytest

from agent.errors import LineProtocolError
from agent.protocols.asterisk.provider import Asterisk
from agent.protocols.asterisk.stream import AsteriskStream
from agent.protocols.base import StreamStart
from agent.protocols.door import Request

ASTERISK = Asterisk("asterisk", "s3cret")


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def upgrade(target: str = "/asterisk/media", authorization: str | None = None) -> Request:
    headers = {} if authorization is None else {"authorization": authorization}
    return Request(target, headers)


def start(**parameters: str) -> StreamStart:
    return StreamStart("uuid", "pbx-1.7", "", parameters, "ulaw", 8000)


@pytest.mark.parametrize(
    ("given", "good"),
    [
        (basic("asterisk:s3cret"), True),
        (basic("asterisk:s3cret").replace("Basic", "bAsIc"), True),
        (basic("asterisk:s3cret").replace("Basic", "Bearer"), False),
        (basic("asterisk:other"), False),
        (basic("asteris:ks3cret"), False),
        (basic("asterisk:s3cret\0"), False),
        ("Basic ***", False),
        ("Basic é", False),
        ("Basic", False),
        ("", False),
        (None, False),
    ],
)
def test_a_password_opens_the_door(given: str | None, good: bool) -> None:
    assert ASTERISK.may_stream(upgrade(authorization=given)) is good


def test_the_dial_string_says_who_calls_whom() -> None:
    request = upgrade("/asterisk/media?caller=%2B15551234567&called=600&id=pbx-1.6&queue=sales")
    caller = ASTERISK.caller(request, start(customer="Ada", queue="x"))
    assert (caller.provider, caller.direction) == ("asterisk", "inbound")
    assert (caller.from_number, caller.to_number) == ("+15551234567", "600")
    assert caller.call_id == "pbx-1.6"
    assert caller.brought == {"customer": "Ada", "queue": "sales"}


def test_without_parameters_the_channel_is_the_call() -> None:
    caller = ASTERISK.caller(upgrade(), start())
    assert (caller.call_id, caller.from_number, caller.to_number) == ("pbx-1.7", "", "")
    assert len(ASTERISK.caller(upgrade(f"/?id={'x' * 500}"), start()).call_id) == 128


def test_more_parameters_than_a_dial_string_has_are_refused() -> None:
    with pytest.raises(LineProtocolError, match="too many"):
        ASTERISK.caller(upgrade("/?" + "&".join(f"a{n}=1" for n in range(60))), start())


def test_each_socket_has_a_machine_of_its_own() -> None:
    one, other = ASTERISK.stream(1.0), ASTERISK.stream(1.0)
    assert isinstance(one, AsteriskStream)
    assert one is not other
