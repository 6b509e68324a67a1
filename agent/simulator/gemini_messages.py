"""What a Live API client may say: every message, its fields and their kinds, as data.

Source: Google, Live API reference (https://ai.google.dev/api/live), Function calling
(https://ai.google.dev/api/caching#FunctionDeclaration) and the types of google-genai 3.4.0.

A field's kind is a word: `string`, `bool`, `number`, `int` (a whole number, or its decimal
digits in a string: protobuf's JSON mapping of int64), `bytes` (base64, both alphabets),
`object` (any JSON object), `any`, the name of a message or of an enumeration below, `[kind]`
for a list and `{kind}` for a map with free keys.
"""

from __future__ import annotations

MESSAGES: dict[str, dict[str, str]] = {
    # exactly one of these per message ("Live API reference", "Sending messages")
    "ClientMessage": {
        "setup": "Setup",
        "clientContent": "ClientContent",
        "realtimeInput": "RealtimeInput",
        "toolResponse": "ToolResponse",
    },
    "Setup": {
        "model": "string",
        "generationConfig": "GenerationConfig",
        "systemInstruction": "Content",
        "tools": "[Tool]",
        "realtimeInputConfig": "RealtimeInputConfig",
        "inputAudioTranscription": "AudioTranscriptionConfig",
        "outputAudioTranscription": "AudioTranscriptionConfig",
        "sessionResumption": "SessionResumptionConfig",
        "contextWindowCompression": "ContextWindowCompressionConfig",
        "historyConfig": "HistoryConfig",
        "proactivity": "ProactivityConfig",
        "safetySettings": "[SafetySetting]",
        "avatarConfig": "object",
        "labels": "{string}",
    },
    "GenerationConfig": {
        "responseModalities": "[Modality]",
        "temperature": "number",
        "topP": "number",
        "topK": "number",
        "maxOutputTokens": "int",
        "candidateCount": "int",
        "presencePenalty": "number",
        "frequencyPenalty": "number",
        "seed": "int",
        "mediaResolution": "MediaResolution",
        "speechConfig": "SpeechConfig",
        "thinkingConfig": "ThinkingConfig",
        "enableAffectiveDialog": "bool",
        "translationConfig": "TranslationConfig",
    },
    "SpeechConfig": {
        "voiceConfig": "VoiceConfig",
        "languageCode": "string",
        "multiSpeakerVoiceConfig": "object",
    },
    "VoiceConfig": {
        "prebuiltVoiceConfig": "PrebuiltVoiceConfig",
        "replicatedVoiceConfig": "object",
        "voice": "any",
    },
    "PrebuiltVoiceConfig": {"voiceName": "string"},
    "ThinkingConfig": {
        "includeThoughts": "bool",
        "thinkingBudget": "int",
        "thinkingLevel": "ThinkingLevel",
    },
    "TranslationConfig": {"echoTargetLanguage": "bool", "targetLanguageCode": "string"},
    "Content": {"parts": "[Part]", "role": "string"},
    "Part": {
        "text": "string",
        "inlineData": "Blob",
        "fileData": "object",
        "functionCall": "object",
        "functionResponse": "object",
        "executableCode": "object",
        "codeExecutionResult": "object",
        "videoMetadata": "object",
        "thought": "bool",
        "thoughtSignature": "bytes",
    },
    "Blob": {"data": "bytes", "mimeType": "string"},
    "Tool": {
        "functionDeclarations": "[FunctionDeclaration]",
        "googleSearch": "object",
        "googleSearchRetrieval": "object",
        "googleMaps": "object",
        "codeExecution": "object",
        "computerUse": "object",
        "fileSearch": "object",
        "urlContext": "object",
    },
    "FunctionDeclaration": {
        "name": "string",
        "description": "string",
        "behavior": "Behavior",
        "parameters": "Schema",
        "parametersJsonSchema": "any",
        "response": "Schema",
        "responseJsonSchema": "any",
    },
    "Schema": {
        "type": "Type",
        "format": "string",
        "title": "string",
        "description": "string",
        "nullable": "bool",
        "enum": "[string]",
        "items": "Schema",
        "properties": "{Schema}",
        "required": "[string]",
        "propertyOrdering": "[string]",
        "anyOf": "[Schema]",
        "minItems": "int",
        "maxItems": "int",
        "minProperties": "int",
        "maxProperties": "int",
        "minLength": "int",
        "maxLength": "int",
        "minimum": "number",
        "maximum": "number",
        "pattern": "string",
        "default": "any",
        "example": "any",
    },
    "RealtimeInputConfig": {
        "automaticActivityDetection": "AutomaticActivityDetection",
        "activityHandling": "ActivityHandling",
        "turnCoverage": "TurnCoverage",
        "interimTranscriptTimestampEnabled": "bool",
    },
    "AutomaticActivityDetection": {
        "disabled": "bool",
        "startOfSpeechSensitivity": "StartSensitivity",
        "endOfSpeechSensitivity": "EndSensitivity",
        "prefixPaddingMs": "int",
        "silenceDurationMs": "int",
    },
    "AudioTranscriptionConfig": {
        "languageCodes": "[string]",
        "languageAuto": "object",
        "languageHints": "object",
        "customVocabulary": "[string]",
        "adaptationPhrases": "[string]",
        "wordTimestamp": "bool",
        "diarization": "bool",
        "mode": "string",
    },
    # `transparent` exists on Vertex only ("Live API reference", "SessionResumptionConfig")
    "SessionResumptionConfig": {"handle": "string"},
    "ContextWindowCompressionConfig": {"triggerTokens": "int", "slidingWindow": "SlidingWindow"},
    "SlidingWindow": {"targetTokens": "int"},
    "HistoryConfig": {"initialHistoryInClientContent": "bool"},
    "ProactivityConfig": {"proactiveAudio": "bool", "proactiveVideo": "bool"},
    "SafetySetting": {"category": "string", "threshold": "string", "method": "string"},
    "ClientContent": {"turns": "[Content]", "turnComplete": "bool"},
    "RealtimeInput": {
        "audio": "Blob",
        "video": "Blob",
        "text": "string",
        "audioStreamEnd": "bool",
        "activityStart": "Empty",
        "activityEnd": "Empty",
        "mediaChunks": "[Blob]",
    },
    "Empty": {},
    "ToolResponse": {"functionResponses": "[FunctionResponse]"},
    "FunctionResponse": {
        "id": "string",
        "name": "string",
        "response": "object",
        "scheduling": "Scheduling",
        "willContinue": "bool",
        "parts": "[object]",
    },
}

