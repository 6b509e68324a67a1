"""The one vocabulary: what lines, models and tools tell a call, and what a call tells them to do.

Events are named in the past tense, commands in the imperative. All are frozen; together they are the schema of a call's
flight record (`events.jsonl`), so a field that is renamed here makes old records unreadable.

Audio is linear PCM, 16 bit, little endian, mono. Its rate is in its type, so that audio of the wrong rate is an error of
types, not a wrong pitch at somebody's ear. mu-law, A-law and G.722 exist only inside a line's protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from agent.errors import Fate

if TYPE_CHECKING:
    from collections.abc import Mapping


class Pcm(bytes):
    """Linear PCM samples (int16, little endian, mono); the subclass says at which rate."""

    __slots__ = ()
    rate: ClassVar[int] = 0

    @property
    def samples(self) -> int:
        return len(self) // 2

    @property
    def seconds(self) -> float:
        return len(self) / (2 * self.rate)


class LinePcm(Pcm):
    """What a telephone line carries: at 8 kHz, or at 16 kHz."""

    __slots__ = ()


class Pcm8k(LinePcm):
    """8 kHz: what nearly all telephone lines carry (ITU-T G.711)."""

    __slots__ = ()
    rate = 8000


class Pcm16k(LinePcm):
    """16 kHz: what Gemini Live hears (Live API: `audio/pcm;rate=16000`), and what a wide-band line carries (ITU-T G.722)."""

    __slots__ = ()
    rate = 16000


LineRate = Literal[8000, 16000]
LINE_PCM: Mapping[LineRate, type[LinePcm]] = {8000: Pcm8k, 16000: Pcm16k}
"""The sound of a line, by its rate in Hz."""


class Pcm24k(Pcm):
    """24 kHz: what Gemini Live speaks (Live API: `audio/pcm;rate=24000`)."""

    __slots__ = ()
    rate = 24000


class Event(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower):
    """Something that happened to a call."""


class Command(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower):
    """Something a call wants done."""


# ---- the call itself -----------------------------------------------------------------------------------------------


class OwnLineKey(msgspec.Struct, frozen=True):
    """What a sentence of our own is found again by: its words, and its sound's samples (24 kHz) and CRC-32."""

    text: str
    samples: int
    crc32: int


class CallStarted(Event, frozen=True, tag="call_started"):
    """The first event of every call, and the only place where wall time enters it.

    Attributes:
        call: our id of the call.
        wall: seconds since 1970-01-01 UTC.
        clock: seconds, monotonic, at the same moment: it ties the record to others of the same machine.
        version: Pickup's version.
        agent: name of the agent's file.
        fingerprint: hash of the agent's file and of the settings that the call was started with.
        options: the call's options as plain data; with `lines`, enough to build the same machine again.
        lines: what the call could say without the model, by name; a record that does not tell has none.
    """

    call: str
    wall: float
    clock: float
    version: str
    agent: str
    fingerprint: str
    options: dict[str, Any]
    lines: dict[str, OwnLineKey] = {}


class CallAbandoned(Event, frozen=True, tag="call_abandoned"):
    """Something outside the conversation ends the call: the provider, the operator, a crash of ours."""

    reason: str


class EndPolitely(Event, frozen=True, tag="end_politely"):
    """Something outside the conversation wants it to end (a budget is used up); the caller is told, and hears a goodbye."""

    reason: str


class AnsweredBy(Event, frozen=True, tag="answered_by"):
    """Who picked up a call of ours (Twilio: Answering Machine Detection, `AnsweredBy`).

    `machine_start`: a machine has begun to speak. `machine_end`: it has said its greeting, and records from now on.
    """

    who: Literal["human", "machine_start", "machine_end", "fax", "unknown"]


TransferOutcome = Literal["connected", "busy", "no_answer", "declined", "failed"]
"""What a transfer can come to; `declined`: somebody picked up, and did not take the call."""


class TransferEnded(Event, frozen=True, tag="transfer_ended"):
    """What became of the last `PutThrough`; all but `connected` bring the caller back."""

    outcome: TransferOutcome


# ---- from the line -------------------------------------------------------------------------------------------------


