"""A transfer as the provider sees it: the stream ends, a phone rings, somebody picks up or the caller is brought back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from agent import events as e
from agent.protocols.door import Ask, HangUpNow, Join, Meet, Say, Transfer, Whisper
from agent.server.spoken import SPOKEN
from agent.server.warm import PARTED_WITHIN
from agent.tools.transfer_call import ANSWERED_WITHIN
from tests.server.bench import AGENT, Bench, caller
from tests.server.test_switchboard import connect, play
from tests.telephony.fakes import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.protocols.door import Caller, CallOrder

DESK = (
    AGENT
    + """\
tools: [transfer_call, end_call]
transfer:
  reception:
    number: "+15550002222"
    timeout: 20
    whisper: A caller from Pickup.
  office: sip:office@example.com
  anna:
    number: "+15550003333"
    mode: warm
"""
)


async def put_through(
    bench: Bench,
    target: str = "reception",
    first: Callable[[Bench], Awaitable[object]] | None = None,
) -> None:
    """The agent says that it puts the caller through, the caller hears it, and the stream ends; `first`: what happens before."""
    hear = await connect(bench)
    if first is not None:
        await first(bench)
    call = bench.board._places[caller().call_id].call
    feed = call._session.feed
    hear(e.LineMark("none"))
    feed(e.ToolCalled("1", "transfer_call", {"target": target}))
    feed(e.ToolFinished("1", "transfer_call", {}, e.TransferAfterGoodbye(target, 35.0)))
    for name in played(bench):
        hear(e.LineMark(name))
    await settle()
    hear(e.LineEnded("closed"))
    await settle()


def played(bench: Bench) -> list[str]:
    """The marks that the line was sent."""
    line = bench.board._places[caller().call_id].call._line
    return [command.name for command in line.sent if isinstance(command, e.Mark)]  # type: ignore[union-attr]


def after(leg: int = 1, **said: Any) -> Any:
    return caller(leg=leg, **said)


def test_the_provider_is_told_to_dial_the_target(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        wanted = Transfer("+15550002222", caller().call_id, 1, 20, whisper=True)
        assert await bench.board.after(after()) == wanted
        assert await bench.board.after(after()) == wanted  # a repeated webhook
        assert bench.board.active == 1

    play(tmp_path, scene, agent=DESK)


def test_a_person_hears_the_whisper_first(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        await bench.board.after(after())
        asks = caller(2, parent=caller().call_id, leg=1)
        assert await bench.board.whisper(asks) == Whisper("A caller from Pickup.")
        assert await bench.board.whisper(asks._replace(leg=2)) == HangUpNow()
        assert await bench.board.whisper(asks._replace(parent="CA0")) == HangUpNow()

    play(tmp_path, scene, agent=DESK)


def test_nobody_is_whispered_to_for_a_caller_who_talks_to_the_agent(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await connect(bench)
        asks = caller(2, parent=caller().call_id, leg=1)
        assert await bench.board.whisper(asks) == HangUpNow()

    play(tmp_path, scene, agent=DESK)


def test_a_transfer_that_was_taken_ends_the_call(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        await bench.board.after(after())
        assert await bench.board.after(after(dialled="connected", over="")) == HangUpNow()
        await settle()
        [(reason, _, _)] = bench.records.finished.values()
        assert reason == "transferred"
        assert bench.model.closed == 1

    play(tmp_path, scene, agent=DESK)


def test_a_caller_nobody_takes_comes_back_to_the_same_model(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        await bench.board.after(after())
        back = await bench.board.after(after(dialled="busy"))
        assert isinstance(back, Join) and back.leg == 2
        assert await bench.board.after(after(dialled="busy")) == back
        _, sink = await bench.start(back.token)
        assert sink is not None
        await settle()
        texts = [c.text for c in bench.model.sent if isinstance(c, e.SendText)]
        assert len([text for text in texts if "the line is busy" in text]) == 1
        assert len(bench.wiring.models) == 1
        assert bench.board.active == 1

    play(tmp_path, scene, agent=DESK)


def test_a_caller_who_hangs_up_while_it_rings_has_hung_up(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        await bench.board.after(after())
        verdict = await bench.board.after(after(dialled="no_answer", over="caller_hung_up"))
        assert verdict == HangUpNow()
        await settle()
        [(reason, _, _)] = bench.records.finished.values()
        assert reason == "caller_hung_up"

    play(tmp_path, scene, agent=DESK)


def test_a_failure_that_is_told_too_late_is_an_apology_and_no_silence(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench)
        await bench.board.after(after())
        bench.board._places[caller().call_id].call.transfer_ended("connected")
        await settle()
        assert bench.board.active == 0
        assert await bench.board.after(after(dialled="failed")) == Say(SPOKEN["trouble"])
        assert await bench.board.after(after(dialled="connected")) == HangUpNow()

    play(tmp_path, scene, agent=DESK)


@pytest.mark.parametrize("target", ["reception", "office"])
def test_the_model_chooses_a_name_and_the_agents_file_has_the_number(
    tmp_path: Path, target: str
) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench, target)
        verdict = await bench.board.after(after())
        assert isinstance(verdict, Transfer)
        assert verdict.address == {"reception": "+15550002222"}.get(
            target, "sip:office@example.com"
        )
        assert verdict.whisper is (target == "reception")
        assert verdict.timeout + ANSWERED_WITHIN >= 20

    play(tmp_path, scene, agent=DESK)


class Carrier:
    """Somebody picks up every call."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.ended: list[str] = []
        self.told: list[tuple[str, str]] = []

    async def place(self, order: CallOrder) -> str:
        self.orders.append(order.id)
        return "CA-anna"

    async def hang_up(self, call_id: str) -> bool:
        self.ended.append(call_id)
        return True

    async def redirect(self, call_id: str, twiml: str) -> bool:
        self.told.append((call_id, twiml))
        return True


