"""Who speaks: the agent's generations, the caller's utterances, and the turns that they make.

A generation of the model runs through four states:

    QUIET ---audio---> SPEAKING ---generated---> SPOKEN ---complete---> QUIET
                          |                         |
                          +------interrupted--------+----> REFUSING ---complete or 1 s---> QUIET

Audio that arrives while REFUSING belongs to the generation that the caller interrupted; nobody must hear it. Most of a reply plays
while SPOKEN, since the model speaks faster than real time; Gemini may or may not still say `interrupted` then, so the caller's own
voice stops the agent there too (`CallerActivity`, or a transcription backed by sound on the line, whichever comes first).
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from agent.call.metrics import TurnLatency, span_ms
from agent.call.transcript import TranscriptLine, heard_words


class Agent(StrEnum):
    """What the model is doing."""

    QUIET = "quiet"
    SPEAKING = "speaking"
    SPOKEN = "spoken"
    REFUSING = "refusing"


class Sign(StrEnum):
    """What moves it on."""

    AUDIO = "audio"
    GENERATED = "generated"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    GONE = "gone"  # the session ended, or a refused generation never completed


STATES: dict[tuple[Agent, Sign], Agent] = {
    (Agent.QUIET, Sign.AUDIO): Agent.SPEAKING,
    (Agent.QUIET, Sign.GENERATED): Agent.QUIET,
    (Agent.QUIET, Sign.INTERRUPTED): Agent.QUIET,
    (Agent.QUIET, Sign.COMPLETE): Agent.QUIET,
    (Agent.QUIET, Sign.GONE): Agent.QUIET,
    (Agent.SPEAKING, Sign.AUDIO): Agent.SPEAKING,
    (Agent.SPEAKING, Sign.GENERATED): Agent.SPOKEN,
    (Agent.SPEAKING, Sign.INTERRUPTED): Agent.REFUSING,
    (Agent.SPEAKING, Sign.COMPLETE): Agent.QUIET,
    (Agent.SPEAKING, Sign.GONE): Agent.QUIET,
    (Agent.SPOKEN, Sign.AUDIO): Agent.SPEAKING,
    (Agent.SPOKEN, Sign.GENERATED): Agent.SPOKEN,
    (Agent.SPOKEN, Sign.INTERRUPTED): Agent.REFUSING,
    (Agent.SPOKEN, Sign.COMPLETE): Agent.QUIET,
    (Agent.SPOKEN, Sign.GONE): Agent.QUIET,
    (Agent.REFUSING, Sign.AUDIO): Agent.REFUSING,
    (Agent.REFUSING, Sign.GENERATED): Agent.REFUSING,
    (Agent.REFUSING, Sign.INTERRUPTED): Agent.REFUSING,
    (Agent.REFUSING, Sign.COMPLETE): Agent.QUIET,
    (Agent.REFUSING, Sign.GONE): Agent.QUIET,
}


MEMORY_LINES = 60
"""Lines of the conversation that a fresh session is told, the latest; what came before is lost to it."""


UNWRITTEN = "(words of which no transcription came)"
"""What a session is told of an exchange that it has forgotten, where the one before it ended too soon to say what was said."""
GREETED = "(the greeting)"
A_WORD = 0.3
"""Seconds of voice; less may be a cough."""


class Turn(msgspec.Struct):
    """One exchange: what the caller said and what the agent answered. Times are seconds, monotonic; positions are playout's.

    `own` marks a line of our own; it has no caller and is never cut.
    """

    n: int
    own: bool = False
    caller: str = ""
    caller_start: float | None = None
    caller_end: float | None = None
    sent: float | None = None
    first_byte: float | None = None
    first_out: float | None = None
    first_heard: float | None = None
    last_heard: float | None = None
    agent: str = ""
    start: int = 0
    end: int = 0
    cut: bool = False
    cut_at: int = 0

    def heard(self) -> str:
        """The words of the agent's that the caller heard; of a reply that was cut, an estimate."""
        return _agent_line(self, 0.0).heard

    def latency(self) -> TurnLatency:
        return TurnLatency(
            latency_ms=span_ms(self.caller_end, self.first_heard),
            sent_ms=span_ms(self.caller_end, self.sent),
            model_ms=span_ms(self.sent, self.first_byte),
            out_ms=span_ms(self.first_byte, self.first_heard),
            frame_ms=span_ms(self.first_byte, self.first_out),
        )


