"""How calls end and where callers are put through to, over real wires: goodbyes heard to their end, transfers taken and not taken.

`make slow FULL=1` does two hundred of each, twenty side by side; another run a tenth.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import pytest

from agent.server.warm import WarmTransfers
from agent.simulator.brain import BenchBrain, Call, Heard as Understood, Say, speechlike
from agent.simulator.callee import Directory, parse
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.cdr import HungUpBy, together
from agent.simulator.clock import now
from agent.simulator.gemini_setup import Conduct
from agent.simulator.network import NetworkOptions
from agent.simulator.phone import Manners
from agent.simulator.rest import serving as twilio_serving
from tests.calls.exchange import ACCOUNT, AUTH_TOKEN, FROM, TO, exchange, words
from tests.calls.survival import SIDE_BY_SIDE, sid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.simulator.cdr import CallRecord
    from agent.simulator.ears import Utterance as Sound
    from agent.simulator.phone import Utterance
    from agent.simulator.report import CallReport
    from agent.simulator.rest import TwilioStandIn
    from tests.calls.exchange import Exchange

pytestmark = pytest.mark.slow

TARGETS = {
    "open": ("+12025550111", "human:after=0.3,talk=0.6"),
    "slow": ("+12025550112", "human:after=1.5,talk=0.4"),
    "busy": ("+12025550113", "busy"),
    "away": ("+12025550114", "no-answer:after=0.5"),
    "gone": ("+12025550115", "failed:sip=404"),
    "asked": ("+12025550116", "human:after=0.3,talk=1,keys=1"),
    "refuses": ("+12025550117", "human:after=0.3,keys=2"),
    "deaf": ("+12025550118", "human:after=0.2"),
    "engaged": ("+12025550119", "busy"),
}
COLD = ("open", "slow", "busy", "away", "gone")
WARM = ("asked", "refuses", "deaf", "engaged")
TAKES = {TARGETS["open"][0]: 0.6, TARGETS["slow"][0]: 0.4}
"""Who takes a call, and for how many seconds."""

PACKET = 0.04
"""Seconds by which the ear may be wrong about where a sound begins and ends: a frame at each end."""


def spoken(seconds: float, what: str) -> Say:
    """Something to say whose words tell its length."""
    return Say(speechlike(seconds), f"{what} {seconds:.2f} seconds.")


def length(text: str) -> float:
    """What `spoken` wrote into the words."""
    return float(text.split()[-2])


class Operator(BenchBrain):
    """Says goodbye, or puts through, whatever is said; after a transfer that failed it says so and hangs up."""

    def __init__(self, dice: Random, targets: tuple[str, ...] = ()) -> None:
        super().__init__(0.4)
        self._dice = dice
        self._targets = targets

    def prompted(self, text: str) -> Any:
        if "could not be put through" in text:
            return (
                spoken(self._dice.uniform(0.4, 1.2), "Nobody there, goodbye"),
                Call("end_call", {}),
            )
        return super().prompted(text)

    def answered(self, tool: str, response: dict[str, Any]) -> Any:
        if tool != "transfer_call" or "put through when" in str(response):
            return ()
        if "error" in response:
            return (spoken(0.6, "Nobody there, goodbye"), Call("end_call", {}))
        return (spoken(1.0, "They take you"),)

    def heard(self, utterance: Sound) -> Understood:
        last = spoken(self._dice.uniform(0.8, 2.6), "Goodbye for")
        call = Call("end_call", {})
        if self._targets:
            call = Call("transfer_call", {"target": self._dice.choice(self._targets)})
        before = self._dice.random() < 0.3  # the tool is called first, and the words come after it
        return Understood("Something.", (call, last) if before else (last, call))


class Ended(NamedTuple):
    """One call, as its caller, the network and the server saw it."""

    report: CallReport
    record: CallRecord
    children: list[CallRecord]
    reason: str | None
    legs: int
    lines: list[dict[str, Any]]
    commands: list[str]

    @property
    def sessions_after_the_transfer(self) -> int:
        """Sessions with the model that were opened once the caller had left for it."""
        return self.commands[self.commands.index("put_through") :].count("open_model")

    @property
    def spoke_into_the_last(self) -> bool:
        """Whether the caller began to speak while the agent's last words were heard."""
        last = self.report.heard[-1]
        return any(last.start_s < each.start_s < last.end_s for each in self.report.spoken)

    @property
    def ear_had_all(self) -> bool:
        """Whether the caller's ear had at least as much sound as all lines that were not cut are long."""
        whole = [line["text"] for line in agents(self.lines) if not line["cut"]]
        least = sum(length(text) - PACKET for text in whole if text.endswith("seconds."))
        return sum(part.heard_ms for part in self.report.heard) / 1000 >= least

    def heard_whole(self, line: dict[str, Any]) -> bool:
        """Whether the caller's ear had all of the agent's last line of this leg."""
        return bool(line["heard"] == line["text"] and not line["cut"])


