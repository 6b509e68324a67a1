"""Builds the application: everything concrete meets here."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette

from agent.drive.tasks import Tasks
from agent.errors import UserError
from agent.server.arrivals import Arrivals
from agent.server.assembly import Around, Assembly
from agent.server.clock import wall
from agent.server.door import Door
from agent.server.health import Health
from agent.server.journal import Unknowns
from agent.server.ledger import keep_ledger
from agent.server.line_door import LineDoor
from agent.server.outbound.outbound import Outbound, trunk
from agent.server.outbound.sip_calls import SipCalls
from agent.server.providers import CARRIER, LINES, PHONES
from agent.server.refusals import Refusals
from agent.server.register import Register, derive
from agent.server.retention import keep_deleting
from agent.server.sip import SipDoor
from agent.server.streams import STRANGERS, Streams
from agent.server.switchboard import Switchboard
from agent.server.warm import WarmTransfers
from agent.storage.durable import DurableRecords

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pydantic import SecretStr
    from starlette.routing import BaseRoute
    from starlette.types import Message, Receive, Scope, Send

    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.drive.wakeups import Wakeups
    from agent.protocols.door import PhoneProvider, Verdict
    from agent.server.library import Libraries
    from agent.server.stores import Stores
    from agent.server.wiring import Wiring

log = structlog.get_logger()

DISK_THREADS = 4
"""Threads that may wait for the disk: flight records of all calls share them, and name look-ups do not."""


class Building:
    """The parts of a running server, put together inside its event loop.

    Args:
        settings: deployment settings.
        agents: the agents' files.
        auth_token: what Twilio signs with.
        public_url: the origin at which Twilio reaches us; known only once we listen where it is loopback's.
        recording: keep every call's sound.
        hide: told every named secret that is read, before anybody else: no log may show it.

    Attributes:
        mistake: why it could not be opened, where somebody can mend that.
        crippled: whether it cannot do all that it is there for, and ends when its calls have ended.
    """

    def __init__(
        self,
        settings: Settings,
        agents: AgentFiles,
        *,
        auth_token: str,
        public_url: str,
        recording: bool = False,
        hide: Callable[[str], None] = lambda secret: None,
    ) -> None:
        self.settings = settings
        self.agents = agents
        self.auth_token = auth_token
        self.public_url = public_url
        self.recording = recording
        self._hide = hide
        self.switchboard: Switchboard | None = None
        self.mistake: UserError | None = None
        self.crippled = False
        self._arrivals: Arrivals | None = None

    @property
    def active(self) -> int:
        """Calls, and callers who are being told that there is no room for them."""
        calls = self.switchboard.active if self.switchboard else 0
        return calls + (self._arrivals.refusing if self._arrivals else 0)

    def _secret(self, name: str) -> SecretStr | None:
        found = self.settings.secret(name)
        if found is not None:
            self._hide(found.get_secret_value())
        return found

    def _sip_gone(self) -> None:
        """Drain as if the process had been told to end."""
        self.crippled = True
        self.drain()

    def drain(self) -> None:
        if self.switchboard is not None:
            self.switchboard.drain()

    @asynccontextmanager
    async def open(self, app: Starlette) -> AsyncIterator[None]:
        """Starlette's lifespan: open what calls need, close it when the last has ended."""
        try:
            async with self._open(app):
                yield
        except UserError as error:
            self.mistake = error
            raise

    @asynccontextmanager
    async def _open(self, app: Starlette) -> AsyncIterator[None]:
        settings = self.settings
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        tasks = Tasks("server", _failed)
        instance = f"{socket.gethostname()}-{os.urandom(4).hex()}"
        with ThreadPoolExecutor(DISK_THREADS, "disk") as disk:
            warm = WarmTransfers(tasks, lambda: os.urandom(8).hex(), settings.caller_id)
            around = Around(tasks, disk, warm, self._secret)
            assembly = Assembly.of(settings, self.agents, around, recording=self.recording)
            stores, libraries, wiring = assembly.stores, assembly.libraries, assembly.wiring
            wakeups, toolkit = wiring.wakeups, wiring.toolkit
            records = await DurableRecords.open(
                settings.database, settings.data_dir / "spool", instance, wiring.wall(), disk
            )
            register = Register(
                records,
                instance,
                token_key=derive(self.auth_token, "call token"),
                number_key=derive(self.auth_token, "number"),
                wall=wiring.wall,
            )
            board = Switchboard(wiring, register, Tasks("calls", _failed), settings.max_calls, warm)
            self.switchboard = board
            refusals = Refusals(wiring.lines, wiring.agent_for, wakeups, settings.spoken_refusals)
            self._arrivals = arrivals = Arrivals(board, refusals, Tasks("arrivals", _failed))
            sip = SipDoor(settings, arrivals, wakeups, _failed, self._sip_gone, self.agents.users)
            board.metrics.registered.set_function(lambda: float(sip.registered))
            outbound = Outbound(wiring, board, stores, instance, self.public_url, warm)
            if settings.sip_listen is not None:
                outbound.by_sip = SipCalls(sip.dial, arrivals, trunk(settings))
            app.router.routes.extend(self._doors(board, arrivals, wakeups, warm))
            await sip.open()
            app.router.routes.extend(await outbound.open())
            health = Health(board, records, settings.data_dir, lambda: sip.dead)
            app.router.routes.extend(health.routes())
            _keep_house(wiring, records, libraries, stores)
            try:
                yield
            finally:
                await board.close()
                await arrivals.close()
                await sip.close()
                await outbound.close()
                await toolkit.close()
                await tasks.close()
                await records.close()
                await stores.close()
                wakeups.close()

    def _doors(
        self, board: Switchboard, arrivals: Arrivals, wakeups: Wakeups, warm: WarmTransfers
    ) -> list[BaseRoute]:
        """Where phone providers come in, and telephone systems that bring their own calls."""
        settings = self.settings
        most = 2 * settings.max_calls + STRANGERS
        routes: list[BaseRoute] = []
        for name in PHONES:
            phone = PHONES[name](settings, self.auth_token, self.public_url)
            routes += Door(phone, board, Streams(board.metrics, wakeups, most)).routes()
            if name == CARRIER:
                warm.words = partial(_words, phone)
        for name in LINES:
            if (line := LINES[name](settings)) is not None:
                streams = Streams(board.metrics, wakeups, most)
                routes += LineDoor(line, arrivals, streams, board.metrics).routes()
        return routes


