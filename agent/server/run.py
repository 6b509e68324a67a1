"""Starts the server, tells where it listens, and drains it.

Plain uvicorn closes every live WebSocket within 65 ms of SIGTERM. A telephone call must not end because a deployment begins, so
the first signal only stops new calls: the process ends when the last call has, or at the deadline. A second signal ends it now.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import msgspec
import uvicorn

from agent.server.wire import LineProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from starlette.applications import Starlette

MAX_MESSAGE = 65_536
"""Bytes of one message from a line; a frame of 20 ms has about 300, so this is room for 4 s at once."""


KEEP_ALIVE = 180
"""Seconds that a connection without a request stays open. Whoever keeps connections for a next request has to be the first to close
them: a webhook that is written to one which we are just closing is lost, with the call (RFC 9112, section 9.3.1: what is not
idempotent must not be sent again). Caddy keeps them for 120 s, cloudflared for 90, load balancers for 60 to 75."""

TICKS = 10
"""uvicorn calls `on_tick` so often in a second."""


class Drainable(Protocol):
    """What the server must know of the calls to end well."""

    @property
    def active(self) -> int:
        """Calls that are live or hold a slot."""
        ...

    @property
    def crippled(self) -> bool:
        """Whether it wants to be ended when the last call has."""
        ...

    def drain(self) -> None:
        """Take no new calls."""
        ...


class Server(uvicorn.Server):
    """uvicorn that drains on the first signal.

    Args:
        config: see `configure`.
        calls: the live calls.
        drain_seconds: how long the last call may take.
        settled: told once that start-up is over, before anybody is told where we listen.
        sip: where SIP is listened for, which is told too.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        calls: Drainable,
        drain_seconds: float,
        settled: Callable[[], None] | None = None,
        *,
        sip: str | None = None,
    ) -> None:
        super().__init__(config)
        self._settled = settled
        self._sip = {} if sip is None else {"sip": sip}
        self._calls = calls
        self._drain_ticks = drain_seconds * TICKS
        self._draining = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept, then say where: parents and tests read this line instead of guessing a port."""
        await super().startup(sockets)
        if self._settled is not None:
            self._settled()
        if self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            host = f"[{host}]" if ":" in host else host
            line = msgspec.json.encode({"listening": f"http://{host}:{port}"} | self._sip).decode()
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal; at the second end every call, with its record; at the third just go."""
        if not self._draining:
            self._draining = True
            self._calls.drain()
        else:
            self.force_exit = self.should_exit  # uvicorn: leaves without the lifespan's end
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to leave."""
        if self._draining or self._calls.crippled:
            self._drain_ticks -= 1
            if self._calls.active == 0 or self._drain_ticks <= 0:
                self.should_exit = True
        return await super().on_tick(counter)


def configure(app: Starlette, host: str, port: int) -> uvicorn.Config:
    """How this server faces the network; nothing here is left to a flag."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        ws=LineProtocol,
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # Twilio sends 50 messages a second; a line that stops is seen at once
        proxy_headers=False,  # X-Forwarded-* is whatever the sender wrote; PUBLIC_URL says who we are
        server_header=False,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=5,
        lifespan="on",
    )
