"""One call, wired: its machine, model session, tools and flight recorder, from the first ring to the final record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from agent import __version__, events
from agent.call.life import Phase
from agent.call.session import CallSession
from agent.events import (
    CallAbandoned,
    CallStarted,
    HangUp,
    LineEnded,
    LineStarted,
    TransferEnded,
)
from agent.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.metrics import CallMetrics
    from agent.call.ports import AttachedLine, Recorder
    from agent.call.turns import Turn
    from agent.config.agent_file import AgentFile
    from agent.events import (
        AnyCommand,
        AnyEvent,
        LineEvent,
        ModelEvent,
        TransferOutcome,
    )
    from agent.models.voice import VoiceDetector
    from agent.protocols.door import AnsweredBy
    from agent.server.sessions import Sessions
    from agent.server.wiring import Wiring
    from agent.tools.base import CallInfo

    Seen = Callable[[float, AnyEvent | None, list[AnyCommand]], None]

log = structlog.get_logger()

LAST_WORDS = 2.0
"""Seconds that a socket may take to close after its call has ended."""


class Watched:
    """A recorder that tells somebody else of each step too, as the record has it.

    Args:
        recorder: keeps it.
        seen: told of it.
    """

    def __init__(self, recorder: Recorder, seen: Seen) -> None:
        self._seen = seen
        self._record = recorder.record
        self.keep_sound = recorder.keep_sound
        self.heard = recorder.heard

    def record(self, t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
        self._record(t, event, commands)
        self._seen(t, event, commands)


class LiveCall:
    """A call that is ringing, talking, parked or ending.

    Args:
        info: who calls, and our id of the call.
        agent: the agent's file as it is now; a later save changes later calls.
        wiring: what calls are made of.
        seen: told of each step of the machine, as the record has it.
    """

    def __init__(
        self, info: CallInfo, agent: AgentFile, wiring: Wiring, seen: Seen | None = None
    ) -> None:
        self.info = info
        self.agent = agent
        self.leg = 0  # the stream that is, or was last, attached
        self.away: str | None = None  # the target that the caller is put through to
        self._reason = ""  # `end_reason`, once the machine's task has ended
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wiring = wiring
        self._line: AttachedLine | None = None
        self._line_is_up = False
        self._model: Sessions | None = None
        self._detector: VoiceDetector | None = None
        self._tasks = wiring.tasks_of_call(self.id, self._child_failed)
        self._effects = wiring.effects(info, self._tool_failed)
        self._recorder = wiring.recorder(self.id, agent, self._tasks)
        self._machine = wiring.machine(agent, info)
        self._session = CallSession(
            self._machine,
            wakeups=wiring.wakeups,
            recorder=Watched(self._recorder, seen) if seen else self._recorder,
            answered=self._answer,
            told=log.info,
            put_through=self._put_through,
        )
        self._guard = wiring.guard(agent, info, self._session.feed)

    @property
    def id(self) -> str:
        """Our id of the call."""
        return self.info.id

    # ---- the line

    def attach(self, line: AttachedLine, leg: int) -> None:
        """The provider's stream of this leg is here; an older one that lingers is dismissed first."""
        if self._line is not None and self._line is not line:
            self._line.send(HangUp())
            if self._line_is_up:
                self._session.feed(LineEnded("closed"))
        self._line, self._line_is_up, self.leg = line, True, leg
        self._guard.saw(LineStarted(leg))
        self._session.attach(line, leg, sends_digits=line.sends_digits, rate=line.rate)

    def hear(self, line: AttachedLine, event: LineEvent) -> None:
        """Take an event of a line; those of a line that was replaced mean nothing any more."""
        if line is self._line and self._line_is_up:
            if isinstance(event, LineEnded):
                self._line_is_up = False
            self._feed(event)

    def line_ended(self) -> None:
        """The provider says that the stream is over, before its socket does."""
        if self._line is not None and self._line_is_up:
            self._line_is_up = False
            self._line.send(HangUp())
            self._session.feed(LineEnded("closed"))

    def answered_by(self, who: AnsweredBy) -> None:
        """Who, or what, picked up a call of ours."""
        self._session.feed(events.AnsweredBy(who))

    def transfer_ended(self, outcome: TransferOutcome) -> None:
        """What the transfer came to that this call's stream ended for."""
        self.away = None
        self._session.feed(TransferEnded(outcome))

    def abandon(self, reason: str) -> None:
        """End the call from outside the conversation."""
        self._session.feed(CallAbandoned(reason))

    @property
    def leaving(self) -> bool:
        """Whether the last words are being said, or the caller is away: a conversation that goes on only if he says more."""
        return self._machine.phase in {Phase.ENDING, Phase.AWAY, Phase.ENDED}

    def t(self) -> float:
        """Seconds since the call began."""
        return self._session.t()

    # ---- its life

    async def run(self) -> str:
        """Live the call to its end, and leave nothing behind.

        Returns:
            The record's `end_reason`.
        """
        with structlog.contextvars.bound_contextvars(call=self.id):
            talk = self._tasks.start_read("machine", self._talk())
            try:
                await asyncio.wait([talk])
            finally:
                talk.cancel()
                await asyncio.wait([talk])
                self._reason = _how_it_ended(talk)
                await self._leave()
            return self._reason

    @property
    def reason(self) -> str:
        """The record's `end_reason`; empty while the call goes on."""
        return self._reason or self._session.finished or ""

    async def _talk(self) -> str:
        """Join the call's parts and live it to its end; whatever is wrong with them ends this call only."""
        feed = self._session.feed
        self._session.detector = self._detector = self._wiring.detector(feed)
        feed(self._started())
        tools = await self._wiring.tools(self.agent, self.info)
        deadline = self.agent.limits.tool_seconds
        self._session.tools = Toolbox(
            tools, feed, self._tasks, self._tool_failed, self._effects, deadline=deadline
        )
        model = self._wiring.model(self.agent, tools, self._feed, self._tasks)
        self._model = self._session.model = model
        return await self._session.run()

    def _feed(self, event: LineEvent | ModelEvent) -> None:
        self._guard.saw(event)
        self._session.feed(event)

    def _started(self) -> CallStarted:
        return CallStarted(
            call=self.id,
            wall=self._wiring.wall(),
            clock=self._session.started,
            version=__version__,
            agent=self.agent.name,
            fingerprint=self._wiring.fingerprint(self.agent),
            options=msgspec.to_builtins(self._wiring.options(self.agent, self.info)),
            lines=self._machine.own.keys(),
        )

    async def _leave(self) -> None:
        self._answer()
        if self._line is not None:
            self._line.send(HangUp())
            await asyncio.wait([self._line.ended], timeout=LAST_WORDS)
        if self._model is not None:
            await self._model.close()
        if self._detector is not None:
            self._detector.close()
        self._guard.left()
        await self._recorder.write_transcript(self.transcript())
        await self._recorder.close()
        await self._tasks.close()

    def _answer(self) -> None:
        if not self.answered.done():
            self.answered.set_result(None)

    def _put_through(self, target: str) -> None:
        self.away = target

    def _child_failed(self, child: str, error: BaseException) -> None:
        log.error("a task of the call failed", task=child, exc_info=error)
        self.abandon("internal_error")

    def _tool_failed(self, tool: str, error: BaseException) -> None:
        if isinstance(error, OSError):  # a network's fault, or a rule of ours: no trace tells more
            log.warning("a tool failed", tool=tool, why=f"{type(error).__name__}: {error}")
        else:
            log.error("a tool failed", tool=tool, exc_info=error)

    # ---- the record

    def transcript(self) -> dict[str, Any]:
        """What `transcript.json` holds."""
        turns = self._machine.turns
        return {
            "v": 1,
            "call": self.id,
            "agent": self.agent.name,
            "end_reason": self.reason,
            "metrics": self.counted,
            "lines": turns.lines(0.0),
            "turns": [
                {"n": turn.n, **msgspec.structs.asdict(turn.latency())}
                for turn in turns.all
                if not turn.own
            ],
        }

    @property
    def counted(self) -> CallMetrics:
        """The call's counters."""
        return self._machine.metrics

    @property
    def turns(self) -> list[Turn]:
        """The conversation, turn by turn."""
        return self._machine.turns.all

    def figures(self) -> dict[str, Any]:
        """Figures for the call's record."""
        counted: dict[str, Any] = msgspec.to_builtins(self.counted)
        of_model: dict[str, Any] = {} if self._model is None else self._model.figures()
        return counted | {
            **of_model,
            "cost_usd": round(self._guard.cost(), 4),
            "turns": self.transcript()["turns"],
            "unknown_outcomes": self._effects.unknown,
            "unrecorded_ms": round(self._recorder.lost_ms, 1),
        }


def _how_it_ended(talk: asyncio.Task[str]) -> str:
    """A call's `end_reason`; a fault of ours is logged with its trace."""
    if talk.cancelled():
        return "server_stopped"
    if (error := talk.exception()) is not None:
        log.error("the call's machine failed", exc_info=error)
        return "internal_error"
    return talk.result()
