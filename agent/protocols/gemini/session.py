"""One session with Gemini Live, as a machine without I/O.

    idle --connect--> connecting --open--> setting up --answer--> ready
      |                   |                    |                   |
      +-------------------+--------end---------+-------------------+--> closed

Readiness is this state and nothing else: there is no flag that could outlive the socket. Connecting and the answer to `setup`
have 5 s each, because some refused setups are never answered. The session tells of its end exactly once.

Sources, read 2026-11-21: Google, "Live API - WebSockets API reference" (https://ai.google.dev/api/live), "Live API
capabilities", "Session management"; close reasons as quoted in the public issues named in the table below.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from agent.audio.framing import Samples
from agent.audio.level import audible
from agent.errors import Fate, OwnFault
from agent.events import (
    AgentSaid,
    CallerActivity,
    CallerSaid,
    EndAudio,
    GenerationComplete,
    Interrupted,
    ModelAudio,
    ModelEnded,
    ModelGoingAway,
    ModelHandle,
    ModelReady,
    ModelUsage,
    Pcm24k,
    SendAudio,
    SendNote,
    SendText,
    ToolCalled,
    ToolsCancelled,
    TurnComplete,
)
from agent.protocols.gemini.messages import Faults, ServerContent, parse
from agent.protocols.gemini.setup import DEVELOPER_API, check, row_for, setup_message

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.events import ModelEvent, SendToolResult
    from agent.protocols.gemini.messages import (
        ApiError,
        Blob,
        Content,
        ModalityTokens,
        ServerMessage,
        ToolCall,
        Usage,
    )
    from agent.protocols.gemini.setup import Endpoint, GeminiOptions

CONNECT_SECONDS = 5.0
"""How long the socket may take to open."""

SETUP_SECONDS = 5.0
"""How long the service may take to answer `setup`; 0.3 to 1.8 s is usual."""

UNREADABLE_FRAMES = 5
"""So many malformed frames ..."""

UNREADABLE_SECONDS = 10.0
"""... in so many seconds, and the connection is given up."""

NO_CLOSE_FRAME = 1006
"""RFC 6455, section 7.4.1: the code for a connection that ended without a close frame; also where we gave it up."""

LAST_SENT = 5
"""Frames whose kinds and sizes are told where one of them closed the session."""

REASON_CHARACTERS = 200
"""What is kept of a reason; close frames hold 123 bytes, an `error` message any number."""

AUDIO_IN = "audio/pcm;rate=16000"
"""What we send, always with its rate (Live API capabilities: audio formats)."""

AUDIO_OUT_RATES = frozenset({24000})
"""Hertz that we accept; another rate would be heard at the wrong pitch."""

_AUDIO_HEAD = '{"realtimeInput":{"audio":{"data":"'
_AUDIO_END = '{"realtimeInput":{"audioStreamEnd":true}}'
_AUDIO_TAIL = f'","mimeType":"{AUDIO_IN}"}}}}}}'

# ---- how it ends -----------------------------------------------------------------------------------------------------


class Ending(NamedTuple):
    """One row of the close table: all that is given must match; the first row that matches decides.

    Attributes:
        fate: what it means.
        words: part of the reason in lower case. Reasons are cut at 123 bytes, so only their beginnings are used.
        codes: WebSocket close codes; empty: any.
        when: before or after the setup was answered; None: either.
    """

    fate: Fate
    words: str = ""
    codes: tuple[int, ...] = ()
    when: Literal["setup", "ready"] | None = None


ENDINGS: tuple[Ending, ...] = (
    # The same again cannot work, whatever the code.
    Ending(Fate.FATAL, "api key not valid"),
    Ending(Fate.FATAL, "api key expired"),
    Ending(Fate.FATAL, "user location is not supported"),
    Ending(Fate.FATAL, "exceeded your current quota"),
    Ending(Fate.FATAL, "credits depleted"),
    Ending(Fate.FATAL, "is not found for api version"),
    Ending(Fate.FATAL, "publisher model"),
    Ending(Fate.FATAL, "permission denied"),
    # A handle that is no longer known: yeyu2/Youtube_demos#5. "Requested entity": google-gemini/deprecated-generative-ai-js#487.
    Ending(Fate.FRESH, "session not found"),
    Ending(Fate.FRESH, "requested entity was not found"),
    # Invalid argument: before the answer it is the setup; after it, a message of ours or the session's own state.
    Ending(Fate.STEP_DOWN, codes=(1007,), when="setup"),
    Ending(Fate.FRESH, codes=(1007,)),
    # "Operation is not implemented, or supported, or enabled.": googleapis/js-genai#1236.
    Ending(Fate.STEP_DOWN, "operation is not implemented", (1008,), "setup"),
    Ending(Fate.FRESH, "operation is not implemented", (1008,)),
    # "The operation was aborted.": idle for 150 s, or the connection's time is over (livekit/agents-js#2366).
    Ending(Fate.RESUME, codes=(1008,), when="ready"),
    Ending(Fate.RESUME, "aborted", (1008,)),
    Ending(Fate.FRESH, codes=(1008,)),
    # A message above our own limit: the same session would send it again.
    Ending(Fate.FRESH, codes=(1009,)),
    # 1000 without reason, 1001, 1006, 1011 "Deadline expired", "Internal error", "unavailable", and what nobody has seen yet.
    Ending(Fate.RESUME),
)

REFUSALS: dict[int, Fate] = {
    400: Fate.FATAL,
    401: Fate.FATAL,
    403: Fate.FATAL,
    404: Fate.FATAL,
    429: Fate.FATAL,
}
"""HTTP answers to the upgrade; any other means that trying again can help."""


OVER_QUOTA = ("exceeded your current quota", "resource has been exhausted", "http 429", "error 429")
"""Beginnings of what is said when there is no room for another session: a close (1011), an `error`, or the upgrade's answer."""

