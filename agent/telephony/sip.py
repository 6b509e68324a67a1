"""Drives calls over SIP and RTP by the library baresip-python, which owns sockets, threads and a clock of its own.

Only where SIP is switched on is this file imported: the library is an extra. One stack lives in a process, and its port is that
process's alone. What is decided about a call's sound, addresses and endings is `agent/protocols/sip`'s; the library's errors and
its words end here.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import random
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import structlog
from baresip import Account, Config, Runtime, UserAgent
from baresip.errors import (
    BaresipError,
    CommandTimeout,
    DrainingError,
    NoLocalAddressError,
    RegistrationError,
)
from baresip.events import Event

from agent.errors import CarrierRefused, UserError
from agent.protocols.sip.address import Listening, address, called, target
from agent.protocols.sip.endings import status_of
from agent.telephony.native_stderr import NativeStderr
from agent.telephony.sip_line import Invite, SipLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from baresip.call import Call
    from baresip.events import StackEvent

    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups

log = structlog.get_logger()

TRANSPORTS = ("udp", "tcp")
"""An agent for each: one of another transport would answer 404."""

MOST_CALLS = 256
"""Calls with sound that the library has room for in one process."""

CODECS = {"g722": "g722/16000/1", "pcmu": "pcmu", "pcma": "pcma"}
"""What carries sound, by the name that a person writes, in the library's words (G.722: RFC 3551, section 4.5.2)."""

OWN_HEADERS = ("To", "From", "P-Called-Party-ID")
"""What the library does not tell by itself: who is called."""

MOST_USERS = 200
"""Users whose calls are told from each other by the Request-URI; those of more are told by other headers."""

MOST_HEADERS = 16 - len(OWN_HEADERS)
"""Headers of an INVITE that may be asked for."""

NO_VIDEO = "video_codecs=none"
"""With video on offer the library would ask to change the session right after the answer."""

REGISTER_SECONDS = 300
"""How long a registrar is asked to know us: one that forgot us is asked again within that time."""

ANSWERS_WITHIN = 10.0
"""Seconds within which a registrar that is there has answered."""

AGAIN = (2.0, 120.0)
"""Seconds from one vain registration to the next: doubled from the first to the second, each time a random half of it or more."""

PULSE = 10.0
"""Seconds between two looks whether the library still does what it is told."""

MISSED = 2
"""Looks in a row without an answer (5 s each) after which it counts as dead."""

GOODBYE_SECONDS = 2.0
"""How long calls may take to hear that the process ends."""


class SipOptions(msgspec.Struct, frozen=True):
    """How this process takes part in SIP.

    Attributes:
        listening: where; the port is not 0.
        rtp_ports: first and last UDP port of its sound, two for each call.
        calls: calls at a time; one more is answered 486 by the library.
        jitter_ms: how long a caller's sound waits for packets that are late, at least and at most.
        user: the name that it registers as.
        registrar: host, with or without port; empty: it does not register, and takes calls all the same.
        password: for that registrar and for whoever challenges calls of ours.
        headers: what may be read of an INVITE.
        codecs: of `CODECS`, the best one first. A caller's own order goes before ours (RFC 3264, section 6.1).
    """

    listening: Listening
    rtp_ports: tuple[int, int]
    calls: int
    jitter_ms: tuple[int, int] = (40, 40)
    user: str = "agent"
    registrar: str = ""
    password: str = ""
    headers: tuple[str, ...] = ()
    codecs: tuple[str, ...] = tuple(CODECS)


def _not_placed(error: Exception) -> CarrierRefused:
    """Why a call could not even be begun; the library's text has addresses in it."""
    name = type(error).__name__
    if isinstance(error, NoLocalAddressError | ValueError):
        return CarrierRefused(
            f"it cannot be reached ({name})", reason="invalid_number", blame="number"
        )
    blame = "moment" if isinstance(error, DrainingError) else "us"
    return CarrierRefused(f"SIP did not place it ({name})", blame=blame)


