"""Wiring: settings and files turned into what calls are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent.config.settings import Settings
from agent.errors import UserError
from agent.protocols.gemini.session import GeminiSession
from agent.server.prompt import system_instruction
from agent.server.providers import MODELS, PHONES, Order, takes_notes
from agent.server.wiring import Wiring
from agent.tools.end_call import EndCall
from tests.server.bench import AGENT, Bench
from tests.telephony.fakes import settle, virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def play(tmp_path: Path, scene: Callable[[Bench], Awaitable[None]], agent: str = AGENT) -> None:
    async def all_of_it() -> None:
        bench = Bench(tmp_path, agent=agent)
        await scene(bench)

    virtually(all_of_it())


def test_default_answers_where_there_is_one_else_the_first(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        named = AGENT.replace("Desk", "{}")
        (bench.agents / "zoo.yaml").write_text(named.format("Zoo"))
        assert bench.wiring.agent_for("+1").name == "Desk"
        (bench.agents / "default.yaml").write_text(named.format("Default"))
        assert bench.wiring.agent_for("+1").name == "Default"

    play(tmp_path, scene)


def test_a_file_that_was_put_there_broken_is_passed_over(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        (bench.agents / "default.yaml").write_text("nonsense")
        (bench.agents / "another.yaml").write_text("nonsense")
        assert bench.wiring.agent_for("+1").name == "Desk"
        (bench.agents / "desk.yaml").unlink()
        with pytest.raises(UserError, match="another|default"):
            bench.wiring.agent_for("+1")

    play(tmp_path, scene)


def test_a_call_is_named_by_its_time(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        ids = [bench.wiring.new_id() for _ in range(50)]
        assert len(set(ids)) == 50
        early = Wiring.new_id(bench.wiring)[:11]
        assert int(early, 16) == int(bench.wiring.wall() * 1000)
        assert all(name.isalnum() for name in ids)

    play(tmp_path, scene)


def test_the_fingerprint_changes_with_the_agent_and_with_nothing_secret(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        agent = bench.wiring.agent_for("+1")
        same = bench.wiring.fingerprint(agent)
        assert bench.wiring.fingerprint(agent) == same
        assert bench.wiring.fingerprint(agent.model_copy(update={"voice": "Puck"})) != same

    play(tmp_path, scene)


def test_a_calls_options_come_from_the_settings(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        options = bench.wiring.options(bench.wiring.agent_for("+1"))
        assert (options.answer_within, options.max_seconds) == (2.0, 3600.0)
        assert "How can I help you?" in options.greeting
        assert options.tells_heard
        assert options.voicemail == ""

    play(tmp_path, scene)


def test_an_answering_machine_is_left_what_the_agents_file_says(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        options = bench.wiring.options(bench.wiring.agent_for("+1"))
        assert "Leave this message" in options.voicemail
        assert "Ask for a call back." in options.voicemail

    play(tmp_path, scene, agent=AGENT + "outbound:\n  voicemail: Ask for a call back.\n")


@pytest.mark.parametrize(
    ("model", "takes"),
    [("gemini-3.8-live", True), ("gemini-3.1-flash-live-preview", False), ("unheard-of", False)],
)
def test_a_model_is_told_what_was_heard_where_its_row_allows(model: str, takes: bool) -> None:
    assert takes_notes(model) is takes


@pytest.mark.parametrize(("url", "renders"), [("ws://127.0.0.1:1", 0), ("wss://example.com", 1)])
def test_a_stand_in_is_not_asked_to_read_a_disclosure(
    tmp_path: Path, url: str, renders: int
) -> None:
    async def scene(bench: Bench) -> None:
        asked: list[Any] = []
        bench.wiring.renderer.want = lambda *wish: asked.append(wish)  # type: ignore[method-assign]
        settings = bench.wiring.settings.model_copy(update={"gemini_url": url})
        wiring = Wiring(
            settings=settings,
            agents=bench.wiring.agents,
            lines=bench.wiring.lines,
            wakeups=bench.wiring.wakeups,
            disk=bench.wiring.disk,
            tasks=bench.wiring.tasks,
            renderer=bench.wiring.renderer,
        )
        wiring.prepare(wiring.agent_for("+1"))
        assert len(asked) == renders
        for agent, model, _ in asked:
            assert (agent.name, model) == ("Desk", settings.gemini_model)
        await settle()

    play(tmp_path, scene)


def test_a_model_is_set_up_as_the_agents_file_says(tmp_path: Path) -> None:
    async def scene(bench: Bench) -> None:
        agent = bench.wiring.agent_for("+1").model_copy(
            update={"voice": "Puck", "language": "de-DE"}
        )
        protocol, _ = MODELS["gemini"](
            Settings.load({"GEMINI_API_KEY": "key"}),
            agent,
            Order((EndCall(),), system_instruction(agent)),
        )
        assert isinstance(protocol, GeminiSession)
        protocol.connecting(1.0)
        setup = protocol.opened(1.0)
        for part in ('"Puck"', '"end_call"', "models/gemini-3.8-live", "You answer."):
            assert part in setup
        assert '"key"' not in setup

    play(tmp_path, scene)


def test_every_phone_provider_is_named_as_its_routes_are() -> None:
    for name, make in PHONES.items():
        assert make(Settings.load({}), "token", "https://example.com").name == name
