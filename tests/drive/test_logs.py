"""Nothing secret and no telephone number reaches a log, whoever writes it and however it is wrapped."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given, strategies as st

from agent.drive.logs import FLOORS, SECRET, Redactor, configure

CANARY = "canary+Token/1234=="
NUMBER = "+15551234567"

Lines = Callable[[], list[str]]


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A fresh log; logging is put back afterwards."""
    # uvicorn closes this one for the whole process where a server of another test had it off.
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    root = logging.getLogger()
    before = (
        root.handlers[:],
        root.level,
        {name: logging.getLogger(name).level for name in FLOORS},
    )
    yield io.StringIO()
    root.handlers[:], root.level = before[0], before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def leak(text: str) -> bool:
    return "Token/1234" in text or "5551234567" in text or "555 123" in text


@pytest.mark.parametrize("layout", ["text", "json"])
def test_no_canary_comes_through(stream: io.StringIO, layout: str) -> None:
    configure("debug", layout, [CANARY, ""], stream)
    ours: Any = structlog.get_logger("agent.call")
    with structlog.contextvars.bound_contextvars(caller=NUMBER, call="c-1"):
        ours.info(f"token is {CANARY}", number=NUMBER, nested={"a": [CANARY, (NUMBER,)]})
        ours.debug("headers", headers={"X-Goog-Api-Key": CANARY}, data=CANARY.encode())
        try:
            raise ValueError(f"no call to {NUMBER} with {CANARY}")
        except ValueError:
            ours.exception("failed", error=ValueError(NUMBER))
        logging.getLogger("uvicorn.access").info('%s - "POST %s"', "127.0.0.1:5", f"/x?t={CANARY}")
        logging.getLogger("other").warning("to %s", NUMBER, extra={"from": NUMBER, "who": CANARY})
    text = stream.getvalue()
    assert not leak(text)
    assert text.count(SECRET) >= 6
    assert "******67" in text
    assert "Traceback" in text
    assert "POST" in text


def test_json_is_one_object_a_line_with_what_it_was_told(stream: io.StringIO) -> None:
    configure("info", "json", [], stream)
    structlog.get_logger("agent.server").info(
        "call ended", seconds=12.5, samples=1234567890, ok=True
    )
    logging.getLogger("library").error("line\nbreak")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ours["event"] == "call ended"
    assert (ours["seconds"], ours["samples"], ours["ok"]) == (12.5, 1234567890, True)
    assert (ours["level"], ours["logger"]) == ("info", "agent.server")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", ours["timestamp"])
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "line\nbreak",
        "error",
        "library",
    )


def test_the_level_holds_for_ours_and_for_the_libraries(stream: io.StringIO) -> None:
    configure("warning", "text", [], stream)
    structlog.get_logger("agent").info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger("agent").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_frames_and_statements_are_not_logged_even_at_debug(
    stream: io.StringIO, name: str, floor: int
) -> None:
    configure("debug", "text", [], stream)
    logging.getLogger(f"{name}.child").log(floor - 1, "what a caller said")
    logging.getLogger(f"{name}.child").log(floor, "what went wrong")
    logging.getLogger("library").debug("shown")
    assert "what a caller said" not in stream.getvalue()
    assert "what went wrong" in stream.getvalue()
    assert "shown" in stream.getvalue()


def test_a_second_call_replaces_the_first(stream: io.StringIO) -> None:
    other = io.StringIO()
    configure("info", "text", [], other)
    log = structlog.get_logger("agent")
    configure("info", "text", [CANARY], stream)
    log.info(CANARY)
    assert other.getvalue() == ""
    assert stream.getvalue().count(SECRET) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call to +15551234567 now", "call to ******67 now"),
        ("From=%2B15551234567&To=%2b442071234567", "From=******67&To=******67"),
        ("sip:15551234567@example.com", "sip:******67@example.com"),
        ("+1 (555) 123-4567", "******67"),
        ("call 020 7123", "call 020 7123"),
        ("CA0123456789abcdef0123456789abcdef", "CA0123456789abcdef0123456789abcdef"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("id 0123456789abcdef", "id 0123456789abcdef"),
        ("0.123456789012 s", "0.123456789012 s"),
        ("2026-11-21T10:20:30.123456+00:00", "2026-11-21T10:20:30.123456+00:00"),
        ("127.0.0.1:54321", "127.0.0.1:54321"),
        ("wss://x/ws?key=abc&alt=1", f"wss://x/ws?key={SECRET}&alt=1"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {SECRET}"),
        ("{'x-goog-api-key': 'abc'}", f"{{'x-goog-api-key': '{SECRET}'}}"),
        ("https://me:pass@example.com/", f"https://me:{SECRET}@example.com/"),
        ("AIza" + "x" * 35, SECRET),
    ],
)
def test_what_is_taken_out_and_what_stays(text: str, expected: str) -> None:
    assert Redactor([]).text(text) == expected


@pytest.mark.parametrize(
    "key", ["token", "auth_token", "api_key", "Authorization", "twilio_signature", "X-Api-Key"]
)
def test_a_field_that_says_it_is_secret_is_not_shown(key: str) -> None:
    assert Redactor([])(None, "info", {key: "x", "event": "y"}) == {key: SECRET, "event": "y"}
    assert Redactor([])(None, "info", {key: None})[key] is None


@given(st.text(max_size=30), st.text(min_size=6, max_size=20), st.text(max_size=30))
def test_a_secret_is_found_wherever_it_stands(before: str, secret: str, after: str) -> None:
    assert secret not in Redactor([secret]).text(before + secret + after).replace(SECRET, "")


def test_a_secret_that_is_learnt_later_is_hidden_from_then_on(stream: io.StringIO) -> None:
    redactor = configure("info", "json", ["another-secret"], stream)
    ours: Any = structlog.get_logger("agent.call")
    redactor.learn(CANARY, "short")
    redactor.learn(CANARY)
    ours.info(f"token is {CANARY}, not another-secret, and short")
    assert f"token is {SECRET}, not {SECRET}, and short" in stream.getvalue()


@given(st.integers(10**6, 10**15 - 1), st.sampled_from(["", " ", "to ", "(", "tel:"]))
def test_an_e164_number_keeps_two_digits(number: int, before: str) -> None:
    assert Redactor([]).text(f"{before}+{number} x") == f"{before}******{number % 100:02} x"
