"""What Gemini Live sends: its messages as types, read in one decode, and mended where they do not fit.

| message | carries |
|---|---|
| `setupComplete` | usually the empty object: its presence is the message |
| `serverContent` | speech (`modelTurn`), transcriptions, `interrupted`, `generationComplete`, `turnComplete` |
| `toolCall`, `toolCallCancellation` | calls with ids, ids that must not be answered |
| `goAway` | `timeLeft`, a protobuf Duration such as `"50s"` |
| `sessionResumptionUpdate` | `newHandle`, `resumable`; may be empty, protobuf JSON omits false |
| `usageMetadata` | tokens of the turn; accompanies any message |
| `voiceActivity`, `voiceActivityDetectionSignal` | where the caller's speech begins and ends |
| `error` | code and message; most failures arrive as a close frame instead |

One frame may carry several. Frames are JSON, text or (usually) binary. Sources, read 2026-11-21: Google, "Live API - WebSockets
API reference" (https://ai.google.dev/api/live), and the types of google-genai 3.4.0.

The service grows fields at any time. A frame with an unknown field, or with a value of the wrong kind, costs exactly that
field, which is counted; a frame that is not a JSON object costs the frame.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec


class Message(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base: camelCase on the wire; an unknown field sends the frame to the slow path, where it is counted."""


# `Any` below marks fields that are known and not used.


class Blob(Message, frozen=True):
    """Inline bytes; `mime_type` says of what: `audio/pcm;rate=24000`."""

    mime_type: str = ""
    data: bytes = b""
    display_name: Any = None


class Part(Message, frozen=True):
    """One piece of a model's turn: sound, text, or a thought (`thought` true), which is nobody's speech."""

    inline_data: Blob | None = None
    text: str | None = None
    thought: bool = False
    thought_signature: Any = None
    executable_code: Any = None
    code_execution_result: Any = None
    function_call: Any = None
    function_response: Any = None
    file_data: Any = None


class Content(Message, frozen=True):
    """What the model says; several parts of any size may come in one message."""

    parts: list[Part] = []
    role: str = ""


class Transcription(Message, frozen=True):
    """A fragment of words, without order against the audio."""

    text: str = ""
    finished: bool = False
    language_code: Any = None
    speaker_label: Any = None
    words: Any = None
    start_offset: Any = None
    end_offset: Any = None


class ServerContent(Message, frozen=True):
    """The model's turn and what is known about the caller's."""

    model_turn: Content | None = None
    interrupted: bool = False
    generation_complete: bool = False
    turn_complete: bool = False
    turn_complete_reason: str | None = None
    input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    interim_input_transcription: Any = None
    waiting_for_input: Any = None
    interaction_status: Any = None
    grounding_metadata: Any = None
    url_context_metadata: Any = None


class SetupComplete(Message, frozen=True):
    """The answer to `setup`."""

    session_id: Any = None
    voice_consent_signature: Any = None


class FunctionCall(Message, frozen=True):
    """One call of a declared function."""

    id: str = ""
    name: str = ""
    args: dict[str, Any] = {}
    partial_args: Any = None
    will_continue: Any = None


class ToolCall(Message, frozen=True):
    """Calls to run; each is answered by its id."""

    function_calls: list[FunctionCall] = []


class ToolCallCancellation(Message, frozen=True):
    """Calls that must not be answered any more."""

    ids: list[str] = []


class GoAway(Message, frozen=True):
    """The connection is about to end."""

    time_left: str = ""


class SessionResumptionUpdate(Message, frozen=True):
    """A snapshot of the session; without a handle while the model generates or a tool runs."""

    new_handle: str = ""
    resumable: bool = False
    last_consumed_client_message_index: Any = None


class ModalityTokens(Message, frozen=True):
    """Tokens of one modality: TEXT, AUDIO, ..."""

    modality: str = ""
    token_count: int = 0


class Usage(Message, frozen=True):
    """Tokens of one turn, not a running sum. Vertex AI says `candidates` where the Developer API says `response`."""

    prompt_token_count: int = 0
    response_token_count: int = 0
    candidates_token_count: int = 0
    total_token_count: int = 0
    prompt_tokens_details: list[ModalityTokens] = []
    response_tokens_details: list[ModalityTokens] = []
    candidates_tokens_details: list[ModalityTokens] = []
    thoughts_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    tool_use_prompt_tokens_details: Any = None
    cached_content_token_count: Any = None
    cache_tokens_details: Any = None
    traffic_type: Any = None
    service_tier: Any = None


