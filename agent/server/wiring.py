"""What calls are made of: settings and files turned into machines, sessions, recorders and records."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import structlog

from agent import __version__
from agent.call.machine import CallMachine
from agent.config.settings import is_loopback
from agent.drive.tasks import Tasks
from agent.events import ModelReady
from agent.models.live import LiveSession
from agent.models.voice import Models as VoiceModels, VoiceDetector
from agent.server import clock
from agent.server.admission import Admission
from agent.server.budget import Ledger, Prices
from agent.server.guard import Beat, Guard, Limits
from agent.server.habits import call_options
from agent.server.outbound.habits import as_we_call
from agent.server.prompt import system_instruction
from agent.server.providers import MODELS, REFUSALS, Order
from agent.server.sessions import Sessions
from agent.server.setups import Setups
from agent.server.toolkit import Nowhere, Toolkit
from agent.server.verdicts import Verdict, Verdicts
from agent.storage.flight import FlightRecorder
from agent.tools.effects import Effects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from agent.call.options import CallOptions
    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.drive.wakeups import Wakeups
    from agent.events import AnyEvent, ModelEnded, ModelEvent, OpenModel, VoiceDetected
    from agent.server.lines import LineStore
    from agent.server.render import Renderer
    from agent.tools.base import CallInfo, Tool
    from agent.tools.opt_out import OptOuts

log = structlog.get_logger()


@dataclass(frozen=True)
class Wiring:
    """The parts that every call of this process shares.

    Attributes:
        tasks: the server's own.
        recording: keep every call's sound, whatever the agents' files say (the demo, the bench).
        admission: whether the model's service has room for new calls.
        verdicts: what models refused.
        voices: the voice detectors that calls share, one after the other.
        toolkit: makes the tools of each call.
        ledger: what the day's calls have cost.
        opt_outs: the do-not-call list.
    """

    settings: Settings
    agents: AgentFiles
    lines: LineStore
    wakeups: Wakeups
    disk: Executor
    tasks: Tasks
    renderer: Renderer
    recording: bool = False
    admission: Admission = field(default_factory=Admission)
    verdicts: Verdicts = field(default_factory=Verdicts)
    voices: VoiceModels = field(default_factory=VoiceModels)
    toolkit: Toolkit = field(default_factory=Toolkit)
    ledger: Ledger = field(default_factory=Ledger)
    opt_outs: OptOuts = Nowhere()

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC; for records and tokens only."""
        return clock.wall()

    def new_id(self) -> str:
        """A call's id: sorts by time, says nothing else."""
        return f"{int(self.wall() * 1000):011x}{os.urandom(5).hex()}"

    # ---- the agent

    def agent_for(self, number: str) -> AgentFile:
        """The agent that a number reaches.

        Raises:
            UserError: there is none that can be read.
        """
        return self.agents.for_number(number)

    def fingerprint(self, agent: AgentFile) -> str:
        """Hash of what a call was started with; secrets are not part of it."""
        plain = (__version__, agent.digest(), self.settings.gemini_model)
        return hashlib.sha256("\n".join(plain).encode()).hexdigest()[:16]

    def options(self, agent: AgentFile, info: CallInfo | None = None) -> CallOptions:
        """How this agent's calls behave; `info`: the very call, where there is one."""
        options = call_options(self.settings, agent)
        outbound = info is not None and info.direction == "outbound"
        return as_we_call(options, agent) if outbound else options

    # ---- a call's parts

    def guard(self, agent: AgentFile, info: CallInfo, act: Callable[[AnyEvent], None]) -> Guard:
        """Who watches this call's limits; `act` takes what it does about them."""
        limits = [limit for limit in (self.settings.call_budget, agent.limits.cost) if limit]
        beat = Beat(
            prices=Prices(minute=self.settings.carrier_minute),
            ledger=self.ledger,
            opt_outs=self.opt_outs,
            tasks=self.tasks,
            now=self.wakeups.now,
            wall=self.wall,
        )
        allowed = Limits(min(limits, default=None), agent.outbound.opt_out_key)
        return Guard(info, allowed, beat, act)

    def machine(self, agent: AgentFile, info: CallInfo | None = None) -> CallMachine:
        own = self.lines.lines_for(agent)
        if not self._records(agent):
            own = msgspec.structs.replace(own, consent=None)  # there is nothing to consent to
        return CallMachine(self.options(agent, info), own)

    def _records(self, agent: AgentFile) -> bool:
        return self.recording or agent.recording.on

    def _sound_until(self, agent: AgentFile) -> float | None:
        days = agent.recording.retention_days
        return None if days is None else self.wall() + days * 86_400

    async def tools(self, agent: AgentFile, info: CallInfo) -> Sequence[Tool]:
        return await self.toolkit.tools(agent, info)

    def effects(self, info: CallInfo, failed: Callable[[str, BaseException], None]) -> Effects:
        """What this call's tools do to the world; the toolkit owns it, so that a call's end does not cut it short."""
        return Effects(info.id, self.toolkit.journal, self.toolkit.tasks, failed)

    def model(
        self,
        agent: AgentFile,
        tools: Sequence[Tool],
        sink: Callable[[ModelEvent], None],
        tasks: Tasks,
    ) -> Sessions:
        """Whoever speaks for this agent and may call these tools: one session after the other."""
        self.prepare(agent)
        setups = self._setups(agent)

        def make(
            wanted: OpenModel, refusal: str, sink: Callable[[ModelEvent], None]
        ) -> LiveSession:
            order = self._order(agent, tools, wanted, setups.left_out)
            if wanted.smaller:
                reads = REFUSALS["gemini"]
                less = reads.smaller(self.settings, agent, order, refusal, setups.last)
                setups.refused(less, refusal, named=reads.named(refusal))
                order = self._order(agent, tools, wanted, setups.left_out)
            elif refusal:
                setups.tried()
            return self._session(agent, order, sink, tasks)

        return Sessions(make, sink, tasks, setups, self._watch)

    def _order(
        self,
        agent: AgentFile,
        tools: Sequence[Tool],
        wanted: OpenModel,
        left_out: frozenset[str],
    ) -> Order:
        """What a session is opened with; a persona that has to do without its tools is told so."""
        absent = [tool.declaration.name for tool in tools] if "tools" in left_out else []
        instruction = system_instruction(
            agent, wanted.memory, wall=self.wall(), fresh=not wanted.handle, absent=absent
        )
        return Order(tools, instruction, wanted.handle or None, left_out)

    def _setups(self, agent: AgentFile) -> Setups:
        model, digest = agent.model or self.settings.gemini_model, agent.digest()

        def found(left_out: frozenset[str], why: str) -> None:
            log.warning(
                "left out for a day", agent=agent.name, model=model, left_out=sorted(left_out)
            )
            verdict = Verdict(
                model=model,
                agent=digest,
                name=agent.name,
                left_out=sorted(left_out),
                why=why,
                found_at=self.wall(),
            )
            self.verdicts.keep(verdict)
            self.tasks.start("verdicts", self._write_verdicts())

        known = self.verdicts.left_out(model, digest, self.wall())
        return Setups(known, self.options(agent).leg.setups, found)

    async def _write_verdicts(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self.disk, self.verdicts.write)

    def _watch(self, event: ModelReady | ModelEnded | None) -> None:
        """What happens to the calls' sessions tells whether there is room for more of them."""
        now = self.wakeups.now()
        if event is None:
            self.admission.replaced(now)
        elif isinstance(event, ModelReady):
            self.admission.ready(now)
        else:
            over_quota = REFUSALS["gemini"].over_quota(event)
            self.admission.ended(now, over_quota=over_quota)
            if over_quota:
                log.error("the model's quota is used up: new calls hear the busy line")

    def prepare(self, agent: AgentFile) -> None:
        """Have the agent's disclosure rendered (a stand-in would read out its script instead), and its MCP servers at hand."""
        self.toolkit.connect(agent)
        if not is_loopback(urlsplit(self.settings.gemini_url).hostname):
            model = agent.model or self.settings.gemini_model
            self.renderer.want(agent, model, self._reader(agent))

    def _reader(self, agent: AgentFile) -> Callable[..., LiveSession]:
        """Opens sessions that read aloud in the agent's voice; the server's tasks, since no call owns them."""

        def open_session(instruction: str, sink: Callable[[ModelEvent], None]) -> LiveSession:
            return self._session(agent, Order((), instruction), sink, self.tasks)

        return open_session

    def _session(
        self,
        agent: AgentFile,
        order: Order,
        sink: Callable[[ModelEvent], None],
        tasks: Tasks,
    ) -> LiveSession:
        protocol, connect = MODELS["gemini"](self.settings, agent, order)
        return LiveSession(protocol, connect, sink, self.wakeups, tasks)

    def detector(self, sink: Callable[[VoiceDetected], None]) -> VoiceDetector:
        """Whoever hears voices on a call's line."""
        return VoiceDetector(self.voices, sink)

    def tasks_of_call(self, call: str, failed: Callable[[str, BaseException], None]) -> Tasks:
        return Tasks(f"call {call}", failed)

    def recorder(self, call: str, agent: AgentFile, tasks: Tasks) -> FlightRecorder:
        return FlightRecorder(
            self.folder(call),
            tasks,
            sound=self._records(agent) and agent.consent is None,
            sound_until=self._sound_until(agent),
            disk=self.disk,
            failed=lambda error: log.error("recording stopped", why=str(error)),
        )

    def folder(self, call: str) -> Path:
        return self.settings.data_dir / "calls" / call
