"""The judge is Google's own client: it must complete a session with the stand-in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soxr
from google import genai
from google.genai import live, types
from websockets.asyncio.client import connect

from agent.simulator.gemini import GeminiStandIn, Options, serving
from agent.simulator.gemini_setup import Conduct
from agent.simulator.script import SCRIPT_FOLDER, SPEECH_FOLDER, ScriptBrain, load, read_clip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK = 640  # 20 ms of 16 kHz PCM16


@pytest.fixture(autouse=True)
def plain_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client insists on wss: only the scheme is changed on its way out."""

    def plainly(uri: str, **options: Any) -> Any:
        headers = options["additional_headers"]  # what else it gives is for TLS
        return connect(uri.replace("wss://", "ws://", 1), additional_headers=headers, proxy=None)

    monkeypatch.setattr(live, "ws_connect", plainly)


@asynccontextmanager
async def session(
    config: dict[str, Any], model: str = "gemini-3.8-live", key: str = "a-key"
) -> AsyncIterator[tuple[live.AsyncSession, GeminiStandIn]]:
    play = load(SCRIPT_FOLDER / "demo.yaml")
    conduct = Conduct(setup_seconds=0.01, model_delay_seconds=0.02, speed=40, bad_key="bad-key")
    async with serving(Options(conduct=conduct), lambda: ScriptBrain(play)) as (stand_in, origin):
        options = types.HttpOptions(base_url=origin, api_version="v1beta")
        client = genai.Client(api_key=key, http_options=options)
        try:
            async with client.aio.live.connect(
                model=model, config=types.LiveConnectConfig.model_validate(config)
            ) as talk:
                yield talk, stand_in
        finally:
            await client.aio.aclose()
            client.close()


def caller_pcm(clip: str) -> bytes:
    """A caller's clip as a bridge would send it: 16 kHz, with quiet around it."""
    pcm, rate = read_clip(SPEECH_FOLDER / clip)
    wide = soxr.resample(np.frombuffer(pcm, "<i2"), rate, 16_000)
    quiet = np.zeros(16_000, "<i2")
    return bytes(np.concatenate([quiet[:3200], np.asarray(wide, "<i2"), quiet]).tobytes())


async def send(talk: live.AsyncSession, pcm: bytes) -> None:
    for at in range(0, len(pcm), CHUNK):
        chunk = types.Blob(data=pcm[at : at + CHUNK], mime_type="audio/pcm;rate=16000")
        await talk.send_realtime_input(audio=chunk)


async def reply(talk: live.AsyncSession) -> list[types.LiveServerMessage]:
    """Everything up to the end of the reply's generation; its assumed playback is not awaited."""
    messages: list[types.LiveServerMessage] = []
    while True:
        async for message in talk.receive():  # ends with each turn
            messages.append(message)
            if message.server_content and message.server_content.generation_complete:
                return messages


def audio_bytes(messages: list[types.LiveServerMessage]) -> int:
    return sum(len(message.data or b"") for message in messages)


def said(messages: list[types.LiveServerMessage]) -> str:
    contents = [message.server_content for message in messages if message.server_content]
    return "".join(
        content.output_transcription.text or ""
        for content in contents
        if content.output_transcription
    )


END_CALL = {"name": "end_call", "description": "Ends the call.", "behavior": "NON_BLOCKING"}


async def test_a_whole_session_with_googles_client() -> None:
    config = {
        "response_modalities": ["AUDIO"],
        "system_instruction": "You are the front desk.",
        "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}},
        "input_audio_transcription": {},
        "output_audio_transcription": {},
        "session_resumption": {},
        "context_window_compression": {
            "trigger_tokens": 25_000,
            "sliding_window": {"target_tokens": 8_000},
        },
        "realtime_input_config": {"automatic_activity_detection": {"silence_duration_ms": 500}},
        "tools": [{"function_declarations": [END_CALL]}],
    }
    async with session(config) as (talk, stand_in):
        await talk.send_realtime_input(text="Greet the caller.")
        greeting = await reply(talk)
        assert said(greeting) == "This is the front desk of Harbour Dental. How can I help you?"
        clip, _ = read_clip(SPEECH_FOLDER / "agent_greeting.wav")
        assert audio_bytes(greeting) == len(clip)

        await send(talk, caller_pcm("caller_open.wav"))
        answer = await reply(talk)
        assert any(m.server_content and m.server_content.interrupted for m in answer)
        assert said(answer) == "We open at eight in the morning, and we close at six."

        await send(talk, caller_pcm("caller_bye.wav"))
        goodbye = await reply(talk)
        [call] = [message.tool_call for message in goodbye if message.tool_call]
        assert call.function_calls is not None
        [function] = call.function_calls
        assert (function.name, function.args) == ("end_call", {})
        result = types.FunctionResponse(
            id=function.id, name=function.name, response={"output": "ended"}
        )
        await talk.send_tool_response(function_responses=[result])
        await asyncio.sleep(0.05)

        stats = stand_in.stats()
        assert stats.violations == []
        [record] = stats.sessions
        assert record.heard == ["Hi. What time do you open tomorrow?", "Great, thank you. Goodbye."]
        assert [moment.what for moment in record.moments].count("tool_result") == 1
        updates = [m.session_resumption_update for m in goodbye if m.session_resumption_update]
        assert not updates[-1].resumable or updates[-1].new_handle


async def test_the_client_is_told_that_its_key_is_bad() -> None:
    with pytest.raises(genai.errors.APIError, match="API key not valid"):
        async with session({}, key="bad-key"):
            raise AssertionError("no session with a bad key")


async def test_the_client_is_told_that_its_model_is_unknown() -> None:
    with pytest.raises(genai.errors.APIError, match="models/gemini-9 is not found for API version"):
        async with session({}, model="gemini-9"):
            raise AssertionError("no session with an unknown model")


async def test_thinking_is_refused_by_3_8() -> None:
    config = {"thinking_config": {"thinking_level": "LOW"}}
    with pytest.raises(genai.errors.APIError, match="invalid argument"):
        async with session(config):
            raise AssertionError("no session with a thinkingConfig")
