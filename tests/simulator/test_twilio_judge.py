"""Our stand-in for Twilio beside one that nobody here wrote: both call the same echo server."""

from __future__ import annotations

import base64
import json
import wave
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

from agent.simulator.caller import CallerOptions, recorded, run_caller
from agent.simulator.phone import Manners
from agent.simulator.report import Ended

if TYPE_CHECKING:
    from pathlib import Path


Message = dict[str, Any]
ECHOED = 10


class Echo:
    """Echoes speech, marks the tenth frame of it, and hangs up once that mark came back."""

    def __init__(self) -> None:
        self.calls: list[list[Message]] = []

    async def __call__(self, socket: ServerConnection) -> None:
        got: list[Message] = []
        self.calls.append(got)
        echoed = 0
        async for text in socket:
            assert isinstance(text, str)
            got.append(json.loads(text))
            match got[-1]:
                case {"event": "media", "streamSid": sid, "media": {"payload": payload}}:
                    if set(base64.b64decode(payload)) <= {0xFF, 0x7F} or echoed == ECHOED:
                        continue
                    echoed += 1
                    media = {"event": "media", "streamSid": sid, "media": {"payload": payload}}
                    await socket.send(json.dumps(media))
                    if echoed == ECHOED:
                        mark = {"event": "mark", "streamSid": sid, "mark": {"name": "tenth"}}
                        await socket.send(json.dumps(mark))
                case {"event": "mark"}:
                    return
                case _:
                    continue


def shape(value: object) -> object:
    """The same with every value replaced by its type: what a parser sees."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def speech_file(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x20\x00\xe0" * 2000)
    return path


async def test_the_same_server_sees_the_same_messages_from_both(
    tmp_path: Path, simulated_call: Any
) -> None:
    path = speech_file(tmp_path / "caller.wav")
    echo = Echo()
    async with serve(echo, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/media"
        ours = await run_caller(
            CallerOptions(
                url=url,
                parameters={"a": "b"},
                utterances=(recorded(path),),
                manners=Manners(patience_s=0.1),
                start_delay_s=0.0,
            )
        )
        theirs = await simulated_call(url, audio=str(path))
    assert ours.ended is Ended.AGENT_HUNG_UP
    assert ours.violations == []
    assert theirs.violations == []
    assert [mark.name for mark in ours.marks] == ["tenth"]
    assert theirs.result.marks_echoed == ["tenth"]
    assert sum(media.samples for media in ours.media) == len(theirs.audio_received)
    mine, other = (
        {message["event"]: message for message in reversed(messages)} for messages in echo.calls
    )
    for event in ("connected", "media", "mark"):
        assert shape(mine[event]) == shape(other[event]), event
    assert mine["connected"] == other["connected"]
    for start in (mine["start"], other["start"]):
        start["start"]["customParameters"] = {}
    assert shape(mine["start"]) == shape(other["start"])
    for name in ("tracks", "mediaFormat"):
        assert mine["start"]["start"][name] == other["start"]["start"][name]
    assert mine["start"]["sequenceNumber"] == other["start"]["sequenceNumber"] == "1"
    assert mine["media"]["media"]["chunk"] == other["media"]["media"]["chunk"] == "1"
