"""The server's end: the first signal lets calls end, the second ends them; and its first line."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette

from agent.server.run import MAX_MESSAGE, TICKS, Server, configure
from agent.server.wire import LineProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Calls:
    """So many calls are live."""

    def __init__(self, active: int) -> None:
        self.active = active
        self.drained = 0
        self.crippled = False

    def drain(self) -> None:
        self.drained += 1


def server(calls: Calls, drain_seconds: float = 60.0) -> Server:
    return Server(configure(Starlette(), "127.0.0.1", 0), calls, drain_seconds)


async def ticks(server: Server, count: int) -> list[bool]:
    return [await server.on_tick(n) for n in range(1, count + 1)]


async def test_the_first_signal_takes_no_new_calls_and_waits_for_the_last() -> None:
    calls = Calls(2)
    running = server(calls)
    running.handle_exit(signal.SIGTERM, None)
    assert calls.drained == 1
    assert await ticks(running, 50) == [False] * 50
    calls.active = 0
    assert await running.on_tick(51)
    assert not running.force_exit


async def test_without_a_signal_a_server_without_calls_stays() -> None:
    assert await ticks(server(Calls(0)), 50) == [False] * 50


async def test_a_server_without_calls_leaves_at_the_first_signal() -> None:
    running = server(Calls(0))
    running.handle_exit(signal.SIGTERM, None)
    assert await running.on_tick(1)


async def test_one_that_is_crippled_leaves_after_its_last_call_and_may_still_be_told_to() -> None:
    calls = Calls(1)
    running = server(calls, drain_seconds=10.0)
    calls.crippled = True
    assert await ticks(running, 5) == [False] * 5
    running.handle_exit(signal.SIGTERM, None)  # the first one: it does not cut calls off
    assert await ticks(running, 5) == [False] * 5
    calls.active = 0
    assert await running.on_tick(11)


async def test_the_last_call_may_take_so_many_seconds() -> None:
    running = server(Calls(1), drain_seconds=2.0)
    running.handle_exit(signal.SIGTERM, None)
    left = await ticks(running, 2 * TICKS)
    assert left == [False] * (2 * TICKS - 1) + [True]


async def test_a_second_signal_ends_it_with_its_calls() -> None:
    calls = Calls(1)
    running = server(calls)
    running.handle_exit(signal.SIGTERM, None)
    running.handle_exit(signal.SIGINT, None)
    assert calls.drained == 1
    assert await running.on_tick(1)
    assert not running.force_exit  # else the calls' records would stay open


async def test_a_third_signal_waits_for_nothing() -> None:
    running = server(Calls(1))
    for _ in range(3):
        running.handle_exit(signal.SIGINT, None)
    assert running.force_exit


def test_nothing_of_how_it_faces_the_network_is_left_to_chance() -> None:
    config = configure(Starlette(), "127.0.0.1", 0)
    assert (config.ws, config.ws_max_size) == (LineProtocol, MAX_MESSAGE)
    assert not config.ws_per_message_deflate
    assert not config.proxy_headers
    assert not config.server_header
    assert not config.access_log
    assert config.lifespan == "on"


def test_whoever_keeps_a_connection_closes_it_first() -> None:
    config = configure(Starlette(), "127.0.0.1", 0)
    kept = {"Caddy": 120, "cloudflared": 90, "nginx": 75}
    assert config.timeout_keep_alive > max(kept.values())


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as found:
        try:
            found.bind((request.param, 0))
        except OSError:  # no IPv6 here: the other address shows what there is to see
            found.close()
            found = socket.socket()
            found.bind(("127.0.0.1", 0))
        with found:
            yield found


async def test_the_first_line_says_where_it_listens_once_it_does(
    listening: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    host, port = listening.getsockname()[:2]
    running = server(Calls(0))
    asyncio.get_running_loop().call_later(0.3, running.handle_exit, signal.SIGTERM, None)
    await running._serve([listening])
    (line,) = capsys.readouterr().out.splitlines()
    bracketed = f"[{host}]" if ":" in host else host
    assert json.loads(line) == {"listening": f"http://{bracketed}:{port}"}


async def test_start_up_is_over_before_anybody_is_told_where_the_server_listens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed: list[str] = []
    config = configure(Starlette(), "127.0.0.1", 0)
    running = Server(config, Calls(0), 60.0, lambda: printed.append(capsys.readouterr().out))
    config.load()
    running.lifespan = config.lifespan_class(config)
    await running.startup()
    await running.shutdown()
    assert printed == [""]
    assert "listening" in capsys.readouterr().out
