"""Our session against the strict stand-in for Gemini Live: not one rule broken, whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agent.errors import Fate
from agent.events import (
    AgentSaid,
    CallerActivity,
    CallerSaid,
    GenerationComplete,
    Interrupted,
    ModelAudio,
    ModelHandle,
    ModelReady,
    ModelUsage,
    Pcm16k,
    SendAudio,
    SendText,
    SendToolResult,
    ToolCalled,
    TurnComplete,
)
from agent.protocols.gemini import session as protocol
from agent.protocols.gemini.setup import MODELS, ToolDeclaration
from agent.simulator import faults
from agent.simulator.brain import BenchBrain, Call, Heard, Say, speechlike
from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from tests.models.rig import KEY, OPTIONS, Rig, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.simulator.brain import Brain, Reply
    from agent.simulator.ears import Utterance

CONDUCT = Conduct(setup_seconds=0.01, model_delay_seconds=0.02, speed=40, voice_activity=True)
END_CALL = ToolDeclaration("end_call", "Ends the call.")


class ToolBrain:
    """Greets, and calls `end_call` with its goodbye."""

    def prompted(self, text: str) -> Reply:
        return (Say(speechlike(0.3), f"You said {len(text)}"), Call("end_call", {}))

    def heard(self, utterance: Utterance) -> Heard:
        return Heard(f"[{utterance.seconds:.1f}]", ())

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        assert (tool, response) == ("end_call", {"status": "ok"})
        return ()


@asynccontextmanager
async def talking(
    brain: Brain | None = None,
    conduct: Conduct = CONDUCT,
    model: str = "gemini-3.8-live",
    broken: tuple[str, ...] = (),
) -> AsyncIterator[tuple[Rig, GeminiStandIn]]:
    options = msgspec.structs.replace(OPTIONS, model=model, tools=(END_CALL,), voice="Kore")
    async with serving(Options(conduct=conduct, seed=7), lambda: brain or BenchBrain(0.5)) as (
        stand_in,
        origin,
    ):
        async with opened(origin, options) as rig:
            yield rig, stand_in
        assert [violation.rule for violation in stand_in.stats().violations] == list(broken)


async def say(rig: Rig, seconds: float) -> None:
    """Speak, then be silent for a second, ten times faster than real time."""
    pcm = speechlike(seconds, 16_000) + bytes(32_000)
    for start in range(0, len(pcm), 640):
        rig.session.send(SendAudio(Pcm16k(pcm[start : start + 640])))
        await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "model", [row.name for row in MODELS.values() if "live-2.5" not in row.name]
)
async def test_a_greeting_from_every_model(model: str) -> None:
    async with talking(model=model) as (rig, _):
        await rig.ready()
        rig.session.send(SendText("Greet the caller."))
        await rig.watcher.until(TurnComplete)
        sound = b"".join(event.pcm for event in rig.watcher.of(ModelAudio))
        assert sound == speechlike(0.5)
        assert rig.watcher.of(ModelHandle)
        assert rig.watcher.of(ModelUsage)
        said = "".join(event.text for event in rig.watcher.of(AgentSaid))
        assert said.split() == ["word"]
        assert rig.protocol.faults.counts == {}


async def test_the_caller_is_heard_and_answered() -> None:
    async with talking() as (rig, _):
        await rig.ready()
        await say(rig, 1.0)
        await rig.watcher.until(TurnComplete)
        assert "".join(event.text for event in rig.watcher.of(CallerSaid)).startswith("[speech")
        assert [event.active for event in rig.watcher.of(CallerActivity)] == [True, False]
        assert len(rig.watcher.of(GenerationComplete)) == 1
        assert rig.protocol.faults.counts == {}


async def test_the_caller_interrupts() -> None:
    conduct = msgspec.structs.replace(CONDUCT, speed=1.0)
    async with talking(BenchBrain(5.0), conduct) as (rig, _):
        await rig.ready()
        rig.session.send(SendText("Greet the caller."))
        await rig.watcher.until(ModelAudio)
        await say(rig, 0.5)
        await rig.watcher.until(Interrupted)
        await rig.watcher.until(TurnComplete)
        events = rig.watcher.events
        cut = events.index(Interrupted())
        assert not any(isinstance(event, GenerationComplete) for event in events[:cut])


async def test_a_tool_is_called_and_answered() -> None:
    async with talking(ToolBrain()) as (rig, _):
        await rig.ready()
        rig.session.send(SendText("Goodbye."))
        [called] = await rig.watcher.until(ToolCalled)
        assert (called.name, called.args) == ("end_call", {})
        rig.session.send(SendToolResult(called.id, called.name, {"status": "ok"}))
        await rig.watcher.until(TurnComplete)


@pytest.mark.parametrize(
    ("code", "in_setup", "after"),
    [
        (1000, Fate.RESUME, Fate.RESUME),
        (1006, Fate.RESUME, Fate.RESUME),
        (1007, Fate.STEP_DOWN, Fate.FRESH),
        (1008, Fate.RESUME, Fate.RESUME),
        (1011, Fate.RESUME, Fate.RESUME),
    ],
)
@pytest.mark.parametrize("moment", ["setup", "0"])
async def test_closes(code: int, in_setup: Fate, after: Fate, moment: str) -> None:
    fault = faults.parse(f"close={code}@{moment}")
    conduct = msgspec.structs.replace(CONDUCT, faults=(fault,))
    async with talking(conduct=conduct) as (rig, _):
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (in_setup if moment == "setup" else after, code)
        assert bool(rig.watcher.of(ModelReady)) == (moment != "setup")
        await rig.quiet()


async def test_setup_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SETUP_SECONDS", 0.1)
    conduct = msgspec.structs.replace(CONDUCT, faults=(faults.parse("no_setup"),))
    async with talking(conduct=conduct) as (rig, _):
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.STEP_DOWN, 1006)


async def test_malformed_json_and_an_empty_turn_are_survived() -> None:
    conduct = msgspec.structs.replace(
        CONDUCT, faults=(faults.parse("malformed"), faults.parse("empty_turn"))
    )
    async with talking(conduct=conduct) as (rig, _):
        await rig.ready()
        rig.session.send(SendText("Greet the caller."))
        await rig.watcher.until(TurnComplete)
        assert rig.watcher.of(ModelAudio) == []
        rig.session.send(SendText("Again."))
        await rig.watcher.until(TurnComplete, 2)
        assert rig.watcher.of(ModelAudio)
        assert rig.protocol.faults.counts == {"malformed frame": 1}


async def test_a_key_that_is_refused() -> None:
    conduct = msgspec.structs.replace(CONDUCT, bad_key=KEY)
    async with talking(conduct=conduct, broken=("api_key",)) as (rig, _):
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.FATAL, 1007)


async def test_a_model_that_is_not_served() -> None:
    async with talking(model="gemini-99-live", broken=("model_served",)) as (rig, _):
        ended = await rig.watcher.ended()
        assert (ended.fate, ended.code) == (Fate.FATAL, 1008)