def _words(provider: PhoneProvider, verdict: Verdict) -> str:
    return provider.answer(verdict)[0]


def _keep_house(
    wiring: Wiring, records: DurableRecords, libraries: Libraries, stores: Stores
) -> None:
    """What goes on beside the calls for as long as the process lives."""
    settings, tasks = wiring.settings, wiring.tasks
    known = [wiring.agents.get(name) for name in wiring.agents.names()]
    for agent in known:
        wiring.prepare(agent)
    tasks.start("documents", libraries.prepare(known))
    tasks.start("unknown outcomes", Unknowns(stores.effects, wall).watch())
    tasks.start("records", records.run(wiring.wall))
    sounds = settings.data_dir / "calls"
    tasks.start("retention", keep_deleting(sounds, wiring.disk, wiring.wall))
    if settings.day_budget is not None:
        tasks.start("ledger", keep_ledger(wiring.ledger, records, wiring.wall))


class Application(Starlette):
    """Starlette that does not trace a user's mistake: whoever started it says that in one line."""

    def __init__(self, building: Building) -> None:
        super().__init__(lifespan=building.open)
        self._building = building

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            failed = message["type"] == "lifespan.startup.failed"
            known = failed and self._building.mistake is not None
            await send({**message, "message": ""} if known else message)

        await super().__call__(scope, receive, tell if scope["type"] == "lifespan" else send)


def build(building: Building) -> Starlette:
    """The application of a building."""
    return Application(building)


def _failed(child: str, error: BaseException) -> None:
    log.error("a task of the server failed", task=child, exc_info=error)
