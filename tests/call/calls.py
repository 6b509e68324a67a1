"""A call on the bench: a machine, literal times, and sound that can be told apart."""

from __future__ import annotations

from functools import cache

import numpy as np

from agent import events as e
from agent.call.life import Phase
from agent.call.machine import CallMachine
from agent.call.options import CallOptions, OwnLine, OwnLines
from agent.events import Pcm8k, Pcm16k, Pcm24k

FRAME = 0.02


@cache
def tone(seconds: float, rate: int, level: int = 9000, hertz: float = 440.0) -> bytes:
    """A voice, as far as a level meter can tell."""
    times = np.arange(round(seconds * rate)) / rate
    return np.round(level * np.sin(2 * np.pi * hertz * times)).astype("<i2").tobytes()


def speech(seconds: float) -> Pcm24k:
    """The agent's voice."""
    return Pcm24k(tone(seconds, 24000))


VOICE = Pcm8k(tone(FRAME, 8000))
SILENCE = Pcm8k(bytes(320))
WIDE_VOICE = Pcm16k(tone(FRAME, 16000))

TROUBLE = OwnLine("trouble", "I am sorry, I have lost my connection.", speech(1.0))
MOMENT = OwnLine("moment", "One moment, please.", speech(0.5))
REPEAT = OwnLine("repeat", "Could you say it again?", speech(0.6))
THERE = OwnLine("still_there", "Are you still there?", speech(0.4))
UNHEARD = OwnLine("unheard", "I cannot hear you. Goodbye.", speech(0.8))
LIMIT = OwnLine("time_limit", "We have reached the end of the time.", speech(1.0))
BUDGET = OwnLine("budget", "I have to end this call now.", speech(0.9))
HELLO = OwnLine("disclosure", "You are speaking with an automated assistant.", speech(1.0))


class Bench:
    """Drives a machine as a session would, in steps of 5 ms, and notes what it commands.

    The line plays what it is sent without a gap and returns marks when the audio before them was played, all of them at a
    `clear` (Twilio: Media Streams, WebSocket messages).
    """

    def __init__(
        self,
        *,
        disclosure: bool = False,
        options: CallOptions | None = None,
        own: dict[str, OwnLine] | None = None,  # beside those that every call has
        rate: e.LineRate = 8000,  # of the line
    ) -> None:
        lines = OwnLines(
            trouble=TROUBLE,
            time_limit=LIMIT,
            budget=BUDGET,
            moment=MOMENT,
            repeat=REPEAT,
            still_there=THERE,
            unheard=UNHEARD,
            disclosure=HELLO if disclosure else None,
            **(own or {}),
        )
        self.machine = CallMachine(options or CallOptions(greeting="Greet the caller."), lines)
        self.rate = rate
        self.now = 100.0
        self.log: list[tuple[float, e.AnyCommand]] = []
        self.heard = bytearray()
        self._playing_until = 0.0
        self._marks: list[tuple[float, str]] = []
        self._talk = 0  # frames the caller still speaks
        self._frame_at: float | None = None
        self._due: float | None = None  # the machine's deadline, asked for when it can have changed
        self.tell(e.CallStarted("c", 0.0, self.now, "0", "front_desk", "f", {}))

    # ---- what happens

    def tell(self, event: e.AnyEvent) -> list[e.AnyCommand]:
        commands = self.machine.handle(event, self.now)
        self._due = self.machine.deadline()
        self._carry_out(commands)
        return commands

    def connect(self, leg: int = 1) -> None:
        """The stream starts; the caller's frames come every 20 ms from here on."""
        self._frame_at = self.now
        self.tell(e.LineStarted(leg, rate=self.rate))

    def disconnect(self, reason: str = "stopped") -> None:
        self._frame_at = None
        self.tell(e.LineEnded(reason))  # type: ignore[arg-type]

    def caller_talks(self, seconds: float) -> None:
        """From now on, without waiting for it."""
        self._talk = round(seconds / FRAME)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self._due = self.machine.deadline()
        while self.now < end - 1e-9:
            self.now = round(self.now + 0.005, 6)
            self._line_plays()
            if self._frame_at is not None and self.now >= self._frame_at:
                self._frame_at += FRAME
                self._talk -= 1
                voice: e.LinePcm = VOICE if self.rate == 8000 else WIDE_VOICE
                self.tell(e.LineAudio(voice if self._talk >= 0 else type(voice)(len(voice))))
            if self._due is not None and self._due <= self.now:
                self._carry_out(self.machine.tick(self.now))
                self._due = self.machine.deadline()

    def answer(self, seconds: float, words: str = "", *, complete: bool = True) -> None:
        """The model says something, all at once, as it does."""
        if words:
            self.tell(e.AgentSaid(words))
        self.tell(e.ModelAudio(speech(seconds)))
        if complete:
            self.tell(e.GenerationComplete())

    # ---- what was commanded

    def all(self, kind: type[e.AnyCommand]) -> list[e.AnyCommand]:
        return [command for _, command in self.log if isinstance(command, kind)]

    def times(self, kind: type[e.AnyCommand]) -> list[float]:
        return [round(at - 100.0, 3) for at, command in self.log if isinstance(command, kind)]

    def ended(self, reason: str | None) -> bool:
        """Whether this is the `end_reason` by now; None: whether the call goes on."""
        finished = [c.reason for c in self.all(e.Finish) if isinstance(c, e.Finish)]
        return finished == ([] if reason is None else [reason])

    def is_in(self, phase: Phase) -> bool:
        return self.machine.phase is phase

    @property
    def unplayed(self) -> float:
        """Seconds that the provider holds for us."""
        return max(0.0, self._playing_until - self.now)

    def _carry_out(self, commands: list[e.AnyCommand]) -> None:
        for command in commands:
            self.log.append((self.now, command))
            match command:
                case e.Play(pcm=pcm):
                    self._playing_until = max(self._playing_until, self.now) + pcm.seconds
                case e.Mark(name=name):
                    self._marks.append((max(self._playing_until, self.now), name))
                case e.Clear():
                    self._playing_until = self.now
                    self._marks = [(self.now, name) for _, name in self._marks]
                case e.KeepHeard(pcm=pcm):
                    self.heard += pcm
                case _:
                    pass

    def _line_plays(self) -> None:
        if self._frame_at is None:
            return
        while self._marks and self._marks[0][0] <= self.now:
            self.tell(e.LineMark(self._marks.pop(0)[1]))


def talking(**options: object) -> Bench:
    """A call that was greeted; both sides are quiet now."""
    bench = Bench(**options)  # type: ignore[arg-type]
    bench.run(0.3)
    bench.tell(e.ModelReady(0.3))
    bench.run(0.2)
    bench.answer(1.0, "Hello, how can I help?")
    bench.run(0.1)
    bench.connect()
    bench.run(1.4 if not options.get("disclosure") else 2.6)
    bench.tell(e.TurnComplete())
    bench.run(0.3)
    return bench


def say(bench: Bench, seconds: float, words: str) -> None:
    """The caller says something, and the model has heard it."""
    bench.caller_talks(seconds)
    bench.run(seconds + 0.4)
    bench.tell(e.CallerSaid(words))
    bench.run(0.2)
