"""The stand-in for Gemini Live as a server: a boring driver around `LiveSession`.

WS  /ws/google.ai.generativelanguage.{v1beta|v1alpha|v1}.GenerativeService.BidiGenerateContent
GET /stats      what happened, as JSON (`records.Stats`)
GET /control    ?fault=NAME[=VALUE] (of the menu, but none of the setup) or ?close=CODE&reason=TEXT [&session=N]: now, to the live
                sessions (or the one); answers {"sessions": how many}
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections import deque
from contextlib import asynccontextmanager
from http import HTTPStatus
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import ConnectionClosed

from agent.errors import UserError
from agent.simulator import faults
from agent.simulator.clock import Owner, now, sleep_until
from agent.simulator.gemini_session import Door, Freeze, House, LatePongs, LiveSession, Out
from agent.simulator.gemini_setup import Conduct
from agent.simulator.handles import Handles
from agent.simulator.pongs import answer_late
from agent.simulator.records import Ledger, Stats
from agent.simulator.refusals import Close

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

    from agent.simulator.brain import Brain

PATH = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1beta|v1alpha|v1)"
    r"\.GenerativeService\.BidiGenerateContent"
)
MAX_FRAME_BYTES = 1 << 20
CLOSE_SECONDS = 2.0  # how long the client may take to answer a close frame
ABORTED = 1006  # never on the wire: the connection is dropped (RFC 6455, section 7.4.1)


class Options(msgspec.Struct, frozen=True):
    """What the stand-in is started with.

    Attributes:
        port: 0: any free one.
        seed: Makes every choice of the stand-in repeatable; session n draws from seed and n.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    conduct: Conduct = Conduct()


class _Line:
    """One connection: reads into the session, and writes what the session has to say."""

    def __init__(self, socket: ServerConnection, session: LiveSession) -> None:
        self._socket = socket
        self._session = session
        # Unbounded in theory: the session adds little but what `write` asks it for, and `write`
        # asks for nothing while the socket is full.
        self._outbox: deque[Out] = deque()
        self._wake = asyncio.Event()
        self._sleeps_until = 0.0
        self._frozen = False

    def inject(self, fault: faults.Fault) -> None:
        """Let something go wrong now."""
        self._push(self._session.inject(fault, now()))

    async def read(self) -> None:
        """Feed the session until the connection is gone, also while it is closing."""
        receive, hear = self._socket.recv, self._session.receive
        while not self._frozen:
            try:
                frame = await receive()
            except ConnectionClosed:
                return
            self._push(hear(frame, now()))
        await self._socket.wait_closed()

    async def write(self) -> None:
        """Send what is due, in order, until the session closes or the connection is gone."""
        session, outbox = self._session, self._outbox
        try:
            while True:
                outbox.extend(session.tick(now()))
                while outbox:
                    out = outbox.popleft()
                    if isinstance(out, Close):
                        await self._close(out)
                        return
                    await self._put(out)
                await self._sleep(session.due)
        except ConnectionClosed:
            return

    async def _put(self, out: bytes | str | Freeze | LatePongs) -> None:
        match out:
            case Freeze():
                self._frozen = True
                self._socket.transport.pause_reading()
            case LatePongs(seconds):
                answer_late(self._socket, seconds)
            case frame:
                await self._socket.send(frame)

    async def _sleep(self, until: float) -> None:
        self._wake.clear()
        self._sleeps_until = until
        try:
            async with asyncio.timeout(until - now() if until < float("inf") else None):
                await self._wake.wait()
        except TimeoutError:
            pass  # the time has come, or nearly: `tick` compares again

    def _push(self, outs: list[Out]) -> None:
        self._outbox.extend(outs)
        if outs or self._session.due < self._sleeps_until:
            self._wake.set()

    async def _close(self, close: Close) -> None:
        if close.code == ABORTED:
            self._socket.transport.abort()
        else:
            await self._socket.close(close.code, close.reason)


