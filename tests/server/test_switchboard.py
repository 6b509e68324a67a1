"""The switchboard: who is put through, who is told what, and that each webhook and token counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from agent import events as e
from agent.config.agent_file import AgentFile
from agent.config.agent_parts import Limits, OwnWords
from agent.protocols.door import HangUpNow, Join, Say, Transfer
from agent.server import switchboard as room
from agent.server.spoken import SPOKEN, Amends, amends
from agent.server.switchboard import ANSWER_LIMIT
from tests.server.bench import AGENT, Bench, caller
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from pathlib import Path

    from agent.protocols.door import Verdict

Scene = Callable[[Bench], Awaitable[None]]
BUSY, TROUBLE = Say(SPOKEN["busy"]), Say(SPOKEN["trouble"])
FALLBACK = AGENT + "fallback_number: +15550001111\n"


def play(tmp_path: Path, scene: Scene, *, max_calls: int = 3, agent: str = AGENT) -> None:
    async def all_of_it() -> None:
        bench = Bench(tmp_path, max_calls=max_calls, agent=agent)
        await scene(bench)
        await bench.board.close()
        assert bench.failures == []
        assert bench.board.active == 0

    virtually(all_of_it())


async def ring(bench: Bench, n: int = 1) -> str:
    verdict = await bench.board.ring(caller(n))
    assert isinstance(verdict, Join)
    return verdict.token


async def connect(bench: Bench, n: int = 1) -> Callable[[e.LineEvent], None]:
    _, sink = await bench.start(await ring(bench, n), n)
    assert sink is not None
    await settle()
    return sink


# ---- ringing


def test_a_caller_is_held_until_the_agent_can_speak(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.wiring.conduct["silent"] = True
        ringing = bench.wiring.tasks.start_read("ring", bench.board.ring(caller()))
        await asyncio.sleep(1.0)
        assert not ringing.done()
        bench.model.speak()
        await settle()
        assert isinstance(ringing.result(), Join)
        assert asyncio.get_running_loop().time() < 1.1

    play(tmp_path, scene)


def test_a_model_that_is_slow_to_speak_does_not_let_the_phone_ring_on(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.wiring.conduct["silent"] = True
        await ring(bench)
        assert 2.0 <= asyncio.get_running_loop().time() <= 2.1  # ANSWER_WITHIN

    play(tmp_path, scene)


def test_a_webhook_is_answered_whatever_happens_to_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(bench: Bench) -> None:
        monkeypatch.setattr("agent.server.live_call.LiveCall._answer", lambda call: None)
        await ring(bench)
        assert asyncio.get_running_loop().time() == pytest.approx(ANSWER_LIMIT, abs=0.1)
        monkeypatch.undo()

    play(tmp_path, scene)


def test_a_webhook_that_is_repeated_gets_the_same_answer_and_no_second_call(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.wiring.conduct["silent"] = True
        both = [bench.wiring.tasks.start_read("r", bench.board.ring(caller())) for _ in range(2)]
        await settle()
        bench.model.speak()
        first, second = await asyncio.gather(*both)
        assert first == second == await bench.board.ring(caller())
        assert len(bench.wiring.models) == len(bench.records.created) == 1
        assert bench.series("pickup_calls_started_total") == 1

    play(tmp_path, scene)


def test_a_webhook_that_is_given_up_does_not_spoil_the_answer_for_its_repeat(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        bench.wiring.conduct["silent"] = True
        first = bench.wiring.tasks.start_read("ring", bench.board.ring(caller()))
        await settle()
        first.cancel()
        await settle()
        bench.model.speak()
        assert isinstance(await bench.board.ring(caller()), Join)

    play(tmp_path, scene)


def test_above_max_calls_a_caller_hears_that_all_lines_are_busy(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench, 1)
        await ring(bench, 2)
        assert bench.board.full
        assert await bench.board.ring(caller(3)) == BUSY
        assert await bench.board.ring(caller(3)) == BUSY
        assert isinstance(await bench.board.ring(caller(1)), Join)  # it has its slot
        assert bench.series('pickup_refused_total{why="busy"}') == 2
        assert bench.series("pickup_calls_active") == 2
        bench.board.over(caller(1)._replace(over="caller_hung_up"))
        await asyncio.sleep(0.1)
        assert isinstance(await bench.board.ring(caller(3)), Join)

    play(tmp_path, scene, max_calls=2)


def test_a_slot_is_free_again_when_no_stream_comes(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)
        await asyncio.sleep(24.5)
        assert bench.board.active == 1
        await asyncio.sleep(3.0)
        assert bench.board.active == 0
        ((reason, legs, _),) = bench.records.finished.values()
        assert (reason, legs) == ("no_start", 0)

    play(tmp_path, scene)


def test_a_draining_server_refuses_new_callers_and_takes_the_streams_of_those_it_has(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        token = await ring(bench)
        bench.board.drain()
        assert await bench.board.ring(caller(2)) == BUSY
        assert bench.series('pickup_refused_total{why="draining"}') == 1
        line, sink = await bench.start(token)
        assert sink is not None
        await settle()
        assert any(isinstance(command, e.Play) for command in line.sent)

    play(tmp_path, scene)


def test_without_an_agent_that_can_be_read_a_caller_hears_an_apology(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        (bench.agents / "desk.yaml").write_text("persona: [")
        assert await bench.board.ring(caller()) == TROUBLE
        assert bench.board.active == 0
        assert bench.series('pickup_refused_total{why="no_agent"}') == 1

    play(tmp_path, scene)


def test_busy_is_said_in_the_agents_own_words_and_language(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench, 1)
        assert await bench.board.ring(caller(2)) == Say("Alle Leitungen sind belegt.", "de-DE")

    words = "language: de-DE\nlines: {busy: Alle Leitungen sind belegt.}\n"
    play(tmp_path, scene, max_calls=1, agent=AGENT + words)


@pytest.mark.parametrize(
    ("closed", "verdict"),
    [
        ("closed: We are closed.\n", Say("We are closed.", "en-US")),
        (
            "closed: {transfer: night}\ntransfer: {night: +15550002222}\n",
            Transfer("+15550002222", timeout=25),
        ),
    ],
)
def test_outside_its_hours_a_caller_gets_what_the_agents_file_says(
    tmp_path: Path, closed: str, verdict: Verdict
) -> None:
    async def scene(bench: Bench) -> None:
        text = AGENT + "timezone: UTC\nhours: {tuesday: '22:00-23:00'}\n" + closed
        (bench.agents / "desk.yaml").write_text(text)
        await ring(bench, 1)  # on a Tuesday at 22:13
        (bench.agents / "desk.yaml").write_text(text.replace("22:00-23:00", "8:00-22:00"))
        assert await bench.board.ring(caller(2)) == verdict
        assert bench.series('pickup_refused_total{why="closed"}') == 1
        assert isinstance(await bench.board.ring(caller(1)), Join)  # it is on the line already

    play(tmp_path, scene)


def test_without_words_for_it_the_agent_answers_outside_its_hours(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)

    play(tmp_path, scene, agent=AGENT + "timezone: UTC\nhours: {holidays: []}\n")


def test_the_call_of_an_agent_with_variables_has_their_defaults(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)
        place = bench.board._places[caller().call_id]
        assert place.call.agent.greeting.say == "Hello friend of ."
        brought = {"who": "Ada", "where": "x\ny", "other": "z"}
        await bench.board.ring(caller(2, brought=brought))
        place = bench.board._places[caller(2).call_id]
        assert place.call.agent.greeting.say == "Hello Ada of ."

    agent = "name: Desk\npersona: You.\ngreeting: Hello {{who}} of {{where}}.\nvariables: {who: friend, where: ~}\n"
    play(tmp_path, scene, agent=agent)


def test_the_limits_of_the_agents_file_are_the_calls(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        (bench.agents / "desk.yaml").write_text(
            AGENT + "limits: {seconds: 60, silence: 7}\nfiller_after: 2\n"
        )
        options = bench.wiring.options(bench.wiring.agent_for(""))
        assert (options.max_seconds, options.dead_air.caller, options.dead_air.tool) == (60, 7, 2)
        plain = bench.wiring.options(AgentFile(name="Desk", persona="You."))
        assert (plain.max_seconds, plain.dead_air.caller) == (3600, 15)
        long = AgentFile(name="Desk", persona="You.", limits=Limits(seconds=7200))
        assert bench.wiring.options(long).max_seconds == 3600

    play(tmp_path, scene)


def test_a_save_reaches_the_next_call_and_a_live_one_keeps_its_agent(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        def agent_of(n: int) -> AgentFile:
            return bench.board._places[caller(n).call_id].call.agent

        await ring(bench, 1)
        first = agent_of(1)
        (bench.agents / "desk.yaml").write_text(AGENT + "voice: Puck\nlimits: {seconds: 60}\n")
        await ring(bench, 2)
        assert (agent_of(2).voice, agent_of(2).limits.seconds) == ("Puck", 60)
        assert agent_of(1) is first
        assert first.voice == "Kore"
        (bench.agents / "desk.yaml").write_text(AGENT + "voice: [\n")
        await ring(bench, 3)
        assert agent_of(3).voice == "Puck"  # the last good one

    play(tmp_path, scene)


def test_a_broken_file_beside_a_good_one_costs_no_caller(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        (bench.agents / "default.yaml").write_text("persona: [")
        await ring(bench)
        assert bench.records.created[0].agent == "Desk"

    play(tmp_path, scene)


def test_a_fault_before_the_call_can_speak_is_an_apology_and_a_closed_record(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        for n, what in enumerate(("no model", "broken"), 1):
            bench.wiring.conduct[what] = True
            assert await bench.board.ring(caller(n)) == TROUBLE
            await asyncio.sleep(0.1)
        assert [reason for reason, _, _ in bench.records.finished.values()] == 2 * [
            "internal_error"
        ]
        assert bench.series('pickup_calls_ended_total{reason="internal_error"}') == 2

    play(tmp_path, scene)


def test_a_model_that_is_lost_while_it_rings_puts_the_caller_through_to_a_person(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        bench.wiring.conduct["silent"] = True
        ringing = bench.wiring.tasks.start_read("ring", bench.board.ring(caller()))
        await settle()
        bench.model.end()
        assert await ringing == Transfer("+15550001111")

    play(tmp_path, scene, agent=FALLBACK)


# ---- streams


def test_a_token_admits_one_stream(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        token = await ring(bench)
        _, sink = await bench.start(token)
        assert sink is not None
        _, again = await bench.start(token)
        assert again is None
        assert bench.series('pickup_refused_total{why="token"}') == 1
        await settle()
        assert bench.records.answers == [bench.records.created[0].id]

    play(tmp_path, scene)


def test_who_hangs_up_before_the_record_is_there_is_on_record_all_the_same(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.records.slow = 0.05
        ringing = bench.wiring.tasks.start_read("ring", bench.board.ring(caller()))
        await settle()
        bench.board.over(caller()._replace(over="caller_hung_up"))
        await ringing
        await settle()
        assert [reason for reason, *_ in bench.records.finished.values()] == ["caller_hung_up"]

    play(tmp_path, scene)


@pytest.mark.parametrize(("down", "slow"), [(False, 0.0), (False, 0.05), (True, 0.05)])
def test_of_ten_streams_that_race_with_one_token_one_wins(
    tmp_path: Path, down: bool, slow: float
) -> None:
    async def scene(bench: Bench) -> None:
        token = await ring(bench)
        bench.records.down, bench.records.slow = down, slow
        outcomes = await asyncio.gather(*(bench.start(token) for _ in range(10)))
        assert sum(sink is not None for _, sink in outcomes) == 1
        assert bench.series('pickup_refused_total{why="token"}') == 9
        await settle()
        assert [line.hung_up for line, sink in outcomes if sink is not None] == [False]

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "token", ["", "nonsense", "1.9999999999.AAAAAAAAAAAAAAAAAAAAAA." + "A" * 43]
)
def test_a_stream_without_a_good_token_is_refused(tmp_path: Path, token: str) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)
        _, sink = await bench.start(token)
        assert sink is None
        assert bench.records.tokens == set()

    play(tmp_path, scene)


def test_a_token_that_has_expired_is_refused(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        token = bench.register.issue(caller().call_id, 1)
        await asyncio.sleep(120.0)
        await ring(bench)
        _, sink = await bench.start(token)
        assert sink is None

    play(tmp_path, scene)


def test_a_token_is_good_for_its_own_call_and_account_only(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        token = await ring(bench, 1)
        await ring(bench, 2)
        _, another_call = await bench.start(token, 2)
        _, another_account = await bench.start(token, 1, account="AC" + "1" * 32)
        _, no_call = await bench.start(bench.register.issue(caller(3).call_id, 1), 3)
        assert another_call is another_account is no_call is None
        assert bench.records.tokens == set()  # none was spent by it
        _, good = await bench.start(token, 1)
        assert good is not None

    play(tmp_path, scene)


def test_a_token_for_another_leg_is_refused(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)
        _, sink = await bench.start(bench.register.issue(caller().call_id, 2))
        assert sink is None

    play(tmp_path, scene)


def test_a_stream_that_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        token = await ring(bench)
        bench.records.slow = 0.05
        starting = bench.wiring.tasks.start_read("start", bench.start(token))
        await settle()
        bench.board.over(caller()._replace(over="caller_hung_up"))  # while the database is asked
        _, sink = await starting
        assert sink is None

    play(tmp_path, scene)


# ---- after the stream


def test_a_caller_whose_stream_broke_is_taken_back_with_a_fresh_token(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        sink = await connect(bench)
        sink(e.LineEnded("lost"))
        verdict = await bench.board.after(caller(leg=1))
        assert isinstance(verdict, Join)
        assert verdict.leg == 2
        line, back = await bench.start(verdict.token)
        assert back is not None
        await settle()
        assert len(bench.wiring.models) == 1  # the session was parked, not opened anew
        back(e.LineEnded("stopped"))
        await asyncio.sleep(0.1)
        ((reason, legs, _),) = bench.records.finished.values()
        assert (reason, legs) == ("caller_hung_up", 2)
        assert line.hung_up

    play(tmp_path, scene)


def test_the_provider_may_tell_of_the_streams_end_before_its_socket_does(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        line, sink = await bench.start(await ring(bench))
        assert sink is not None
        verdict = await bench.board.after(caller(leg=1))
        assert isinstance(verdict, Join)
        assert line.hung_up
        sink(e.LineEnded("closed"))  # late, and means nothing any more
        _, back = await bench.start(verdict.token)
        assert back is not None
        sink(e.LineEnded("closed"))
        await settle()
        assert bench.board.active == 1

    play(tmp_path, scene)


def test_a_repeated_after_gets_the_same_answer_and_leaves_the_next_stream_alone(
    tmp_path: Path,
) -> None:
    async def scene(bench: Bench) -> None:
        sink = await connect(bench)
        sink(e.LineEnded("lost"))
        first = await bench.board.after(caller(leg=1))
        assert await bench.board.after(caller(leg=1)) == first
        assert isinstance(first, Join)
        line, back = await bench.start(first.token)
        assert back is not None
        assert await bench.board.after(caller(leg=1)) == first
        await settle()
        assert not line.hung_up

    play(tmp_path, scene)


def test_an_after_that_does_not_say_its_leg_is_about_the_latest(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        sink = await connect(bench)
        sink(e.LineEnded("lost"))
        verdict = await bench.board.after(caller())
        assert isinstance(verdict, Join)
        assert verdict.leg == 2

    play(tmp_path, scene)


def test_a_parked_caller_who_is_not_brought_back_is_given_up(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        sink = await connect(bench)
        sink(e.LineEnded("lost"))
        await asyncio.sleep(9.5)
        assert bench.board.active == 1
        await asyncio.sleep(3.0)
        assert bench.board.active == 0
        # Who asks what is next is still there, and is not hung up on without a word.
        assert await bench.board.after(caller(leg=1)) == TROUBLE
        ((reason, _, _),) = bench.records.finished.values()
        assert reason == "line_lost"

    play(tmp_path, scene)


@pytest.mark.parametrize("agent", [AGENT, FALLBACK])
def test_a_stream_that_could_not_be_opened_is_an_apology_at_once(
    tmp_path: Path, agent: str
) -> None:
    async def scene(bench: Bench) -> None:
        await ring(bench)
        verdict = await bench.board.after(caller(leg=1))
        assert verdict == (Transfer("+15550001111") if agent is FALLBACK else TROUBLE)
        await asyncio.sleep(0.1)
        assert [reason for reason, _, _ in bench.records.finished.values()] == ["no_start"]
        assert await bench.board.after(caller(leg=1)) == verdict

    play(tmp_path, scene, agent=agent)


def test_when_the_agent_has_hung_up_there_is_nothing_more_to_say(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        sink = await connect(bench)
        sink(e.LineEnded("stopped"))
        assert await bench.board.after(caller(leg=1)) == HangUpNow()
        assert bench.board.active == 1  # the record is still being written
        await asyncio.sleep(0.1)
        assert await bench.board.after(caller(leg=1)) == HangUpNow()
        assert await bench.board.ring(caller()) == HangUpNow()

    play(tmp_path, scene)


def test_the_end_of_the_call_itself_ends_it_once(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await connect(bench)
        for _ in range(3):
            bench.board.over(caller()._replace(over="caller_hung_up"))
        await asyncio.sleep(0.1)
        bench.board.over(caller()._replace(over="call_failed"))
        bench.board.over(caller()._replace(call_id="CA of nobody", over="caller_hung_up"))
        ((reason, _, _),) = bench.records.finished.values()
        assert reason == "caller_hung_up"

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("reason", "without", "with_fallback"),
    [
        ("agent_hung_up", HangUpNow(), HangUpNow()),
        ("caller_hung_up", HangUpNow(), HangUpNow()),
        ("time_limit", HangUpNow(), HangUpNow()),
        ("line_lost", TROUBLE, Transfer("+15550001111")),
        ("server_stopped", HangUpNow(), HangUpNow()),
        ("model_lost", HangUpNow(), Transfer("+15550001111")),  # it has heard us say so
        ("internal_error", TROUBLE, Transfer("+15550001111")),
        ("crash", TROUBLE, Transfer("+15550001111")),
        ("no_start", TROUBLE, Transfer("+15550001111")),
    ],
)
def test_what_a_caller_gets_for_each_end(
    reason: str, without: Verdict, with_fallback: Verdict
) -> None:
    assert room._after(reason, Amends()) == without
    assert room._after(reason, Amends("+15550001111")) == with_fallback


def test_a_caller_who_heard_nothing_hears_an_apology_for_a_lost_model() -> None:
    assert room._after("model_lost", Amends(), spoken=False) == TROUBLE


def test_after_a_crash_the_caller_hears_an_apology(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        bench.records.reasons[caller(1).call_id] = None  # its process is gone
        bench.records.reasons[caller(2).call_id] = "caller_hung_up"
        assert await bench.board.after(caller(1, leg=1)) == TROUBLE
        assert await bench.board.after(caller(2, leg=1)) == HangUpNow()
        assert await bench.board.after(caller(3, leg=1)) == TROUBLE  # nobody knows it
        bench.records.down = True
        assert await bench.board.after(caller(2, leg=1)) == TROUBLE

    play(tmp_path, scene)


def test_the_oldest_ends_are_forgotten_and_the_database_answers_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(bench: Bench) -> None:
        monkeypatch.setattr(room, "REMEMBERED", 2)
        for n in (1, 2, 3):
            (await connect(bench, n))(e.LineEnded("stopped"))
            await asyncio.sleep(0.1)
        assert len(bench.board._ended) == 2
        assert await bench.board.after(caller(3, leg=1)) == HangUpNow()
        bench.records.reasons[caller(1).call_id] = "internal_error"
        assert await bench.board.after(caller(1, leg=1)) == TROUBLE

    play(tmp_path, scene)


# ---- the end


def test_closing_ends_every_call_and_its_record(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await connect(bench, 1)
        await ring(bench, 2)
        await bench.board.close()
        ends = [reason for reason, _, _ in bench.records.finished.values()]
        assert ends == ["server_stopped"] * 2
        assert [model.closed for model in bench.wiring.models] == [1, 1]

    play(tmp_path, scene)


def test_a_call_that_is_cancelled_outright_still_closes_its_record(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        await connect(bench)
        await bench.board._tasks.close()  # as a loop that is torn down does
        ((reason, _, _),) = bench.records.finished.values()
        assert reason == "server_stopped"

    play(tmp_path, scene)


def test_trouble_is_told_in_the_agents_own_words_and_language() -> None:
    agent = AgentFile(
        name="Desk", persona="You.", language="de-DE", lines=OwnWords(trouble="Leider nicht.")
    )
    assert room._after("crash", amends(agent)) == Say("Leider nicht.", "de-DE")
