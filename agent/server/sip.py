"""SIP calls: where they come in, and how they get to the switchboard. The library behind it is an extra, and loaded only here."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from agent.drive.tasks import Tasks
from agent.errors import CarrierRefused, UserError
from agent.protocols.door import Caller
from agent.protocols.sip.address import Listening, address, listening, variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.config.settings import Settings
    from agent.drive.wakeups import Wakeups
    from agent.server.arrivals import Arrivals
    from agent.telephony.sip import SipOptions, SipStack
    from agent.telephony.sip_line import SipLine

log = structlog.get_logger()

SPARE = 8
"""Calls beyond MAX_CALLS that the library lets ring, so that the switchboard refuses them and counts that it does."""

LEARN_EVERY = 10.0
"""Seconds between looks for users whom agents' files name; calls for new ones are told by To until then."""

TRIES = 20
"""Free ports that are looked at until one is free for UDP and TCP alike."""


def prepared(settings: Settings) -> Settings:
    """These settings with a SIP port that is free now; without SIP they stay as they are.

    Raises:
        UserError: the extra is not installed, or the port is taken.
    """
    if settings.sip_listen is None:
        return settings
    if find_spec("baresip") is None:
        raise UserError(
            "SIP_LISTEN is set, and SIP is not installed: pip install 'pickup[sip]' (or unset it)"
        )
    where = _free(listening(settings.sip_listen))
    return settings.model_copy(update={"sip_listen": where.text})


def _free(where: Listening) -> Listening:
    problem: OSError | None = None
    for _ in range(TRIES if where.port == 0 else 1):
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        with (
            socket.socket(family, socket.SOCK_DGRAM) as udp,
            socket.socket(family, socket.SOCK_STREAM) as tcp,
        ):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                udp.bind((where.host, where.port))
                port = udp.getsockname()[1]
                tcp.bind((where.host, port))
            except OSError as error:
                problem = error
            else:
                return Listening(where.host, port)
    why = problem.strerror if problem else ""
    raise UserError(f"cannot listen for SIP on {where.text}: {why}; set SIP_LISTEN")


def sip_options(settings: Settings, where: Listening) -> SipOptions:
    """How this process takes part in SIP."""
    from agent.telephony.sip import SipOptions

    first, last = (int(port) for port in settings.sip_rtp_ports.split("-"))
    shortest, _, longest = settings.sip_jitter_ms.partition("-")
    password = settings.sip_password
    return SipOptions(
        listening=where,
        rtp_ports=(first, last),
        calls=settings.max_calls + settings.spoken_refusals + SPARE,
        jitter_ms=(int(shortest), int(longest or shortest)),
        user=settings.sip_user,
        registrar=settings.sip_registrar or "",
        password=password.get_secret_value() if password else "",
        headers=tuple(name for name in settings.sip_headers.split(",") if name),
        codecs=tuple(settings.sip_codecs.split(",")),
    )


class SipDoor:
    """Where SIP calls come in, if they do.

    Args:
        settings: a port for SIP among them is not 0.
        arrivals: who takes them.
        wakeups: the process's clock and schedule.
        failed: told of a task that failed.
        gone: told once when SIP is dead.
        users: the users whom agents' files name, as they are now.

    Attributes:
        dead: whether the library can work no more in this process.
    """

    def __init__(
        self,
        settings: Settings,
        arrivals: Arrivals,
        wakeups: Wakeups,
        failed: Callable[[str, BaseException], None],
        gone: Callable[[], None],
        users: Callable[[], set[str]],
    ) -> None:
        self._gone = gone
        self._users = users
        self._settings = settings
        self._arrivals = arrivals
        self._wakeups = wakeups
        self._tasks = Tasks("sip", failed)
        self._headers = [name for name in settings.sip_headers.split(",") if name]
        self._stack: SipStack | None = None
        self.dead = False

    @property
    def registered(self) -> bool:
        """Whether a registrar knows us."""
        return self._stack is not None and self._stack.registered

    async def open(self) -> None:
        """Take calls from now on, where the settings say so; raises `UserError` where the port cannot be had."""
        if self._settings.sip_listen is None:
            return
        from agent.telephony.sip import SipStack

        options = sip_options(self._settings, listening(self._settings.sip_listen))
        self._stack = SipStack(
            options, wakeups=self._wakeups, tasks=self._tasks, rings=self._rings, died=self._died
        )
        await self._stack.open()
        await self._stack.know(self._users())
        self._tasks.start("users", self._learn(self._stack))

    async def _learn(self, stack: SipStack) -> None:
        """Agents' files change while calls go on."""
        while True:
            await asyncio.sleep(LEARN_EVERY)
            await stack.know(self._users())

    async def dial(self, uri: str, shown: str) -> SipLine:
        """See `SipStack.dial`; raises `CarrierRefused`."""
        if self._stack is None:
            raise CarrierRefused("SIP is not open", blame="moment")
        return await self._stack.dial(uri, shown)

    async def close(self) -> None:
        if self._stack is not None:
            await self._stack.close()
        await self._tasks.close()

    def _rings(self, line: SipLine) -> None:
        invite = line.invite
        caller = Caller(
            provider="sip",
            call_id=invite.call_id,
            account="",
            direction="inbound",
            from_number=address(invite.caller).number,
            to_number=invite.called.number,
            brought=variables(invite.headers, self._headers),
        )
        line.sink = self._arrivals.arrive(caller, line)

    def _died(self) -> None:
        """The library can work no more in this process, and only another process can load it anew."""
        if not self.dead:
            self.dead = True
            log.error(
                "SIP is dead in this process: its other calls go on, new ones go elsewhere, and it ends after the last; "
                "whoever keeps it has to start another"
            )
            self._gone()