class LineStarted(Event, frozen=True, tag="line_started", omit_defaults=True):
    """The caller hears us from now on.

    Attributes:
        leg: counts the streams of one call from 1.
        sends_digits: whether this line carries out `Digits`; on any other, keys that we press are tones in our sound.
        rate: of its sound in both directions, Hz; all lines of a call have the first one's.
    """

    leg: int
    sends_digits: bool = False
    rate: LineRate = 8000


class LineAudio(Event, frozen=True, tag="line_audio"):
    """The caller's sound, in the order it was spoken; any length, usually 20 ms."""

    pcm: LinePcm


class LineMark(Event, frozen=True, tag="line_mark"):
    """The provider returned a mark: its audio was played, or was cleared (Twilio: `mark` and `clear`)."""

    name: str


class LineDigit(Event, frozen=True, tag="line_digit"):
    """The caller pressed a key: one of 0-9 * # A-D."""

    digit: str


class CallerTyped(Event, frozen=True, tag="caller_typed"):
    """The caller wrote this, on a line that carries words beside its sound; it interrupts, as speaking does."""

    text: str


class LineHeld(Event, frozen=True, tag="line_held"):
    """The caller's side holds the call and hears nothing of us, or takes it up again (RFC 3264, section 8.4)."""

    on: bool


class LineEnded(Event, frozen=True, tag="line_ended"):
    """The stream is over.

    `stopped`: the provider said so. `closed`: its socket closed. `lost`: it broke or no longer takes what we send.
    """

    reason: Literal["stopped", "closed", "lost"]


# ---- from the model ------------------------------------------------------------------------------------------------


class ModelReady(Event, frozen=True, tag="model_ready"):
    """Setup is complete: the session hears what it is sent."""

    setup_seconds: float


class ModelAudio(Event, frozen=True, tag="model_audio", omit_defaults=True):
    """A piece of the agent's speech, of any length, usually faster than real time.

    `audible` is told beside the sound because a record may be kept without sound.
    """

    pcm: Pcm24k
    audible: bool = True


class Interrupted(Event, frozen=True, tag="interrupted"):
    """The caller spoke over the agent; this generation is over (Live API: `interrupted`)."""


class GenerationComplete(Event, frozen=True, tag="generation_complete"):
    """All audio of the reply has been sent; most of it is still to be played (Live API: `generationComplete`)."""


class TurnComplete(Event, frozen=True, tag="turn_complete"):
    """The model's turn is over (Live API: `turnComplete`, delayed to the assumed end of playback)."""

    reason: str | None = None


class CallerSaid(Event, frozen=True, tag="caller_said"):
    """A fragment of the caller's words, without order against audio (Live API: `inputTranscription`)."""

    text: str
    finished: bool = False


class AgentSaid(Event, frozen=True, tag="agent_said"):
    """A fragment of the agent's words, without order against audio (Live API: `outputTranscription`)."""

    text: str
    finished: bool = False


class CallerActivity(Event, frozen=True, tag="caller_activity"):
    """The model's own voice detection heard the caller begin or end (Live API: `voiceActivity`)."""

    active: bool


class ToolCalled(Event, frozen=True, tag="tool_called"):
    """The model wants a tool to run; `args` is whatever the model made of the declared schema."""

    id: str
    name: str
    args: dict[str, Any]


class ToolsCancelled(Event, frozen=True, tag="tools_cancelled"):
    """These calls are void and must not be answered (Live API: `toolCallCancellation`)."""

    ids: list[str]


class ModelGoingAway(Event, frozen=True, tag="model_going_away"):
    """The connection will end in so many seconds (Live API: `goAway`)."""

    seconds: float


class ModelHandle(Event, frozen=True, tag="model_handle"):
    """A snapshot of the session (Live API: `sessionResumptionUpdate`); `handle` is empty where not resumable."""

    handle: str
    resumable: bool


class ModelUsage(Event, frozen=True, tag="model_usage"):
    """Tokens that one turn was billed, by modality where the model says (Live API: `usageMetadata`)."""

    prompt: int = 0
    response: int = 0
    total: int = 0
    prompt_by: dict[str, int] = {}
    response_by: dict[str, int] = {}


