"""Drives one call: events in, in order; commands out; one wake-up armed. It decides nothing.

All that happens to a call passes through one inbox and is handled in one task, the call's own, so that a fault of the machine ends
this call and no other. `feed` may be called from any task or callback of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from agent import events as e
from agent.errors import OwnFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.machine import CallMachine
    from agent.call.ports import Detector, Line, Model, Recorder, Toolbox
    from agent.drive.wakeups import Wakeups

INBOX = 4096
"""Events that may wait: 40 s of a call. A call that is further behind has a fault of ours, and ends with it."""


class CallSession:
    """Joins a machine to its line, model, tools and recorder.

    Args:
        machine: decides.
        wakeups: the clock, and who wakes us.
        recorder: keeps what happened.
        answered: called once when the phone may stop ringing.
        told: takes what the operator should read.
        put_through: told where the caller is put through to, by the target's name.

    Attributes:
        finished: the record's `end_reason`, as soon as the machine has decided it.
    """

    def __init__(
        self,
        machine: CallMachine,
        *,
        wakeups: Wakeups,
        recorder: Recorder,
        answered: Callable[[], None],
        told: Callable[[str], None],
        put_through: Callable[[str], None],
    ) -> None:
        self.machine = machine
        self.model: Model | None = None
        self.tools: Toolbox | None = None
        self.detector: Detector | None = None
        self.started = wakeups.now()
        self.finished: str | None = None
        self._line: Line | None = None
        self._clock = wakeups.now
        self._wakeup = wakeups.register(lambda _: self._stir())
        self._recorder = recorder
        self._answered = answered
        self._told = told
        self._transfer = put_through
        self._inbox: deque[tuple[float, e.AnyEvent]] = deque()
        self._stirred: asyncio.Future[None] | None = None
        self._behind = False
        self._over = False
        self._carry: dict[type[e.AnyCommand], Callable[[e.AnyCommand], None]] = {
            e.Play: self._to_line,
            e.Mark: self._to_line,
            e.Clear: self._to_line,
            e.Digits: self._to_line,
            e.HangUp: self._to_line,
            e.OpenModel: self._to_another_model,
            e.SendAudio: self._to_model,
            e.SendText: self._to_model,
            e.SendNote: self._to_model,
            e.SendToolResult: self._to_model,
            e.EndAudio: self._to_model,
            e.CloseModel: self._to_another_model,
            e.StartTool: self._to_tools,
            e.CancelTool: self._to_tools,
            e.Detect: self._to_detector,
            e.KeepHeard: self._keep,
            e.KeepSound: lambda _: self._recorder.keep_sound(),
            e.Tell: self._tell,
            e.Answer: lambda _: self._answered(),
            e.PutThrough: self._put_through,
            e.Finish: self._finish,
        }

    def feed(self, event: e.AnyEvent) -> None:
        """Something happened; it is handled in its turn. What happens after the end means nothing."""
        if self._over:
            return
        if len(self._inbox) < INBOX:
            self._inbox.append((self.t(), event))
        else:
            self._behind = True
        self._stir()

    def attach(
        self, line: Line, leg: int, *, sends_digits: bool = False, rate: e.LineRate = 8000
    ) -> None:
        """The caller is on `line` from now on; `sends_digits` and `rate`: see `LineStarted`."""
        self._line = line
        self.feed(e.LineStarted(leg, sends_digits, rate))

    def t(self) -> float:
        """Seconds since the call began: the only time that the machine knows, so that a record of it replays exactly."""
        return self._clock() - self.started

    async def run(self) -> str:
        """Live the call to its end.

        Returns:
            The record's `end_reason`.
        """
        new_future = asyncio.get_running_loop().create_future
        try:
            while self.finished is None:
                self._stirred = new_future()
                if not self._inbox:
                    await self._stirred
                self._drain()
        finally:
            self._over = True
            self._inbox.clear()
            self._wakeup.at(None)
        return self.finished

    def _drain(self) -> None:
        """Handle what has come, then what is due; arm the next wake-up."""
        if self._behind:
            raise OwnFault(f"more than {INBOX} events waited for the call's task")
        while self._inbox:
            t, event = self._inbox.popleft()
            self._do(t, event)
        t = self.t()
        deadline = self.machine.deadline()
        if deadline is not None and deadline <= t:
            self._do(t, None)
            deadline = self.machine.deadline()
        self._wakeup.at(None if deadline is None else self.started + deadline)

    def _do(self, t: float, event: e.AnyEvent | None) -> None:
        """One step of the machine; the record also has the one that it fails at, so that replay fails there too."""
        commands: list[e.AnyCommand] = []
        kept = self.machine.hides(event)
        try:
            commands = self.machine.tick(t) if event is None else self.machine.handle(event, t)
            for command in commands:
                self._carry[type(command)](command)
        finally:
            self._recorder.record(t, kept, self.machine.hidden(commands))

    def _stir(self) -> None:
        if self._stirred is not None and not self._stirred.done():
            self._stirred.set_result(None)

    def _to_line(self, command: e.AnyCommand) -> None:
        if self._line is not None:
            self._line.send(command)  # type: ignore[arg-type]

    def _to_model(self, command: e.AnyCommand) -> None:
        if self.model is not None:
            self.model.send(command)  # type: ignore[arg-type]

    def _to_another_model(self, command: e.AnyCommand) -> None:
        """The session that there was is left: what it said and nobody has handled yet would be taken for the next one's."""
        stays = [entry for entry in self._inbox if not isinstance(entry[1], e.ModelEvent)]
        self._inbox.clear()
        self._inbox.extend(stays)
        self._to_model(command)

    def _to_tools(self, command: e.AnyCommand) -> None:
        if self.tools is not None:
            self.tools.send(command)  # type: ignore[arg-type]

    def _to_detector(self, command: e.AnyCommand) -> None:
        if self.detector is not None:
            self.detector.send(command)  # type: ignore[arg-type]

    def _keep(self, command: e.AnyCommand) -> None:
        assert isinstance(command, e.KeepHeard)
        self._recorder.heard(command.at, command.pcm)

    def _tell(self, command: e.AnyCommand) -> None:
        assert isinstance(command, e.Tell)
        self._told(command.text)

    def _put_through(self, command: e.AnyCommand) -> None:
        assert isinstance(command, e.PutThrough)
        self._transfer(command.target)

    def _finish(self, command: e.AnyCommand) -> None:
        assert isinstance(command, e.Finish)
        self.finished = command.reason
