"""The rules of the Live API's wire, as data, and the checker that holds a client to them.

The stand-in is stricter than the service: whatever a document forbids, or a field report saw
refused, ends the session with the close code and reason that were reported, and is recorded
under the rule's name with the document that says so. Where nobody has published the reason,
the service's catch-all stands in: "Request contains an invalid argument."
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from agent.errors import PeerError
from agent.simulator.gemini_messages import ENUMS, MESSAGES, SERVED_TOOLS, SPELLINGS, snake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

API = "https://ai.google.dev/api/live"
GUIDE = "https://ai.google.dev/gemini-api/docs/live-api/capabilities"
TOOLS = "https://ai.google.dev/gemini-api/docs/live-api/tools"
BEST = "https://ai.google.dev/gemini-api/docs/live-api/best-practices"
THINKING = "https://ai.google.dev/gemini-api/docs/live-api/thinking"
MODEL = "https://ai.google.dev/gemini-api/docs/models/gemini-3.8-live"
RESUME = "https://ai.google.dev/gemini-api/docs/live-api/session-management"
GITHUB = "https://github.com"

INVALID = "Request contains an invalid argument."
UNKNOWN = "Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field."
REASON_BYTES = 123  # a close frame carries no more (RFC 6455, section 5.5.1)

MAX_CHUNK_SECONDS = 1.0
RATES_HZ = range(8_000, 48_001)
MIME = re.compile(r"audio/pcm;\s*rate=(\d{1,6})")
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


class Rule(NamedTuple):
    """One rule: the close that answers its breach, and the public document it is from."""

    doc: str
    reason: str = INVALID
    code: int = 1007


RULES: dict[str, Rule] = {
    # the frame
    "text_frame": Rule(API),
    "json": Rule(API),
    "one_message": Rule(API),
    "unknown_name": Rule(API, UNKNOWN),
    "wrong_type": Rule(API),
    "one_spelling": Rule(API),
    # the order
    "setup_first": Rule(API),
    "second_setup": Rule(f"{GITHUB}/BerriAI/litellm/issues/31494"),
    "input_before_setup_complete": Rule(API),
    "idle": Rule(
        f"{GITHUB}/autonomous-ai/autonomous-os/issues/238", "The operation was aborted.", 1008
    ),
    # setup
    "api_key": Rule(API, "API key not valid. Please pass a valid API key."),
    "model_name": Rule(API),
    "model_served": Rule(
        f"{GITHUB}/google/adk-python/issues/3964",
        "models/{model} is not found for API version {version}, or is not supported for"
        " bidiGenerateContent. Call ListModels to see the list of available models.",
        1008,
    ),
    "one_modality": Rule(f"{GITHUB}/googleapis/go-genai/issues/490"),
    "text_modality": Rule(
        MODEL,
        "The requested combination of response modalities (TEXT) is not supported by the model.",
    ),
    "text_modality_internal": Rule(
        f"{GITHUB}/googleapis/python-genai/issues/2238", "Internal error encountered.", 1011
    ),
    "thinking_config": Rule(THINKING),
    "thinking_one_of": Rule(THINKING),
    "proactivity": Rule(MODEL),
    "affective_dialog": Rule(MODEL),
    "tool_kind": Rule(TOOLS),
    "function_name": Rule(TOOLS),
    "behavior": Rule(TOOLS),
    "handle_stale": Rule(RESUME, "BidiGenerateContent session not found", 1008),
    "handle_in_use": Rule(
        f"{GITHUB}/aicc2025/sip-to-ai/issues/14", "Internal error encountered.", 1011
    ),
    # input
    "one_input": Rule(API),
    "media_chunks": Rule(
        f"{GITHUB}/kizuna-ai-lab/sokuji/issues/150",
        "realtime_input.media_chunks is deprecated. Use audio, video, or text instead.",
    ),
    "base64": Rule(API),
    "even_bytes": Rule(GUIDE),
    "mime": Rule(GUIDE),
    "chunk_length": Rule(BEST),
    "manual_activity": Rule(API),
    "audio_before_activity": Rule(f"{GITHUB}/BasedHardware/omi/issues/7611"),
    "stream_end_manual": Rule(GUIDE),
    # tools
    "tool_id_missing": Rule(TOOLS),
    "tool_id_unknown": Rule(TOOLS),
    "tool_name_missing": Rule(f"{GITHUB}/roomkit-live/roomkit/issues/42"),
    "tool_name_wrong": Rule(TOOLS),
    "tool_response_object": Rule(f"{GITHUB}/vercel/ai/issues/20695"),
    "tool_cancelled": Rule(API),
    "scheduling": Rule(f"{GITHUB}/zavora-ai/adk-rust/issues/673"),
}


class RuleError(PeerError):
    """A client broke a rule of the wire.

    Attributes:
        rule: Its name in `RULES`.
        detail: What was wrong with this message, for the person who mends the client.
        code: WebSocket close code that ends the session.
        reason: Close reason, at most 123 bytes.
    """

    def __init__(self, rule: str, detail: str, **fill: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail
        self.code = RULES[rule].code
        text = RULES[rule].reason.format(**fill)
        self.reason = text.encode()[:REASON_BYTES].decode(errors="ignore")


class Audio(NamedTuple):
    """One chunk of the caller's speech: mono PCM16, little endian, at `rate_hz`."""

    pcm: bytes
    rate_hz: int