class SipStack:
    """The SIP side of this process.

    Args:
        options: how.
        wakeups: the process's clock and schedule.
        tasks: owner of all that the calls and the registration do.
        rings: told of each call that comes in.
        died: told once when the library can no longer work: only a new process can.

    Attributes:
        registered: whether the registrar knows us, as far as we know.
    """

    def __init__(
        self,
        options: SipOptions,
        *,
        wakeups: Wakeups,
        tasks: Tasks,
        rings: Callable[[SipLine], None],
        died: Callable[[], None],
    ) -> None:
        self._options = options
        self._wakeups = wakeups
        self._tasks = tasks
        self._rings = rings
        self._runtime = Runtime()
        self._runtime.on_dead = self._dead
        self._died = died
        self._stderr = NativeStderr()
        self._agents: dict[str, UserAgent] = {}
        self._codecs = tuple(CODECS[name] for name in options.codecs)
        self._users = {options.user.lower()}  # whose calls are anybody's, too
        self._lines: set[SipLine] = set()
        self.registered = False

    async def open(self) -> None:
        """Listen.

        Raises:
            UserError: the port is taken, or the library takes no such options.
        """
        # What the library logs of calls has addresses of people in it; what matters of it is told here.
        logging.getLogger("baresip").setLevel(logging.CRITICAL)
        if not self._stderr.silence():
            log.warning("the SIP library may write phone numbers to stderr")
        if not faulthandler.is_enabled():  # its last words would be lost, so Python has some
            faulthandler.enable()
        options, where = self._options, self._options.listening.text
        try:
            await self._runtime.start(self._config())
            for transport in TRANSPORTS:
                self._agents[transport] = await self._agent(self._any_user(transport))
        except (BaresipError, ValueError) as error:
            raise UserError(f"SIP_LISTEN={where} cannot be used: {error}") from None
        log.info("SIP is listened for", where=where, registers=bool(options.registrar))
        self._tasks.start("pulse", self._feel_pulse())
        if options.registrar:
            agent = await self._agent(self._registered_user())
            self._tasks.start("registration", self._stay_registered(agent))

    async def close(self) -> None:
        """Hang up what is left and let go of the port."""
        for line in [*self._lines]:
            line.leave()
        if self._lines:
            await asyncio.wait([line.ended for line in self._lines], timeout=GOODBYE_SECONDS)
        try:
            await self._runtime.close()
        except BaresipError as error:
            log.warning("SIP did not end well", why=type(error).__name__)
        else:
            self._stderr.restore()

    async def _feel_pulse(self) -> None:
        """A thread of the library's that hangs is as dead as one that has ended, and tells nobody."""
        missed = 0
        while missed < MISSED:
            await asyncio.sleep(PULSE)
            try:
                await self._runtime.set_sip_trace(False)  # it does nothing, but has to be answered
                missed = 0
            except CommandTimeout:
                missed += 1
            except BaresipError:
                return  # it has ended, and that is told
        self._dead()

    def _dead(self) -> None:
        """No call has a line any more, and none will come."""
        for line in [*self._lines]:
            line.break_off()
        self._died()

    def _config(self) -> Config:
        options = self._options
        first, last = options.rtp_ports
        shortest, longest = options.jitter_ms
        lines = (
            f"sip_listen {options.listening.text}",
            f"sip_transports {','.join(TRANSPORTS)}",
            f"rtp_ports {first}-{last}",
            # A fixed one waits the shortest time, whatever the longest is.
            f"audio_jitter_buffer_type {'fixed' if shortest == longest else 'adaptive'}",
            f"audio_jitter_buffer_ms {shortest}-{longest}",
            "call_hold_other_calls no",
        )
        unspecified = options.listening.host in {"0.0.0.0", "::"}
        return Config(
            net_interface=None if unspecified else options.listening.host,
            max_concurrent_calls=min(options.calls, MOST_CALLS),
            expose_headers=(*OWN_HEADERS, *options.headers),
            native_log_level="error",
            extra_config_text="\n".join(lines) + "\n",
        )

    async def know(self, users: Iterable[str]) -> None:
        """Tell calls for these users from each other by their Request-URI from now on.

        The library tells of no Request-URI, but hands a call to the agent whose user that names.
        """
        for user in sorted(set(users) - self._users)[: MOST_USERS - len(self._users)]:
            self._users.add(user)
            for transport in TRANSPORTS:
                account = Account(
                    user=user,
                    domain=self._options.listening.text,
                    password="",
                    reg_interval=0,
                    transport="udp" if transport == "udp" else "tcp",
                    audio_codecs=self._codecs,
                    extra_params=(NO_VIDEO,),
                )
                try:
                    await self._agent(account, user)
                except (BaresipError, ValueError) as error:
                    log.warning("a user's calls are told by To only", why=type(error).__name__)

    def _any_user(self, transport: str) -> Account:
        """Takes calls for whomever, and places ours."""
        options = self._options
        return Account(
            user=options.user,
            domain=options.registrar or options.listening.text,
            password=options.password,
            reg_interval=0,
            transport="udp" if transport == "udp" else "tcp",
            audio_codecs=self._codecs,
            extra_params=("catchall=yes", NO_VIDEO),
        )

    def _registered_user(self) -> Account:
        """Registers, and takes calls that come by that: one that registers catches no others."""
        options = self._options
        return Account(
            user=options.user,
            domain=options.registrar,
            password=options.password,
            reg_interval=REGISTER_SECONDS,
            audio_codecs=self._codecs,
            extra_params=(NO_VIDEO,),
        )

    async def _agent(self, account: Account, user: str = "") -> UserAgent:
        agent = await UserAgent.create(self._runtime, account, transfer_policy="reject")
        agent.on_incoming(partial(self._rang, user))
        return agent

    async def dial(self, uri: str, shown: str = "") -> SipLine:
        """Place a call, which rings from now on.

        Args:
            uri: who is called.
            shown: number that the callee shall see; who carries the call may show it or not (RFC 3325, section 9.2).

        Raises:
            CarrierRefused: it was not placed.
        """
        agent = self._agents["tcp" if ";transport=tcp" in uri else "udp"]
        headers = {"P-Preferred-Identity": f"<{target(shown, uri)}>"} if shown else {}
        # What happens while the library makes the call is told before there is one to tell it to: even an answer may be.
        early: list[StackEvent] = []
        saw = early.append
        agent.on(saw)
        try:
            call = await agent.dial(uri, headers)
        except (BaresipError, ValueError) as error:
            raise _not_placed(error) from None
        finally:
            agent.off(saw)
        invite = Invite(call_id=call.call_id or "", caller=uri, called=address(uri), headers={})
        line = self._line(call, invite)
        for event in early:
            call._on_stack_event(event)
        return line

    def _rang(self, user: str, call: Call) -> None:
        headers = {name.lower(): value for name, value in call.headers.items()}
        invite = Invite(
            call_id=call.call_id or "",
            caller=headers.get("from", call.peer or ""),
            called=called(headers, user, self._options.listening.host),
            headers=headers,
        )
        self._rings(self._line(call, invite))

    def _line(self, call: Call, invite: Invite) -> SipLine:
        line = SipLine(call, invite, self._wakeups, self._tasks)
        self._lines.add(line)
        line.ended.add_done_callback(lambda _: self._lines.discard(line))
        return line

    # ---- registration

    async def _stay_registered(self, agent: UserAgent) -> None:
        """Be known to the registrar; while it is not there, ask again, and say so once."""
        wait, told = AGAIN[0], False
        lost: asyncio.Queue[str] = asyncio.Queue(
            1
        )  # why; a second one while it is full says nothing new

        def happened(event: StackEvent) -> None:
            if event.event is Event.REGISTER_FAIL and self.registered and lost.empty():
                lost.put_nowait(event.text or "")

        agent.on(happened)
        while True:
            try:
                await agent.register(timeout=ANSWERS_WITHIN)
            except RegistrationError as error:
                why = error.status or "no answer"
            else:
                log.info("registered")
                self.registered, wait, told = True, AGAIN[0], False
                why = status_of(await lost.get()) or "no answer"
                self.registered = False
            if not told:
                told = True
                log.warning("not registered: calls go on, and it is tried again", why=why)
            await asyncio.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, AGAIN[1])