ENUMS: dict[str, frozenset[str]] = {
    "Modality": frozenset({"MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO"}),
    "MediaResolution": frozenset(
        f"MEDIA_RESOLUTION_{size}" for size in ("UNSPECIFIED", "LOW", "MEDIUM", "HIGH")
    ),
    "ThinkingLevel": frozenset(
        {"THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"}
    ),
    "Behavior": frozenset({"UNSPECIFIED", "BLOCKING", "NON_BLOCKING"}),
    # not INTERRUPTED: that word closed a session (https://github.com/zavora-ai/adk-rust/issues/673)
    "Scheduling": frozenset({"SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"}),
    "ActivityHandling": frozenset(
        {"ACTIVITY_HANDLING_UNSPECIFIED", "START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"}
    ),
    "TurnCoverage": frozenset(
        {
            "TURN_COVERAGE_UNSPECIFIED",
            "TURN_INCLUDES_ONLY_ACTIVITY",
            "TURN_INCLUDES_ALL_INPUT",
            "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
        }
    ),
    # there is no MEDIUM
    "StartSensitivity": frozenset(
        f"START_SENSITIVITY_{level}" for level in ("UNSPECIFIED", "HIGH", "LOW")
    ),
    "EndSensitivity": frozenset(
        f"END_SENSITIVITY_{level}" for level in ("UNSPECIFIED", "HIGH", "LOW")
    ),
    # Google's own samples write a schema's type in either case
    "Type": frozenset(
        spelling
        for name in ("STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
        for spelling in (name, name.lower())
    ),
}

SERVED_TOOLS = frozenset({"functionDeclarations", "googleSearch"})
"""The only kinds of tool that Live models take (Google: Live API, Tool use)."""


def snake(name: str) -> str:
    """Return a field's name as the server writes it in its reasons: `generation_config`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


SPELLINGS: dict[str, dict[str, str]] = {
    message: {spelling: field for field in fields for spelling in (field, snake(field))}
    for message, fields in MESSAGES.items()
}
"""Per message, both accepted spellings of each field (protobuf's JSON mapping) to the camelCase one."""