# ------------------------------------------------------------------------ the quick way in

_MIME_RATES = {f"audio/pcm;rate={rate}": rate for rate in (8_000, 16_000, 24_000, 48_000)}


class _Blob(msgspec.Struct, forbid_unknown_fields=True):
    data: bytes
    mimeType: str  # noqa: N815  # the wire's own name


class _Input(msgspec.Struct, forbid_unknown_fields=True):
    audio: _Blob


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    realtimeInput: _Input  # noqa: N815  # the wire's own name


_quick = msgspec.json.Decoder(_Frame)
_json = msgspec.json.Decoder(dict[str, Any])


def read(frame: str | bytes) -> Audio | dict[str, Any]:
    """Decode one client frame: a chunk of audio, or any other message with camelCase names.

    Raises:
        RuleError: the frame breaks a rule that needs no knowledge of the session.
    """
    if not isinstance(frame, str):
        raise RuleError("text_frame", f"a binary frame of {len(frame)} bytes")
    try:
        blob = _quick.decode(frame).realtimeInput.audio
    except (msgspec.ValidationError, msgspec.DecodeError):
        return _read_slowly(frame)
    return checked_audio(blob.data, blob.mimeType)


def checked_audio(pcm: bytes, mime: str) -> Audio:
    """Check a chunk of audio: its mime type, whole samples, at most a second.

    "Audio data in the Live API is always raw, little-endian, 16-bit PCM" (Google: Live API
    capabilities, Audio formats); any rate may be sent, and must be stated.
    """
    rate = _MIME_RATES.get(mime)
    if rate is None:
        match = MIME.fullmatch(mime)
        rate = int(match[1]) if match else 0
        if rate not in RATES_HZ:
            raise RuleError("mime", f"audio of type {mime[:60]!r}, not 'audio/pcm;rate=16000'")
    if len(pcm) % 2:
        raise RuleError("even_bytes", f"{len(pcm)} bytes are not whole 16-bit samples")
    if len(pcm) > 2 * rate * MAX_CHUNK_SECONDS:
        raise RuleError("chunk_length", f"{len(pcm) / 2 / rate:.1f} s of audio in one message")
    return Audio(pcm, rate)


