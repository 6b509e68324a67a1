"""Gemini Live's `setup`: from typed options to the one message that opens a session.

Three tables hold what is known, so that a change at Google is a change of data:

- `MODELS`: what each model accepts. A setting that its row refuses never reaches the wire, because the service answers with a
  close (1007) or, for some, with nothing at all.
- `SETTINGS`: where each option is put, and on which rung it stands: which options are given up first when a setup is refused.
- `Endpoint`: address and authentication; another door to the same models is another row.

Sources, read 2026-11-21: Google, "Live API - WebSockets API reference" (https://ai.google.dev/api/live), "Live API
capabilities", "Live API best practices", the pages of the models; where a limit is known only from reports, they are named.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


class Endpoint(msgspec.Struct, frozen=True):
    """A door to the Live API.

    Attributes:
        name: what it is called in errors.
        path: path of the WebSocket; `{version}` is the API version.
        version: the API version that the reference documents.
        auth_header: header that carries the credential; never the query, which ends up in logs.
        auth_value: its value; `{key}` is the credential.
        model_prefix: what goes before a model's name on the wire.
    """

    name: str
    path: str
    version: str
    auth_header: str
    auth_value: str
    model_prefix: str

    def wire_model(self, model: str) -> str:
        """The model's name as `setup.model` has it."""
        return self.model_prefix + model.removeprefix(self.model_prefix)


DEVELOPER_API = Endpoint(
    name="Gemini Developer API",
    path="/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent",
    version="v1beta",
    auth_header="x-goog-api-key",
    auth_value="{key}",
    model_prefix="models/",
)

Behaviour = Literal["BLOCKING", "NON_BLOCKING"]
Scheduling = Literal["SILENT", "WHEN_IDLE", "INTERRUPT"]
Sensitivity = Literal["HIGH", "LOW"]
ThinkingLevel = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"]


class ModelRow(msgspec.Struct, frozen=True):
    """What one model accepts.

    Attributes:
        name: the model's name without prefix.
        thinking_levels: accepted values of `thinkingLevel`; empty: `thinkingConfig` is refused.
        thinking_budget: whether `thinkingBudget` is accepted.
        thinking_default: level to send when none is chosen, because the model wants one.
        behaviours: accepted values of a function's `behavior`, the first is sent when none is chosen; empty: never sent.
        scheduling: whether a tool's answer may say when it is spoken about.
        proactivity: API versions that serve `proactivity` for this model.
        affective_dialog: whether `enableAffectiveDialog` is accepted.
        language_code: whether `speechConfig.languageCode` is accepted; otherwise the language is asked for in words.
        history: whether it can be told a note in mid-call (`clientContent` that is not the end of a turn).
        greets_by: which message makes it speak first.
        input_rate: Hertz of the audio that it hears natively.
        output_rate: Hertz of the audio that it speaks.
    """

    name: str
    thinking_levels: tuple[ThinkingLevel, ...] = ()
    thinking_budget: bool = False
    thinking_default: ThinkingLevel | None = None
    behaviours: tuple[Behaviour, ...] = ()
    scheduling: bool = False
    proactivity: tuple[str, ...] = ()
    affective_dialog: bool = False
    language_code: bool = False
    history: bool = False
    greets_by: Literal["client_content", "realtime_text"] = "realtime_text"
    input_rate: int = 16000
    output_rate: int = 24000


_NATIVE_AUDIO_25 = ModelRow(
    name="gemini-2.5-flash-native-audio-preview-12-2025",
    thinking_budget=True,
    behaviours=("NON_BLOCKING", "BLOCKING"),
    scheduling=True,
    proactivity=("v1alpha",),  # v1beta closes 1007 on it (sohzm/cheating-daddy#479)
    affective_dialog=True,
    history=True,
    greets_by="client_content",
)

