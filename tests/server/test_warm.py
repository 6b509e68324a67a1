"""A person who is asked first: takes the caller, or the caller never notices; nobody is left waiting on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.config.agent_file import AgentFile
from agent.drive.tasks import Tasks
from agent.errors import CarrierRefused, CarrierSilent, ToolFailed
from agent.protocols.door import Ask, CallOrder, HangUpNow, Meet
from agent.server.warm import COME_WITHIN, DECIDE_WITHIN, MOST_ASKED, PARTED_WITHIN, WarmTransfers
from agent.tools.base import CallInfo
from tests.server.bench import caller
from tests.telephony.fakes import settle, virtually

INFO = CallInfo("call-1", "Desk")
AGENT = AgentFile.model_validate(
    {
        "name": "Desk",
        "persona": "You answer.",
        "transfer": {
            "anna": {"number": "+15550002222", "mode": "warm", "timeout": 20, "whisper": "Hello."},
            "bob": {"sip": "sip:bob@example.com", "mode": "warm"},
        },
    }
)


class Carrier:
    """Places calls that nobody picks up unless told."""

    def __init__(self) -> None:
        self.placed: list[CallOrder] = []
        self.ended: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.refuses: CarrierRefused | None = None

    async def place(self, order: CallOrder) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.placed.append(order)
        return f"CA-{len(self.placed)}"

    async def hang_up(self, call_id: str) -> bool:
        self.ended.append(call_id)
        if self.refuses is not None:
            raise self.refuses
        return True

    async def redirect(self, call_id: str, twiml: str) -> bool:
        self.told.append((call_id, twiml))
        if self.refuses is not None:
            raise self.refuses
        return True


class Bench:
    def __init__(self, caller_id: str | None = "+15559998888") -> None:
        self.carrier = Carrier()
        ids = iter(range(100))
        self.tasks = Tasks("server")
        self.warm = WarmTransfers(self.tasks, lambda: str(next(ids)), caller_id, self.carrier)

    def ask(self, target: str = "anna", summary: str = "Bo, about a bill.") -> asyncio.Task[None]:
        return self.tasks.start_read("ask", self.warm.ask(INFO, AGENT, target, summary))

    def said(self, **how: Any) -> Any:
        """A webhook about the person who was asked last."""
        order = self.carrier.placed[-1].id
        call_id = f"CA-{len(self.carrier.placed)}"
        return caller(2)._replace(order=order, call_id=call_id, **how)

    async def taken(self, target: str = "anna") -> None:
        asking = self.ask(target)
        await settle()
        self.warm.picked_up(self.said())
        assert self.warm.decided(self.said(accepts=True)) == Meet(self.carrier.placed[-1].id)
        await settle()
        assert asking.done() and asking.exception() is None


def play(scene: Callable[[Bench], Awaitable[None]], **how: Any) -> None:
    async def all_of_it() -> None:
        bench = Bench(**how)
        await scene(bench)
        await bench.tasks.close()

    virtually(all_of_it())


def refusal(asking: asyncio.Task[None]) -> str:
    error = asking.exception()
    assert isinstance(error, ToolFailed)
    return str(error)


def test_a_person_hears_what_it_is_about_and_takes_the_caller() -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask()
        await settle()
        (order,) = bench.carrier.placed
        assert (order.to, order.caller_id) == ("+15550002222", "+15559998888")
        assert (order.ring_seconds, order.detect_machine) == (20, False)
        assert bench.warm.concerns(bench.said()) and not bench.warm.concerns(caller())
        assert bench.warm.picked_up(bench.said()) == Ask("Hello. Bo, about a bill.", order.id)
        assert not asking.done()
        assert bench.warm.room(INFO.id, "anna") is None
        assert bench.warm.decided(bench.said(accepts=True)) == Meet(order.id)
        assert bench.warm.decided(bench.said(accepts=False)) == Meet(order.id)  # told twice
        await settle()
        assert asking.exception() is None
        assert bench.warm.room(INFO.id, "anna") == order.id
        assert bench.warm.room(INFO.id, "bob") is None
        bench.warm.call_ended(INFO.id, "transferred")
        await settle()
        assert bench.carrier.ended == []  # they are talking

    play(scene)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ("caller_busy", "busy"),
        ("no_answer", "Nobody answered"),
        ("call_failed", "could not be called"),
        ("caller_hung_up", "did not take"),
    ],
)
def test_a_person_who_does_not_is_told_in_words(over: str, words: str) -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask("bob")
        await settle()
        bench.warm.over(bench.said(over=over))
        bench.warm.over(bench.said(over=over))
        await settle()
        assert words in refusal(asking)
        assert bench.warm.picked_up(bench.said()) == HangUpNow()

    play(scene)


def test_a_person_may_refuse() -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask()
        await settle()
        assert bench.warm.decided(bench.said()) == HangUpNow()
        await settle()
        assert "did not take" in refusal(asking)
        assert bench.carrier.ended == ["CA-1"]
        assert bench.warm.decided(bench.said(accepts=True)) == HangUpNow()

    play(scene)


def test_a_person_who_says_nothing_is_let_go() -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask()
        await asyncio.sleep(20 + DECIDE_WITHIN + 1)
        assert "Nobody answered" in refusal(asking)
        assert bench.carrier.ended == ["CA-1"]

    play(scene)


def test_a_tool_that_is_cancelled_lets_the_person_go() -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask()
        await settle()
        asking.cancel()
        await settle()
        assert bench.carrier.ended == ["CA-1"]

    play(scene)


def test_a_person_does_not_wait_for_ever_for_a_caller_who_stays() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        await asyncio.sleep(COME_WITHIN + 1)
        assert bench.carrier.ended == ["CA-1"]
        assert bench.warm.room(INFO.id, "anna") is None

    play(scene)


def test_a_person_who_talks_is_not_let_go() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        assert bench.warm.room(INFO.id, "anna")
        await asyncio.sleep(COME_WITHIN + 1)
        assert bench.carrier.ended == []

    play(scene)


def test_a_caller_who_hangs_up_leaves_nobody_waiting() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        bench.warm.call_ended(INFO.id, "caller_hung_up")
        await settle()
        assert bench.carrier.ended == ["CA-1"]
        bench.warm.over(bench.said(over="caller_hung_up"))

    play(scene)


def test_a_person_who_waits_already_is_not_called_again() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        again = bench.ask()
        await settle()
        assert again.exception() is None
        assert len(bench.carrier.placed) == 1

    play(scene)


def test_a_model_cannot_call_people_for_ever() -> None:
    async def scene(bench: Bench) -> None:
        for _ in range(MOST_ASKED):
            asking = bench.ask()
            await settle()
            bench.warm.over(bench.said(over="no_answer"))
            await settle()
            assert asking.done()
        last = bench.ask()
        await settle()
        assert "Too many" in refusal(last)
        assert len(bench.carrier.placed) == MOST_ASKED

    play(scene)


@pytest.mark.parametrize(
    "error", [CarrierRefused("no", reason="x", blame="us"), CarrierSilent("silence")]
)
def test_a_carrier_that_refuses_is_told_in_words(error: CarrierRefused) -> None:
    async def scene(bench: Bench) -> None:
        bench.carrier.refuses = error
        asking = bench.ask()
        await settle()
        assert "could not be called" in refusal(asking)

    play(scene)


def test_a_hang_up_that_the_carrier_refuses_is_no_fault_of_the_call() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        bench.carrier.refuses = CarrierSilent("silence")
        bench.warm.call_ended(INFO.id, "caller_hung_up")
        await settle()

    play(scene)


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("refuses", [False, True])
def test_a_caller_who_is_alone_in_the_room_is_fetched_where_he_is(
    away: bool, refuses: bool
) -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        bench.warm.fetch = lambda call: None if away else (f"CA-of-{call}", HangUpNow())
        bench.warm.words = lambda verdict: f"<{type(verdict).__name__}>"
        assert bench.warm.room(INFO.id, "anna") is not None
        if refuses:
            bench.carrier.refuses = CarrierSilent("silence")
        for _ in range(2):  # a callback may be repeated
            bench.warm.over(bench.said(over="caller_hung_up"))
        await asyncio.sleep(PARTED_WITHIN + 0.1)
        assert bench.carrier.told == ([] if away else [("CA-of-call-1", "<HangUpNow>")])

    play(scene)


def test_whose_call_has_ended_is_not_fetched() -> None:
    async def scene(bench: Bench) -> None:
        await bench.taken()
        bench.warm.fetch = lambda call: ("CA", HangUpNow())
        bench.warm.room(INFO.id, "anna")
        bench.warm.over(bench.said(over="caller_hung_up"))
        bench.warm.call_ended(INFO.id, "transferred")
        await asyncio.sleep(PARTED_WITHIN + 0.1)
        assert bench.carrier.told == []

    play(scene)


def test_without_a_carrier_or_a_number_nobody_is_called() -> None:
    async def scene(bench: Bench) -> None:
        asking = bench.ask()
        await settle()
        assert "Nobody can be called" in refusal(asking)
        assert bench.carrier.placed == []

    play(scene, caller_id=None)