def _read_slowly(frame: str) -> Audio | dict[str, Any]:
    try:
        raw = _json.decode(frame)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RuleError("json", f"{error} in {frame[:60]!r}") from error
    message: dict[str, Any] = _checked(raw, "ClientMessage", "")
    if len(message) != 1:
        raise RuleError("one_message", f"{sorted(message) or 'no field'} in one message")
    inputs = message.get("realtimeInput")
    if inputs is not None and len(inputs) != 1:
        raise RuleError("one_input", f"{sorted(inputs) or 'no field'} in one realtimeInput")
    if inputs is not None and "audio" in inputs:
        blob = inputs["audio"]
        return checked_audio(blob.get("data", b""), blob.get("mimeType", ""))
    return message


# ------------------------------------------------------------------------ the schema


def _checked(value: Any, kind: str, path: str) -> Any:
    """Return `value` with camelCase names and decoded bytes, or raise what is wrong with it."""
    if kind in MESSAGES:
        return _checked_message(value, kind, path)
    if kind.startswith("["):
        if not isinstance(value, list):
            raise _wrong(value, "a list", path)
        return [_checked(item, kind[1:-1], f"{path}[{at}]") for at, item in enumerate(value)]
    if kind.startswith("{"):
        if not isinstance(value, dict):
            raise _wrong(value, "an object", path)
        return {key: _checked(item, kind[1:-1], f"{path}.{key}") for key, item in value.items()}
    if kind in ENUMS:
        if not (isinstance(value, str) and value in ENUMS[kind]):
            rule = "scheduling" if kind == "Scheduling" else "wrong_type"
            raise RuleError(rule, f"{path} is {value!r:.60}, not one of {sorted(ENUMS[kind])}")
        return value
    return _SCALARS[kind](value, path)


def _checked_message(value: Any, kind: str, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, "an object", path)
    checked: dict[str, Any] = {}
    for key, item in value.items():
        field = SPELLINGS[kind].get(key)
        if field is None:
            at = re.sub(r"\[\d+\]", "", path) or "client_message"
            raise RuleError("unknown_name", f"{key!r:.60} in {path or kind}", name=key, path=at)
        if field in checked:
            raise RuleError("one_spelling", f"{field} is given twice, in both spellings")
        if item is None:
            continue  # null is a field left out (protobuf's JSON mapping)
        checked[field] = _checked(item, MESSAGES[kind][field], f"{path}.{snake(field)}".lstrip("."))
    return checked


def _wrong(value: Any, wanted: str, path: str) -> RuleError:
    rule = "tool_response_object" if path.endswith("].response") else "wrong_type"
    return RuleError(rule, f"{path or 'the message'} is {value!r:.60}, not {wanted}")


def _of(*types: type, wanted: str) -> Callable[[Any, str], Any]:
    def check(value: Any, path: str) -> Any:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise _wrong(value, wanted, path)
        return value

    return check


