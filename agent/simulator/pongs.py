"""Pongs that come late, as they do in the field: 8 to 30 s (github.com/aicc2025/sip-to-ai, #14)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.protocol import State

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection


def answer_late(socket: ServerConnection, seconds: float) -> None:
    """Answer every ping of this connection so many seconds late from now on."""
    protocol = socket.protocol
    loop = asyncio.get_running_loop()
    send_now = protocol.send_frame

    def flush(frame: Frame) -> None:
        if protocol.state is State.OPEN:
            send_now(frame)
            socket.send_data()

    def send_frame(frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            loop.call_later(seconds, flush, frame)
        else:
            send_now(frame)

    protocol.send_frame = send_frame  # type: ignore[method-assign]  # the library has no hook
