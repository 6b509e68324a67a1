"""The dialer, with the real database: each try at most once, whatever the carrier, the database and other processes do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from agent.config.agent_files import AgentFiles
from agent.errors import CarrierRefused, CarrierSilent, StorageError
from agent.protocols.door import Caller, CallOrder
from agent.server.outbound import dialer as room
from agent.server.outbound.destinations import Destinations
from agent.server.outbound.dialer import Dialer, Post
from agent.server.outbound.orders import Order, OrderRefused, Orders
from agent.server.stores import Stores
from agent.server.switchboard import Place, Switchboard
from agent.storage.attempts import Attempt, AttemptState, Caps, Taker
from agent.storage.do_not_call import OptOut

NUMBER, OURS = "+12125551234", "+15551234567"
WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC
AGENT = """\
name: Reminder
persona: You remind.
outbound: {calling_hours: "00:00-24:00", attempts: 2}
"""


@dataclass
class FakeCall:
    """A conversation as the dialer sees it."""

    reason: str = ""
    leg: int = 0
    abandoned: list[str] = field(default_factory=list)

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)


class Board:
    """Lives what it is given until the test ends it."""

    def __init__(self) -> None:
        self.draining = self.full = False
        self.no_room = ""
        self.places: list[Place] = []
        self.ids: dict[str, str] = {}
        self.recorded: list[Place] = []
        self.reasons: list[str] = []
        self.told: list[Caller] = []
        self.adopt: Callable[[Caller], Any] = lambda caller: None
        self.over_elsewhere: Callable[[Caller], None] = lambda caller: None

    def dial(
        self, caller: Caller, agent: Any, variables: dict[str, str], *, own_line: bool = False
    ) -> Place | str:
        if self.no_room:
            return self.no_room
        self.places.append(Place(caller, cast("Any", FakeCall())))
        return self.places[-1]

    def placed(self, order: str, call_id: str) -> None:
        self.ids[order] = call_id
        for place in self.places:
            if place.caller.order == order:
                place.caller = place.caller._replace(call_id=call_id)

    def call_id_of(self, order: str) -> str | None:
        return self.ids.get(order)

    async def record(self, place: Place, reason: str) -> None:
        self.recorded.append(place)
        self.reasons.append(reason)

    def over(self, caller: Caller) -> None:
        self.told.append(caller)
        if not self.places[-1].over.is_set():
            self.end(caller.over)

    def end(self, reason: str, *, leg: int = 0) -> None:
        place = self.places[-1]
        call = cast("FakeCall", place.call)
        call.reason, call.leg = reason, leg
        place.over.set()


class Carrier:
    """Places calls, or does not."""

    def __init__(self) -> None:
        self.placed: list[CallOrder] = []
        self.hung_up: list[str] = []
        self.answers: list[str | CarrierRefused] = []
        self.knows: str | None = None
        self.says: str | None = None
        self.asked = 0

    async def place(self, order: CallOrder) -> str:
        self.placed.append(order)
        answer = self.answers.pop(0) if self.answers else f"CA{len(self.placed)}"
        if isinstance(answer, CarrierRefused):
            raise answer
        return answer

    async def find(self, order: CallOrder, since: float) -> str | None:
        self.asked += 1
        return self.knows

    async def unreached(self, call_id: str) -> str | None:
        return self.says

    async def hang_up(self, call_id: str) -> bool:
        self.hung_up.append(call_id)
        return True


class Desk:
    """A dialer at work, and everything around it."""

    def __init__(self, folder: Path, stores: Stores) -> None:
        self.stores = stores
        self.wall = WALL
        self.board = Board()
        self.carrier = Carrier()
        self.orders = Orders(
            attempts=stores.attempts,
            agents=AgentFiles(folder, print),
            destinations=lambda: Destinations(frozenset({"US"}), frozenset({OURS})),
            caller_id=OURS,
            caps=Caps(),
        )
        self.dialer = self.made("here")

    def made(self, instance: str, board: Board | None = None) -> Dialer:
        return Dialer(
            self.orders,
            self.stores.campaigns,
            cast("Switchboard", board or self.board),
            self.carrier,
            Post(instance, "twilio", lambda: self.wall, per_second=1000.0),
        )

    async def wants(self, number: str = NUMBER) -> Attempt:
        order = Order(to=number, agent="reminder")
        attempt = await self.orders.want(order, f"key {number}", f"id{number[1:]}", self.wall)
        self.dialer.stir()
        return attempt

    async def until(self, holds: Callable[[Attempt], bool], number: str = NUMBER) -> Attempt:
        found: Attempt | None = None
        for _ in range(300):
            found = await self.stores.attempts.get(f"id{number[1:]}")
            if found is not None and holds(found):
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {found}")

    async def rings(self) -> Attempt:
        self.dialer.begin()
        await self.wants()
        return await self.until(lambda it: it.state is AttemptState.PLACED)


@pytest.fixture
async def desk(
    tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setattr(room, "ASK_AGAIN", (0.01, 0.01))
    monkeypatch.setattr(room, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(room, "LAST_WRITES", 0.5)
    (tmp_path / "reminder.yaml").write_text(AGENT)
    made = Desk(tmp_path, stores)
    try:
        yield made
    finally:
        await made.dialer.close()


def ended(attempt: Attempt) -> bool:
    return attempt.state is AttemptState.ENDED


def waits(attempt: Attempt) -> bool:
    return attempt.state is AttemptState.RESERVED and attempt.reason is not None


async def test_a_call_is_placed_followed_and_ended(desk: Desk) -> None:
    placed = await desk.rings()
    (order,) = desk.carrier.placed
    assert (order.to, order.caller_id, order.id) == (NUMBER, OURS, f"{placed.id}-1")
    assert placed.provider_call_id == "CA1"
    desk.board.end("agent_hung_up", leg=1)
    over = await desk.until(ended)
    assert (over.reason, over.tries, desk.carrier.hung_up) == ("agent_hung_up", 1, [])


async def test_a_call_that_we_gave_up_while_it_rang_is_ended_at_the_carrier_s(desk: Desk) -> None:
    await desk.rings()
    desk.board.end("model_lost")
    again = await desk.until(waits)
    assert again.reason == "model_lost"
    assert desk.carrier.hung_up == ["CA1"]
    assert desk.board.recorded == desk.board.places


async def test_a_busy_line_is_not_hung_up_and_tried_as_often_as_the_file_says(desk: Desk) -> None:
    await desk.rings()
    desk.board.end("caller_busy")
    again = await desk.until(waits)
    assert again.not_before == WALL + 3600
    desk.wall = again.not_before + 1
    desk.dialer.stir()
    await desk.until(lambda it: it.tries == 2 and it.state is AttemptState.PLACED)
    desk.board.end("caller_busy")
    over = await desk.until(ended)
    assert (over.reason, over.tries) == ("caller_busy", 2)
    assert [order.id[-2:] for order in desk.carrier.placed] == ["-1", "-2"]
    assert desk.carrier.hung_up == []


async def test_a_number_that_the_carrier_takes_never_is_not_tried_again(desk: Desk) -> None:
    desk.carrier.answers = [CarrierRefused("no", reason="invalid_number", blame="number")]
    desk.dialer.begin()
    await desk.wants()
    assert (await desk.until(ended)).reason == "invalid_number"
    assert cast("FakeCall", desk.board.places[0].call).abandoned == ["call_failed"]


@pytest.mark.parametrize(("blame", "wait"), [("moment", 15.0), ("us", 300.0)])
async def test_what_certainly_did_not_ring_is_no_try(blame: str, wait: float, desk: Desk) -> None:
    desk.carrier.answers = [CarrierRefused("no", reason="x", blame=blame)]
    desk.dialer.begin()
    await desk.wants()
    back = await desk.until(lambda it: it.not_before > WALL)
    assert (back.state, back.tries, back.not_before) == (AttemptState.RESERVED, 0, WALL + wait)


async def test_a_call_whose_answer_was_lost_is_found_and_not_placed_again(desk: Desk) -> None:
    desk.carrier.answers = [CarrierSilent("nothing")]
    desk.carrier.knows = "CAfound"
    placed = await desk.rings()
    assert (placed.provider_call_id, len(desk.carrier.placed)) == ("CAfound", 1)
    desk.board.end("caller_hung_up", leg=1)
    await desk.until(ended)


async def test_a_webhook_may_tell_of_a_call_before_the_carrier_s_list_does(desk: Desk) -> None:
    desk.carrier.answers = [CarrierSilent("nothing")]
    desk.board.ids[f"id{NUMBER[1:]}-1"] = "CAwebhook"
    assert (await desk.rings()).provider_call_id == "CAwebhook"
    assert desk.carrier.asked == 0
    desk.board.end("caller_hung_up", leg=1)
    await desk.until(ended)


async def test_a_silence_that_is_not_cleared_up_counts_as_a_try(desk: Desk) -> None:
    desk.carrier.answers = [CarrierSilent("nothing")]
    desk.dialer.begin()
    await desk.wants()
    again = await desk.until(waits)
    assert (again.reason, again.tries, len(desk.carrier.placed)) == ("carrier_silent", 1, 1)
    assert desk.carrier.asked == 2


async def test_without_room_a_call_waits_and_no_try_is_lost(desk: Desk) -> None:
    desk.board.no_room = "quota"
    desk.dialer.begin()
    await desk.wants()
    back = await desk.until(lambda it: it.not_before > WALL)
    assert (back.tries, back.not_before, desk.carrier.placed) == (0, WALL + 15, [])
    desk.board.full = True
    desk.wall += 60
    await asyncio.sleep(0.1)
    assert desk.carrier.placed == []


async def test_whoever_opted_out_meanwhile_is_not_dialled(desk: Desk) -> None:
    await desk.wants()
    await desk.stores.do_not_call.add(OptOut(number=NUMBER, since=WALL, why="key"))
    desk.dialer.begin()
    assert (await desk.until(ended)).reason == "do_not_call"
    with pytest.raises(OrderRefused, match="does not want"):
        await desk.orders.want(Order(to=NUMBER, agent="reminder"), "k2", "id2", WALL)
    assert desk.carrier.placed == []


async def test_the_rules_hold_when_it_is_dialled_too(desk: Desk, tmp_path: Path) -> None:
    night = AGENT.replace("00:00-24:00", "20:00-21:00")
    await desk.wants()
    (tmp_path / "reminder.yaml").write_text(night)
    desk.dialer.begin()
    back = await desk.until(lambda it: it.not_before > WALL)
    assert (back.state, back.tries) == (AttemptState.RESERVED, 0)
    with pytest.raises(OrderRefused, match="outside the hours") as refused:
        await desk.wants("+12125559876")
    assert (refused.value.why, refused.value.not_before) == ("hours", back.not_before)
    assert desk.carrier.placed == []


async def test_a_try_whose_process_died_before_the_carrier_was_asked_is_dialled(desk: Desk) -> None:
    await desk.wants()
    assert await desk.stores.attempts.claim(Taker("dead", WALL, WALL + 30)) is not None
    desk.wall += 60
    desk.dialer.begin()
    placed = await desk.until(lambda it: it.state is AttemptState.PLACED)
    assert (placed.tries, len(desk.carrier.placed), desk.carrier.asked) == (1, 1, 1)
    desk.board.end("caller_hung_up", leg=1)
    await desk.until(ended)


async def test_a_try_whose_process_died_while_it_rang_is_never_dialled_again(desk: Desk) -> None:
    await desk.wants()
    assert await desk.stores.attempts.claim(Taker("dead", WALL, WALL + 30)) is not None
    desk.carrier.knows = "CArang"
    desk.wall += 60
    desk.dialer.begin()
    assert (await desk.until(ended)).reason == "crash"
    assert (desk.carrier.placed, desk.carrier.hung_up) == ([], ["CArang"])


async def test_a_try_whose_process_died_and_that_nobody_took_is_tried_again_later(
    desk: Desk,
) -> None:
    await desk.wants()
    assert await desk.stores.attempts.claim(Taker("dead", WALL, WALL + 30)) is not None
    desk.carrier.knows, desk.carrier.says = "CArang", "no_answer"
    desk.wall += 60
    desk.dialer.begin()
    again = await desk.until(waits)
    assert (again.reason, again.not_before) == ("no_answer", WALL + 60 + 3600)
    assert (desk.carrier.placed, desk.carrier.hung_up) == ([], [])


async def test_a_call_that_another_process_placed_goes_on_here(desk: Desk) -> None:
    attempt = await desk.wants()
    await desk.stores.attempts.claim(Taker("there", WALL, WALL + 30))
    caller = Caller("twilio", "CA9", "AC1", "outbound-api", OURS, NUMBER, order=f"{attempt.id}-1")
    assert await desk.board.adopt(caller)
    taken = await desk.until(lambda it: it.instance == "here")
    assert taken.provider_call_id == "CA9"
    desk.board.end("caller_hung_up", leg=1)
    await desk.until(ended)
    assert not await desk.board.adopt(caller)  # it is over


@pytest.mark.parametrize("order", ["id12125551234-2", "nobody-1", ""])
async def test_a_webhook_of_another_try_or_of_nobody_s_opens_nothing(
    order: str, desk: Desk
) -> None:
    await desk.wants()
    await desk.stores.attempts.claim(Taker("there", WALL, WALL + 30))
    caller = Caller("twilio", "CA9", "AC1", "outbound-api", OURS, NUMBER, order=order)
    assert not await desk.board.adopt(caller)
    assert desk.board.places == []


async def test_a_busy_line_that_another_process_is_told_of_is_busy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RENEW_EVERY", 0.05)
    attempt = await desk.rings()
    elsewhere = Board()
    there = desk.made("there", elsewhere)
    told = Caller("twilio", "CA1", "AC1", "outbound-api", OURS, NUMBER, over="caller_busy")
    for order in ("", "nobody-1", f"{attempt.id}-2", f"{attempt.id}-x", f"{attempt.id}-1"):
        elsewhere.over_elsewhere(told._replace(order=order))
    again = await desk.until(waits)
    assert (again.reason, again.not_before) == ("caller_busy", WALL + 3600)
    (heard,) = desk.board.told
    assert (heard.call_id, heard.order, heard.over) == ("CA1", f"{attempt.id}-1", "caller_busy")
    assert (desk.board.reasons, desk.carrier.hung_up) == (["caller_busy"], [])
    await there.close()


async def test_a_busy_line_that_nobody_is_told_of_is_looked_up(desk: Desk) -> None:
    await desk.rings()
    desk.carrier.says = "caller_busy"
    desk.board.end("no_start")
    assert (await desk.until(waits)).reason == "caller_busy"
    assert (desk.board.reasons, desk.carrier.hung_up) == (["caller_busy"], [])


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_call_of_which_the_carrier_knows_no_end_is_ended(
    refuses: bool, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(call_id: str) -> str | None:
        raise CarrierSilent("nothing")

    await desk.rings()
    if refuses:
        monkeypatch.setattr(desk.carrier, "unreached", away)
    desk.board.end("no_start")
    assert (await desk.until(waits)).reason == "no_start"
    assert (desk.board.reasons, desk.carrier.hung_up) == (["no_start"], ["CA1"])


async def test_what_another_process_is_told_waits_for_no_database(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: Any) -> bool:
        raise StorageError("away")

    attempt = await desk.rings()
    monkeypatch.setattr(desk.stores.attempts, "told", away)
    told = Caller("twilio", "CA1", "AC1", "outbound-api", OURS, NUMBER, over="caller_busy")
    with capture_logs() as logs:
        desk.board.over_elsewhere(told._replace(order=f"{attempt.id}-1"))
        await asyncio.sleep(0.05)
    assert [line["why"] for line in logs] == ["away"]
    desk.board.end("caller_busy")
    await desk.until(waits)


async def test_what_became_of_a_call_is_written_when_the_database_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.rings()
    end, tries = desk.stores.attempts.end, []

    async def away(*args: Any) -> bool:
        tries.append(args)
        if len(tries) < 3:
            raise StorageError("away")
        return await end(*args)

    monkeypatch.setattr(desk.stores.attempts, "end", away)
    desk.board.end("agent_hung_up", leg=1)
    assert (await desk.until(ended)).reason == "agent_hung_up"
    assert len(tries) == 3
