"""The call's driver: everything in order, one task, one wake-up, and a fault that stays in its own call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent import events as e
from agent.call import session as room
from agent.call.session import CallSession
from agent.drive.tasks import Tasks
from agent.drive.wakeups import GRID, Wakeups
from agent.errors import Fate, OwnFault
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.machine import CallMachine

FINISH = e.Finish("caller_hung_up")
DIGIT = e.LineDigit("1")


class Machine:
    """Does as told: commands by the event's kind, and a deadline."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, e.AnyEvent | None]] = []
        self.answers: dict[type[Any], list[e.AnyCommand]] = {}
        self.on_tick: Callable[[float], list[e.AnyCommand]] = lambda now: []
        self.at: float | None = None
        self.secret = False

    def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
        self.seen.append((now, event))
        return self.answers.get(type(event), [])

    def tick(self, now: float) -> list[e.AnyCommand]:
        self.seen.append((now, None))
        self.at = None
        return self.on_tick(now)

    def deadline(self) -> float | None:
        return self.at

    def hides(self, event: e.AnyEvent | None) -> e.AnyEvent | None:
        return e.LineDigit("x") if isinstance(event, e.LineDigit) and self.secret else event

    def hidden(self, commands: list[e.AnyCommand]) -> list[e.AnyCommand]:
        return [] if self.secret else commands

    @property
    def events(self) -> list[e.AnyEvent | None]:
        return [event for _, event in self.seen]


class Peer:
    """A line, a model or a toolbox."""

    def __init__(self, log: list[tuple[str, e.AnyCommand]], name: str) -> None:
        self._log = log
        self._name = name

    def send(self, command: e.AnyCommand) -> None:
        self._log.append((self._name, command))


class Recorder:
    def __init__(self) -> None:
        self.entries: list[tuple[float, e.AnyEvent | None, list[e.AnyCommand]]] = []
        self.sound: list[tuple[float, e.Pcm]] = []
        self.consents = 0

    def keep_sound(self) -> None:
        self.consents += 1

    def record(self, t: float, event: e.AnyEvent | None, commands: list[e.AnyCommand]) -> None:
        self.entries.append((t, event, commands))

    def heard(self, t: float, pcm: e.Pcm) -> None:
        self.sound.append((t, pcm))


