"""`pickup doctor --live`: opens sessions with an agent's setup, and where it is refused finds what its model does not take.

By halves and outside any call: a call has no time for more than three setups. Nothing is said in these sessions, and the same setup
is sent once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent.cli.parts.checks import Finding, bad, good
from agent.errors import Fate
from agent.events import ModelEnded, ModelReady
from agent.models.live import LiveSession
from agent.protocols.gemini.setup import SETTINGS, Rung, setup_message
from agent.server.prompt import system_instruction
from agent.server.providers import MODELS, Order, gemini_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.config.agent_file import AgentFile
    from agent.config.settings import Settings
    from agent.drive.tasks import Tasks
    from agent.drive.wakeups import Wakeups
    from agent.events import ModelEvent
    from agent.tools.base import Tool

Options = frozenset[str]

BARE: Options = frozenset()
"""No option: model, persona and sound are in every setup."""


class Found(NamedTuple):
    """What the search found.

    Attributes:
        refused: the options of the smallest setup that is refused; None: the whole is accepted.
        accepted: those of the largest that is accepted.
    """

    refused: Options | None
    accepted: Options


class Judged(NamedTuple):
    """What a model said to an agent's setup; options by name.

    Attributes:
        refused: the smallest setup that is refused; None: the whole is accepted, or none was refused for its options.
        accepted: the largest setup that is accepted; None: none.
        sessions: how many were opened.
        why: the service's words about the whole setup; None: it is accepted.
    """

    agent: str
    model: str
    refused: list[str] | None
    accepted: list[str] | None
    sessions: int
    why: str | None


async def search(options: Sequence[str], accepts: Callable[[Options], Awaitable[bool]]) -> Found:
    """Find the smallest setup that is refused and the largest that is accepted.

    Args:
        options: all of them; one that needs another comes after it.
        accepts: whether a setup with these options is accepted; with none of them it is.
    """
    kept: Options = BARE
    culprits: list[tuple[Options, str]] = []  # each with what it was added to

    async def add(part: Sequence[str]) -> None:
        nonlocal kept
        if await accepts(kept | frozenset(part)):
            kept |= frozenset(part)
        elif len(part) == 1:
            culprits.append((kept, part[0]))
        else:
            await add(part[: len(part) // 2])
            await add(part[len(part) // 2 :])

    if options:
        await add(options)
    if not culprits:
        return Found(None, kept)
    beside, culprit = culprits[0]
    return Found(await _smallest(beside, culprit, accepts), kept)


async def _smallest(
    beside: Options, culprit: str, accepts: Callable[[Options], Awaitable[bool]]
) -> Options:
    """What of `beside` the culprit needs to be refused: nothing, as a rule."""
    if not await accepts(frozenset({culprit})):
        return frozenset({culprit})
    refused = beside | {culprit}
    for option in sorted(beside):
        if not await accepts(refused - {option}):
            refused -= {option}
    return refused


class Unfit(Exception):
    """No setup was judged: the session ended for a reason that has nothing to do with its options."""


class Probe:
    """Asks a model about setups of one agent.

    Args:
        settings: the deployment's.
        agent: whose setup.
        tools: what its model may call.
        wakeups: the clock.
        tasks: owner of the sessions' tasks.

    Attributes:
        options: names of all that its setup has beside model, persona and sound.
        sessions: how many were opened.
        why: what was said to the last setup that was refused.
    """

    def __init__(
        self,
        settings: Settings,
        agent: AgentFile,
        tools: Sequence[Tool],
        wakeups: Wakeups,
        tasks: Tasks,
    ) -> None:
        self.sessions = 0
        self.why = ""
        self._settings = settings
        self._agent = agent
        self._wakeups = wakeups
        self._tasks = tasks
        self._order = Order(tools, system_instruction(agent))
        self._gemini = gemini_options(settings, agent, self._order)
        self._known: dict[str, bool] = {}
        whole = setup_message(self._gemini)
        optional = [each.option for each in SETTINGS if each.rung is not Rung.ESSENTIAL]
        self.options = [
            each for each in optional if setup_message(self._gemini, without=[each]) != whole
        ]

    async def accepts(self, kept: Options) -> bool:
        """Whether a setup with these options opens a session.

        Raises:
            Unfit: that cannot be said.
        """
        without = frozenset(self.options) - kept
        message = setup_message(self._gemini, without=without)
        if message not in self._known:
            self._known[message] = await self._ask(without)
        return self._known[message]

    async def _ask(self, without: Options) -> bool:
        told: asyncio.Future[ModelReady | ModelEnded] = asyncio.get_running_loop().create_future()

        def sink(event: ModelEvent) -> None:
            if isinstance(event, ModelReady | ModelEnded) and not told.done():
                told.set_result(event)

        order = self._order._replace(without=without)
        protocol, connect = MODELS["gemini"](self._settings, self._agent, order)
        session = LiveSession(protocol, connect, sink, self._wakeups, self._tasks)
        self.sessions += 1
        session.open()
        try:
            answer = await told  # connecting and the setup have their own deadlines
        finally:
            await session.close()
        if isinstance(answer, ModelReady):
            return True
        if answer.fate is not Fate.STEP_DOWN:
            raise Unfit(answer.reason or f"closed with {answer.code}")
        self.why = answer.reason
        return False


async def look(probe: Probe, agent: AgentFile, model: str) -> Judged:
    """Ask about one agent's setup until it is clear what its model takes."""

    def told(refused: Options | None, accepted: Options | None, why: str | None = None) -> Judged:
        return Judged(
            agent=agent.name,
            model=model,
            refused=None if refused is None else _in_order(probe, refused),
            accepted=None if accepted is None else _in_order(probe, accepted),
            sessions=probe.sessions,
            why=why,
        )

    try:
        if await probe.accepts(frozenset(probe.options)):
            return told(None, frozenset(probe.options))
        why = probe.why
        if not await probe.accepts(BARE):
            return told(BARE, None, why)
        found = await search(probe.options, probe.accepts)
    except Unfit as unfit:
        return told(None, None, str(unfit))
    return told(*found, why)


def _in_order(probe: Probe, options: Options) -> list[str]:
    return [option for option in probe.options if option in options]


def finding(seen: Judged) -> Finding:
    """What is said of it."""
    many = f"{seen.sessions} session{'s' if seen.sessions > 1 else ''}"
    if seen.refused is None and seen.accepted is None:
        return bad(
            f"no session with {seen.model}: {seen.why}", "see the lines on the key and the model"
        )
    if seen.refused is None:
        return good(f"{seen.model} takes the whole setup ({many}): {_list(seen.accepted)}")
    if seen.accepted is None:
        return bad(
            f"{seen.model} refuses even model, persona and sound alone ({many}): {seen.why}",
            "try another `model` in the agent's file, or a newer Pickup",
        )
    return bad(
        f"{seen.model} refuses the setup ({many}): {seen.why} Smallest that is refused: "
        f"{_list(seen.refused)}. Largest that is accepted: {_list(seen.accepted)}",
        f"calls do without; change {_list(seen.refused)} where the agent's file sets it, or "
        "update Pickup",
    )


def _list(options: list[str] | None) -> str:
    return ", ".join(options or []) or "model, persona and sound"
