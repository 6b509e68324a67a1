"""Starlette's WebSocket behind our port: every way in which it ends is `Closed`."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.websockets import WebSocket

from agent.drive.socket import Closed
from agent.telephony.socket import StarletteSocket


class Server:
    """The ASGI side: gives what the test lists, keeps what is sent."""

    def __init__(self, *incoming: dict[str, Any], fails: Exception | None = None) -> None:
        self.incoming = [{"type": "websocket.connect"}, *incoming]
        self.sent: list[Any] = []
        self.fails = fails

    async def receive(self) -> Any:
        return self.incoming.pop(0)

    async def send(self, message: Any) -> None:
        if self.fails is not None and message["type"] != "websocket.accept":
            raise self.fails
        self.sent.append(message)

    async def accepted(self) -> StarletteSocket:
        websocket = WebSocket({"type": "websocket", "headers": []}, self.receive, self.send)
        await websocket.accept()
        return StarletteSocket(websocket)


async def test_text_and_bytes_are_told_apart() -> None:
    server = Server(
        {"type": "websocket.receive", "text": "t"},
        {"type": "websocket.receive", "bytes": b"b"},
        {"type": "websocket.receive", "text": "", "bytes": None},
        {"type": "websocket.receive", "text": None, "bytes": b""},
    )
    socket = await server.accepted()
    assert [await socket.receive() for _ in range(4)] == ["t", b"b", "", b""]


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ({"code": 1000, "reason": "bye"}, 1000, "bye"),
        ({"code": 1005, "reason": ""}, 1005, ""),  # a close frame without a code
        ({"code": 1005}, 1006, ""),  # how uvicorn reports a reset
        ({"code": 1012}, 1012, ""),  # uvicorn is shutting down
        ({"reason": None}, 1005, ""),
    ],
)
async def test_a_disconnect_is_closed_with_its_code(
    message: dict[str, Any], code: int, reason: str
) -> None:
    socket = await Server({"type": "websocket.disconnect", **message}).accepted()
    for expected in ((code, reason), (1006, None)):  # asked again, it is still closed
        with pytest.raises(Closed) as caught:
            await socket.receive()
        assert caught.value.code == expected[0]
        assert expected[1] is None or caught.value.reason == expected[1]


async def test_what_is_written_is_one_text_frame_and_closing_is_said_once() -> None:
    server = Server()
    socket = await server.accepted()
    await socket.write("hello")
    await socket.close(1008, "why")
    await socket.close(1000, "again")
    assert server.sent[1:] == [
        {"type": "websocket.send", "text": "hello"},
        {"type": "websocket.close", "code": 1008, "reason": "why"},
    ]
    with pytest.raises(Closed):
        await socket.write("late")


@pytest.mark.parametrize(
    "error",
    [
        OSError("the client is gone"),
        RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'."),
    ],
)
async def test_a_server_that_cannot_write_is_a_closed_socket(error: Exception) -> None:
    socket = await Server(fails=error).accepted()
    with pytest.raises(Closed) as caught:
        await socket.write("x")
    assert caught.value.code == 1006
    await socket.close(1000, "harmless")
