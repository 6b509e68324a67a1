"""A recorded call, told again to today's machine: events in, differences out.

The machine knows time from the call's start only, and nothing but events and ticks moves it. So the version that recorded a
call answers its record with the very same commands; another one, or other options, may not, and each step that comes out
otherwise is a `Difference`.

Where today's machine wants to be woken and the record has nothing for `OVERSLEPT` seconds after that, it is woken: or a shorter
time limit would never show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agent.call.machine import CallMachine
from agent.call.options import CallOptions, OwnLine, OwnLines
from agent.errors import OwnFault
from agent.events import Pcm24k

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent.events import AnyCommand, AnyEvent, CallStarted, OwnLineKey

OVERSLEPT = 1.0
"""Seconds by which no event loop is late; a tick that was due so long before the next entry was never due then."""


class Recorded(Protocol):
    """One entry of a flight record: at `t` the event (None: a tick) led to these commands, as plain data."""

    @property
    def t(self) -> float: ...
    @property
    def event(self) -> AnyEvent | None: ...
    @property
    def commands(self) -> list[dict[str, Any]]: ...
    @property
    def silenced(self) -> bool:
        """Whether the event's sound was not kept, and only has its length and loudness here."""
        ...


class Difference(msgspec.Struct, frozen=True):
    """One step that comes out otherwise today.

    Attributes:
        t: seconds from the call's start.
        event: its kind; `tick`; or `wake_up`, a tick of today's that the record does not have.
        recorded: the commands of then.
        today: those of now; `fault` where today's machine breaks a rule of its own.
    """

    t: float
    event: str
    recorded: list[dict[str, Any]]
    today: list[dict[str, Any]]


class FoundLines(msgspec.Struct, frozen=True):
    """A call's own lines, found again.

    Attributes:
        own: what the machine is given.
        missing: names of those whose sound is nowhere; they are silence of the same length.
        told: whether the record says which it had; if not, the shipped ones are taken.
    """

    own: OwnLines
    missing: frozenset[str] = frozenset()
    told: bool = True


def find_lines(
    keys: Mapping[str, OwnLineKey], sounds: Iterable[Pcm24k], shipped: Mapping[str, OwnLine]
) -> FoundLines:
    """Find a call's own lines by their sound.

    Args:
        keys: what the record says of them.
        sounds: all that there is.
        shipped: what is said where the record does not tell, by name.
    """
    known = {OwnLine("", "", pcm).key: pcm for pcm in sounds}
    lines: dict[str, OwnLine] = {}
    missing: set[str] = set()
    for name in OwnLines.__struct_fields__:
        if (key := keys.get(name)) is not None:
            pcm = known.get(msgspec.structs.replace(key, text=""))
            lines[name] = OwnLine(name, key.text, Pcm24k(2 * key.samples) if pcm is None else pcm)
            missing |= {name} if pcm is None else set()
        elif name in shipped and (name in _NEEDED or (not keys and name == "disclosure")):
            lines[name] = shipped[name]
    return FoundLines(OwnLines(**lines), frozenset(missing), bool(keys))


_NEEDED = {field.name for field in msgspec.structs.fields(OwnLines) if field.required}
"""Lines that today's machine cannot be without; a record of an older version may lack one."""


def _nobody(t: float, event: AnyEvent | None, commands: list[AnyCommand]) -> None:
    """Keeps nothing."""


class Replay:
    """Plays one record to today's machine, entry by entry.

    Args:
        started: the record's first event.
        lines: the call's own lines.
        plain: makes of commands what a record holds of them.
        keep: told each step as a recorder is, with today's commands.

    Attributes:
        events: events played so far.
        ticks: ticks played so far.
        commands: commands of today's machine.
        differences: what came out otherwise.
        sound: whether the sound in commands can still be compared: all that they are made of is known.
        fault: how today's machine failed, if it did; it is played nothing more.

    Raises:
        msgspec.ValidationError: today's machine has no such options.
    """

    def __init__(
        self,
        started: CallStarted,
        lines: FoundLines,
        plain: Callable[[list[AnyCommand]], list[dict[str, Any]]],
        keep: Callable[[float, AnyEvent | None, list[AnyCommand]], None] = _nobody,
    ) -> None:
        self.machine = CallMachine(msgspec.convert(started.options, CallOptions), lines.own)
        self.events = 0
        self.ticks = 0
        self.commands = 0
        self.differences: list[Difference] = []
        self.sound = True
        self.fault = ""
        self.t = 0.0
        self._unknown = {getattr(lines.own, name).text for name in lines.missing}
        self._plain = plain
        self._keep = keep

    def step(self, entry: Recorded) -> None:
        """Play the next entry."""
        self._wake_up(entry.t)
        if self.fault:
            return
        if entry.event is None:
            self.ticks += 1
        else:
            self.events += 1
        self.sound = self.sound and not entry.silenced
        kind = "tick" if entry.event is None else str(entry.event.__struct_config__.tag)
        self._play(kind, entry.t, entry.event, entry.commands)

    def _wake_up(self, until: float) -> None:
        """Do what today's machine wants done long before `until`."""
        last = None
        while not self.fault and (due := self.machine.deadline()) is not None:
            at = max(due, self.t)
            if at == last or at + OVERSLEPT > until:
                return
            self._play("wake_up", at, None, [])
            last = at

    def _play(
        self, kind: str, t: float, event: AnyEvent | None, recorded: list[dict[str, Any]]
    ) -> None:
        self.t = t
        commands: list[AnyCommand] = []
        try:
            commands = self.machine.tick(t) if event is None else self.machine.handle(event, t)
        except OwnFault as fault:
            self.fault = str(fault)
        finally:  # as in a call: a vector must have the step that the machine fails at
            if kind != "wake_up" or commands:
                self._keep(t, event, commands)
        self.commands += len(commands)
        turn = self.machine.turns.current
        if turn is not None and turn.own and turn.agent in self._unknown:
            self.sound = False
        today = self._plain(commands)
        if self.fault:
            today.append({"kind": "fault", "text": self.fault})
        if not self._same(recorded, today):
            self.differences.append(Difference(t, kind, recorded, today))

    def _same(self, recorded: list[dict[str, Any]], today: list[dict[str, Any]]) -> bool:
        if self.sound:
            return recorded == today
        return [_by_length(command) for command in recorded] == [
            _by_length(command) for command in today
        ]


SOUNDS = ("pcm", "line", "own")
"""Fields of commands that are sound."""


def _by_length(command: dict[str, Any]) -> dict[str, Any]:
    """A command whose sound is only known by its samples."""
    return command | {name: command[name][0] for name in SOUNDS if name in command}