INVALID = 1007
"""RFC 6455, section 7.4.1; the service's code for an invalid argument."""


def over_quota(ended: ModelEnded) -> bool:
    """Whether a session ended, or was refused, because our quota is used up: every new one will be, for a while."""
    text = ended.reason.lower()
    by_service = ended.code in (None, NO_CLOSE_FRAME, 1011)
    return ended.fate is Fate.FATAL and by_service and any(words in text for words in OVER_QUOTA)


def classify(code: int, reason: str, *, ready: bool) -> Fate:
    """What a close means.

    Args:
        code: WebSocket close code.
        reason: the peer's words.
        ready: whether the setup had been answered.
    """
    text = reason.lower()
    when = "ready" if ready else "setup"
    return next(
        ending.fate
        for ending in ENDINGS
        if ending.words in text
        and (not ending.codes or code in ending.codes)
        and ending.when in (None, when)
    )


# ---- the machine -----------------------------------------------------------------------------------------------------


class State(StrEnum):
    """Where a session is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SETTING_UP = "setting up"
    READY = "ready"
    CLOSED = "closed"


class Step(StrEnum):
    """What moves it."""

    CONNECT = "connect"
    OPEN = "open"
    ANSWER = "answer"
    END = "end"


TRANSITIONS: dict[tuple[State, Step], State] = {
    (State.IDLE, Step.CONNECT): State.CONNECTING,
    (State.CONNECTING, Step.OPEN): State.SETTING_UP,
    (State.SETTING_UP, Step.ANSWER): State.READY,
    (State.IDLE, Step.END): State.CLOSED,
    (State.CONNECTING, Step.END): State.CLOSED,
    (State.SETTING_UP, Step.END): State.CLOSED,
    (State.READY, Step.END): State.CLOSED,
    (State.CLOSED, Step.END): State.CLOSED,
}


class GeminiSession:
    """Frames in, events out; commands in, frames out.

    Args:
        options: what the session is opened with.
        endpoint: where.
        version: API version; None: the endpoint's own.
        without: names of options to leave out of the setup, after a refusal.

    Attributes:
        warnings: what `check` said.
        faults: what the model sent against its documents, counted.

    Raises:
        UserError: the options name a setting that the model refuses.
    """

    def __init__(
        self,
        options: GeminiOptions,
        endpoint: Endpoint = DEVELOPER_API,
        *,
        version: str | None = None,
        without: Collection[str] = (),
    ) -> None:
        self.warnings = check(options, endpoint, version or endpoint.version)
        self.faults = Faults()
        self._setup = setup_message(options, endpoint, without)
        self._scheduling = None if "tool_scheduling" in without else options.tool_scheduling
        row = row_for(options.model, endpoint)
        self._hushes = row.scheduling and "tool_scheduling" not in without
        self._greets_by = row.greets_by
        self._state = State.IDLE
        self._since = 0.0  # when this state began
        self._samples = Samples()
        self._unreadable: deque[float] = deque(maxlen=UNREADABLE_FRAMES)
        self._last_sent: deque[tuple[str, int]] = deque(maxlen=LAST_SENT)
        self._open_tools: dict[str, bool] = {}  # whether the service still waits for the result

    @property
    def state(self) -> State:
        return self._state

    @property
    def ready(self) -> bool:
        return self._state is State.READY

    @property
    def over(self) -> bool:
        return self._state is State.CLOSED

    # ---- the connection ----

    def connecting(self, now: float) -> None:
        """The driver begins to open the socket: the deadline for that starts."""
        self._step(Step.CONNECT, now)

    def opened(self, now: float) -> str:
        """The socket is open; returns `setup`, which must be the first frame."""
        self._step(Step.OPEN, now)
        return self._setup

    def refused(self, status: int | None, reason: str, now: float) -> list[ModelEvent]:
        """No socket could be opened; `status` is the HTTP answer to the upgrade, if there was one."""
        fate = Fate.RESUME if status is None else REFUSALS.get(status, Fate.RESUME)
        return self._end(fate, None, reason, now)

    def closed(self, code: int, reason: str, now: float) -> list[ModelEvent]:
        """The socket is closed; empty if the session was over before."""
        return self._end(classify(code, reason, ready=self.ready), code, reason, now)

    def stalled(self, reason: str, now: float) -> list[ModelEvent]:
        """The service no longer takes what we send."""
        return self._end(Fate.RESUME, NO_CLOSE_FRAME, reason, now)

    def leave(self) -> None:
        """The call needs the model no longer: no event will tell of the end."""
        self._step(Step.END, self._since)

    def deadline(self) -> float | None:
        """When the socket must be open, or the setup answered."""
        match self._state:
            case State.CONNECTING:
                return self._since + CONNECT_SECONDS
            case State.SETTING_UP:
                return self._since + SETUP_SECONDS
            case _:
                return None

    def tick(self, now: float) -> list[ModelEvent]:
        """Time has passed; nothing happens before `deadline`."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        if self._state is State.CONNECTING:
            reason = f"not connected within {CONNECT_SECONDS:g} s"
            return self._end(Fate.RESUME, None, reason, now)
        # A setting that the service does not like can also mean silence: a smaller setup may be answered.
        reason = f"setup not answered within {SETUP_SECONDS:g} s"
        return self._end(Fate.STEP_DOWN, NO_CLOSE_FRAME, reason, now)

    # ---- to the model ----

    def send(self, command: SendAudio | SendText | SendNote | SendToolResult | EndAudio) -> str:
        """The frame that says `command`; empty for the result of a call that was cancelled while it was on its way here.

        Raises:
            OwnFault: the session is not ready, or the tool result answers no call: an id that the service does not know
                closes the session, and so does one that it has cancelled.
        """
        if self._state is not State.READY:
            raise OwnFault(f"{type(command).__name__} while the session is {self._state}")
        if isinstance(command, SendAudio):
            kind = "audio"
            frame = f"{_AUDIO_HEAD}{b2a_base64(command.pcm, newline=False).decode()}{_AUDIO_TAIL}"
        elif isinstance(command, SendText):
            kind, frame = "text", self._text(command.text)
        elif isinstance(command, EndAudio):
            kind, frame = "audioStreamEnd", _AUDIO_END
        elif isinstance(command, SendNote):
            kind, frame = "note", _content(command.text, complete=False)
        else:
            kind, frame = "toolResponse", self._tool_response(command)
            if not frame:
                return frame
        self._last_sent.append((kind, len(frame)))
        return frame

    def _text(self, text: str) -> str:
        if self._greets_by == "realtime_text":
            return _json({"realtimeInput": {"text": text}})
        return _content(text, complete=True)

    def _tool_response(self, result: SendToolResult) -> str:
        if result.id not in self._open_tools:
            raise OwnFault(f"a result for {result.name} answers no open call")
        # Calls without an id cannot be told apart, so each of them leaves the others open.
        if not (self._open_tools.pop(result.id) if result.id else self._open_tools[""]):
            return ""
        # `name` goes with it: without, the caller is told of a system error (roomkit-live/roomkit#42).
        response: dict[str, Any] = {"name": result.name, "response": result.response}
        if result.id:
            response["id"] = result.id
        if result.silent and self._hushes:
            response["scheduling"] = "SILENT"
        elif self._scheduling is not None:
            response["scheduling"] = self._scheduling
        return _json({"toolResponse": {"functionResponses": [response]}})

    # ---- from the model ----

    def receive(self, frame: str | bytes, now: float) -> list[ModelEvent]:
        """What one frame says.

        A frame may carry several messages at once. Their events come in the order in which a call must act on them:

        1. `setupComplete`: readiness;
        2. the interruption and the calls that it cancels, before any sound of the same frame: that sound belongs to the
           generation that was interrupted, so the call refuses it;
        3. the caller's activity and words, then the agent's words, then its sound;
        4. tool calls after that sound, so that a goodbye is queued before the tool that hangs up after it;
        5. the end of the generation, then of the turn, then what the turn cost;
        6. a resumption handle before the notice that it may be needed for.

        Raises:
            OwnFault: the driver gave a frame to a session that has no socket.
        """
        if self._state is State.CLOSED:
            return []
        if self._state not in (State.SETTING_UP, State.READY):
            raise OwnFault(f"a frame while the session is {self._state}")
        message = parse(frame, self.faults)
        if message is None:
            return self._unreadable_frame(now)
        if message.error is not None:
            return self._failed(message.error, now)
        events: list[ModelEvent] = []
        if message.setup_complete is not None:
            self._answered(events, now)
        if self._state is State.READY:
            self._read(message, events)
        else:
            self.faults.add("message before setupComplete")
        return events

    def _read(self, message: ServerMessage, events: list[ModelEvent]) -> None:
        """A message of a session that is ready, in the order that `receive` names."""
        content = message.server_content or _NO_CONTENT
        if content.interrupted:
            self._samples = Samples()
            events.append(Interrupted())
        if message.tool_call_cancellation is not None:
            cancelled = message.tool_call_cancellation.ids
            self._open_tools |= dict.fromkeys(self._open_tools.keys() & cancelled, False)
            events.append(ToolsCancelled(cancelled))
        self._activity(message, events)
        self._said(content, events)
        if content.model_turn is not None:
            self._speech(content.model_turn, events)
        if message.tool_call is not None:
            self._tool_calls(message.tool_call, events)
        self._completed(content, events)
        self._connection_news(message, events)

    def _answered(self, events: list[ModelEvent], now: float) -> None:
        """`setupComplete`, which is usually the empty object."""
        if self._state is State.READY:
            self.faults.add("second setupComplete")
            return
        seconds = now - self._since
        self._step(Step.ANSWER, now)
        events.append(ModelReady(seconds))

    def _activity(self, message: ServerMessage, events: list[ModelEvent]) -> None:
        """`voiceActivity`, and the signal that allow-listed accounts get instead."""
        names = []
        if message.voice_activity is not None:
            names.append(message.voice_activity.type or message.voice_activity.voice_activity_type)
        if message.voice_activity_detection_signal is not None:
            names.append(message.voice_activity_detection_signal.vad_signal_type)
        for name in names:
            if name in ("ACTIVITY_START", "VAD_SIGNAL_TYPE_SOS"):
                events.append(CallerActivity(active=True))
            elif name in ("ACTIVITY_END", "VAD_SIGNAL_TYPE_EOS"):
                events.append(CallerActivity(active=False))
            else:
                self.faults.add(f"voice activity {name}")

    def _said(self, content: ServerContent, events: list[ModelEvent]) -> None:
        """Fragments of words; an empty one matters only if it is the last."""
        heard, spoken = content.input_transcription, content.output_transcription
        if heard is not None and (heard.text or heard.finished):
            events.append(CallerSaid(heard.text, heard.finished))
        if spoken is not None and (spoken.text or spoken.finished):
            events.append(AgentSaid(spoken.text, spoken.finished))

    def _speech(self, turn: Content, events: list[ModelEvent]) -> None:
        """Every part: one message may carry several, of any size down to 2 bytes. Thoughts are not speech."""
        for part in turn.parts:
            if part.inline_data is None or part.thought or not self._is_speech(part.inline_data):
                continue
            pcm = self._samples.feed(part.inline_data.data)
            if pcm:
                sound = Pcm24k(pcm)
                events.append(ModelAudio(sound, audible(sound)))

    def _is_speech(self, blob: Blob) -> bool:
        """Whether it is sound at a rate that we play; what is not is counted and skipped."""
        if blob.mime_type == "audio/pcm;rate=24000":
            return True
        kind, *parameters = blob.mime_type.lower().replace(" ", "").split(";")
        rates = [value[5:] for value in parameters if value.startswith("rate=")]
        if kind == "audio/pcm" and all(rate in _RATE_NAMES for rate in rates):
            return True  # without a rate it is the documented one
        self.faults.add(f"audio of type {blob.mime_type}")
        return False

    def _tool_calls(self, tools: ToolCall, events: list[ModelEvent]) -> None:
        for call in tools.function_calls:
            if not call.name:
                self.faults.add("tool call without name")
                continue
            self._open_tools[call.id] = True
            events.append(ToolCalled(call.id, call.name, call.args))

    def _completed(self, content: ServerContent, events: list[ModelEvent]) -> None:
        """The end of a generation's sound, then (later, as a rule) of the turn."""
        if content.generation_complete:
            events.append(GenerationComplete())
        if content.turn_complete:
            events.append(TurnComplete(content.turn_complete_reason))
        if content.generation_complete or content.turn_complete:
            self._samples = Samples()  # half a sample must not shift the next generation

    def _connection_news(self, message: ServerMessage, events: list[ModelEvent]) -> None:
        """What concerns the bill and the connection, not the conversation."""
        if message.usage_metadata is not None:
            events.append(_usage(message.usage_metadata))
        update = message.session_resumption_update
        if update is not None:
            resumable = update.resumable and bool(update.new_handle)
            events.append(ModelHandle(update.new_handle if resumable else "", resumable))
        if message.go_away is not None:
            seconds = _duration(message.go_away.time_left)
            if seconds is None:
                self.faults.add("goAway without a readable timeLeft")
            events.append(ModelGoingAway(seconds or 0.0))

    def _unreadable_frame(self, now: float) -> list[ModelEvent]:
        """One malformed frame is skipped; many in a short time mean that the connection is broken."""
        self._unreadable.append(now)
        full = len(self._unreadable) == UNREADABLE_FRAMES
        if full and now - self._unreadable[0] <= UNREADABLE_SECONDS:
            reason = f"{UNREADABLE_FRAMES} malformed frames in {UNREADABLE_SECONDS:g} s"
            return self._end(Fate.RESUME, NO_CLOSE_FRAME, reason, now)
        return []

    def _failed(self, error: ApiError, now: float) -> list[ModelEvent]:
        """An `error` message: the same words that otherwise come as a close reason, with an HTTP code."""
        as_close = 1007 if error.code == 400 else 1011
        fate = classify(as_close, error.message, ready=self.ready)
        return self._end(fate, NO_CLOSE_FRAME, f"error {error.code}: {error.message}", now)

    # ---- the table ----

    def _end(self, fate: Fate, code: int | None, reason: str, now: float) -> list[ModelEvent]:
        """Close the machine; tells of it only the first time."""
        if self._state is State.CLOSED:
            return []
        ours = self.ready and (code == INVALID or reason.startswith("error 400"))
        self._step(Step.END, now)
        words = _KEY.sub("(hidden)", reason)[:REASON_CHARACTERS]
        return [ModelEnded(fate, code, words, list(self._last_sent) if ours else [])]

    def _step(self, step: Step, now: float) -> None:
        state = TRANSITIONS.get((self._state, step))
        if state is None:
            raise OwnFault(f"{step} while the session is {self._state}")
        self._state = state
        self._since = now


