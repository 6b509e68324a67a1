"""Dials what is reserved: one after the other at the carrier's pace, each try at most once.

A try is written down before the carrier is asked and after it answered. Where no answer came, only the carrier knows whether it
rings: it is asked for such a call before anything else is done, and what cannot be cleared up counts as a try.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from agent.drive.tasks import Tasks
from agent.errors import CarrierRefused, CarrierSilent, StorageError
from agent.protocols.door import Caller, CallOrder
from agent.server.outbound.orders import OrderRefused
from agent.server.outbound.retries import outcome
from agent.storage.attempts import AttemptState, Taker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.server.live_call import LiveCall
    from agent.server.outbound.orders import Orders, Ready
    from agent.server.switchboard import Place, Switchboard
    from agent.storage.attempts import Attempt, Told
    from agent.storage.campaigns import Campaigns

log = structlog.get_logger()

LEASE = 30.0
"""Seconds that a try is ours without being renewed."""

RENEW_EVERY = 10.0
AT_ONCE = 50
"""Tries of dead processes that are taken over every `RENEW_EVERY` seconds: each is a question or two to the carrier."""
LOOK_EVERY = 1.0
"""Seconds between looks at the database for what is due; an order that comes in here is looked at once."""

BACK_OFF = 15.0
"""Seconds until a call is tried again for which there was no room, here or at the carrier."""

MENDED_WITHIN = 300.0
"""Seconds until a call is tried again that the carrier takes from nobody; an operator has to mend that."""

LAST_WRITES = 5.0
"""Seconds that a process that leaves may take to write down what became of its calls; else another one clears them up."""

ASK_AGAIN = (1.0, 4.0)
"""Seconds before the carrier is asked for a call that it may have placed: it may not know it at once."""


class Carrier(Protocol):
    """Who places calls; see `agent/telephony/twilio_rest.py`."""

    async def place(self, order: CallOrder) -> str: ...
    async def find(self, order: CallOrder, since: float) -> str | None: ...
    async def unreached(self, call_id: str) -> str | None: ...
    async def hang_up(self, call_id: str) -> bool: ...


class Post(NamedTuple):
    """Where a dialer works.

    Attributes:
        instance: this process.
        provider: the name of the carrier that has webhooks, as they are known by.
        wall: seconds since 1970-01-01 UTC.
        per_second: calls placed; a carrier queues what comes faster (Twilio: one a second for each account).
        max_seconds: when the carrier ends a call whatever we do.
    """

    instance: str
    provider: str
    wall: Callable[[], float]
    per_second: float = 1.0
    max_seconds: int = 3600


class Dialer:
    """Dials for one process.

    Args:
        orders: what is reserved, and the rules.
        campaigns: whose calls are dialled beside the single ones.
        board: lives the calls.
        carrier: places them.
        post: where.
    """

    def __init__(
        self,
        orders: Orders,
        campaigns: Campaigns,
        board: Switchboard,
        carrier: Carrier,
        post: Post,
    ) -> None:
        self._orders = orders
        self._attempts = orders.attempts
        self._campaigns = campaigns
        self._board = board
        self._carrier = carrier
        self._post = post
        self._instance = post.instance
        self._wall = post.wall
        self._tasks = Tasks("dialer", _failed)
        self._tries = Tasks("tries", _failed)
        self._stirred = asyncio.Event()
        board.adopt = self._adopt_live
        board.over_elsewhere = self._over_elsewhere

    def stir(self) -> None:
        """Something may be due."""
        self._stirred.set()

    def begin(self) -> None:
        """Dial from now on."""
        self._tasks.start("dial", self._dial_on())
        self._tasks.start("keep", self._keep())

    async def _dial_on(self) -> None:
        while True:
            self._stirred.clear()
            try:
                dialled = await self._next()
            except StorageError as error:
                log.error("nothing is dialled: the database does not answer", why=str(error))
                dialled = False
            if dialled:
                await asyncio.sleep(1 / self._post.per_second)
            else:
                await _soon(self._stirred, LOOK_EVERY)

    async def close(self) -> None:
        """Dial no more. The calls have ended: what became of them is written down."""
        await self._tasks.close()
        await self._tries.close(grace=LAST_WRITES)

    # ---- what is due

    async def _next(self) -> bool:
        """Dial one call that is due; False where there is none, or no room."""
        if self._board.draining or self._board.full:
            return False
        now = self._wall()
        taker = Taker(self._instance, now, now + LEASE)
        attempt = await self._attempts.claim(taker, self._orders.caps)
        for campaign in await self._campaigns.running() if attempt is None else ():
            attempt = await self._campaigns.claim(campaign, taker, self._orders.caps)
            if attempt is not None:
                break
        if attempt is None:
            return False
        self._tries.start(f"call {attempt.id}", self._dial(attempt))
        return True

    async def _keep(self) -> None:
        """Keep what is ours, and take over what another process died with."""
        while True:
            now = self._wall()
            try:
                await self._attempts.renew(self._instance, now + LEASE)
                for told in await self._attempts.told_of(self._instance):
                    self._board.over(self._over_at_last(told))
                left = await self._attempts.adopt(self._instance, now, now + LEASE, AT_ONCE)
                for attempt in left:
                    self._tries.start(f"clear up {attempt.id}", self._clear_up(attempt))
            except StorageError as error:
                log.error("the calls that we dial are not renewed", why=str(error))
            await asyncio.sleep(RENEW_EVERY)

    # ---- one try

    async def _dial(self, attempt: Attempt) -> None:
        """One try, from the rules to what became of it."""
        try:
            ready = self._orders.check(attempt.number, attempt.agent, attempt.variables)
        except OrderRefused as error:
            log.warning("not dialled", order=attempt.id, why=str(error))
            why = error.why
            await self._write(
                lambda: self._attempts.end(attempt.id, attempt.tries, why, self._wall())
            )
            return
        at = ready.habits.hours.next_permitted(attempt.number, self._wall())
        if at is None or at > self._wall():  # it was reserved, or its last try was, at another time
            await self._not_now(attempt, at)
            return
        order = self._order(attempt, ready)
        own_line = order.by != self._post.provider
        place = self._board.dial(
            self._caller(order), ready.agent, attempt.variables, own_line=own_line
        )
        if isinstance(place, str):
            await self._not_now(attempt, self._wall() + BACK_OFF)
            return
        call_id = await self._place(attempt, order, place.call)
        if call_id is not None:
            self._board.placed(order.id, call_id)
            await self._write(lambda: self._attempts.placed(attempt.id, attempt.tries, call_id))
            await self._follow(attempt, ready, place)

    async def _not_now(self, attempt: Attempt, at: float | None) -> None:
        """It is not dialled: it is due again at `at`, and over where that is None."""
        if at is None:
            await self._write(lambda: self._ended(attempt, "hours", self._wall(), None))
        else:
            await self._write(lambda: self._attempts.not_placed(attempt.id, attempt.tries, at))

    async def _place(self, attempt: Attempt, order: CallOrder, call: LiveCall) -> str | None:
        """The provider's id of the call; None where there is none, and that is written down."""
        began = self._wall()
        try:
            call_id = await self._carrier.place(order)
        except CarrierSilent as error:
            log.warning("the carrier did not answer", order=order.id, why=str(error))
            found = await self._find(order, began)
            if found is None:
                call.abandon("call_failed")
                await self._over(attempt, "carrier_silent", answered=False)
                return None
            call_id = found
        except CarrierRefused as error:
            log.error("the carrier refused a call", order=order.id, why=str(error))
            call.abandon("call_failed")
            await self._refused(attempt, error)
            return None
        return call_id

    async def _refused(self, attempt: Attempt, error: CarrierRefused) -> None:
        """It certainly does not ring."""
        if error.blame == "number":
            await self._write(lambda: self._ended(attempt, error.reason, self._wall(), None))
        else:
            wait = BACK_OFF if error.blame == "moment" else MENDED_WITHIN
            await self._not_now(attempt, self._wall() + wait)

    async def _find(self, order: CallOrder, since: float) -> str | None:
        """A call that the carrier may have placed; its webhook may know it before the carrier's list does."""
        for wait in ASK_AGAIN:
            await asyncio.sleep(wait)
            if (known := self._board.call_id_of(order.id)) is not None:
                return known
            try:
                if (found := await self._carrier.find(order, since)) is not None:
                    return found
            except CarrierRefused as error:
                log.warning("the carrier cannot be asked", order=order.id, why=str(error))
        return None

    async def _follow(self, attempt: Attempt, ready: Ready, place: Place) -> None:
        """Until the call's end, and what comes after it."""
        await place.over.wait()
        call = place.call
        answered = call.leg > 0
        if not answered and not await self._ours(attempt):
            return  # its webhook reached another process, where it goes on
        reason = call.reason
        if not answered and reason == "no_start":  # nobody told how it ended, if it did
            reason = await self._unreached(place.caller.call_id) or reason
        if not place.recorded:
            await self._board.record(place, reason)
        if not answered and reason not in OF_THE_CARRIER:
            await self._hang_up(place.caller.call_id)  # nobody here would speak to who picks up
        await self._over(attempt, reason, answered=answered, ready=ready)

    async def _unreached(self, call_id: str) -> str | None:
        """What the carrier itself says of a call of which it told nothing."""
        try:
            return await self._carrier.unreached(call_id)
        except CarrierRefused as error:
            log.warning("the carrier cannot be asked how a call ended", why=str(error))
            return None

    async def _ours(self, attempt: Attempt) -> bool:
        """Whether nobody has taken this try from us, or ended it."""
        try:
            now = await self._attempts.get(attempt.id)
        except StorageError:
            return True
        return (
            now is not None
            and now.instance == self._instance
            and now.tries == attempt.tries
            and _open(now)
        )

    async def _hang_up(self, call_id: str) -> None:
        try:
            await self._carrier.hang_up(call_id)
        except CarrierRefused as error:
            log.warning("a call that rings was not ended", why=str(error))

    async def _write(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write down what happened, however long the database is away: until then the number is on the line, for all."""
        while True:
            try:
                await write()
                return
            except StorageError as error:
                log.error("what became of a call is not written yet", why=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def _over(
        self, attempt: Attempt, reason: str, *, answered: bool, ready: Ready | None = None
    ) -> None:
        """Write down how a try ended, and whether there will be another one."""
        now, at = self._wall(), None
        if ready is None:
            try:
                ready = self._orders.check(attempt.number, attempt.agent, attempt.variables)
            except OrderRefused:
                log.warning("no further try", order=attempt.id)
        if ready is not None:
            habits = ready.habits
            what = outcome(reason, answered=answered)
            at = habits.retries.next_at(
                what, attempt.tries, now, number=attempt.number, hours=habits.hours
            )
        await self._write(lambda: self._ended(attempt, reason, now, at))

    def _ended(
        self, attempt: Attempt, reason: str, now: float, at: float | None
    ) -> Awaitable[object]:
        if at is None:
            return self._attempts.end(attempt.id, attempt.tries, reason, now)
        return self._attempts.again(attempt.id, attempt.tries, reason, now, at)

    # ---- what others began

    async def _clear_up(self, attempt: Attempt) -> None:
        """A try whose process died: find out whether it rang, and never dial what may have."""
        call_id = attempt.provider_call_id
        if attempt.state is AttemptState.PLACING:
            try:
                ready = self._orders.check(attempt.number, attempt.agent, attempt.variables)
                since = await self._attempts.dialled_at(attempt.id, attempt.tries)
                call_id = await self._carrier.find(self._order(attempt, ready), since)
            except (OrderRefused, CarrierRefused, StorageError) as error:
                log.warning("a try is not cleared up yet", order=attempt.id, why=str(error))
                return  # its lease runs out again
            if call_id is None:
                await self._not_now(attempt, self._wall())
                self.stir()
                return
        if call_id is None or self._board.call_id_of(_live_id(attempt)) is not None:
            return
        try:
            reason = await self._carrier.unreached(call_id)
        except CarrierRefused as error:
            log.warning("a try is not cleared up yet", order=attempt.id, why=str(error))
            return
        if reason is not None:
            await self._over(attempt, reason, answered=False)
            return
        await self._hang_up(call_id)
        await self._write(lambda: self._ended(attempt, "crash", self._wall(), None))

    async def _adopt_live(self, caller: Caller) -> bool:
        """The webhook of a call that another process placed came here: live it here."""
        now = self._wall()
        try:
            found = await self._attempts.get(caller.order.rpartition("-")[0])
            if found is None or _live_id(found) != caller.order:
                return False
            ready = self._orders.check(found.number, found.agent, found.variables)
            taker = Taker(self._instance, now, now + LEASE)
            if not await self._attempts.take_over(found.id, found.tries, caller.call_id, taker):
                return False
        except (OrderRefused, StorageError) as error:
            log.warning("a call of ours cannot go on", why=str(error))
            return False
        place = self._board.dial(caller, ready.agent, found.variables)
        if isinstance(place, str):
            return False
        self._board.placed(caller.order, caller.call_id)
        self._tries.start(f"call {found.id}", self._follow(found, ready, place))
        return True

    def _over_elsewhere(self, caller: Caller) -> None:
        """How a call ended that another process placed was told to this one: that one shall know."""
        attempt, _, n = caller.order.rpartition("-")
        if attempt and n.isdecimal():
            self._tries.start(f"over {caller.order}", self._tell(attempt, int(n), caller))

    async def _tell(self, attempt: str, n: int, caller: Caller) -> None:
        try:
            await self._attempts.told(attempt, n, caller.call_id, caller.over)
        except StorageError as error:
            log.warning("how a call ended is not told to whoever has it", why=str(error))

    def _over_at_last(self, told: Told) -> Caller:
        """What the webhook said that went astray."""
        return Caller(
            provider=self._post.provider,
            call_id=told.provider_call_id,
            account="",
            direction="outbound-api",
            from_number="",
            to_number="",
            over=told.reason,
            order=f"{told.attempt}-{told.n}",
        )

    # ---- names

    def _order(self, attempt: Attempt, ready: Ready) -> CallOrder:
        habits = ready.habits
        return CallOrder(
            id=_live_id(attempt),
            to=attempt.number,
            caller_id=habits.caller_id,
            ring_seconds=habits.ring_seconds,
            max_seconds=self._post.max_seconds + habits.ring_seconds,
            by=habits.by,
        )

    def _caller(self, order: CallOrder) -> Caller:
        return Caller(
            provider=order.by,
            call_id="",
            account="",
            direction="outbound-api",
            from_number=order.caller_id,
            to_number=order.to,
            order=order.id,
        )


OF_THE_CARRIER = frozenset(
    {
        "caller_busy",
        "no_answer",
        "declined",
        "invalid_number",
        "carrier_refused",
        "call_failed",
        "caller_hung_up",
    }
)
"""Ends that the carrier told us of: there is nothing left to hang up."""


def _live_id(attempt: Attempt) -> str:
    """Names one try in the carrier's URLs: a webhook of an earlier try is not taken for this one's."""
    return f"{attempt.id}-{attempt.tries}"


def _open(attempt: Attempt) -> bool:
    return attempt.state in (AttemptState.PLACING, AttemptState.PLACED)


async def _soon(stirred: asyncio.Event, seconds: float) -> None:
    """Wait until stirred, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await stirred.wait()
    except TimeoutError:
        return


def _failed(child: str, error: BaseException) -> None:
    log.error("a task of the dialer failed", task=child, exc_info=error)
