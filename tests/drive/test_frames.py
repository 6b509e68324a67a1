"""The frames of our own making, read by the library's server side."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from agent.drive.frames import KEYS, ClientFrames


def read(wire: bytes) -> list[Frame]:
    """What a server reads that insists on masks (RFC 6455, section 5.1)."""
    server = ServerProtocol(state=State.OPEN, max_size=None)
    server.receive_data(wire)
    assert server.parser_exc is None
    return [event for event in server.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_server_reads_the_message(size: int) -> None:
    payload = ("x" * (size - 2) + "é").encode() if size > 2 else b"x" * size
    (frame,) = read(ClientFrames().text(payload))
    assert frame.opcode is Opcode.TEXT
    assert frame.fin
    assert bytes(frame.data) == payload


def test_one_message_follows_the_other_and_no_key_is_used_twice() -> None:
    frames = ClientFrames()
    count = KEYS // 4 + 10  # more than are drawn at a time
    wire = [frames.text(b"%d" % n) for n in range(count)]
    assert [bytes(frame.data) for frame in read(b"".join(wire))] == [
        b"%d" % n for n in range(count)
    ]
    keys = {each[2:6] for each in wire}
    assert len(keys) > count - 3  # two may be alike by chance, once in some four thousand runs