class Hall(NamedTuple):
    here: Exchange
    twilio: TwilioStandIn

    async def call(self, n: int, dice: Random, *say: Utterance) -> Ended:
        """One call that the agent ends."""
        await asyncio.sleep(dice.uniform(0.0, 0.8))
        options = CallerOptions(
            url=self.here.url,
            auth_token=AUTH_TOKEN,
            call_sid=sid(n),
            from_number=FROM,
            to_number=TO,
            start_delay_s=dice.uniform(0.0, 0.2),
            status_path="/twilio/status",
            max_seconds=40.0,
            utterances=say,
            manners=Manners(quiet_s=dice.uniform(0.2, 0.5), patience_s=8.0, hang_up_after_s=None),
        )
        network = self.twilio.network
        report = await run_caller(options, network=network)
        broken = [str(each) for each in report.violations if each.rule != "after-stop"]
        assert broken == [], sid(n)
        row = await self.here.record(sid(n))
        records = [each.record for each in network.calls.values()]
        children = [each for each in records if each.parent_sid == sid(n)]
        lines = self.here.transcript(sid(n))
        record = network.calls[sid(n)].record
        done = [each["kind"] for event in self.here.events(sid(n)) for each in event["do"]]
        return Ended(report, record, children, row.end_reason, row.legs, lines, done)


@asynccontextmanager
async def hall(
    folder: Path, dice: Random, targets: tuple[str, ...] = (), **agent: Any
) -> AsyncIterator[Hall]:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=AUTH_TOKEN, start_delay_s=0.0)
    directory = Directory({number: parse(party) for number, party in TARGETS.values()})
    described = {
        "tools": ["end_call", "transfer_call"],
        "transfer": {
            name: {"number": number, "timeout": 5, "mode": "warm" if name in WARM else "cold"}
            for name, (number, _) in TARGETS.items()
        },
    } | agent
    conduct = Conduct(setup_seconds=0.02, model_delay_seconds=0.05, speed=1.5)
    async with twilio_serving(options, directory) as twilio:
        settings: dict[str, Any] = {
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_API_URL": twilio.origin,
            "CALLER_ID": TO,
            "CALLER_CALLS_PER_HOUR": "1000",
        }
        brain = lambda: Operator(dice, targets)  # noqa: E731
        async with exchange(
            folder, brain=brain, conduct=conduct, agent=described, **settings
        ) as here:
            yield Hall(here, twilio)


async def many(hall: Hall, count: int, dice: Random, cut_in: float = 0.0) -> list[Ended]:
    """So many calls, twenty side by side; a share `cut_in` of callers speaks into the agent's last words."""
    ended: list[Ended] = []
    for start in range(0, count, SIDE_BY_SIDE):
        calls = []
        for n in range(start, min(count, start + SIDE_BY_SIDE)):
            say = [words(dice.uniform(0.5, 1.5))]
            if dice.random() < cut_in:
                say.append(words(0.6, interrupt_after_s=dice.uniform(0.2, 0.6)))
            calls.append(hall.call(n, dice, *say))
        ended += await asyncio.gather(*calls)
    return ended


def agents(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["who"] == "agent"]


@pytest.mark.measure
@pytest.mark.timeout(600)
async def test_two_hundred_goodbyes_are_heard_to_their_end(tmp_path: Path, full: bool) -> None:
    dice = Random(20)
    count = 200 if full else 20
    async with hall(tmp_path, dice) as room:
        calls = await many(room, count, dice, cut_in=0.35)
    assert {call.reason for call in calls} == {"agent_hung_up"}
    whole = interrupted = 0
    for call in calls:
        last = agents(call.lines)[-1]
        if last["cut"]:  # the caller spoke into it, and nobody had more to say then
            interrupted += bool(call.spoke_into_the_last)
        else:
            whole += call.heard_whole(last) and call.ear_had_all
    cut = sum(any(line["cut"] for line in agents(call.lines)) for call in calls)
    print(
        f"{whole} of {count} goodbyes heard to their end, {interrupted} ended by the caller's own words; "
        f"in {cut} calls the caller spoke into one"
    )
    assert whole + interrupted == count
    assert interrupted <= cut
    if full:
        assert cut >= 10
    odd = [call for call in calls if call.record.hung_up_by != HungUpBy.TWIML]
    assert [(call.record.hung_up_by, call.report.notices) for call in odd] == []


