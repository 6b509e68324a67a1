"""`pickup dev NUMBER`: a real number rings on this machine, and is put back at the end."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from agent.errors import UserError

if TYPE_CHECKING:
    from types import FrameType

    from agent.cli.parts.borrowed import Borrowing
    from agent.cli.parts.children import Child
    from agent.cli.parts.tunnel import Tunnel
    from agent.cli.parts.twilio_rest import Number
    from agent.config.settings import Settings
    from agent.telephony.twilio_rest import Credentials

app = typer.Typer()

LOOK_EVERY = 0.2
"""Seconds between looks at the children and at the signals."""

CALLS_END_WITHIN = 5.0
"""Seconds that a call may go on after the end was asked for."""


class Wish(NamedTuple):
    """What the person at the keyboard asked for."""

    number: str
    port: int | None
    stand_in: bool
    record: bool


@app.command()
def dev(
    number: Annotated[
        str | None, typer.Argument(help="Your Twilio number, such as +15551234567.")
    ] = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Only put back what an earlier run left behind.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(help="Port, instead of PORT; 0: a free one.", min=0, max=65535),
    ] = None,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Answer with the built-in stand-in for Gemini Live.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Keep the sound of every call.")] = False,
) -> None:
    """Let a real number ring on this machine until Ctrl-C, then put it back."""
    from agent.cli.parts.borrowed import Borrowing
    from agent.config.settings import Settings, environment
    from agent.protocols.twilio.number import e164
    from agent.server.outbound.carrier import credentials

    if (number is None) is not restore:
        raise UserError("say which number, as in `pickup dev +15551234567`, or only --restore")
    valid = number and e164(number)
    if number is not None and not valid:
        raise UserError(f"{number!r} is not a number such as +15551234567 (E.164)")
    settings = Settings.load(environment(), Path(".env"))
    given = credentials(settings)
    with Borrowing(settings.data_dir) as borrowing:
        line = asyncio.run(_give_back(borrowing, given))
        if line or restore:
            _tell(line or "there is nothing to put back")
        if valid:
            with Signals() as signals:
                _run(settings, given, borrowing, Wish(valid, port, stand_in, record), signals)


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP, as something to look at: nothing is torn in the middle, least of all the putting back.

    Plain flags: a handler runs between any two steps of the main thread, also while that holds the lock of an `Event`.

    Attributes:
        interrupted: Ctrl-C was among them.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.interrupted = False
        self._came = False
        self._before = [signal.getsignal(number) for number in self.NUMBERS]

    def __enter__(self) -> Signals:
        for number in self.NUMBERS:
            signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(self.NUMBERS, self._before, strict=True):
            signal.signal(number, handler)

    def came(self) -> bool:
        return self._came

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or number == signal.SIGINT
        self._came = True


def _run(
    settings: Settings, given: Credentials, borrowing: Borrowing, wish: Wish, signals: Signals
) -> None:
    """Tunnel, server, number, in this order; undone in the other."""
    _check(settings, wish)
    number = asyncio.run(_find(given, wish.number))
    with ExitStack() as stack:
        port = _free_port(settings, wish.port)
        tunnel = _tunnel(settings, port, signals)
        if tunnel is not None:
            stack.callback(tunnel.stop)
        if signals.came():
            return
        public_url = tunnel.url if tunnel else str(settings.public_url)
        server = _serve(settings, wish, port, public_url, local=tunnel is not None)
        stack.callback(_stop, server, signals)
        if signals.came():
            return
        stack.callback(_end, borrowing, given)
        asyncio.run(_take(borrowing, given, number, public_url))
        _tell(f"ready at {public_url}: call your number; Ctrl-C ends and puts it back")
        while not signals.came():
            time.sleep(LOOK_EVERY)
            ended = "server" if not server.running else ""
            if tunnel is not None and not tunnel.running:
                ended = tunnel.name
            if ended:
                _tell(f"the {ended} has ended")
                raise typer.Exit(1)


def _stop(server: Child, signals: Signals) -> None:
    """Its first signal lets calls end, the second ends them; a terminal's Ctrl-C has been its first."""
    if not signals.interrupted:
        server.process.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(CALLS_END_WITHIN)
    server.stop()