MODELS: dict[str, ModelRow] = {
    row.name: row
    for row in (
        # A blocking call is cancelled by the service when the caller's sound goes on, and on a telephone it always does
        # ("Migrate to Gemini 3.8 Live"): hence not blocking unless it is asked for.
        ModelRow(
            name="gemini-3.8-live",
            behaviours=("NON_BLOCKING", "BLOCKING"),
            scheduling=True,
            history=True,
            greets_by="client_content",
        ),
        # Without thinkingConfig its setup is never answered ("Thinking with Live API").
        ModelRow(
            name="gemini-3.8-live-extended-thinking",
            thinking_levels=("LOW", "MEDIUM", "HIGH"),
            thinking_budget=True,
            thinking_default="LOW",
            behaviours=("NON_BLOCKING",),
            history=True,
            greets_by="client_content",
        ),
        # clientContent after the first turn closed 1007 (google/adk-python#5018, livekit/agents#5238).
        ModelRow(
            name="gemini-3.1-flash-live-preview",
            thinking_levels=("MINIMAL", "LOW", "MEDIUM", "HIGH"),
        ),
        _NATIVE_AUDIO_25,
        msgspec.structs.replace(
            _NATIVE_AUDIO_25, name="gemini-live-2.5-flash-native-audio", proactivity=()
        ),
    )
}


def row_for(model: str, endpoint: Endpoint = DEVELOPER_API) -> ModelRow:
    """The model's row; an unknown model gets one that accepts only what every model does."""
    name = model.removeprefix(endpoint.model_prefix)
    return MODELS.get(name) or ModelRow(name=name)


class ToolDeclaration(msgspec.Struct, frozen=True):
    """A function that the model may call.

    Attributes:
        name: at most 64 of letters, digits, `_`, `.`, `-`.
        description: when to call it and what it does.
        parameters: its arguments as a schema of type object (OpenAPI 3.0 subset); empty: none.
    """

    name: str
    description: str
    parameters: dict[str, Any] = {}


class GeminiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is opened with. None: not sent, the service's default holds.

    Attributes:
        model: name, with or without the endpoint's prefix.
        voice: name of a prebuilt voice.
        language: BCP-47 tag of the language to speak.
        system_instruction: the persona.
        tools: functions that the model may call.
        tool_behaviour: whether the conversation waits for a tool; None: the first that the model's row names.
        tool_scheduling: when the model speaks about a tool's answer.
        temperature: above 0 to 2; 0 closes the session (googleapis/js-genai#1578).
        thinking_level: how much the model thinks before it speaks.
        thinking_budget: the same, in tokens.
        proactive_audio: let the model stay silent on speech that is not meant for it.
        affective_dialog: let the model answer in the caller's mood.
        resumption: ask for handles with which a new connection goes on where this one ended.
        handle: such a handle.
        compression_trigger: tokens of context at which the window is compressed; the service's default (80 % of the window)
            never fires on a call, while every turn is billed the whole context.
        compression_target: tokens that remain.
        transcribe_caller: ask for the caller's words.
        transcribe_agent: ask for the agent's words.
        silence_ms: silence that ends the caller's turn; 500-800 is Google's advice.
        prefix_ms: speech before it counts as begun.
        start_sensitivity: how easily speech is heard to begin.
        end_sensitivity: how easily speech is heard to end.
    """

    model: str
    system_instruction: str
    voice: str | None = None
    language: str | None = None
    tools: tuple[ToolDeclaration, ...] = ()
    tool_behaviour: Behaviour | None = None
    tool_scheduling: Scheduling | None = None
    temperature: float | None = None
    thinking_level: ThinkingLevel | None = None
    thinking_budget: int | None = None
    proactive_audio: bool | None = None
    affective_dialog: bool | None = None
    resumption: bool = True
    handle: str | None = None
    compression_trigger: int | None = 25_000
    compression_target: int | None = 8_000
    transcribe_caller: bool = True
    transcribe_agent: bool = True
    silence_ms: int | None = None
    prefix_ms: int | None = None
    start_sensitivity: Sensitivity | None = None
    end_sensitivity: Sensitivity | None = None


class Rung(StrEnum):
    """When an option is given up after a setup was refused without saying which field was wrong."""

    EXTRA = "extra"  # first: the call is as good without it, or nearly
    USEFUL = "useful"  # last: tools and resumption
    ESSENTIAL = "essential"  # never: model, persona, audio


class Setting(NamedTuple):
    """One option: where it is put in `setup` (dotted, as on the wire), its rung, and its value's form on the wire."""

    option: str
    path: str
    rung: Rung
    wire: Callable[[Any], Any] = lambda value: value


def _switch(value: bool) -> dict[str, Any] | None:
    """On is the empty object; off is absent."""
    return {} if value else None


_VAD = "realtimeInputConfig.automaticActivityDetection"

SETTINGS: tuple[Setting, ...] = (
    Setting("model", "model", Rung.ESSENTIAL),
    Setting(
        "system_instruction",
        "systemInstruction",
        Rung.ESSENTIAL,
        lambda text: {"parts": [{"text": text}]} if text else None,
    ),
    Setting(
        "voice",
        "generationConfig.speechConfig.voiceConfig.prebuiltVoiceConfig.voiceName",
        Rung.EXTRA,
    ),
    Setting("language", "generationConfig.speechConfig.languageCode", Rung.EXTRA),
    Setting("temperature", "generationConfig.temperature", Rung.EXTRA),
    Setting("thinking_level", "generationConfig.thinkingConfig.thinkingLevel", Rung.EXTRA),
    Setting("thinking_budget", "generationConfig.thinkingConfig.thinkingBudget", Rung.EXTRA),
    Setting("affective_dialog", "generationConfig.enableAffectiveDialog", Rung.EXTRA),
    Setting("proactive_audio", "proactivity.proactiveAudio", Rung.EXTRA),
    # Inside generationConfig these two are unknown names and close 1007.
    Setting("transcribe_caller", "inputAudioTranscription", Rung.EXTRA, _switch),
    Setting("transcribe_agent", "outputAudioTranscription", Rung.EXTRA, _switch),
    Setting("compression_trigger", "contextWindowCompression.triggerTokens", Rung.EXTRA),
    Setting(
        "compression_target", "contextWindowCompression.slidingWindow.targetTokens", Rung.EXTRA
    ),
    Setting("silence_ms", f"{_VAD}.silenceDurationMs", Rung.EXTRA),
    Setting("prefix_ms", f"{_VAD}.prefixPaddingMs", Rung.EXTRA),
    Setting(
        "start_sensitivity",
        f"{_VAD}.startOfSpeechSensitivity",
        Rung.EXTRA,
        "START_SENSITIVITY_{}".format,
    ),
    Setting(
        "end_sensitivity", f"{_VAD}.endOfSpeechSensitivity", Rung.EXTRA, "END_SENSITIVITY_{}".format
    ),
    Setting("resumption", "sessionResumption", Rung.USEFUL, _switch),
    Setting("handle", "sessionResumption.handle", Rung.USEFUL),
    Setting("tools", "tools", Rung.USEFUL),
    # Part of the tools' declarations; dropping it leaves the tools.
    Setting("tool_behaviour", "tools.functionDeclarations.behavior", Rung.EXTRA),
    # Not part of setup: it rides on each tool's answer.
    Setting("tool_scheduling", "toolResponse.functionResponses.scheduling", Rung.EXTRA),
)


def check(options: GeminiOptions, endpoint: Endpoint, version: str) -> list[str]:
    """Compare options with the model's row before anything is sent.

    Args:
        options: the session's options.
        endpoint: where the session will be opened.
        version: API version that will be used.

    Returns:
        Warnings, one sentence each.

    Raises:
        UserError: a setting that this model refuses; the text names it.
    """
    row = row_for(options.model, endpoint)
    thinks = bool(row.thinking_levels) or row.thinking_budget
    for setting, refused, why in (
        ("tool_behaviour", _outside(options.tool_behaviour, row.behaviours), row.behaviours),
        ("tool_scheduling", bool(options.tool_scheduling) and not row.scheduling, ()),
        (
            "thinking_level",
            _outside(options.thinking_level, row.thinking_levels),
            row.thinking_levels,
        ),
        ("thinking_budget", options.thinking_budget is not None and not row.thinking_budget, ()),
        (
            "proactive_audio",
            options.proactive_audio is not None and version not in row.proactivity,
            (),
        ),
        ("affective_dialog", options.affective_dialog is not None and not row.affective_dialog, ()),
    ):
        if refused:
            hint = f"it takes {' or '.join(why)}" if why else "leave it out"
            raise UserError(f"{setting}: {row.name} does not accept this setting here; {hint}.")
    if thinks and options.thinking_level is not None and options.thinking_budget is not None:
        raise UserError("thinking_level, thinking_budget: give one of the two.")
    if options.temperature is not None and not 0 < options.temperature <= 2:
        raise UserError("temperature: must be above 0 and at most 2.")
    if options.handle is not None and not options.resumption:
        raise UserError("handle: needs resumption.")
    for tool in options.tools:
        wire_schema(tool)
    if row.name in MODELS:
        return []
    return [f"{row.name} is not a model this version knows: only common settings are sent to it."]


def _outside(value: str | None, accepted: tuple[str, ...]) -> bool:
    return value is not None and value not in accepted


def setup_message(
    options: GeminiOptions, endpoint: Endpoint = DEVELOPER_API, without: Collection[str] = ()
) -> str:
    """The first frame of a session, as JSON.

    Args:
        options: checked options (`check`).
        endpoint: where it goes.
        without: names of options to leave out, for a smaller setup after a refusal.
    """
    row = row_for(options.model, endpoint)
    if row.thinking_default is not None:
        without = [option for option in without if not option.startswith("thinking_")]
    values = msgspec.structs.asdict(options)
    values["model"] = endpoint.wire_model(options.model)
    if options.thinking_level is None and options.thinking_budget is None:
        values["thinking_level"] = row.thinking_default
    if options.language is not None and (not row.language_code or "language" in without):
        values["language"] = None
        values["system_instruction"] = _speak(options)
    values["tools"] = _tools(options, row, without) or None
    setup: dict[str, Any] = {"generationConfig": {"responseModalities": ["AUDIO"]}}
    for setting in SETTINGS:
        value = values[setting.option]
        if value is None or setting.option in without or setting.option in _ELSEWHERE:
            continue
        wire = setting.wire(value)
        if wire is not None:
            _place(setup, setting.path, wire)
    return msgspec.json.encode({"setup": setup}).decode()


_ELSEWHERE = ("tool_behaviour", "tool_scheduling")
"""Options that do not have a place of their own in `setup`."""


def _place(setup: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        setup = setup.setdefault(parent, {})
    setup[last] = value


def _speak(options: GeminiOptions) -> str:
    """The persona and the language: with native audio no code may be set, the language is asked for in these words.

    (Google, "Live API best practices": specify the language in the system instruction.)
    """
    language = options.language
    order = f"RESPOND IN {language}. YOU MUST RESPOND UNMISTAKABLY IN {language}."
    return f"{options.system_instruction}\n\n{order}".lstrip()


def _tools(
    options: GeminiOptions, row: ModelRow, without: Collection[str]
) -> list[dict[str, Any]] | None:
    """`tools`: one Tool that declares all functions."""
    behaviour = options.tool_behaviour or next(iter(row.behaviours), None)
    declarations = []
    for tool in options.tools:
        declaration: dict[str, Any] = {"name": tool.name, "description": tool.description}
        schema = wire_schema(tool)
        if schema is not None:
            declaration["parameters"] = schema
        if behaviour is not None and "tool_behaviour" not in without:
            declaration["behavior"] = behaviour
        declarations.append(declaration)
    return [{"functionDeclarations": declarations}] if declarations else None


class Schema(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """A function's arguments: the part of OpenAPI 3.0 that Gemini reads (Google, "Function calling": Schema)."""

    type: str = ""
    format: str | None = None
    title: str | None = None
    description: str | None = None
    nullable: bool | None = None
    enum: list[str] | None = None
    items: Schema | None = None
    min_items: int | None = None
    max_items: int | None = None
    properties: dict[str, Schema] | None = None
    required: list[str] | None = None
    property_ordering: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    any_of: list[Schema] | None = None
    default: Any = None
    example: Any = None

    def __post_init__(self) -> None:
        """JSON Schema writes types in lower case, the Live API's enum is in upper case."""
        msgspec.structs.force_setattr(self, "type", self.type.upper())


def wire_schema(tool: ToolDeclaration) -> dict[str, Any] | None:
    """A tool's `parameters` as the service reads them; None for a function without arguments.

    An object without properties is refused by the service, and so is any keyword that it does not know.

    Raises:
        UserError: the schema has something that Gemini does not read.
    """
    if not tool.parameters.get("properties"):
        return None
    try:
        schema = msgspec.convert(tool.parameters, Schema)
    except msgspec.ValidationError as error:
        raise UserError(f"tools.{tool.name}.parameters: {error}.") from error
    wire: dict[str, Any] = msgspec.to_builtins(schema)
    return wire