class Bench:
    """A session with a machine that does as told."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.wakeups = Wakeups(loop, loop.time)
        self.machine = Machine()
        self.recorder = Recorder()
        self.log: list[tuple[str, e.AnyCommand]] = []
        self.answered = 0
        self.told: list[str] = []
        self.put_through: list[str] = []
        self.tasks = Tasks("call")
        self.session = CallSession(
            cast("CallMachine", self.machine),
            wakeups=self.wakeups,
            recorder=self.recorder,
            answered=self._answer,
            told=self.told.append,
            put_through=self.put_through.append,
        )
        self.session.model = Peer(self.log, "model")
        self.session.tools = Peer(self.log, "tools")
        self.running = self.tasks.start_read("machine", self.session.run())

    def _answer(self) -> None:
        self.answered += 1

    def attach(self) -> None:
        self.session.attach(Peer(self.log, "line"), 1)

    async def finish(self) -> str:
        self.machine.answers[e.LineEnded] = [FINISH]
        self.session.feed(e.LineEnded("stopped"))
        return await self.running


async def test_events_are_handled_in_the_order_in_which_they_came() -> None:
    bench = Bench()
    events: list[e.AnyEvent] = [e.LineDigit(digit) for digit in "1234567890"]
    for event in events:
        bench.session.feed(event)
    assert bench.machine.events == []  # in the call's own task, not in the feeder's
    await settle()
    assert bench.machine.events == events
    assert await bench.finish() == "caller_hung_up"


async def test_what_is_fed_while_an_event_is_handled_comes_after_it() -> None:
    bench = Bench()
    bench.machine.answers[e.ModelReady] = [e.Answer(), e.StartTool("1", "echo", {})]
    bench.session.tools = cast("Any", bench)
    sent: list[e.AnyCommand] = []

    def send(command: e.AnyCommand) -> None:
        sent.append(command)
        bench.session.feed(e.ToolFinished("1", "echo", {}))  # at once, as for an unknown tool
        assert bench.machine.events == [e.ModelReady(0.3)]

    cast("Any", bench).send = send
    bench.session.feed(e.ModelReady(0.3))
    await settle()
    assert bench.machine.events == [e.ModelReady(0.3), e.ToolFinished("1", "echo", {})]
    assert sent == [e.StartTool("1", "echo", {})]
    await bench.finish()


async def test_each_command_goes_where_it_belongs_in_the_machines_order() -> None:
    bench = Bench()
    bench.attach()
    commands: list[e.AnyCommand] = [
        e.Clear(),
        e.SendAudio(e.Pcm16k(bytes(640))),
        e.Play(e.Pcm8k(bytes(320))),
        e.StartTool("1", "echo", {}),
        e.Mark("m1"),
        e.SendText("Greet the caller."),
        e.CancelTool("1"),
        e.SendToolResult("1", "echo", {}),
        e.CloseModel(),
        e.HangUp(),
    ]
    bench.machine.answers[e.LineDigit] = [e.Answer(), *commands]
    bench.session.feed(DIGIT)
    await settle()
    where = ["line", "model", "line", "tools", "line"]
    where += ["model", "tools", "model", "model", "line"]
    assert bench.log == list(zip(where, commands, strict=True))
    assert bench.answered == 1
    await bench.finish()


async def test_every_command_of_the_vocabulary_can_be_carried_out() -> None:
    bench = Bench()
    kinds = set(e.AnyCommand.__args__)
    assert set(bench.session._carry) == kinds
    await bench.finish()


async def test_what_the_operator_should_read_is_told_at_once() -> None:
    bench = Bench()
    bench.machine.answers[e.LineDigit] = [e.Tell("hop 412 ms")]
    bench.session.feed(DIGIT)
    await settle()
    assert bench.told == ["hop 412 ms"]
    await bench.finish()


async def test_commands_for_a_line_or_a_model_that_is_not_there_go_nowhere() -> None:
    bench = Bench()
    bench.session.model = bench.session.tools = None
    bench.machine.answers[e.LineDigit] = [
        e.Play(e.Pcm8k(bytes(320))),
        e.SendText("x"),
        e.StartTool("1", "echo", {}),
        e.HangUp(),
    ]
    bench.session.feed(DIGIT)
    assert await bench.finish() == "caller_hung_up"
    assert bench.log == []


@pytest.mark.parametrize("command", [e.OpenModel(handle="h"), e.CloseModel()])
async def test_what_a_session_said_that_was_left_meanwhile_is_nobodys(
    command: e.AnyCommand,
) -> None:
    bench = Bench()
    bench.machine.answers[e.LineDigit] = [command]
    for event in (e.AgentSaid("We"), DIGIT, e.ModelReady(0.1), e.LineMark("m1"), e.TurnComplete()):
        bench.session.feed(event)
    await settle()
    assert bench.machine.events == [e.AgentSaid("We"), DIGIT, e.LineMark("m1")]
    bench.session.feed(e.ModelReady(0.3))  # the next session's
    await settle()
    assert bench.machine.events[-1] == e.ModelReady(0.3)
    await bench.finish()


async def test_a_session_that_cannot_be_opened_says_so_at_once() -> None:
    bench = Bench()
    bench.machine.answers[e.LineDigit] = [e.OpenModel()]
    ended = e.ModelEnded(Fate.FATAL, None, "the setup is wrong")

    class Nobody:
        def send(self, command: e.AnyCommand) -> None:
            bench.session.feed(ended)

    bench.session.model = Nobody()
    bench.session.feed(DIGIT)
    await settle()
    assert bench.machine.events == [DIGIT, ended]
    await bench.finish()


async def test_after_a_second_line_is_attached_the_first_gets_nothing() -> None:
    bench = Bench()
    bench.attach()
    bench.machine.answers[e.LineDigit] = [e.Clear()]
    bench.session.feed(DIGIT)
    await settle()
    bench.session.attach(Peer(bench.log, "second"), 2)
    bench.session.feed(DIGIT)
    await settle()
    assert [name for name, _ in bench.log] == ["line", "second"]
    assert bench.machine.events == [e.LineStarted(1), DIGIT, e.LineStarted(2), DIGIT]
    await bench.finish()


def test_the_machine_is_woken_at_its_deadline_and_armed_again() -> None:
    async def scene() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()

        def again(now: float) -> list[e.AnyCommand]:
            bench.machine.at = now + 0.5 if len(bench.machine.seen) < 4 else None
            return [e.Clear()]

        bench.machine.on_tick = again
        bench.attach()
        bench.machine.at = loop.time() + 0.5
        await asyncio.sleep(10.0)
        times = [at for at, event in bench.machine.seen if event is None]
        assert len(times) == 3
        for n, at in enumerate(times, 1):
            assert 0.5 * n <= at <= 0.5 * n + 2 * n * GRID
        assert [type(command) for _, command in bench.log] == [e.Clear] * 3
        await bench.finish()

    virtually(scene())


def test_a_wake_up_that_comes_early_does_not_tick() -> None:
    async def scene() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()
        bench.machine.at = loop.time() + 0.5
        bench.session.feed(DIGIT)
        await asyncio.sleep(0.2)
        bench.session._stir()
        await asyncio.sleep(0.2)
        assert bench.machine.events == [DIGIT]
        await asyncio.sleep(0.2)
        assert bench.machine.events == [DIGIT, None]
        await bench.finish()

    virtually(scene())


def test_a_deadline_that_moves_is_met_where_it_stands_now() -> None:
    async def scene() -> None:
        bench = Bench()
        loop = asyncio.get_running_loop()
        bench.machine.at = loop.time() + 5.0
        bench.session.feed(DIGIT)
        await asyncio.sleep(0.1)
        bench.machine.at = loop.time() + 0.2
        bench.session.feed(DIGIT)
        await asyncio.sleep(0.3)
        assert bench.machine.events == [DIGIT, DIGIT, None]
        await bench.finish()

    virtually(scene())


def test_what_is_due_is_done_also_while_events_keep_coming() -> None:
    async def scene() -> None:
        bench = Bench()
        bench.machine.at = 0.1
        for _ in range(50):
            bench.session.feed(DIGIT)
            await asyncio.sleep(0.02)
        assert bench.machine.events.count(None) == 1
        await bench.finish()

    virtually(scene())


def test_the_machine_and_the_record_count_time_from_the_calls_start() -> None:
    async def scene() -> None:
        await asyncio.sleep(7.0)
        bench = Bench()
        await asyncio.sleep(1.0)
        sound = e.Pcm8k(bytes(320))
        bench.machine.answers[e.LineDigit] = [
            e.KeepHeard(at=0.5, pcm=sound),
            e.KeepSound(),
            e.Clear(),
        ]
        bench.machine.on_tick = lambda now: [e.Answer()]
        bench.machine.at = 1.5
        bench.session.feed(DIGIT)
        await asyncio.sleep(1.0)
        digit, tick = bench.recorder.entries
        assert digit[0] == pytest.approx(1.0)
        assert digit[1:] == (DIGIT, bench.machine.answers[e.LineDigit])
        assert tick[0] == pytest.approx(1.5, abs=2 * GRID)
        assert tick[1:] == (None, [e.Answer()])
        assert [at for at, _ in bench.machine.seen] == [digit[0], tick[0]]
        assert bench.recorder.sound == [(0.5, sound)]
        await bench.finish()

    virtually(scene())


async def test_a_machine_that_raises_ends_its_own_call_and_nobody_elses() -> None:
    class Broken(Machine):
        def handle(self, event: e.AnyEvent, now: float) -> list[e.AnyCommand]:
            raise OwnFault("cannot happen")

    broken, healthy = Bench(), Bench()
    broken.session.machine = cast("CallMachine", Broken())
    for bench in (broken, healthy):
        bench.session.feed(DIGIT)  # the feeder is not the one that fails
    await settle()
    assert isinstance(broken.running.exception(), OwnFault)
    assert [entry[1:] for entry in broken.recorder.entries] == [(DIGIT, [])]  # replay can fail, too
    assert healthy.machine.events == [DIGIT]
    assert await healthy.finish() == "caller_hung_up"


def test_nothing_is_armed_after_the_end() -> None:
    async def scene() -> None:
        bench = Bench()
        bench.machine.at = 3600.0
        assert await bench.finish() == "caller_hung_up"
        assert bench.session._wakeup.deadline is None
        bench.machine.at = 0.5
        await asyncio.sleep(10.0)
        assert None not in bench.machine.events

    virtually(scene())


async def test_the_reason_is_known_as_soon_as_the_machine_has_decided() -> None:
    bench = Bench()
    early = bench.session.finished
    bench.machine.answers[e.LineDigit] = [FINISH]
    bench.session.feed(DIGIT)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (early, bench.session.finished) == (None, "caller_hung_up")
    await bench.running


async def test_a_call_that_is_hopelessly_behind_ends_and_costs_its_feeders_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "INBOX", 10)
    bench = Bench()
    for _ in range(30):
        bench.session.feed(DIGIT)
    assert len(bench.session._inbox) == 10
    await asyncio.wait([bench.running])
    assert isinstance(bench.running.exception(), OwnFault)
    assert bench.machine.events == []


async def test_exactly_as_many_events_as_may_wait_are_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "INBOX", 10)
    bench = Bench()
    for _ in range(10):
        bench.session.feed(DIGIT)
    await settle()
    assert bench.machine.events == [DIGIT] * 10
    await bench.finish()


async def test_what_comes_after_the_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "INBOX", 10)
    bench = Bench()
    await bench.finish()
    for _ in range(30):
        bench.session.feed(DIGIT)
    assert len(bench.session._inbox) == 0


async def test_what_comes_after_a_fault_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "INBOX", 10)
    bench = Bench()
    bench.machine.answers[e.LineDigit] = [cast("Any", "no command")]
    bench.session.feed(DIGIT)
    await asyncio.wait([bench.running])
    assert isinstance(bench.running.exception(), KeyError)
    for _ in range(30):
        bench.session.feed(DIGIT)
    assert len(bench.session._inbox) == 0


async def test_who_asked_for_the_call_learns_where_the_caller_is_put_through_to() -> None:
    bench = Bench()
    bench.machine.answers[e.GenerationComplete] = [e.PutThrough("reception"), e.HangUp()]
    bench.attach()
    bench.session.feed(e.GenerationComplete())
    await bench.finish()
    assert bench.put_through == ["reception"]
    assert ("line", e.HangUp()) in bench.log


async def test_a_secret_is_in_no_record() -> None:
    bench = Bench()
    bench.machine.secret = True
    bench.machine.answers[e.LineDigit] = [e.SendToolResult("1", "pin", {"digits": "4"})]
    bench.attach()
    bench.session.feed(e.LineDigit("4"))
    await bench.finish()
    assert e.LineDigit("4") in bench.machine.events
    recorded = [(event, commands) for _, event, commands in bench.recorder.entries]
    assert (e.LineDigit("x"), []) in recorded
    assert all(event != e.LineDigit("4") for event, _ in recorded)
