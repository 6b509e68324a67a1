"""The talk in a session that is ready: the caller's side, the model's side and the tools between.

Pure: time is an argument and dice are passed in.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from agent.simulator.account import Account, Memory
from agent.simulator.brain import EchoBrain
from agent.simulator.ears import Ended, Started
from agent.simulator.faults import Fault
from agent.simulator.listener import Listener
from agent.simulator.records import trace
from agent.simulator.speaker import TOKENS_PER_SECOND, Speaker
from agent.simulator.strict import Audio, check_refused, checked_audio
from agent.simulator.tool_desk import ToolDesk

if TYPE_CHECKING:
    from agent.simulator.account import Spoken
    from agent.simulator.ears import Edge, Utterance
    from agent.simulator.gemini_setup import Surroundings, Wishes
    from agent.simulator.handles import Snapshot

HEARD_LATENESS_SECONDS = 0.6  # the input's transcription trails its end by up to this
FIRST_HANDLE_SECONDS = 0.05
REVIVED_SECONDS = 1.0
"""Fault `short-words-unheard`: an audioStreamEnd so soon after a short word still counts."""
CALLS_PER_SESSION = 1000  # ids of tool calls are new in every session


class Conversation:
    """Hears the caller, asks the brain, speaks."""

    def __init__(self, wishes: Wishes, past: Snapshot, around: Surroundings) -> None:
        """Go on with a past: a new conversation's is empty."""
        self._wishes = wishes
        self._thread, self._brain = past.thread, past.brain
        self._around = around
        self._send = around.send
        record = self._record = around.record
        first_id = 1 + CALLS_PER_SESSION * (record.session - 1)
        self._desk = ToolDesk(record.tools, past.thread.calls, first_id, wishes.blocking)
        self._account = Account(past.thread, past.memory, record.utterances, around.violated)
        self._listener = Listener(wishes.hearing, manual=wishes.manual)
        self._speaker = Speaker(wishes, around, self._desk, self._account, self._resumable)
        self._speaker.context_tokens = past.memory.tokens or len(wishes.instruction) // 4
        self._initial_history = wishes.initial_history
        self._ignored: tuple[Ended, float] | None = None  # fault: a short word, and when it ended

    def begin(self, now: float) -> None:
        """The session is ready: what it had forgotten may be in its new instruction."""
        self._known_again([self._wishes.instruction], answers=False)
        if self._wishes.resumption:
            self._around.agenda.at(now + FIRST_HANDLE_SECONDS, self._resumable)

    def ended(self, now: float) -> None:
        """The connection is gone."""
        self._desk.close()
        ready = self._record.ready_t
        self._account.ended(self._listener.going_on, 0.0 if ready is None else now - ready, now)

    @property
    def due(self) -> float:
        """When `tick` has something to do."""
        return self._speaker.due

    def tick(self, now: float) -> None:
        """Send what is due."""
        self._speaker.tick(now)

    def take(self, message: Audio | dict[str, Any], now: float) -> None:
        """Take a client message.

        Raises:
            RuleError: it breaks a rule.
        """
        if isinstance(message, Audio):
            self._hear(message, now)
            return
        check_refused(message, self._wishes.model)
        match message:
            case {"realtimeInput": {"text": text}}:
                self._prompt(text, now)
            case {"realtimeInput": {"mediaChunks": chunks}}:  # of a model that still takes them
                for blob in chunks:
                    self._hear(checked_audio(blob.get("data", b""), blob.get("mimeType", "")), now)
            case {"realtimeInput": {"audioStreamEnd": _}}:
                self._stream_end(now)
            case {"realtimeInput": {"activityStart": _}}:
                self._edges(self._listener.activity(start=True), now)
            case {"realtimeInput": {"activityEnd": _}}:
                self._edges(self._listener.activity(start=False), now)
            case {"clientContent": content}:
                self._content(content, now)
            case {"toolResponse": results}:
                self._results(results.get("functionResponses", []), now)
            case _:
                pass  # video: nothing here looks

    def _prompt(self, text: str, now: float) -> None:
        """A written message counts as activity: it interrupts, and is answered."""
        if self._speaker.troubles.comes("deaf"):
            return
        self._speaker.context_tokens += len(text) // 4
        self._known_again([text], answers=True)
        if self._speaker.interruptible:
            self._speaker.overruled()
            self._speaker.interrupt(now)
        self._speaker.reply(self._brain.prompted(text), now)

    def _content(self, content: dict[str, Any], now: float) -> None:
        """Take written turns: they "interrupt any current model generation" (Live API reference)."""
        turns = content.get("turns", [])
        texts = [part.get("text", "") for turn in turns for part in turn.get("parts", [])]
        if not self._initial_history and self._speaker.troubles.comes("deaf"):
            return
        self._speaker.context_tokens += sum(map(len, texts)) // 4
        complete = content.get("turnComplete", False)
        told = [
            " ".join(part.get("text", "") for part in turn.get("parts", []))
            for turn in turns
            if turn.get("role", "user") == "user"
        ]
        self._known_again(told, answers=complete and not self._initial_history)
        if self._initial_history:
            self._initial_history = not complete
            return
        self._speaker.overruled()
        self._speaker.interrupt(now)
        if complete:
            self._speaker.reply(self._brain.prompted(texts[-1] if texts else ""), now)

    def _known_again(self, texts: list[str], *, answers: bool) -> None:
        """What a resumption had forgotten and is told again takes the brain to its place."""
        for spoken in self._account.told(texts, answers=answers):
            self._brain.heard(spoken.sound)

    def _results(self, results: list[dict[str, Any]], now: float) -> None:
        for result in results:
            name = self._desk.take(result, now)
            if name is None:
                continue
            self._record.note(now, "tool_result", f"{name} {result['id']}")
            self._speaker.tool_answered(now)
            scheduling = result.get("scheduling", "WHEN_IDLE")
            reply = self._brain.answered(name, result["response"])
            if scheduling == "INTERRUPT" and reply:
                self._speaker.interrupt(now)
            if scheduling != "SILENT":
                self._speaker.reply(reply, now)
            if self._speaker.idle:
                self._resumable(now)

    # ------------------------------------------------------------------ the caller

    def _hear(self, chunk: Audio, now: float) -> None:
        seconds = len(chunk.pcm) / 2 / chunk.rate_hz
        record = self._record
        record.audio_in_ms += seconds * 1000
        record.longest_chunk_ms = max(record.longest_chunk_ms, seconds * 1000)
        if self._around.conduct.trace:
            trace(record.audio_in, now, len(chunk.pcm) // 2)
        if isinstance(self._brain, EchoBrain):
            if said := self._brain.echo(chunk.pcm, chunk.rate_hz, now):
                self._speaker.blurt(said, now)
            return
        was_near = self._listener.near_speech
        edges = self._listener.audio(chunk)
        if self._listener.near_speech and not was_near:
            record.note(now, "onset")
        if edges:
            self._edges(edges, now)

    def _edges(self, edges: list[Edge], now: float) -> None:
        for edge in edges:
            match edge:
                case Started(at):
                    self._record.note(now, "speech_start", f"{at:.2f}")
                    self._voice_activity("ACTIVITY_START", at)
                    self._ignored = None
                    self._around.happened("speech", now)
                    if self._speaker.interruptible:
                        self._speaker.interrupt(now)
                case Ended(at, utterance):
                    self._record.note(now, "speech_end", f"{at:.2f}")
                    self._voice_activity("ACTIVITY_END", at)
                    self._around.happened("heard", now)
                    if self._takes(edge, now):
                        self._answer(utterance, now)
                case _ as never:
                    assert_never(never)

    def _takes(self, end: Ended, now: float) -> bool:
        troubles = self._speaker.troubles
        if troubles.comes("unheard"):
            return False
        if end.utterance.seconds < troubles.seconds("short-words-unheard") and not end.flushed:
            self._ignored = end, now
            return False
        return True

    def _answer(self, utterance: Utterance, now: float) -> None:
        heard = self._brain.heard(utterance)
        reply, troubles = heard.reply, self._speaker.troubles
        if troubles.comes("forgets"):
            reply = self._brain.prompted("")
        spoken = self._account.heard(utterance, heard.text, now, answers=bool(reply))
        self._record.hear(heard.text)
        self._speaker.context_tokens += round(utterance.seconds * TOKENS_PER_SECOND)
        self._transcribe(spoken, now)
        if not troubles.comes("no-reply"):
            self._speaker.reply(reply, now, spoken)

    def _stream_end(self, now: float) -> None:
        ignored, self._ignored = self._ignored, None
        edges = self._listener.stream_end()
        if ignored is not None and not edges and now - ignored[1] <= REVIVED_SECONDS:
            self._answer(ignored[0].utterance, now)
        self._edges(edges, now)

    def fail(self, fault: Fault, now: float) -> None:
        """Let something go wrong with the talk (the faults of the connection are the session's).

        Raises:
            ValueError: there is no such fault.
        """
        match fault.name:
            case "stall":
                self._speaker.stall(float(fault.value))
            case "phantom-interrupted":
                self._speaker.phantom(now)
            case _:
                self._speaker.troubles.arm(fault)

    def forget(self) -> None:
        """Fault: the resumed model knows nothing, and greets."""
        self._speaker.troubles.arm(Fault("forgets"))
        self._speaker.context_tokens = 0

    def _voice_activity(self, kind: str, at: float) -> None:
        if self._around.conduct.voice_activity:
            self._send({"voiceActivity": {"type": kind, "audioOffset": f"{at:.3f}s"}})

    def _transcribe(self, spoken: Spoken, now: float) -> None:
        """Send the input's transcription in fragments, later, with no order towards the reply."""
        if not self._wishes.input_transcription:
            spoken.sent = spoken.text  # whoever wants none knows the words from elsewhere
            return
        spoken.sent = ""
        words = spoken.text.split(" ")
        middle = self._around.dice.randint(0, len(words) - 1)
        first, rest = " ".join(words[:middle]), " ".join(words[middle:])
        cut = [first, f" {rest}"] if first else [rest]
        latest = HEARD_LATENESS_SECONDS + self._speaker.troubles.seconds("late-transcription")
        times = sorted(self._around.dice.uniform(0, latest) for _ in cut)
        for time, fragment in zip(times, cut, strict=True):
            self._around.agenda.at(now + time, partial(self._send_late, spoken, fragment))

    def _send_late(self, spoken: Spoken, fragment: str, now: float) -> None:
        del now
        spoken.sent += fragment
        self._send({"serverContent": {"inputTranscription": {"text": fragment}}})

    def _resumable(self, now: float) -> None:
        """Tell the client whether the session can be resumed from here.

        Not "during generation or function calls" (Live API reference); proto3's JSON then leaves
        everything out. The handle is a snapshot of now; an utterance that is going on is not in it.
        """
        del now
        if not self._wishes.resumption:
            return
        update: dict[str, Any] = {}
        if self._speaker.idle and not self._desk.waiting:
            memory = Memory(self._account.known, self._speaker.context_tokens)
            handle = self._around.handles.issue(
                self._thread, self._brain, memory, self._record.session, self._around.dice
            )
            update = {"newHandle": handle, "resumable": True}
        self._send({"sessionResumptionUpdate": update})