def _whole(value: Any, path: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise _wrong(value, "a whole number", path)
    return int(value)


def _bytes(value: Any, path: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(value, "base64 in a string", path)
    try:
        padding = "=" * (-len(value) % 4)  # protobuf's JSON mapping takes it with and without
        return binascii.a2b_base64(value.translate(_URL_SAFE) + padding, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise RuleError("base64", f"{path}: {error}") from error


_URL_SAFE = str.maketrans("-_", "+/")
_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "string": _of(str, wanted="a string"),
    "bool": _of(bool, wanted="true or false"),
    "number": _of(int, float, wanted="a number"),
    "object": _of(dict, wanted="an object"),
    "any": lambda value, path: value,
    "int": _whole,
    "bytes": _bytes,
}


# ------------------------------------------------------------------------ what models refuse

REFUSED: dict[str, dict[str, str]] = {
    "gemini-3.8-live": {
        "setup.generationConfig.thinkingConfig": "thinking_config",
        "setup.generationConfig.enableAffectiveDialog": "affective_dialog",
        "setup.generationConfig.responseModalities=TEXT": "text_modality",
        "setup.proactivity": "proactivity",
        "realtimeInput.mediaChunks": "media_chunks",
    },
    "gemini-3.8-live-extended-thinking": {
        "setup.generationConfig.enableAffectiveDialog": "affective_dialog",
        "setup.generationConfig.responseModalities=TEXT": "text_modality",
        "setup.generationConfig.thinkingConfig.thinkingLevel=MINIMAL": "thinking_config",
        "setup.proactivity": "proactivity",
        "setup.tools.functionDeclarations.behavior=BLOCKING": "behavior",
        "realtimeInput.mediaChunks": "media_chunks",
        "toolResponse.functionResponses.scheduling": "scheduling",
    },
    "gemini-3.1-flash-live-preview": {
        "setup.generationConfig.responseModalities=TEXT": "text_modality_internal",
        "setup.tools.functionDeclarations.behavior": "behavior",
        "realtimeInput.mediaChunks": "media_chunks",
        "toolResponse.functionResponses.scheduling": "scheduling",
    },
    "gemini-2.5-flash-native-audio-preview-12-2025": {},
}
"""Per served model: what it refuses, and by which rule (`path` present, or `path=value`)."""

UNANSWERED: dict[str, tuple[str, ...]] = {
    "gemini-3.1-flash-live-preview": (  # https://github.com/PatterAI/Patter/issues/210
        "setup.proactivity",
        "setup.generationConfig.enableAffectiveDialog",
    ),
}
"""Per model: what makes its setup wait for ever instead of being refused."""


def found(message: dict[str, Any], path: str) -> Iterator[Any]:
    """Yield every value that a dotted path reaches, through lists."""
    values: list[Any] = [message]
    for name in path.split("."):
        reached = [value[name] for value in values if isinstance(value, dict) and name in value]
        values = [
            item for value in reached for item in (value if isinstance(value, list) else [value])
        ]
    yield from values


def _holds(message: dict[str, Any], condition: str) -> bool:
    path, _, wanted = condition.partition("=")
    return any(not wanted or value == wanted for value in found(message, path))


def check_refused(message: dict[str, Any], model: str) -> None:
    """Raise the rule by which `model` refuses this message, if it does."""
    for condition, rule in REFUSED[model].items():
        if _holds(message, condition):
            raise RuleError(rule, f"{model} takes no {condition}")


def check_setup(message: dict[str, Any], version: str) -> str | None:
    """Check a whole setup message for one API version.

    Returns:
        The model's id, or None where the service is known never to answer such a setup.

    Raises:
        RuleError: the setup is refused.
    """
    setup = message["setup"]
    name = str(setup.get("model", ""))
    if not name.startswith("models/"):
        raise RuleError("model_name", f"model is {name!r:.60}, not 'models/...'")
    model = name.removeprefix("models/")
    if model not in REFUSED:
        raise RuleError("model_served", f"no model {model!r:.60}", model=model, version=version)
    if "proactivity" in setup and version != "v1alpha":
        # https://github.com/sohzm/cheating-daddy/issues/479: only v1alpha has the field
        raise RuleError("unknown_name", "proactivity", name="proactivity", path="setup")
    modalities = setup.get("generationConfig", {}).get("responseModalities", [])
    if len(modalities) > 1:
        raise RuleError("one_modality", f"responseModalities {modalities}")
    _check_tools(setup.get("tools", []))
    check_refused(message, model)
    if any(_holds(message, condition) for condition in UNANSWERED.get(model, ())):
        return None
    if model.endswith("extended-thinking"):
        thinking = setup.get("generationConfig", {}).get("thinkingConfig")
        if thinking is None:
            return None  # 20 s and no answer, in the field
        if len({"thinkingLevel", "thinkingBudget"} & set(thinking)) != 1:
            raise RuleError("thinking_one_of", "exactly one of thinkingLevel, thinkingBudget")
    return model


def _check_tools(tools: list[dict[str, Any]]) -> None:
    for tool in tools:
        if unserved := set(tool) - SERVED_TOOLS:
            raise RuleError("tool_kind", f"Live models take no {sorted(unserved)}")
        for function in tool.get("functionDeclarations", []):
            if not FUNCTION_NAME.fullmatch(function.get("name", "")):
                raise RuleError("function_name", f"{function.get('name')!r:.60}")