class ModelEnded(Event, frozen=True, tag="model_ended"):
    """The session is gone; `code` is the WebSocket close code, None where no socket was open yet.

    `last_sent`: where a message of ours was at fault, the last five, oldest first: kinds and sizes in characters, never what was
    in them.
    """

    fate: Fate
    code: int | None
    reason: str
    last_sent: list[tuple[str, int]] = []


# ---- from tools ----------------------------------------------------------------------------------------------------


class EndAfterGoodbye(msgspec.Struct, frozen=True, tag_field="effect", tag="end_after_goodbye"):
    """Hang up as soon as the caller has heard what the agent is saying."""


class TransferAfterGoodbye(
    msgspec.Struct, frozen=True, tag_field="effect", tag="transfer_after_goodbye"
):
    """Put the caller through to `target` as soon as he has heard what the agent is saying.

    `within`: seconds after which nobody will say any more that it failed.
    """

    target: str
    within: float = 40.0


class PressKeys(msgspec.Struct, frozen=True, tag_field="effect", tag="press_keys"):
    """Press these keys (0-9 * # A-D; `w` waits half a second) after what the agent is saying."""

    keys: str


class CollectKeys(msgspec.Struct, frozen=True, tag_field="effect", tag="collect_keys"):
    """Take the caller's keys; the tool is answered with them, and not before.

    Attributes:
        most: how many at most.
        end: the key that ends them, and is none of them; empty: none.
        within: seconds for the first key, and from each to the next.
        secret: what is pressed stands in no record of the call.
    """

    most: int
    end: str = "#"
    within: float = 10.0
    secret: bool = False


class HoldCall(msgspec.Struct, frozen=True, tag_field="effect", tag="hold_call"):
    """The model hears silence, and nobody is expected to speak, for `within` seconds at most.

    `for_caller`: the caller asked for it, and ends it by speaking.
    """

    within: float
    for_caller: bool = False


class ResumeCall(msgspec.Struct, frozen=True, tag_field="effect", tag="resume_call"):
    """The hold is over."""


Effect = EndAfterGoodbye | TransferAfterGoodbye | PressKeys | CollectKeys | HoldCall | ResumeCall
"""What a tool may do to the call that it runs in."""


class ToolFinished(Event, frozen=True, tag="tool_finished"):
    """A tool has an answer for the model and, for some tools, an effect on the call."""

    id: str
    name: str
    response: dict[str, Any]
    effect: Effect | None = None


# ---- from the local voice detector ---------------------------------------------------------------------------------


class VoiceDetected(Event, frozen=True, tag="voice_detected"):
    """What one `Detect` found.

    Attributes:
        n: of the question.
        voice: how likely a voice is in each window of 32 ms that it completed, oldest first, 0 to 1; none where the sound may be
            our own coming back.
        gap: seconds from the latest pause between our own words to the end of `own`; 0 where there was none.
    """

    n: int
    voice: list[float]
    gap: float = 0.0


# ---- to the line ---------------------------------------------------------------------------------------------------


class Play(Command, frozen=True, tag="play"):
    """Append this audio to what the provider will play; whole frames only."""

    pcm: LinePcm


class Mark(Command, frozen=True, tag="mark"):
    """Ask to be told when everything sent so far has been played."""

    name: str


class Clear(Command, frozen=True, tag="clear"):
    """Throw away what was sent and not yet played."""


class Digits(Command, frozen=True, tag="digits"):
    """Press these keys as the line itself does it (RFC 4733); only for a line that said so."""

    keys: str


class HangUp(Command, frozen=True, tag="hang_up"):
    """End the line's leg."""


# ---- to the model --------------------------------------------------------------------------------------------------


class OpenModel(Command, frozen=True, tag="open_model"):
    """Open a session, after the one that there is was closed.

    Attributes:
        handle: of the snapshot to go on from, empty for a fresh session.
        memory: what a session without that snapshot has to know: what was said, one line each.
        smaller: the last setup was refused; try less.
    """

    handle: str = ""
    memory: str = ""
    smaller: bool = False


