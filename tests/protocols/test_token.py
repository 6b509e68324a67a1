"""The one-use token: made by a webhook, good for one call and one minute."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from agent.errors import OwnFault
from agent.protocols.token import TokenClaims, TokenRefusal, check, issue

SECRET = b"0123456789abcdef"
NONCE = bytes(range(16))
CALL = "CA00000000000000000000000000000003"
WALL = 1_800_000_000.25


def test_a_token_admits_its_own_call_and_says_which_leg() -> None:
    token = issue(SECRET, CALL, 2, NONCE, WALL)
    assert check(SECRET, token, CALL, WALL + 1) == TokenClaims(
        id="AAECAwQFBgcICQoLDA0ODw", leg=2, expiry=1_800_000_060
    )
    assert CALL not in token
    assert len(token) < 480


@pytest.mark.parametrize(
    ("token", "call", "secret", "wall", "refusal"),
    [
        (None, CALL, SECRET, WALL, TokenRefusal.MISSING),
        ("", CALL, SECRET, WALL, TokenRefusal.MISSING),
        ("1.2.3", CALL, SECRET, WALL, TokenRefusal.MALFORMED),
        (issue(SECRET, CALL, 1, NONCE, WALL) + "\n", CALL, SECRET, WALL, TokenRefusal.MALFORMED),
        (issue(SECRET, CALL, 1, NONCE, WALL), "CA1", SECRET, WALL, TokenRefusal.FOREIGN),
        (issue(SECRET, CALL, 1, NONCE, WALL), "\ud800", SECRET, WALL, TokenRefusal.FOREIGN),
        (issue(SECRET, CALL, 1, NONCE, WALL), CALL, b"f" * 16, WALL, TokenRefusal.FOREIGN),
        (issue(SECRET, CALL, 1, NONCE, WALL), CALL, SECRET, WALL + 90.5, TokenRefusal.EXPIRED),
        (issue(SECRET, CALL, 1, NONCE, WALL), CALL, SECRET, WALL - 31, TokenRefusal.EARLY),
    ],
)
def test_every_other_token_is_refused_by_its_reason(
    token: str | None, call: str, secret: bytes, wall: float, refusal: TokenRefusal
) -> None:
    assert check(secret, token, call, wall) is refusal


@pytest.mark.parametrize("skew", [-29.0, 0.0, 60.0, 89.0])
def test_clocks_of_two_replicas_may_differ_by_half_a_minute(skew: float) -> None:
    token = issue(SECRET, CALL, 1, NONCE, WALL)
    assert isinstance(check(SECRET, token, CALL, WALL + skew), TokenClaims)


@pytest.mark.parametrize(
    ("leg", "nonce", "secret", "seconds"),
    [
        (1, bytes(15), SECRET, 60),
        (1, bytes(65), SECRET, 60),
        (1, NONCE, b"short", 60),
        (1, NONCE, SECRET, 61),
        (1, NONCE, SECRET, 0),
        (0, NONCE, SECRET, 60),
        (10_000, NONCE, SECRET, 60),
    ],
)
def test_a_weak_token_is_never_made(leg: int, nonce: bytes, secret: bytes, seconds: int) -> None:
    with pytest.raises(OwnFault):
        issue(secret, CALL, leg, nonce, WALL, seconds=seconds)


@given(st.data())
def test_no_altered_token_is_accepted(data: st.DataObject) -> None:
    token = issue(SECRET, CALL, 1, NONCE, WALL)
    where = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 3))
    altered = token[:where] + data.draw(st.text(max_size=3)) + token[where + cut :]
    verdict = check(SECRET, altered, CALL, WALL)
    assert isinstance(verdict, TokenClaims) == (altered == token)


@given(st.text(max_size=120), st.text(max_size=40), st.floats(0, 1e11))
def test_anything_at_all_is_judged_without_an_exception(token: str, call: str, wall: float) -> None:
    assert isinstance(check(SECRET, token, call, wall), TokenRefusal)
