"""The model's side of a session: turns of speech and tool calls, and what interrupts them."""

from __future__ import annotations

import binascii
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from agent.simulator.brain import SPEECH_RATE_HZ, Call, Reply, Say
from agent.simulator.generation import Finished, Part, Piece, Turn, Words
from agent.simulator.records import trace
from agent.simulator.troubles import Troubles

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.account import Account, Spoken
    from agent.simulator.gemini_setup import Surroundings, Wishes
    from agent.simulator.tool_desk import ToolDesk

TOKENS_PER_SECOND = 25
"""Audio, both ways (https://ai.google.dev/gemini-api/docs/tokens)."""

TURN_COMPLETE_AFTER_INTERRUPTED_SECONDS = 0.05
MOST_QUEUED_REPLIES = 8  # when full, the oldest is dropped: the client talks over the model anyway


def audio_part(pcm: bytes) -> dict[str, Any]:
    """Return a `modelTurn` with one chunk of audio."""
    data = binascii.b2a_base64(pcm, newline=False).decode("ascii")
    blob = {"mimeType": f"audio/pcm;rate={SPEECH_RATE_HZ}", "data": data}
    return {"parts": [{"inlineData": blob}], "role": "model"}


class Speaker:
    """Speaks replies, one turn at a time.

    Attributes:
        context_tokens: Size of the conversation so far: every turn bills all of it.
        troubles: What goes wrong.
    """

    def __init__(
        self,
        wishes: Wishes,
        around: Surroundings,
        desk: ToolDesk,
        account: Account,
        resumable: Callable[[float], None],
    ) -> None:
        """Take what it works with.

        Args:
            wishes: The client's.
            around: The session's.
            desk: Where tool calls wait.
            account: Of the utterances that are answered.
            resumable: Told when a turn has begun or is over.
        """
        self._wishes = wishes
        self._around = around
        self._desk = desk
        self._account = account
        self._resumable = resumable
        self._turn: Turn | None = None
        self._queued: deque[tuple[Reply, Spoken | None]] = deque(maxlen=MOST_QUEUED_REPLIES)
        self._carried: dict[str, Any] = {}  # a transcription that goes with the next audio
        self._words_until = 0.0  # late fragments of a transcription keep their order
        self._speaks_from = 0.0  # not before the last turn's turnComplete is out
        self.context_tokens = 0
        self.troubles = Troubles()

    @property
    def idle(self) -> bool:
        """Whether nothing is being said, or waits to be."""
        return self._turn is None and not self._queued

    @property
    def due(self) -> float:
        """When `tick` has something to do."""
        return self._turn.due if self._turn is not None else float("inf")

    @property
    def interruptible(self) -> bool:
        """Whether the caller's speech interrupts now."""
        if self._turn is None or not self._wishes.interrupting:
            return False
        return self._around.conduct.interrupts == "playback" or not self._turn.complete

    def reply(self, reply: Reply, now: float, about: Spoken | None = None) -> None:
        """Begin a turn after the model's delay, or once the one that is being generated is out."""
        reply = tuple(
            step for step in reply if isinstance(step, Say) or step.name in self._wishes.functions
        )
        if not reply:
            return
        if self._turn is not None and not self._turn.complete:
            self._queued.append((reply, about))
            return
        conduct, troubles = self._around.conduct, self.troubles
        starts = max(now, self._speaks_from) + conduct.model_delay_seconds
        if troubles.empty_turns:
            self._around.agenda.at(starts, partial(self._empty, troubles.empty_turns.pop(0)))
            return
        played = self._turn
        if troubles.comes("silent-reply"):
            reply = tuple(
                Say(bytes(len(step.pcm)), step.text) if isinstance(step, Say) else step
                for step in reply
            )
        self._turn = Turn(reply, starts, conduct.speed, self._around.dice, about)
        self._turn.stall(troubles.stall_seconds)
        troubles.stall_seconds = 0.0
        if played is not None:  # a new generation ends the assumed playback of the last
            self._turn_complete(played, now)
        self._around.record.replies += 1
        self._around.record.note(now, "reply")
        if played is None:
            self._resumable(now)

    def blurt(self, pcm: bytes, now: float) -> None:
        """Say something at once, in no turn."""
        self._around.send({"serverContent": {"modelTurn": audio_part(pcm)}})
        self._sent(pcm, now)

    def overruled(self) -> None:
        """The client writes over the answers that are being generated, or wait: they are lost."""
        lost = [about for _, about in self._queued]
        if self._turn is not None and not self._turn.complete:
            lost.append(self._turn.about)
        self._around.record.utterances.answers_lost += len(lost) - lost.count(None)

    def interrupt(self, now: float) -> None:
        """Stop the turn that is going on, if there is one: `interrupted`, later `turnComplete`.

        An interrupted turn has no `generationComplete` (Google: Live API reference).
        """
        turn, self._turn = self._turn, None
        self._queued.clear()
        if turn is None:
            return
        self._carry_out()
        content: dict[str, Any] = {"interrupted": True}
        rest = turn.rest() if self.troubles.lasts("late-audio") else b""
        if rest:
            content["modelTurn"] = audio_part(rest)
        self._around.send({"serverContent": content})
        if rest:
            self._around.send({"serverContent": {"modelTurn": audio_part(rest)}})
        self._around.record.interruptions += 1
        self._around.record.note(now, "interrupted")
        if ids := self._desk.cancel(now):
            self._around.send({"toolCallCancellation": {"ids": ids}})
        self._speaks_from = now + TURN_COMPLETE_AFTER_INTERRUPTED_SECONDS
        self._around.agenda.at(self._speaks_from, partial(self._turn_complete, turn))

    def tool_answered(self, now: float) -> None:
        """Go on where a blocking tool was waited for."""
        if self._turn is not None and not self._desk.holding:
            self._turn.release(now)

    def stall(self, seconds: float) -> None:
        """Pause the reply that is being generated, or the next one."""
        if self._turn is not None and not self._turn.complete:
            self._turn.stall(seconds)
        else:
            self.troubles.stall_seconds += seconds

    def phantom(self, now: float) -> None:
        """Send `interrupted`, although nobody spoke."""
        if self._turn is not None:
            self.interrupt(now)
            return
        self._around.send({"serverContent": {"interrupted": True}})
        self._around.record.note(now, "interrupted", "phantom")
        self._around.send({"serverContent": {"turnComplete": True}})

    def tick(self, now: float) -> None:
        """Send what is due."""
        turn = self._turn
        if turn is None:
            return
        if turn.complete:
            self._over(now)
            return
        if not turn.started:
            # one empty serverContent with usage comes before the first audio
            # (https://github.com/livekit/agents/issues/5238)
            turn.started = True
            self._around.send({"serverContent": {}, "usageMetadata": self._usage(0.0)})
            self._around.record.note(now, "first_audio")
            if turn.about is not None:
                self._account.begun(turn.about)
            self._around.happened("reply", now)
        self._speak(turn, turn.take(now), now)

    def _speak(self, turn: Turn, piece: Piece, now: float) -> None:
        if not isinstance(piece, Part):
            self._carry_out()
        match piece:
            case Part(pcm):
                content = {"modelTurn": audio_part(pcm), **self._carried}
                self._carried = {}
                self._around.send({"serverContent": content})
                self._sent(pcm, now)
            case Words(text, last):
                self._say_words(text, last, now)
            case Call():
                self._call(turn, piece, now)
            case Finished():
                self._around.send({"serverContent": {"generationComplete": True}})
                if turn.about is not None:
                    self._account.complete(turn.about)
                if self._queued:
                    reply, about = self._queued.popleft()
                    self.reply(reply, now, about)
            case _ as never:
                assert_never(never)

    def _sent(self, pcm: bytes, now: float) -> None:
        self._around.record.audio_out_ms += len(pcm) * 500 / SPEECH_RATE_HZ
        if self._around.conduct.trace:
            trace(self._around.record.audio_out, now, len(pcm) // 2)

    def _call(self, turn: Turn, piece: Call, now: float) -> None:
        name, args = piece
        call_id = self._desk.call(name, args)
        call = {"id": call_id, "name": name, "args": args}
        for _ in range(2 if self.troubles.lasts("duplicate-tool-call") else 1):
            self._around.send({"toolCall": {"functionCalls": [call]}})
        self._around.record.note(now, "tool_call", f"{name} {call_id}")
        if name in self._desk.blocking:
            turn.hold(now)
        self._around.happened("tool", now)

    def _say_words(self, text: str, last: bool, now: float) -> None:
        if not self._wishes.output_transcription:
            return
        transcription: dict[str, Any] = {"text": text}
        if last and self._around.dice.random() < 0.5:
            transcription["finished"] = True
        content = {"outputTranscription": transcription}
        if latest := self.troubles.seconds("late-transcription"):
            later = self._around.dice.uniform(0, latest)
            self._words_until = max(self._words_until, now + later)
            self._around.agenda.at(self._words_until, partial(self._words_later, content))
            return
        chance = self._around.dice.random()  # several fields in one message are not exclusive
        if chance < 0.2:
            self._carried = content
        elif chance < 0.4:
            self._around.send({"serverContent": content, "usageMetadata": self._usage(0.0)})
        else:
            self._around.send({"serverContent": content})

    def _words_later(self, content: dict[str, Any], now: float) -> None:
        del now
        self._around.send({"serverContent": content})

    def _carry_out(self) -> None:
        if self._carried:
            self._around.send({"serverContent": self._carried})
            self._carried = {}

    def _over(self, now: float) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            self._turn_complete(turn, now)

    def _turn_complete(self, turn: Turn, now: float) -> None:
        usage = self._usage(turn.audio_seconds)
        self.context_tokens = usage["totalTokenCount"]
        self._around.send({"serverContent": {"turnComplete": True}, "usageMetadata": usage})
        self._around.record.note(now, "turn_complete")
        self._resumable(now)

    def _empty(self, reason: str, now: float) -> None:
        content: dict[str, Any] = {"turnComplete": True}
        if reason:
            content["turnCompleteReason"] = reason
        self._around.send({"serverContent": content})
        self._around.record.note(now, "turn_complete", "empty")

    def _usage(self, seconds: float) -> dict[str, Any]:
        response = round(seconds * TOKENS_PER_SECOND)
        usage: dict[str, Any] = {
            "promptTokenCount": self.context_tokens,
            "totalTokenCount": self.context_tokens + response,
        }
        if response:
            usage["responseTokenCount"] = response
            usage["responseTokensDetails"] = [{"modality": "AUDIO", "tokenCount": response}]
        return usage
