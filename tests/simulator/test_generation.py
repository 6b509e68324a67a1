"""How the stand-in cuts a reply into parts and when it sends them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, strategies as st

from agent.simulator.brain import SPEECH_RATE_HZ, Call, Say, speechlike
from agent.simulator.generation import (
    Finished,
    Part,
    Piece,
    Turn,
    Words,
    fragments,
    parts,
    plan,
)

FIVE = Say(speechlike(5.0, SPEECH_RATE_HZ), "one two three four five six seven eight nine ten")
BYE = Say(speechlike(1.0, SPEECH_RATE_HZ), "Goodbye.")
HANG_UP = Call("end_call", {})


@given(st.text(), st.integers())
def test_fragments_join_to_the_text(text: str, seed: int) -> None:
    cut = fragments(text, Random(seed))
    assert "".join(cut) == text
    assert all(len(fragment.strip().split(" ")) <= 4 for fragment in cut)


@given(st.binary(max_size=60_000).map(lambda half: half + half), st.integers())
def test_parts_join_to_the_audio_and_hold_whole_samples(pcm: bytes, seed: int) -> None:
    cut = parts(pcm, Random(seed))
    assert b"".join(cut) == pcm
    assert all(len(part) % 2 == 0 and len(part) <= 15_360 for part in cut)


def test_sizes_are_irregular_down_to_two_bytes() -> None:
    sizes = {len(part) for part in parts(bytes(2_000_000), Random(3))}
    assert {2, 2400, 15_360} <= sizes


@given(st.integers(), st.floats(0.5, 50))
def test_a_plan_holds_everything_in_order_and_keeps_its_speed(seed: int, speed: float) -> None:
    pieces = plan((FIVE, HANG_UP, BYE), speed, Random(seed))
    times = [at for at, _ in pieces]
    assert times == sorted(times)
    kinds = [piece for _, piece in pieces]
    assert b"".join(piece.pcm for piece in kinds if isinstance(piece, Part)) == FIVE.pcm + BYE.pcm
    texts = [piece.text for piece in kinds if isinstance(piece, Words)]
    assert "".join(texts) == FIVE.text + BYE.text
    assert kinds[-1] == Finished()
    call = kinds.index(HANG_UP)
    before = [piece.pcm for piece in kinds[:call] if isinstance(piece, Part)]
    assert b"".join(before) == FIVE.pcm
    assert -1e-9 <= times[-1] - 6.0 / speed <= 0.5


def test_words_come_with_their_audio_or_a_little_later() -> None:
    for seed in range(20):
        sent = 0
        before = 0
        for at, piece in plan((FIVE,), 4.0, Random(seed)):
            if isinstance(piece, Part):
                sent += len(piece.pcm)
            elif isinstance(piece, Words):
                spoken_at = before / len(FIVE.text) * 5.0 / 4.0
                assert spoken_at - 1e-9 <= at <= spoken_at + 0.3
                before += len(piece.text)


def drain(turn: Turn, until: float) -> list[tuple[float, Piece]]:
    taken = []
    while not turn.complete and turn.due <= until:
        taken.append((turn.due, turn.take(turn.due)))
    return taken


def test_playback_is_assumed_to_start_with_the_first_part_and_never_to_wait() -> None:
    turn = Turn((FIVE,), 10.0, 4.0, Random(1))
    assert turn.due == 10.0
    drain(turn, 11.0)
    assert turn.due < 11.1
    assert turn.audio_seconds == pytest.approx(4.0, abs=0.4)
    drain(turn, 12.0)
    assert turn.complete
    assert turn.playback_ends == pytest.approx(15.0, abs=0.001)
    assert turn.due == turn.playback_ends


def test_slower_than_real_time_playback_ends_after_the_last_part() -> None:
    turn = Turn((FIVE,), 10.0, 0.5, Random(1))
    *_, (last, _) = drain(turn, 100.0)
    assert last == pytest.approx(20.0)
    assert 19.6 < turn.playback_ends < 20.0


def test_a_held_turn_goes_on_where_it_was() -> None:
    turn = Turn((BYE, HANG_UP, BYE), 10.0, 4.0, Random(1))
    while turn.take(turn.due) != HANG_UP:
        pass
    turn.hold(10.25)
    assert turn.due == float("inf")
    turn.release(12.25)
    turn.release(13.0)  # nothing to release
    assert turn.due == pytest.approx(12.25)
    assert drain(turn, 20.0)[-1][0] == pytest.approx(12.5)


def test_a_stall_moves_what_is_left_and_no_more() -> None:
    turn = Turn((BYE,), 10.0, 4.0, Random(1))
    drain(turn, 10.1)
    due = turn.due
    turn.stall(0.3)
    assert turn.due == pytest.approx(due + 0.3)
    assert 0 < len(turn.rest()) <= 4800
    drain(turn, 20.0)
    ends = turn.due
    turn.stall(0.3)
    assert turn.due == ends
    assert turn.rest() == b""