class VoiceActivity(Message, frozen=True):
    """The service's voice detection: `ACTIVITY_START` or `ACTIVITY_END`."""

    type: str = ""
    voice_activity_type: str = ""
    audio_offset: Any = None


class VoiceActivityDetectionSignal(Message, frozen=True):
    """The same, allow-listed accounts only: `VAD_SIGNAL_TYPE_SOS` or `VAD_SIGNAL_TYPE_EOS`."""

    vad_signal_type: str = ""


class ApiError(Message, frozen=True):
    """google.rpc.Status: an HTTP-like code and a text."""

    code: int = 0
    message: str = ""
    status: str = ""
    details: Any = None


class ServerMessage(Message, frozen=True):
    """One frame."""

    setup_complete: SetupComplete | None = None
    server_content: ServerContent | None = None
    tool_call: ToolCall | None = None
    tool_call_cancellation: ToolCallCancellation | None = None
    go_away: GoAway | None = None
    session_resumption_update: SessionResumptionUpdate | None = None
    usage_metadata: Usage | None = None
    voice_activity: VoiceActivity | None = None
    voice_activity_detection_signal: VoiceActivityDetectionSignal | None = None
    error: ApiError | None = None
    interaction_status: Any = None


class Faults:
    """What the model sent that its documents do not say, counted by a short name.

    At most `KINDS` names are kept, since the peer chooses some of them; later ones count as `others`.
    """

    KINDS = 64

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, kind: str) -> None:
        """Count one fault; names longer than 80 characters are cut."""
        kind = kind[:80]
        if kind not in self.counts and len(self.counts) >= self.KINDS:
            kind = "others"
        self.counts[kind] = self.counts.get(kind, 0) + 1


_decode = msgspec.json.Decoder(ServerMessage, strict=False).decode
"""Not strict: protobuf's JSON may write a number as a string (int64)."""


def parse(frame: str | bytes, faults: Faults) -> ServerMessage | None:
    """Read one frame; None if it is not a JSON object. Never raises.

    Args:
        frame: text, or the UTF-8 bytes of a binary frame.
        faults: told what had to be left out.
    """
    try:
        return _decode(frame)
    except (ValueError, RecursionError):
        pass  # something in it does not fit: find out what, and keep the rest
    try:
        raw = msgspec.json.decode(frame)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        faults.add("malformed frame")
        return None
    return _mend(raw, ServerMessage, "", faults)


class _Field(NamedTuple):
    """How a field is called in Python and what it holds: `message` where that is (a list of) messages."""

    attribute: str
    kind: Any
    message: type[Message] | None
    many: bool


@cache
def _fields(kind: type[Message]) -> dict[str, _Field]:
    """The fields of a message by their name on the wire."""
    fields = {}
    for field in msgspec.structs.fields(kind):
        held = [arg for arg in get_args(field.type) if isinstance(arg, type)]
        message = next((arg for arg in held if issubclass(arg, Message)), None)
        many = get_origin(field.type) is list
        fields[field.encode_name] = _Field(field.name, field.type, message, many)
    return fields


_M = TypeVar("_M", bound=Message)


def _mend(raw: dict[str, Any], kind: type[_M], path: str, faults: Faults) -> _M:
    """Build a message from plain JSON without what is unknown or of the wrong kind; null is absent (protobuf JSON)."""
    values: dict[str, Any] = {}
    fields = _fields(kind)
    for name, value in raw.items():
        where = f"{path}.{name}" if path else name
        field = fields.get(name)
        if field is None:
            faults.add(f"unknown field {where}")
        elif value is not None:
            mended = _mend_value(value, field, where, faults)
            if mended is not None:
                values[field.attribute] = mended
    return kind(**values)


def _mend_value(value: Any, field: _Field, where: str, faults: Faults) -> Any:
    """The value of one field, or None where it does not fit."""
    if field.message is not None:
        items = value if field.many else [value]
        if isinstance(items, list) and all(isinstance(item, dict) for item in items):
            mended = [_mend(item, field.message, where, faults) for item in items]
            return mended if field.many else mended[0]
    else:
        try:
            return msgspec.convert(value, field.kind, strict=False)
        except ValueError:
            pass  # counted below
    faults.add(f"misfit {where}")
    return None