class GeminiStandIn:
    """The server's state: live connections, and the ledger."""

    def __init__(self, options: Options, brain: Callable[[], Brain]) -> None:
        self._options = options
        self._ledger = Ledger()
        ledger = self._ledger
        self._house = House(options.conduct, brain, Handles(), ledger.violated, ledger.refused)
        self._live: dict[int, _Line] = {}

    def stats(self) -> Stats:
        """Return everything noted so far."""
        return self._ledger.stats()

    def inject(self, fault: faults.Fault, session: int | None = None) -> int:
        """Let something go wrong now in all live sessions, or in one; returns in how many."""
        lines = [line for number, line in self._live.items() if session in (None, number)]
        for line in lines:
            line.inject(fault)
        return len(lines)

    async def handle(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        if socket.request is None:
            return  # never: the handshake is over
        record = self._ledger.open()
        dice = Random(f"{self._options.seed}:{record.session}")
        session = LiveSession(_door(socket.request), self._house, record, dice)
        line = self._live[record.session] = _Line(socket, session)
        try:
            async with Owner() as owner:
                owner.start(line.write(), f"gemini-{record.session}-write")
                await line.read()
        finally:
            del self._live[record.session]
            session.ended(socket.close_code or ABORTED, socket.close_reason or "", now())

    async def process_request(self, socket: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP requests; None lets the WebSocket handshake go on."""
        url = urlsplit(request.path)
        if PATH.fullmatch(url.path):
            return await self._greet(socket)
        if url.path == "/stats":
            return _answer(socket, HTTPStatus.OK, self.stats())
        if url.path == "/control":
            return self._control(socket, parse_qs(url.query))
        return _answer(socket, HTTPStatus.NOT_FOUND, {"error": f"nothing at {url.path}"})

    async def _greet(self, socket: ServerConnection) -> Response | None:
        """Let a handshake go on, unless a fault of the handshake strikes."""
        for fault in self._options.conduct.faults:
            if fault.after != "handshake" or not self._house.strikes(fault):
                continue
            self._ledger.spoiled()
            if fault.name == "handshake-hangs":
                await sleep_until(now() + float(fault.value))
            else:
                error = {"error": "The service is currently unavailable."}
                return _answer(socket, HTTPStatus.SERVICE_UNAVAILABLE, error)
        return None

    def _control(self, socket: ServerConnection, query: dict[str, list[str]]) -> Response:
        asked = {name: values[-1] for name, values in query.items()}
        text = asked.get("fault", "")
        if "close" in asked:
            text = f"close={asked['close']}" + (f":{asked['reason']}" if "reason" in asked else "")
        try:
            fault = faults.parse(text)
            session = int(asked["session"]) if "session" in asked else None
        except (UserError, ValueError) as error:
            return _answer(socket, HTTPStatus.BAD_REQUEST, {"error": str(error)})
        return _answer(socket, HTTPStatus.OK, {"sessions": self.inject(fault, session)})


def _answer(socket: ServerConnection, status: HTTPStatus, body: object) -> Response:
    response = socket.respond(status, msgspec.json.encode(body).decode() + "\n")
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


def _door(request: Request) -> Door:
    """Read version and key: `x-goog-api-key`, or `?key=` (Google: Live API, WebSockets guide)."""
    url = urlsplit(request.path)
    match = PATH.fullmatch(url.path)
    header = request.headers.get("x-goog-api-key", "")
    query = parse_qs(url.query).get("key", [""])[-1]
    return Door(match[1] if match else "", header or query)


@asynccontextmanager
async def serving(
    options: Options, brain: Callable[[], Brain]
) -> AsyncIterator[tuple[GeminiStandIn, str]]:
    """Serve as long as the context lasts; yields the stand-in and its origin (`http://...`).

    `brain` makes the mind of each new conversation.

    Raises:
        UserError: the address cannot be listened on.
    """
    stand_in = GeminiStandIn(options, brain)
    try:
        server = await serve_websocket(
            stand_in.handle,
            options.host,
            options.port,
            process_request=stand_in.process_request,
            max_size=MAX_FRAME_BYTES,
            open_timeout=None,  # a fault may let a handshake hang
            compression=None,  # costs more than it saves on loopback
            ping_interval=None,
            close_timeout=CLOSE_SECONDS,
        )
    except OSError as error:
        where = f"{options.host} port {options.port}"
        raise UserError(f"cannot listen on {where}: {error.strerror or error}") from error
    async with server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield stand_in, f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def serve(
    options: Options, brain: Callable[[], Brain], announce: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the origin once connections are accepted."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options, brain) as (_, origin):
        announce(origin)
        await stop.wait()
