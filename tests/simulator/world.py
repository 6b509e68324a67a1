"""The stand-in for Twilio, a customer's server and Twilio's own client for it, all on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from agent.simulator.callee import Callee, Directory
from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.cdr import CallRecord
from agent.simulator.network import NetworkOptions
from agent.simulator.report import CallReport
from agent.simulator.rest import TwilioStandIn, serving as twilio_serving
from agent.telephony.twilio_rest import HttpClient
from tests.simulator.customer import CONNECT, LOUD, TOKEN, Agent, Server, Socket, serving

ACCOUNT = "AC" + "1" * 32
KEY, SECRET = "SK" + "2" * 32, "hush"
US, CALLEE = "+12025550100", "+12025550101"
EVENTS = ["initiated", "ringing", "answered", "completed"]
OPTIONS = NetworkOptions(
    account_sid=ACCOUNT, auth_token=TOKEN, api_key=KEY, api_secret=SECRET, start_delay_s=0.0
)


class World:
    """The stand-in, a customer's server, and Twilio's client for it."""

    def __init__(self, twilio: TwilioStandIn, server: Server, client: Any) -> None:
        self.twilio = twilio
        self.server = server
        self.client = client

    async def place(self, **more: Any) -> Any:
        given = {"to": CALLEE, "from_": US, "url": f"{self.server.url}/twilio/voice"}
        return await self.client.calls.create_async(**(given | more))

    async def placed(self, **more: Any) -> CallRecord:
        """A call, to its end."""
        call = await self.place(**more)
        return await self.twilio.network.settled(call.sid)

    async def refused(self, **more: Any) -> tuple[int, int]:
        """HTTP status and code of a refusal."""
        with pytest.raises(TwilioRestException) as caught:
            await self.place(**more)
        return caught.value.status, caught.value.code

    def options(self, **more: Any) -> CallerOptions:
        """Somebody calls our customer."""
        given: dict[str, Any] = {
            "url": self.server.url,
            "auth_token": TOKEN,
            "account_sid": ACCOUNT,
            "start_delay_s": 0.0,
            "max_seconds": 8.0,
        }
        return CallerOptions(**(given | more))

    async def call(self, **more: Any) -> tuple[CallReport, CallRecord]:
        """A call to our customer, to its end."""
        options = self.options(**more)
        report = await run_caller(options, network=self.twilio.network)
        return report, self.twilio.network.calls[options.call_sid].record

    def children(self, of: CallRecord) -> list[CallRecord]:
        """The calls that a call's <Dial> placed."""
        known = [call.record for call in self.twilio.network.calls.values()]
        return [record for record in known if record.parent_sid == of.sid]

    def told(self, path: str = "/twilio/status") -> list[dict[str, str]]:
        """The forms that were posted there; each was signed."""
        validator = RequestValidator(TOKEN)
        for at, form, signature in self.server.posts:
            assert validator.validate(self.server.url + at, form, signature)
        return [form for at, form, _ in self.server.posts if at == path]


@asynccontextmanager
async def world(
    documents: dict[str, str] | None = None,
    agent: Agent | None = None,
    parties: dict[str, Callee] | None = None,
    options: NetworkOptions = OPTIONS,
    login: tuple[str, str] = (ACCOUNT, TOKEN),
) -> AsyncIterator[World]:
    known = {"/twilio/voice": CONNECT, "/twilio/status": "", "/twilio/amd": ""} | (documents or {})
    async with (
        serving(known, agent) as server,
        twilio_serving(options, Directory(parties)) as twilio,
        HttpClient(twilio.origin) as http,
    ):
        yield World(twilio, server, Client(*login, ACCOUNT, http_client=http))


async def until_stopped(socket: Socket) -> None:
    await socket.until("stop")


async def goodbye(socket: Socket) -> None:
    """Speak, and hang up when it was heard."""
    await socket.until("start")
    await socket.play(LOUD)
    await socket.send(event="mark", streamSid=socket.sid, mark={"name": "bye"})
    await socket.until("mark")


async def streaming(w: World) -> None:
    """Wait until the agent got the caller's first audio."""
    async with asyncio.timeout(5):
        while not (w.server.sockets and w.server.sockets[0].streams):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def missing(request: Any) -> tuple[int, int]:
    with pytest.raises(TwilioRestException) as caught:
        await request
    return caught.value.status, caught.value.code
