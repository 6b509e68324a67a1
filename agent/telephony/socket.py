"""Starlette's WebSocket as the `Socket` that drivers know (`agent/drive/socket.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect

from agent.drive.socket import Closed

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

OFFER = "pickup.offer"
"""Our extension of ASGI: `offer(message)` sends at once if that takes no waiting, and says whether it did."""

NO_STATUS = 1005  # RFC 6455, section 7.4.1: a close frame without a code
ABNORMAL = 1006  # ... no close frame at all


class StarletteSocket:
    """A WebSocket that was accepted.

    Args:
        websocket: nobody else may receive from it or send to it any more.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        extension = websocket.scope.get("extensions", {}).get(OFFER, {})
        self.offer: Callable[[str | bytes], bool] = extension.get("offer", _never)

    async def receive(self) -> str | bytes:
        """Next message; raises `Closed` when there will be none.

        The ASGI message itself is read: `receive_text` and `receive_bytes` would refuse each
        other's frames.
        """
        try:
            message = await self._websocket.receive()
        except RuntimeError as error:  # asked again after the end
            raise Closed(ABNORMAL, str(error)) from error
        text: str | None = message.get("text")
        if text is not None:
            return text
        if message["type"] == "websocket.disconnect":
            code = message.get("code", NO_STATUS)
            # uvicorn reports a connection that broke as 1005 without a reason; a real close frame
            # brings one, if empty.
            if code == NO_STATUS and "reason" not in message:
                code = ABNORMAL
            raise Closed(code, message.get("reason") or "")
        data: bytes = message["bytes"]
        return data

    async def write(self, message: str | bytes) -> None:
        """Hand one message to the server; raises `Closed`."""
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._websocket.send({"type": "websocket.send", kind: message})
        except WebSocketDisconnect as error:
            raise Closed(error.code, error.reason) from error
        except RuntimeError as error:
            # Starlette's and uvicorn's way to say that the socket was closed on our side, by us or
            # by the server itself (a message above ws_max_size, a keepalive that got no answer).
            raise Closed(ABNORMAL, str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Close with a code; harmless when closed already."""
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError):
            return


def _never(message: str | bytes) -> bool:
    """ASGI itself sends by a coroutine alone."""
    return False
