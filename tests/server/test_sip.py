"""What stops a server that is to listen for SIP before it starts, in one line."""

from __future__ import annotations

import socket

import pytest

from agent.config.settings import Settings
from agent.errors import UserError
from agent.protocols.sip.address import listening
from agent.server import sip
from agent.server.sip import prepared, sip_options


def settings(**given: str) -> Settings:
    return Settings.load({"SIP_LISTEN": "127.0.0.1:0"} | given)


def test_a_free_port_is_found() -> None:
    where = listening(prepared(settings()).sip_listen or "")
    assert (where.host, where.port > 0) == ("127.0.0.1", True)


def test_without_sip_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "find_spec", lambda name: None)
    assert prepared(Settings.load({})).sip_listen is None


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_that_is_taken_is_told(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match=f"SIP on {where}: Address already in use"):
            prepared(settings(SIP_LISTEN=where))


def test_an_extra_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'pickup\[sip\]'"):
        prepared(settings())


def test_settings_become_options() -> None:
    given = settings(
        SIP_REGISTRAR="pbx.example.com",
        SIP_PASSWORD="secret",
        SIP_HEADERS="X-A,X-B",
        MAX_CALLS="3",
        SIP_CODECS="pcma,g722",
    )
    options = sip_options(given, listening("127.0.0.1:5060"))
    assert (options.registrar, options.password, options.user) == (
        "pbx.example.com",
        "secret",
        "agent",
    )
    assert options.codecs == ("pcma", "g722")
    assert (options.headers, options.rtp_ports) == (("X-A", "X-B"), (20000, 20511))
    assert options.calls > 3  # the switchboard refuses, and counts it
