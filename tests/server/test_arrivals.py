"""Calls that a line brings by itself: rung, answered, refused, put through and hung up without a webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from agent import events as e
from agent.drive.tasks import Tasks
from agent.protocols.door import Caller
from agent.server.arrivals import LONGEST_ID, Arrivals
from agent.server.refusals import Refusals
from tests.server.bench import AGENT, Bench
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from pathlib import Path

PERSON = "+15550001111"
TARGET = AGENT + f"transfer: {{desk: {{number: '{PERSON}', timeout: 20}}}}\n"
Seen = list[str]


class ArrivedLine:
    """Rings until it is answered, plays nothing, and confirms every mark at once."""

    sends_digits = False
    rate: e.LineRate = 8000

    def __init__(
        self,
        bench: ArrivalsBench,
        *,
        call_id: str = "1700000000.1",
        transfers: bool = True,
        answers: bool = True,
    ) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transfers = transfers
        self.sent: list[e.LineCommand] = []
        self.seen: Seen = []
        self.outcome: asyncio.Future[e.TransferOutcome] = asyncio.get_running_loop().create_future()
        self._answers = answers
        self.tell: Callable[[e.LineEvent], None] = bench.arrivals.arrive(arriving(call_id), self)

    def send(self, command: e.LineCommand) -> None:
        if isinstance(command, e.HangUp):
            self.seen.append("hung up")
            self.over("closed")
        elif not self.ended.done():
            self.sent.append(command)
            if isinstance(command, e.Mark):
                self.tell(e.LineMark(command.name))

    async def answer(self) -> bool:
        self.seen.append("answered")
        return self._answers

    async def transfer(self, address: str, within: float) -> e.TransferOutcome:
        self.seen.append(f"to {address} within {within:g}")
        return await self.outcome

    def over(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
            self.tell(e.LineEnded(reason))  # type: ignore[arg-type]

    @property
    def played(self) -> bool:
        return any(isinstance(command, e.Play) for command in self.sent)


class ArrivalsBench(Bench):
    def __init__(self, folder: Path, agent: str, spoken: int = 0) -> None:
        super().__init__(folder, agent=agent, max_calls=1)
        self.tasks = Tasks("arrivals", lambda child, error: self.failures.append(error))
        refusals = Refusals(self.wiring.lines, self.wiring.agent_for, self.wakeups, spoken)
        self.arrivals = Arrivals(self.board, refusals, self.tasks)


Scene = Callable[[ArrivalsBench], Awaitable[None]]


def arriving(call_id: str = "1700000000.1", to: str = "sip:desk@pbx.example") -> Caller:
    brought = {"name": "Ada", "colour": "red"}
    return Caller("asterisk", call_id, "", "inbound", "100", to, brought=brought)


def play(tmp_path: Path, scene: Scene, agent: str = AGENT, spoken: int = 0) -> None:
    async def all_of_it() -> None:
        bench = ArrivalsBench(tmp_path, agent, spoken)
        await scene(bench)
        await bench.board.close()
        await bench.arrivals.close()
        assert bench.failures == []
        assert bench.board.active == 0

    virtually(all_of_it())


def ended(bench: Bench) -> str:
    ((reason, _, _),) = bench.records.finished.values()
    return reason


async def talking(bench: ArrivalsBench, *, transfers: bool = True) -> ArrivedLine:
    line = ArrivedLine(bench, transfers=transfers)
    await settle()
    await asyncio.sleep(1.0)
    assert line.seen == ["answered"]
    assert line.played
    return line


async def transferring(bench: ArrivalsBench, *, transfers: bool = True) -> ArrivedLine:
    """The model has put the caller through, and he has heard that it does."""
    line = await talking(bench, transfers=transfers)
    bench.model.sink(e.ToolCalled("t1", "transfer_call", {"target": "desk"}))
    await asyncio.sleep(0.1)
    bench.model.speak()
    await asyncio.sleep(8.0)
    return line


# ---- from the first ring to the record


def test_a_call_is_answered_when_its_agent_can_speak_and_hung_up_at_its_end(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.wiring.conduct["silent"] = True
        line = ArrivedLine(bench)
        await asyncio.sleep(1.0)
        assert line.seen == []
        bench.model.speak()
        await asyncio.sleep(1.0)
        assert line.seen == ["answered"]
        assert line.played
        (record,) = bench.records.created
        assert (record.provider, record.provider_call_id) == ("asterisk", "asterisk:1700000000.1")
        assert (record.from_number, record.to_number) == ("100", "sip:desk@pbx.example")
        assert bench.records.answers == [record.id]
        bench.board.over(arriving("asterisk:1700000000.1")._replace(over="operator"))
        await asyncio.sleep(1.0)
        assert line.seen == ["answered", "hung up"]
        assert ended(bench) == "operator"

    play(tmp_path, scene)


def test_the_called_address_chooses_the_agent_and_what_it_brings_fills_its_variables(
    tmp_path: Path,
) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        text = "name: Sales\npersona: You greet {{name}}.\ndisclosure: false\n"
        text += "variables: {name: nobody}\nnumbers: ['sip:DESK@pbx.example:5060']\n"
        (bench.agents / "sales.yaml").write_text(text)
        line = await talking(bench)
        (place,) = bench.board._places.values()
        assert place.call.agent.persona == "You greet Ada."
        assert place.call.info.variables == {"name": "Ada"}
        assert place.call.info.own_line
        line.over("stopped")

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("stopped", "caller_hung_up"), ("closed", "caller_hung_up"), ("lost", "line_lost")],
)
def test_nobody_brings_a_caller_back_whose_line_has_ended(
    tmp_path: Path, how: str, reason: str
) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await talking(bench)
        line.over(how)
        await settle()
        assert bench.board.active == 0
        await asyncio.sleep(0.1)
        assert ended(bench) == reason

    play(tmp_path, scene)


def test_a_line_that_does_not_play_what_it_is_sent_is_hung_up(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = ArrivedLine(bench)
        line.tell = lambda event: None  # no mark comes back
        await asyncio.sleep(5.0)
        assert line.seen == ["answered", "hung up"]
        await asyncio.sleep(5.0)
        assert ended(bench) == "line_lost"

    play(tmp_path, scene)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_a_caller_who_gives_up_while_it_rings_costs_no_answer(tmp_path: Path, at: float) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.wiring.conduct["silent"] = True
        line = ArrivedLine(bench)
        await asyncio.sleep(at)
        line.over("stopped")
        await asyncio.sleep(3.0)
        assert line.seen in ([], ["hung up"])
        assert bench.board.active == 0
        assert {reason for reason, _, _ in bench.records.finished.values()} <= {"caller_hung_up"}

    play(tmp_path, scene)


def test_a_caller_who_gives_up_just_as_he_is_answered_is_no_call(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = ArrivedLine(bench, answers=False)
        await asyncio.sleep(1.0)
        assert line.seen == ["answered", "hung up"]
        assert ended(bench) == "caller_hung_up"
        assert bench.records.answers == []

    play(tmp_path, scene)


# ---- refused


def test_a_call_that_finds_no_room_is_refused_and_counted(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        first = await talking(bench)
        for why, call_id in (("twice", "1700000000.1"), ("busy", "1700000000.2")):
            second = ArrivedLine(bench, call_id=call_id)
            await asyncio.sleep(0.1)
            assert second.seen == ["hung up"]
            assert bench.series(f'pickup_refused_total{{why="{why}"}}') == 1
        assert first.seen == ["answered"]
        first.over("stopped")

    play(tmp_path, scene)


class PlayingLine(ArrivedLine):
    """Plays what it is sent, and confirms a mark when what was sent before it has been heard."""

    def __init__(self, bench: ArrivalsBench, *, call_id: str = "1700000000.1") -> None:
        self._dry_at = 0.0
        super().__init__(bench, call_id=call_id)

    def send(self, command: e.LineCommand) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(command, e.Play):
            self._dry_at = max(self._dry_at, loop.time()) + command.pcm.seconds
        if isinstance(command, e.Mark):
            self.sent.append(command)
            loop.call_at(self._dry_at, lambda: self.tell(e.LineMark(command.name)))
        else:
            super().send(command)


def heard(line: ArrivedLine) -> float:
    """Seconds of sound that the line was sent."""
    return sum(each.pcm.seconds for each in line.sent if isinstance(each, e.Play))


def test_where_that_is_wanted_a_refused_caller_hears_the_busy_line_and_nobody_beyond_the_bound(
    tmp_path: Path,
) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.board.drain()
        one = PlayingLine(bench, call_id="1")
        await asyncio.sleep(1.0)
        assert (one.seen, bench.arrivals.refusing) == (["answered"], 1)
        two = ArrivedLine(bench, call_id="2")
        await asyncio.sleep(0.1)
        assert two.seen == ["hung up"]
        await asyncio.sleep(6.0)
        assert (one.seen, bench.arrivals.refusing) == (["answered", "hung up"], 0)
        sentence = bench.wiring.lines._shipped["busy"].pcm.seconds
        assert heard(one) == pytest.approx(sentence, abs=0.03)
        assert isinstance(one.sent[-1], e.Mark)  # its last sample was heard before the hang-up
        assert bench.records.created == []
        assert bench.series('pickup_refused_total{why="draining"}') == 2
        three = ArrivedLine(bench, call_id="3")
        await asyncio.sleep(0.1)
        assert three.seen == ["answered"]

    play(tmp_path, scene, spoken=1)


def test_a_refused_caller_in_wide_band_is_told_at_the_same_pace(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.board.drain()
        line = PlayingLine(bench)
        line.rate = 16000
        await asyncio.sleep(6.0)
        assert line.seen == ["answered", "hung up"]
        sounds = [command.pcm for command in line.sent if isinstance(command, e.Play)]
        assert {type(sound) for sound in sounds} == {e.Pcm16k}
        sentence = bench.wiring.lines._shipped["busy"].pcm.seconds
        assert sum(sound.seconds for sound in sounds) == pytest.approx(sentence, abs=0.03)

    play(tmp_path, scene, spoken=1)


def test_an_agent_that_is_closed_says_so_itself_or_nothing(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        unheard = ArrivedLine(bench)
        await asyncio.sleep(1.0)
        assert unheard.seen == ["hung up"]  # the busy line would not be true
        agent = bench.wiring.agent_for("")
        bench.wiring.lines.keep(agent, "Call tomorrow.", "model", e.Pcm24k(bytes(48_000)))
        told = PlayingLine(bench)
        await asyncio.sleep(3.0)
        assert told.seen == ["answered", "hung up"]
        assert heard(told) == pytest.approx(1.0, abs=0.03)

    text = AGENT + "timezone: UTC\nhours: {tuesday: '02:00-03:00'}\nclosed: Call tomorrow.\n"
    play(tmp_path, scene, text, spoken=1)


def test_a_refused_caller_who_hangs_up_makes_room_for_the_next(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.board.drain()
        line = PlayingLine(bench)
        await asyncio.sleep(1.0)
        sent = len(line.sent)
        line.over("stopped")
        await asyncio.sleep(1.0)
        assert (len(line.sent), bench.arrivals.refusing) == (sent, 0)
        late = ArrivedLine(bench, answers=False)
        await asyncio.sleep(0.1)
        assert (late.seen, bench.arrivals.refusing) == (["answered", "hung up"], 0)

    play(tmp_path, scene, spoken=1)


def test_a_line_that_plays_nothing_is_not_held_by_a_refusal(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        bench.board.drain()
        line = ArrivedLine(bench)
        line.tell = lambda event: None
        await asyncio.sleep(9.0)
        assert (line.seen, bench.arrivals.refusing) == (["answered", "hung up"], 0)

    play(tmp_path, scene, spoken=1)


def test_a_caller_of_no_agent_is_refused_unheard(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        (bench.agents / "desk.yaml").unlink()
        line = ArrivedLine(bench)
        await asyncio.sleep(0.1)
        assert line.seen == ["hung up"]

    play(tmp_path, scene, spoken=1)


def test_an_id_that_no_record_has_room_for_is_cut(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await talking(bench)
        bench.arrivals.arrive(arriving("x" * 500), line)
        (record,) = bench.records.created
        assert len(record.provider_call_id or "") <= LONGEST_ID
        line.over("stopped")

    play(tmp_path, scene)


def test_outside_its_hours_a_caller_is_put_through_where_the_file_says_so(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = ArrivedLine(bench)
        line.outcome.set_result("connected")
        await settle()
        assert line.seen == ["answered", f"to {PERSON} within 30", "hung up"]
        assert bench.records.created == []
        cannot = ArrivedLine(bench, transfers=False)
        await settle()
        assert cannot.seen == ["hung up"]

    play(
        tmp_path,
        scene,
        TARGET + "timezone: UTC\nhours: {tuesday: '02:00-03:00'}\nclosed: {transfer: desk}\n",
    )


# ---- put through


def test_a_transfer_that_is_taken_ends_the_call(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await transferring(bench)
        assert line.seen == ["answered", f"to {PERSON} within 30"]
        line.outcome.set_result("connected")
        await asyncio.sleep(0.1)
        assert line.seen[-1] == "hung up"
        assert ended(bench) == "transferred"

    play(tmp_path, scene, TARGET + "tools: [transfer_call]\n")


def test_whoever_is_not_taken_is_with_the_agent_again(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await transferring(bench)
        played = len(line.sent)
        line.outcome.set_result("busy")
        await asyncio.sleep(1.0)
        told = [each.text for each in bench.model.sent if isinstance(each, e.SendText)]
        assert "the line is busy" in told[-1]
        assert len(line.sent) > played
        assert bench.board.active == 1
        line.tell(e.LineDigit("5"))
        assert line.seen == ["answered", f"to {PERSON} within 30"]
        line.over("stopped")
        await asyncio.sleep(0.1)
        assert ended(bench) == "caller_hung_up"

    play(tmp_path, scene, TARGET + "tools: [transfer_call]\n")


def test_a_line_that_cannot_transfer_says_so_at_once(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await transferring(bench, transfers=False)
        assert line.seen == ["answered"]
        told = [each.text for each in bench.model.sent if isinstance(each, e.SendText)]
        assert "could not be connected" in told[-1]
        assert bench.board.active == 1
        line.over("stopped")

    play(tmp_path, scene, TARGET + "tools: [transfer_call]\n")


def test_a_caller_who_hangs_up_while_he_is_put_through_has_hung_up(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await transferring(bench)
        line.over("stopped")
        line.outcome.set_result("failed")
        await asyncio.sleep(0.1)
        assert ended(bench) == "caller_hung_up"

    play(tmp_path, scene, TARGET + "tools: [transfer_call]\n")


def test_a_transfer_of_which_nothing_is_heard_has_worked(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await transferring(bench)
        await asyncio.sleep(40.0)
        assert line.seen[-1] == "hung up"
        assert ended(bench) == "transferred"
        line.outcome.cancel()

    play(tmp_path, scene, TARGET + "tools: [transfer_call]\n")


def test_our_trouble_puts_the_caller_through_to_the_person_whom_the_file_names(
    tmp_path: Path,
) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await talking(bench)
        for _ in range(4):
            bench.model.end()
            await asyncio.sleep(15.0)
        assert line.seen == ["answered", f"to {PERSON} within 30"]
        line.outcome.set_result("failed")
        await asyncio.sleep(0.1)
        assert line.seen[-1] == "hung up"
        assert ended(bench) == "model_lost"

    play(tmp_path, scene, AGENT + f"fallback_number: {PERSON}\n")


def test_the_server_that_stops_hangs_up(tmp_path: Path) -> None:
    async def scene(bench: ArrivalsBench) -> None:
        line = await talking(bench)
        await bench.board.close()
        assert line.seen == ["answered", "hung up"]
        assert ended(bench) == "server_stopped"

    play(tmp_path, scene)