_KEY = re.compile(r"(?<=api_key:)[^'\s]+|AIza[\w-]+")
"""An API key: "Permission denied: Consumer 'api_key:...' has been suspended." (google/generative-ai-docs#356)."""

_NO_CONTENT = ServerContent()
_RATE_NAMES = frozenset(str(rate) for rate in AUDIO_OUT_RATES)


def _json(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def _content(text: str, *, complete: bool) -> str:
    """A written turn of the caller's; one that is not complete is known and not answered."""
    turn = {"role": "user", "parts": [{"text": text}]}
    return _json({"clientContent": {"turns": [turn], "turnComplete": complete}})


def _usage(usage: Usage) -> ModelUsage:
    """Tokens of the turn; Vertex AI's names for the answer are `candidates...`."""
    details = usage.response_tokens_details or usage.candidates_tokens_details
    return ModelUsage(
        prompt=usage.prompt_token_count,
        response=usage.response_token_count or usage.candidates_token_count,
        total=usage.total_token_count,
        prompt_by=_by_modality(usage.prompt_tokens_details),
        response_by=_by_modality(details),
    )


def _by_modality(details: list[ModalityTokens]) -> dict[str, int]:
    return {entry.modality: entry.token_count for entry in details}


def _duration(text: str) -> float | None:
    """Seconds of a protobuf Duration in JSON: digits, perhaps a fraction, then `s`; empty is zero (omitted)."""
    if not text:
        return 0.0
    number = text.removesuffix("s")
    if number == text or not number.replace(".", "", 1).isdecimal():
        return None
    return float(number)