class SendAudio(Command, frozen=True, tag="send_audio"):
    """Caller's sound for the model; 20 to 100 ms."""

    pcm: Pcm16k


class SendText(Command, frozen=True, tag="send_text"):
    """Words for the model to act on at once, such as the request to greet the caller."""

    text: str


class SendNote(Command, frozen=True, tag="send_note"):
    """Words for the model to know, and not to answer; they end a generation that runs."""

    text: str


class SendToolResult(Command, frozen=True, tag="send_tool_result", omit_defaults=True):
    """The answer to one tool call; exactly one per call that was not cancelled.

    Attributes:
        secret: no record has it.
        silent: the model shall know it and not speak about it, where it can be asked that (Live API: `scheduling`).
    """

    id: str
    name: str
    response: dict[str, Any]
    secret: bool = False
    silent: bool = False


class EndAudio(Command, frozen=True, tag="end_audio"):
    """The caller has ended for now: what the model heard so far is to be understood without waiting for more.

    Audio may follow; it begins anew (Live API: `audioStreamEnd`).
    """


class CloseModel(Command, frozen=True, tag="close_model"):
    """The call needs the model no longer."""


# ---- to the local voice detector -----------------------------------------------------------------------------------


class Detect(Command, frozen=True, tag="detect"):
    """Find out whether there is a voice in this; answered by one `VoiceDetected`.

    Attributes:
        n: counts the questions of a call from 1.
        line: the caller's sound, going on where the last one ended.
        own: what the caller heard of us meanwhile; empty where that was nothing.
        fresh: it does not go on: this is another sound, from a little before its beginning.
    """

    n: int
    line: LinePcm
    own: LinePcm
    fresh: bool = False


# ---- to tools and to the call's owner ------------------------------------------------------------------------------


class StartTool(Command, frozen=True, tag="start_tool"):
    """Run a tool beside the conversation."""

    id: str
    name: str
    args: dict[str, Any]


class CancelTool(Command, frozen=True, tag="cancel_tool"):
    """Stop a running tool; its answer is not wanted."""

    id: str


class KeepHeard(Command, frozen=True, tag="keep_heard"):
    """The caller heard this, beginning at `at` (the machine's time): it belongs in the recording."""

    at: float
    pcm: LinePcm


class KeepSound(Command, frozen=True, tag="keep_sound"):
    """The caller was told that the call is recorded: sound is kept from now on."""


class Answer(Command, frozen=True, tag="answer"):
    """Stop ringing: the agent's first words are in hand, or waiting longer would be worse."""


class PutThrough(Command, frozen=True, tag="put_through"):
    """Put the caller through to this target, by its name; a `HangUp` of the line follows, and `TransferEnded` answers."""

    target: str


class Tell(Command, frozen=True, tag="tell"):
    """Something for the operator's log, in plain words without secrets or phone numbers."""

    text: str


class Finish(Command, frozen=True, tag="finish"):
    """The call is over; the record's `end_reason` is `reason`."""

    reason: str


LineEvent = LineStarted | LineAudio | LineMark | LineDigit | CallerTyped | LineHeld | LineEnded
ModelEvent = (
    ModelReady
    | ModelAudio
    | Interrupted
    | GenerationComplete
    | TurnComplete
    | CallerSaid
    | AgentSaid
    | CallerActivity
    | ToolCalled
    | ToolsCancelled
    | ModelGoingAway
    | ModelHandle
    | ModelUsage
    | ModelEnded
)
CallEvent = CallStarted | CallAbandoned | EndPolitely | AnsweredBy | TransferEnded
AnyEvent = CallEvent | LineEvent | ModelEvent | ToolFinished | VoiceDetected

SOUND = frozenset((LineAudio, ModelAudio))
"""What comes fifty times a second."""

LineCommand = Play | Mark | Clear | Digits | HangUp
ModelCommand = OpenModel | SendAudio | SendText | SendNote | SendToolResult | EndAudio | CloseModel
ToolCommand = StartTool | CancelTool
CallCommand = KeepHeard | KeepSound | Answer | PutThrough | Tell | Finish
AnyCommand = LineCommand | ModelCommand | ToolCommand | CallCommand | Detect
