"""Whole samples out of any pieces."""

from __future__ import annotations

from hypothesis import given, strategies as st

from agent.audio.framing import Samples


def test_a_byte_in_mid_sample_waits_for_its_other_half() -> None:
    samples = Samples()
    assert samples.feed(b"\x01") == b""
    assert samples.feed(b"\x02") == b"\x01\x02"
    assert samples.feed(b"\x03\x04\x05") == b"\x03\x04"
    assert samples.feed(b"") == b""
    assert samples.feed(b"\x06\x07\x08") == b"\x05\x06\x07\x08"


@given(st.lists(st.binary(max_size=9)))
def test_any_pieces_give_every_whole_sample_at_once(pieces: list[bytes]) -> None:
    samples = Samples()
    fed, given_out = b"", b""
    for piece in pieces:
        fed += piece
        out = samples.feed(piece)
        assert len(out) % 2 == 0
        given_out += out
        assert given_out == fed[: len(fed) // 2 * 2]
