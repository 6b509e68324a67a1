"""Tunnels: what their programs print, and what happens when they do not come up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from agent.cli.parts import tunnel
from agent.cli.parts.tunnel import (
    PROGRAMS,
    CloudflaredWatch,
    NgrokWatch,
    Program,
    Tunnel,
    Watch,
    find,
)
from agent.errors import UserError

CLOUDFLARED = """\
2026-09-03T10:00:00Z INF Thank you for trying Cloudflare Tunnel. (https://www.cloudflare.com/website-terms/)
2026-09-03T10:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...
2026-09-03T10:00:02Z INF +--------------------------------------------------------------------------------------------+
2026-09-03T10:00:02Z INF |  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |
2026-09-03T10:00:02Z INF |  https://some-quiet-words-here.trycloudflare.com                                            |
2026-09-03T10:00:02Z INF +--------------------------------------------------------------------------------------------+
2026-09-03T10:00:02Z INF Starting metrics server on 127.0.0.1:20241/metrics
2026-09-03T10:00:03Z INF Registered tunnel connection connIndex=0 event=0 ip=198.41.200.33 location=fra08 protocol=quic
"""
"""As `cloudflared` 2026 prints it (cmd/cloudflared/tunnel/quick_tunnel.go, connection/observer.go)."""

NGROK = """\
t=2026-09-03T10:00:00+0000 lvl=info msg="no configuration paths supplied"
t=2026-09-03T10:00:00+0000 lvl=info msg="starting web service" obj=web addr=127.0.0.1:4040 allow_hosts=[]
t=2026-09-03T10:00:01+0000 lvl=info msg="client session established" obj=tunnels.session
t=2026-09-03T10:00:01+0000 lvl=info msg="started tunnel" obj=tunnels name=command_line addr=http://127.0.0.1:8080 url=https://1b2c-203-0-113-9.ngrok-free.app
"""


def urls(watch: Watch, text: str) -> list[str | None]:
    return [watch.feed(line) for line in text.splitlines()]


def test_cloudflareds_url_is_told_when_the_tunnel_is_connected_and_not_before() -> None:
    found = urls(CloudflaredWatch(), CLOUDFLARED)
    assert found == [None] * 7 + ["https://some-quiet-words-here.trycloudflare.com"]


def test_cloudflareds_own_address_is_no_tunnel() -> None:
    text = 'failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": EOF\n'
    assert urls(CloudflaredWatch(), text + "INF Registered tunnel connection") == [None, None]


def test_ngroks_url_is_that_of_the_started_tunnel() -> None:
    found = urls(NgrokWatch(), NGROK)
    assert found == [None, None, None, "https://1b2c-203-0-113-9.ngrok-free.app"]


@given(st.lists(st.text()))
def test_no_line_breaks_a_watch_or_looks_like_a_url_to_it(lines: list[str]) -> None:
    for watch in (CloudflaredWatch(), NgrokWatch()):
        assert {watch.feed(line) for line in lines} <= {None}


# ---- programs that print as the real ones do


def program(folder: Path, body: str, name: str = "cloudflared") -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{body}")
    path.chmod(0o700)
    return path


def say(text: str) -> str:
    return f"sys.stderr.write({text!r}); sys.stderr.flush()\n"


def started(path: Path, environ: dict[str, str] | None = None) -> Tunnel:
    return Tunnel(str(path), PROGRAMS[0], 8123, environ or {})


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Tunnel]:
    body = "open(sys.argv[0] + '.words', 'w').write(' '.join(sys.argv[1:]))\n"
    body += say(CLOUDFLARED) + "time.sleep(60)\n"
    its = started(program(tmp_path, body))
    yield its
    its.stop()


def test_a_tunnel_comes_up_and_ends(running: Tunnel, tmp_path: Path) -> None:
    running.wait(lambda: False)
    assert running.url == "https://some-quiet-words-here.trycloudflare.com"
    assert running.running
    words = (tmp_path / "cloudflared.words").read_text()
    assert words == "tunnel --no-autoupdate --url http://127.0.0.1:8123"
    running.stop()
    assert not running.running


def test_who_stops_does_not_wait_for_a_tunnel(tmp_path: Path) -> None:
    its = started(program(tmp_path, "time.sleep(60)\n"))
    its.wait(lambda: True)
    its.stop()
    assert its.url == ""


def test_a_tunnel_that_ends_at_once_says_why(tmp_path: Path) -> None:
    trouble = "INF Requesting\nfailed to request quick Tunnel: no such host\nINF bye\n"
    its = started(program(tmp_path, say(trouble) + "sys.exit(3)\n"))
    with pytest.raises(UserError, match="ended with status 3: failed to request .* no such host"):
        its.wait(lambda: False)
    its.stop()


def test_a_program_that_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    path = program(tmp_path, "")
    path.write_text("#!/no/such/interpreter\n")
    with pytest.raises(UserError, match="cloudflared cannot be started: No such file"):
        started(path)


def test_a_tunnel_that_never_connects_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "STARTS_WITHIN", 0.2)
    its = started(program(tmp_path, "time.sleep(60)\n"))
    with pytest.raises(UserError, match="no tunnel within 0 s: it said nothing"):
        its.wait(lambda: False)
    its.stop()


def test_a_tunnel_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "ENDS_WITHIN", 0.2)
    body = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    its = started(program(tmp_path, body + say(CLOUDFLARED) + "time.sleep(60)\n"))
    its.wait(lambda: False)
    its.stop()
    assert not its.running


def test_the_first_program_that_is_installed_is_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"PUBLIC_URL.*cloudflared.*ngrok"):
        find(str(tmp_path))
    ngrok = program(tmp_path, "", "ngrok")
    assert find(str(tmp_path)) == (str(ngrok), PROGRAMS[1])
    cloudflared = program(tmp_path, "", "cloudflared")
    assert find(str(tmp_path)) == (str(cloudflared), PROGRAMS[0])


def test_every_program_is_told_the_port() -> None:
    assert all(any("{port}" in word for word in each.words) for each in PROGRAMS)
    assert [type(each) for each in PROGRAMS] == [Program, Program]
    assert os.path.sep not in PROGRAMS[0].name