@pytest.mark.measure
@pytest.mark.timeout(600)
async def test_two_hundred_transfers_hang_up_on_nobody(tmp_path: Path, full: bool) -> None:
    dice = Random(21)
    count = 200 if full else 20
    async with hall(tmp_path, dice, COLD) as room:
        calls = await many(room, count, dice, cut_in=0.2)
    taken = failed = 0
    for call in calls:
        assert len(call.children) == 1, (call.reason, call.report.notices)
        (person,) = call.children
        if person.to in TAKES:
            seconds = together(call.record, person, now())
            assert seconds >= TAKES[person.to] - PACKET, (seconds, call.record)
            assert person.hung_up_by == HungUpBy.PERSON
            assert (call.reason, call.legs) == ("transferred", 1)
            taken += 1
        else:
            assert (call.reason, call.legs) == ("agent_hung_up", 2)
            assert call.sessions_after_the_transfer == 0  # back with the very same one
            announced, back = agents(call.lines)[-2:]
            assert call.heard_whole(back)
            assert call.heard_whole(announced) or announced["cut"]  # by the caller himself
            assert back["text"].startswith("Nobody there")
            assert call.ear_had_all
            failed += 1
        # Whoever is hung up on, it is after the person, or the agent, has said goodbye.
        assert call.record.hung_up_by == HungUpBy.TWIML, call.report.notices
        assert call.record.happened("updated") == []
    print(f"{taken} transfers taken and {failed} not, of {count}; nobody was hung up on")
    assert taken + failed == count
    assert min(taken, failed) >= count // 10


@pytest.mark.timeout(120)
async def test_a_person_who_is_asked_first_talks_to_the_caller_or_the_agent_goes_on(
    tmp_path: Path,
) -> None:
    dice = Random(22)
    async with hall(tmp_path, dice, WARM) as room:
        calls = await many(room, 16, dice)
        persons = [
            each.record
            for each in room.twilio.network.calls.values()
            if each.record.parent_sid == "" and each.record.direction == "outbound-api"
        ]
        assert len(persons) == len(calls)
        met = 0
        for call in calls:
            talked = [each for each in persons if together(call.record, each, now()) > 0]
            if call.reason == "transferred":
                (person,) = talked
                assert person.to == TARGETS["asked"][0]
                assert together(call.record, person, now()) >= 1.0 - PACKET
                assert person.hung_up_by == HungUpBy.PERSON
                assert any("They take you" in line["text"] for line in agents(call.lines))
                met += 1
            else:
                assert (call.reason, call.legs, talked) == ("agent_hung_up", 1, [])
            assert call.record.hung_up_by == HungUpBy.TWIML
        assert met == sum(each.to == TARGETS["asked"][0] for each in persons) > 0
        assert all(each.over for each in persons)


@pytest.mark.timeout(120)
async def test_a_caller_does_not_stay_in_a_room_that_the_person_leaves_as_he_comes(
    tmp_path: Path,
) -> None:
    """The person hangs up between the two documents: the one that ends the stream and the one that would have joined both."""
    room = WarmTransfers.room
    async with hall(tmp_path, Random(23), ("asked",)) as here:

        def just_left(warm: WarmTransfers, call: str, target: str) -> str | None:
            found = room(warm, call, target)
            for each in here.twilio.network.calls.values():
                if each.record.direction == "outbound-api" and each.program is not None:
                    each.program.end(HungUpBy.PERSON)
            return found

        with patch.object(WarmTransfers, "room", just_left):
            call = await here.call(0, Random(23), words(1.0))
        assert (call.reason, call.legs) == ("agent_hung_up", 2)
        assert agents(call.lines)[-1]["text"].startswith("Nobody there")
        assert call.heard_whole(agents(call.lines)[-1])
        assert call.sessions_after_the_transfer == 0  # back with the very same one
        assert call.record.hung_up_by == HungUpBy.TWIML, call.report.notices
        assert call.record.happened("updated") == ["twiml"]
