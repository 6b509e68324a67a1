"""The address of the Live API."""

import pytest

from agent.errors import UserError
from agent.models.gemini import gemini_connector, live_url
from agent.protocols.gemini.setup import DEVELOPER_API

PATH = "/ws/google.ai.generativelanguage.{}.GenerativeService.BidiGenerateContent"


@pytest.mark.parametrize(
    ("origin", "socket"),
    [
        ("https://generativelanguage.googleapis.com", "wss://generativelanguage.googleapis.com"),
        ("https://generativelanguage.googleapis.com/", "wss://generativelanguage.googleapis.com"),
        ("wss://generativelanguage.googleapis.com", "wss://generativelanguage.googleapis.com"),
        ("http://127.0.0.1:8099", "ws://127.0.0.1:8099"),
        ("ws://[::1]:8099", "ws://[::1]:8099"),
    ],
)
@pytest.mark.parametrize(("version", "served"), [("v1alpha", "v1alpha"), ("", "v1beta")])
def test_address(origin: str, socket: str, version: str, served: str) -> None:
    assert live_url(origin, version) == socket + PATH.format(served)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "generativelanguage.googleapis.com",
        "ftp://x",
        "https://",
        "https://x/y",
        "https://x?key=z",
    ],
)
def test_what_is_no_origin_is_named(origin: str) -> None:
    with pytest.raises(UserError, match="must be a scheme and a host"):
        gemini_connector(origin, "v1beta", "key")


def test_the_key_is_a_header() -> None:
    assert DEVELOPER_API.auth_header == "x-goog-api-key"
    assert "key" not in live_url("https://x", "v1beta")