def _check(settings: Settings, wish: Wish) -> None:
    """What the server would also say, before a tunnel is made for it."""
    from agent.config.settings import is_loopback

    if settings.twilio_auth_token is None:
        raise UserError(
            "TWILIO_AUTH_TOKEN is not set: without it nobody can tell Twilio's requests from others"
        )
    if settings.public_url is None or not is_loopback(_host(settings.public_url)):
        if settings.api_key is None and not wish.stand_in:
            raise UserError("GEMINI_API_KEY is not set (or give --stand-in to answer with a fake)")
    elif not is_loopback(_host(settings.twilio_api_url)):
        raise UserError("PUBLIC_URL is this machine's own: Twilio cannot reach it; unset it")


def _host(origin: str) -> str | None:
    from urllib.parse import urlsplit

    return urlsplit(origin).hostname


def _free_port(settings: Settings, wanted: int | None) -> int:
    """The port to serve on, known before the tunnel and the server are started."""
    port = settings.port if wanted is None else wanted
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(
                f"cannot listen on port {port}: {error.strerror}; give --port 0 for a free one"
            ) from None
        return int(probe.getsockname()[1])


def _tunnel(settings: Settings, port: int, signals: Signals) -> Tunnel | None:
    """A tunnel to the port, unless PUBLIC_URL says that there is a way already."""
    from agent.cli.parts.tunnel import Tunnel, find
    from agent.config.settings import Settings, environment

    if settings.public_url is not None:
        return None
    ours = {name.upper() for name in Settings.model_fields}
    path, program = find()
    _tell(f"starting {program.name}")
    environ = {name: value for name, value in environment().items() if name not in ours}
    tunnel = Tunnel(path, program, port, environ)
    try:
        tunnel.wait(signals.came)
    except UserError:
        tunnel.stop()
        raise
    return tunnel


def _serve(settings: Settings, wish: Wish, port: int, public_url: str, *, local: bool) -> Child:
    from agent.cli.parts.children import Child
    from agent.config.settings import environment

    host = "127.0.0.1" if local else settings.host
    words = ["serve", "--host", host, "--port", str(port)]
    words += ["--stand-in"] * wish.stand_in + ["--record"] * wish.record
    return Child(words, environment() | {"PUBLIC_URL": public_url})


async def _find(given: Credentials, number: str) -> Number:
    from agent.cli.parts.twilio_rest import connected

    async with connected(given) as rest:
        found = await rest.find(number)
    if found is None:
        raise UserError(f"account {given.account} has no number {number}: see Twilio's console")
    if found.trunk:
        raise UserError(
            f"the number belongs to the SIP trunk {found.trunk}, which takes its calls past every "
            "webhook: take it off the trunk in Twilio's console"
        )
    return found


async def _take(borrowing: Borrowing, given: Credentials, number: Number, public_url: str) -> None:
    from agent.cli.parts.twilio_rest import connected
    from agent.protocols.twilio.number import pointed_at

    async with connected(given) as rest:
        ours = pointed_at(public_url, number.webhooks)
        await borrowing.take(rest, given.account, number, ours)


async def _give_back(borrowing: Borrowing, given: Credentials) -> str | None:
    from agent.cli.parts.twilio_rest import connected

    async with connected(given) as rest:
        return await borrowing.give_back(rest, given.account)


def _end(borrowing: Borrowing, given: Credentials) -> None:
    try:
        line = asyncio.run(_give_back(borrowing, given))
    except UserError as error:
        raise UserError(
            f"the number is not put back ({error}): run `pickup dev --restore`"
        ) from None
    if line:
        _tell(line)


def _tell(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