async def ask_anna(bench: Bench) -> Caller:
    """Anna is asked about the caller whose call is live, and takes him."""
    carrier = bench.warm.carrier = Carrier()
    bench.warm.caller_id = "+15559998888"
    call = bench.board._places[caller().call_id].call
    asking = bench.wiring.tasks.start_read(
        "ask", bench.warm.ask(call.info, call.agent, "anna", "Bo.")
    )
    await settle()
    anna = caller(2)._replace(order=carrier.orders[0], call_id="CA-anna")
    assert isinstance(await bench.board.ring(anna), Ask)
    assert isinstance(await bench.board.decided(anna._replace(accepts=True)), Meet)
    await settle()
    assert asking.exception() is None
    return anna


def test_caller_and_person_meet_in_a_room(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench, "anna", ask_anna)
        verdict = await bench.board.after(after())
        assert isinstance(verdict, Meet) and verdict.leg == 1
        assert await bench.board.after(after(dialled="connected")) == HangUpNow()
        await settle()
        [(reason, _, _)] = bench.records.finished.values()
        assert reason == "transferred"

    play(tmp_path, scene, agent=DESK)


def test_a_person_who_hangs_up_before_the_caller_comes_leaves_him_with_the_agent(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        async def ask_and_leave(bench: Bench) -> None:
            anna = await ask_anna(bench)
            bench.board.over(anna._replace(over="caller_hung_up"))

        await put_through(bench, "anna", ask_and_leave)
        back = await bench.board.after(after())
        assert isinstance(back, Join) and back.leg == 2
        await settle()
        texts = [c.text for c in bench.model.sent if isinstance(c, e.SendText)]
        assert "could not be connected" in texts[-1]

    play(tmp_path, scene, agent=DESK)


def told(bench: Bench) -> list[tuple[str, str]]:
    carrier = bench.warm.carrier
    assert isinstance(carrier, Carrier)
    return carrier.told


def test_a_caller_who_comes_to_a_room_that_the_person_has_just_left_is_fetched(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        bench.warm.words = lambda verdict: verdict.token if isinstance(verdict, Join) else ""
        anna: list[Caller] = []

        async def asked(bench: Bench) -> None:
            anna.append(await ask_anna(bench))

        await put_through(bench, "anna", asked)
        assert isinstance(await bench.board.after(after()), Meet)
        bench.board.over(anna[0]._replace(over="caller_hung_up"))
        await asyncio.sleep(PARTED_WITHIN - 0.1)
        assert told(bench) == []
        await asyncio.sleep(0.2)
        [(call_id, token)] = told(bench)
        assert call_id == caller().call_id
        # The document that is replaced asks once more how to go on, and nobody reads the answer.
        assert isinstance(await bench.board.after(after(dialled="connected")), Join)
        _, sink = await bench.start(token)
        assert sink is not None
        await settle()
        texts = [c.text for c in bench.model.sent if isinstance(c, e.SendText)]
        assert "nobody there took the call" in texts[-1]
        assert bench.board.active == 1

    play(tmp_path, scene, agent=DESK)


def test_whoever_has_talked_to_the_person_is_not_fetched(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        anna: list[Caller] = []

        async def asked(bench: Bench) -> None:
            anna.append(await ask_anna(bench))

        await put_through(bench, "anna", asked)
        await bench.board.after(after())
        bench.board.over(anna[0]._replace(over="caller_hung_up"))
        assert await bench.board.after(after(dialled="connected")) == HangUpNow()
        await asyncio.sleep(PARTED_WITHIN + 0.1)
        assert told(bench) == []

    play(tmp_path, scene, agent=DESK)


def test_a_caller_who_hangs_up_first_leaves_nobody_waiting(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await put_through(bench, "anna", ask_anna)
        bench.board.over(caller(over="caller_hung_up"))
        await settle()
        carrier = bench.warm.carrier
        assert isinstance(carrier, Carrier) and carrier.ended == ["CA-anna"]

    play(tmp_path, scene, agent=DESK)