class Turns:
    """Follows the conversation; says whose words are whose and when the agent has to stop."""

    def __init__(self) -> None:
        self.state = Agent.QUIET
        self.all: list[Turn] = []
        self._words = ""  # the caller's, of the turn that has no reply yet
        self._early = ""  # the agent's, of a reply whose audio has not begun
        self._speech: tuple[float, float] | None = (
            None  # first and last voiced moment since the last reply began
        )
        self._sent: float | None = None
        self.prompt = ""  # what the model was asked for, and has not begun to say
        self._saved = 0  # turns that the last snapshot knows
        self.typed = ""  # what the caller wrote that has no reply yet

    @property
    def current(self) -> Turn | None:
        """The turn whose reply is the latest."""
        return self.all[-1] if self.all else None

    def own_line(self, text: str, start: int, end: int) -> None:
        """A line of our own was queued."""
        self.all.append(Turn(n=self._next(), own=True, agent=text, start=start, end=end))

    # ---- the caller

    def caller_voiced(self, at: float) -> None:
        """The frame that ended at `at` had a voice in it."""
        self._speech = (self._speech[0] if self._speech else at, at)
        self._sent = None

    def caller_last_heard(self) -> float:
        """When there was last a voice on the line since the latest reply began; long ago if never."""
        return self._speech[1] if self._speech else -math.inf

    def agent_last_heard(self) -> float:
        """When the caller last heard the agent; long ago if never."""
        times = [turn.last_heard for turn in self.all[-2:] if turn.last_heard is not None]
        return max(times, default=-math.inf)

    def sent(self, now: float, *, speech: bool, position: int) -> None:
        """What has left by now: whether all of the caller's `speech`, and the agent's up to `position`."""
        if speech and self._sent is None:
            self._sent = now
        turn = self.current
        if turn is not None and turn.first_out is None and turn.start < position:
            turn.first_out = now

    def caller_said(self, text: str) -> None:
        """A fragment of transcription; a late one belongs to the turn that is being answered."""
        turn = self.current
        if turn is None or turn.own or self._speech is not None:
            self._words += text
        else:
            turn.caller += text

    def caller_typed(self, text: str, at: float) -> None:
        """Words that came in writing, all at once; a session that has not answered them is told them again."""
        self.caller_voiced(at)
        self.typed = f"{self.typed}\n{text}".strip()
        self._words = f"{self._words} {text}".strip()

    def caller_pressed(self, key: str) -> None:
        """A key, which is a word to the record and to a session that has to be told what was said."""
        self._words += f"[{key}]"

    def caller_spoke_since_reply(self) -> bool:
        """Whether there was a voice on the line since the latest reply began."""
        turn = self.current
        return self._speech is not None and (
            turn is None or turn.first_byte is None or self._speech[1] > turn.first_byte
        )

    def answers_only_before(self, since: float) -> None:
        """The reply that begins does not answer what the caller said from `since` on: that waits for the next one."""
        turn = self.all[-1]
        begun, end = turn.caller_start, turn.caller_end
        if begun is None or end is None or end <= since:
            return
        self._speech, self._sent = (max(begun, since), end), turn.sent
        turn.caller_start, turn.caller_end = (begun, since) if begun < since else (None, None)

    def answers_caller(self) -> bool:
        """Whether sound that comes now begins a reply to what the caller has said over the latest one."""
        return self.state in {Agent.QUIET, Agent.SPOKEN} and self.caller_spoke_since_reply()

    # ---- the agent

    def move(self, sign: Sign) -> Agent:
        """Apply one sign of the model; returns the state it was in."""
        before = self.state
        self.state = STATES[before, sign]
        if sign is Sign.GONE:
            self._early = ""  # the sound of these words will not come
        return before

    def reply_audio(self, now: float, start: int) -> Turn:
        """The model speaks at position `start`; begins a turn where this is a new reply."""
        before = self.move(Sign.AUDIO)
        turn = self.current
        goes_on = before is Agent.SPEAKING or (
            before is Agent.SPOKEN and not self.caller_spoke_since_reply()
        )
        if turn is None or turn.own or not goes_on:
            turn = self._begin(now, start)
        return turn

    def agent_said(self, text: str) -> None:
        """A fragment of the agent's words; one that comes ahead of its audio waits for it."""
        turn = self.current
        awaited = bool(self.prompt) or self.caller_spoke_since_reply()
        early = self.state is Agent.QUIET and awaited
        if turn is None or turn.own or early:
            self._early += text
        else:
            turn.agent += text

    def prompted(self, words: str) -> None:
        """We asked the model for words of its own: what it says next is another turn's."""
        self.prompt = f"{self.prompt}\n{words}".strip()

    def cut(self, position: int) -> None:
        """Whatever was said beyond `position` will not be heard."""
        for turn in reversed(self.all):
            if turn.own or turn.end <= position:
                break
            if not turn.cut:
                turn.cut, turn.cut_at = True, max(position, turn.start)

    def again(self, position: int, samples: int) -> None:
        """So many samples before `position` are heard once more: what comes after them moves on."""
        for turn in reversed(self.all):
            if turn.end < position:
                break
            turn.end += samples
            if turn.start >= position:
                turn.start += samples

    def stretch(self, by: int) -> None:
        """The line has so many times the samples that positions were counted in until now."""
        for turn in self.all:
            turn.start, turn.end, turn.cut_at = turn.start * by, turn.end * by, turn.cut_at * by

    def heard(self, at: float, position: int, samples: int, rate: int) -> None:
        """The caller heard `samples` from `position` on, beginning at `at`."""
        for turn in reversed(self.all):
            end = turn.cut_at if turn.cut else turn.end  # what follows a cut is another turn's
            if end <= position and turn.last_heard is not None:
                break
            if turn.start < position + samples and end > position:
                begin = at + (max(turn.start, position) - position) / rate
                until = at + (min(end, position + samples) - position) / rate
                turn.first_heard = begin if turn.first_heard is None else turn.first_heard
                turn.last_heard = until

    def greeting_began(self, heard: int, now: float) -> float | None:
        """When the caller began to hear the greeting, where that is what is being said; `heard` is a position."""
        turn = self.current
        if turn is None or turn.own or turn.n > 0 or turn.start >= heard:
            return None
        return now if turn.first_heard is None else turn.first_heard

    # ---- what another session has to know

    @property
    def answered(self) -> bool:
        """Whether the agent has said anything at all."""
        return any(not turn.own for turn in self.all)

    @property
    def greeting(self) -> str:
        """The agent's first words of the call."""
        return next((turn.agent for turn in self.all if not turn.own), "")

    def speech_since(self) -> float | None:
        """When the caller began to say what is not answered yet; None where all is."""
        return self._speech[0] if self._speech else None

    def owes_answer(self) -> bool:
        """Whether the caller waits for the agent: nothing answers his last words, or the answer broke off."""
        return self._speech is not None or self.state is Agent.SPEAKING

    def said_again(self) -> None:
        """A new session hears the unanswered words from their start, and transcribes them anew."""
        self._words = ""

    def saved(self) -> None:
        """The model has a snapshot of the conversation up to here."""
        self._saved = len(self.all)

    def memory(self, *, everything: bool) -> str:
        """What was said, a line each: since the last snapshot, or (a session without one) in the whole call."""
        lines: list[str] = []
        for turn in self.all[0 if everything else self._saved :]:
            if turn.caller.strip():
                lines.append(f"Caller: {turn.caller.strip()}")
            elif _spoken(turn) >= A_WORD:
                lines.append(f"Caller: {UNWRITTEN}")
            if not turn.own and (said := turn.heard()):
                lines.append(f"You: {said}")
            elif not turn.own and turn.last_heard is not None and not turn.agent.strip():
                lines.append(f"You: {GREETED if turn.n == 0 else UNWRITTEN}")
        if everything and self._words.strip():
            lines.append(f"Caller: {self._words.strip()}")
        return "\n".join(lines[-MEMORY_LINES:])

    # ---- the record

    def lines(self, started: float) -> list[TranscriptLine]:
        """The conversation in the order in which it was heard; `started` is when the call began."""
        lines: list[TranscriptLine] = []
        for turn in self.all:
            if turn.caller:
                lines.append(_caller_line(turn, started))
            if turn.agent or turn.end > turn.start:
                lines.append(_agent_line(turn, started))
        if self._words:
            start, end = self._speech or (None, None)
            lines.append(
                _caller_line(
                    Turn(self._next(), caller=self._words, caller_start=start, caller_end=end),
                    started,
                )
            )
        return lines

    def _begin(self, now: float, start: int) -> Turn:
        turn = Turn(n=self._next(), start=start, end=start, first_byte=now)
        turn.caller, self._words = self._words, ""
        turn.agent, self._early = self._early, ""
        self.all.append(turn)
        if self._speech is not None:
            turn.caller_start, turn.caller_end = self._speech
            turn.sent = self._sent
        self._speech = self._sent = None
        self.prompt = self.typed = ""
        return turn

    def _next(self) -> int:
        """Turns are counted from 0, the greeting; a line of our own stands with the turn before it."""
        return sum(not turn.own for turn in self.all)


def _spoken(turn: Turn) -> float:
    """Seconds of the caller's words."""
    if turn.caller_start is None or turn.caller_end is None:
        return 0.0
    return turn.caller_end - turn.caller_start


def _caller_line(turn: Turn, started: float) -> TranscriptLine:
    text = turn.caller.strip()
    return TranscriptLine(
        who="caller",
        n=turn.n,
        start=_since(turn.caller_start, started),
        end=_since(turn.caller_end, started),
        text=text,
        heard=text,
    )


def _agent_line(turn: Turn, started: float) -> TranscriptLine:
    total = turn.end - turn.start
    heard, estimated = heard_words(
        turn.agent, turn.cut_at - turn.start if turn.cut else total, total
    )
    return TranscriptLine(
        who="pickup" if turn.own else "agent",
        n=turn.n,
        start=_since(turn.first_heard, started),
        end=_since(turn.last_heard, started),
        text=turn.agent.strip(),
        heard=heard,
        cut=turn.cut,
        estimated=estimated,
    )


def _since(at: float | None, started: float) -> float | None:
    return None if at is None else round(at - started, 3)
