"""A customer's server of the tests' own: answers webhooks from a table, and media streams by an agent."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TOKEN = "a fake token"
LOUD = b"\x10\x90" * 800  # 200 ms
CONNECT = "<Connect><Stream url='/media'><Parameter name='who' value='me'/></Stream></Connect>"
Message = dict[str, Any]
Agent = Callable[["Socket"], Awaitable[None]]


class Socket:
    """The server's side of one media stream."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = socket
        self.request = request
        self.got: list[Message] = []
        self.sid = ""

    @property
    def streams(self) -> bool:
        """Whether the caller's audio comes in."""
        return any(message["event"] == "media" for message in self.got)

    async def until(self, event: str) -> Message:
        """Read on until an event of this name comes."""
        while True:
            message: Message = json.loads(await self.ws.receive_str(timeout=5))
            self.got.append(message)
            if message["event"] == "start":
                self.sid = message["streamSid"]
            if message["event"] == event:
                return message

    async def play(self, mulaw: bytes) -> None:
        payload = base64.b64encode(mulaw).decode()
        await self.send(event="media", streamSid=self.sid, media={"payload": payload})

    async def send(self, **message: object) -> None:
        await self.ws.send_json(message)


class Server:
    """Answers webhooks from a table and hands media streams to an agent."""

    def __init__(self, documents: dict[str, str], agent: Agent | None = None) -> None:
        self.documents = documents
        self.agent = agent
        self.posts: list[tuple[str, dict[str, str], str]] = []
        self.upgrades: list[web.Request] = []
        self.sockets: list[Socket] = []
        self.url = ""

    async def webhook(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.posts.append((request.path, form, request.headers.get("X-Twilio-Signature", "")))
        answer = self.documents.get(request.path)
        if answer is None:
            return web.Response(status=404)
        if request.path == "/twilio/status":
            return web.Response(status=204)
        return web.Response(text=f"<Response>{answer}</Response>", content_type="text/xml")

    async def media(self, request: web.Request) -> web.StreamResponse:
        self.upgrades.append(request)
        if self.agent is None:
            return web.Response(status=403)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self.sockets.append(Socket(socket, request))
        await self.agent(self.sockets[-1])
        await socket.close()
        return socket


@asynccontextmanager
async def serving(
    documents: dict[str, str] | str = CONNECT, agent: Agent | None = None
) -> AsyncIterator[Server]:
    if isinstance(documents, str):
        documents = {"/twilio/voice": documents}
    server = Server(documents, agent)
    app = web.Application()
    app.router.add_post("/{path:.*}", server.webhook)
    app.router.add_get("/media", server.media)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
