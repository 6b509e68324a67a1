"""Frames that we cut and make ourselves, judged by the library's two sides (it insists on RFC 6455)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from agent.drive.frames import KEYS, ClientFrames, FrameReader, Part, server_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 100_000
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 90_000]


def server() -> ServerProtocol:
    return ServerProtocol(state=State.OPEN, max_size=LIMIT)


def client() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://pickup.test/"), state=State.OPEN, max_size=None)


def read(side: ServerProtocol | ClientProtocol, wire: bytes) -> list[Frame]:
    """What the library reads there."""
    side.receive_data(wire)
    assert side.parser_exc is None
    return [event for event in side.events_received() if isinstance(event, Frame)]


def text(size: int) -> bytes:
    return ("x" * (size - 2) + "é").encode() if size > 2 else b"x" * size


# ------------------------------------------------------------------ made by us


@pytest.mark.parametrize("size", [*SIZES, 200_000])
def test_a_server_reads_the_message(size: int) -> None:
    library = ServerProtocol(state=State.OPEN, max_size=None)
    (frame,) = read(library, ClientFrames().text(text(size)))
    assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, text(size))


@pytest.mark.parametrize("size", SIZES)
def test_a_client_reads_the_message(size: int) -> None:
    wire = server_frame(text(size).decode()) + server_frame(text(size))
    one, other = read(client(), wire)
    assert (one.opcode, one.fin, bytes(one.data)) == (Opcode.TEXT, True, text(size))
    assert (other.opcode, other.fin, bytes(other.data)) == (Opcode.BINARY, True, text(size))


def test_one_message_follows_the_other_and_no_key_is_used_twice() -> None:
    frames = ClientFrames()
    count = KEYS // 4 + 10  # more than are drawn at a time
    wire = [frames.text(b"%d" % n) for n in range(count)]
    assert [bytes(frame.data) for frame in read(server(), b"".join(wire))] == [
        b"%d" % n for n in range(count)
    ]
    keys = {each[2:6] for each in wire}
    assert len(keys) > count - 3  # two may be alike by chance, once in some four thousand runs


# ------------------------------------------------------------------ read by us


class Sent(NamedTuple):
    """A frame as the peer sends it."""

    opcode: Opcode
    data: bytes
    fin: bool = True


MESSAGES = st.builds(
    Sent,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY]),
    st.sampled_from(SIZES[:5]).map(text) | st.binary(max_size=300),
    st.just(True),
)
PINGS = st.builds(
    Sent, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125), st.just(True)
)


@st.composite
def fragmented(draw: st.DrawFn) -> list[Sent]:
    """A message in pieces, with pings and pongs among them (section 5.4)."""
    pieces = draw(st.lists(st.binary(max_size=20), min_size=2, max_size=4))
    kind = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
    found = [Sent(kind, pieces[0], fin=False)]
    for piece in pieces[1:-1]:
        found += [Sent(Opcode.CONT, piece, fin=False), *draw(st.lists(PINGS, max_size=1))]
    return [*found, Sent(Opcode.CONT, pieces[-1])]


CONVERSATIONS = st.lists(
    MESSAGES.map(lambda each: [each]) | PINGS.map(lambda each: [each]) | fragmented(), max_size=8
)


def on_the_wire(frames: Iterable[Sent], *, masked: bool) -> bytes:
    return b"".join(
        Frame(each.opcode, each.data, each.fin).serialize(mask=masked) for each in frames
    )


def cut(wire: bytes, at: Iterable[int]) -> list[bytes]:
    """The pieces in which the network happens to deliver it."""
    marks = [0, *sorted({n % (len(wire) + 1) for n in at}), len(wire)]
    return [wire[one:other] for one, other in zip(marks, marks[1:], strict=False) if one < other]


@given(CONVERSATIONS, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_however_it_is_cut_all_is_read_once_and_in_order(
    said: list[list[Sent]], at: list[int], masked: bool
) -> None:
    """By us or by the library; and ours are exactly the whole messages."""
    frames = [each for group in said for each in group]
    library = server() if masked else client()
    reader = FrameReader(masked=masked, limit=LIMIT)
    found: list[Sent] = []
    ours = 0
    for piece in cut(on_the_wire(frames, masked=masked), at):
        for opcode, data in reader.read(piece):
            if opcode:
                found.append(Sent(Opcode(opcode), data))
                ours += 1
            else:
                heard = read(library, data)
                assert len(heard) == 1  # each frame is given to it whole
                found += [Sent(each.opcode, bytes(each.data), each.fin) for each in heard]
    assert found == frames
    assert ours == sum(len(g) == 1 and g[0].opcode in (Opcode.TEXT, Opcode.BINARY) for g in said)


@pytest.mark.parametrize("size", SIZES)
def test_a_message_that_comes_byte_by_byte_is_told_with_its_last(size: int) -> None:
    wire = on_the_wire([Sent(Opcode.TEXT, text(size))], masked=True)
    reader = FrameReader(masked=True, limit=LIMIT)
    for n in range(min(20, len(wire) - 1)):
        assert reader.read(wire[n : n + 1]) == []
    if len(wire) > 21:
        assert reader.read(wire[20:-1]) == []
    assert reader.read(wire[-1:]) == [Part(Opcode.TEXT, text(size))]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (on_the_wire([Sent(Opcode.TEXT, b"x")], masked=False), "incorrect masking"),
        (on_the_wire([Sent(Opcode.TEXT, bytes(LIMIT + 1))], masked=True), "exceeds"),
        (b"\xc1\x80\0\0\0\0", "reserved bits"),
        (b"\x83\x80\0\0\0\0", "invalid opcode"),
        (b"\x80\x80\0\0\0\0", "unexpected continuation"),
        (b"\x09\x80\0\0\0\0", "fragmented control frame"),
    ],
    ids=["without a mask", "too large", "an extension", "opcode 3", "no beginning", "half a ping"],
)
def test_what_no_client_may_send_is_refused_by_the_library(bad: bytes, why: str) -> None:
    reader, library = FrameReader(masked=True, limit=LIMIT), server()
    good = on_the_wire([Sent(Opcode.TEXT, b"good")], masked=True)
    first, *rest = reader.read(good + bad)
    assert first == Part(Opcode.TEXT, b"good")
    assert [opcode for opcode, _ in rest] == [0] * len(rest)
    library.receive_data(b"".join(data for _, data in rest))
    assert why in str(library.parser_exc) or why in str(library.close_sent)


def test_after_what_it_cannot_read_everything_is_the_librarys() -> None:
    reader = FrameReader(masked=True, limit=LIMIT)
    good = on_the_wire([Sent(Opcode.TEXT, b"good")], masked=True)
    assert reader.read(b"\xc1\x80") == [Part(0, b"\xc1\x80")]
    assert reader.read(good) == [Part(0, good)]


def test_a_new_message_in_the_middle_of_another_is_the_librarys_to_refuse() -> None:
    reader, library = FrameReader(masked=True, limit=LIMIT), server()
    wire = on_the_wire(
        [Sent(Opcode.TEXT, b"half", fin=False), Sent(Opcode.TEXT, b"x")], masked=True
    )
    for opcode, data in reader.read(wire):
        assert opcode == 0
        library.receive_data(data)
    assert "expected a continuation frame" in str(library.parser_exc)
