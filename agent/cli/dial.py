"""`pickup dial NUMBER --agent NAME`: has the running server call somebody, and tells what becomes of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from agent.cli.parts.variables import variables
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config.settings import Settings

app = typer.Typer()

LOOK_EVERY = 0.5
"""Seconds between questions to the server."""

PATIENCE = 10.0
"""Seconds for one request."""

NO_CONTENT = 204

IN_WORDS = {
    "reserved": "waits to be dialled",
    "placing": "is being dialled",
    "placed": "rings, or is on the line",
}
"""A call's state, for a person."""

REACHED = frozenset({"agent_hung_up", "caller_hung_up", "voicemail", "transferred", "time_limit"})
"""Ends of a call in which the agent spoke to somebody, or left its message."""


class Server(NamedTuple):
    """Whom to ask.

    Attributes:
        origin: where it listens.
        token: the API's.
    """

    origin: str
    token: str


@app.command()
def dial(
    number: Annotated[
        str, typer.Argument(help="Who is called: +15551234567, or sip:desk@pbx.example.com.")
    ],
    agent: Annotated[str, typer.Option("--agent", help="Name of the agent's file.")],
    var: Annotated[
        list[str] | None, typer.Option("--var", help="name=value for the agent; may be repeated.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Origin of the server, instead of this machine's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same again is the same call.")
    ] = None,
    later: Annotated[
        bool, typer.Option("--later", help="Outside the callee's hours, call when they begin.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for what becomes of the call.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Have the running server call somebody."""
    from agent.config.settings import Settings, environment
    from agent.protocols.sip.address import callee
    from agent.protocols.twilio.number import e164

    valid = e164(number) or callee(number)
    if valid is None:
        raise UserError(
            "the number should be one such as +15551234567 (E.164), or an address such as sip:desk@pbx.example.com"
        )
    settings = Settings.load(environment(), Path(".env"))
    if settings.api_token is None:
        raise UserError("API_TOKEN is not set: the server takes orders only from who has it")
    asked = Server(server or _here(settings), settings.api_token.get_secret_value())
    order = {"to": valid, "agent": agent, "variables": variables(var or []), "wait": later}
    told = asyncio.run(_dial(asked, order, key or os.urandom(16).hex(), wait=not no_wait))
    if as_json:
        import msgspec

        from agent.server.outbound.api import OrderedCall

        print(msgspec.json.encode(msgspec.convert(told, OrderedCall)).decode())
    if told["state"] == "ended" and told["reason"] not in REACHED:
        raise typer.Exit(1)


def _here(settings: Settings) -> str:
    """Where `pickup serve` with these settings listens."""
    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


async def _dial(server: Server, order: dict[str, Any], key: str, *, wait: bool) -> dict[str, Any]:
    told = await _ask(server, "POST", "/api/calls", order, key)
    try:
        return await _follow(server, told, wait=wait)
    except asyncio.CancelledError:  # Ctrl-C: nobody waits for it any more
        if await _taken_back(server, told["id"]):
            _tell("taken back: it rings no more")
        raise


async def _taken_back(server: Server, call: str) -> bool:
    try:
        await _ask(server, "DELETE", f"/api/calls/{call}")
    except UserError:
        return False  # somebody has answered: they go on talking
    return True


async def _follow(server: Server, told: dict[str, Any], *, wait: bool) -> dict[str, Any]:
    """Tell what becomes of a call until it is over."""
    state = ""
    while True:
        if told["state"] == "ended":
            _tell(f"ended: {told['reason']}")
            return told
        if told["state"] == "reserved" and told["tries"]:
            _tell(f"not reached ({told['reason']}): the server tries again by the agent's file")
            return told
        if told["state"] != state:
            state = told["state"]
            _tell(f"call {told['id']} {IN_WORDS[state]}")
        if not wait:
            return told
        await asyncio.sleep(LOOK_EVERY)
        told = await _ask(server, "GET", f"/api/calls/{told['id']}")


async def _ask(
    server: Server, method: str, path: str, body: dict[str, Any] | None = None, key: str = ""
) -> dict[str, Any]:
    """One request; every answer that is none becomes one clear line."""
    import aiohttp

    headers = {"Authorization": f"Bearer {server.token}"} | (
        {"Idempotency-Key": key} if key else {}
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as http,
            http.request(method, server.origin + path, json=body, headers=headers) as answer,
        ):
            status = answer.status
            told = {} if status == NO_CONTENT else await answer.json()
    except aiohttp.ContentTypeError:
        raise UserError(
            f"what listens at {server.origin} has no API of Pickup's: is API_TOKEN set for the server?"
        ) from None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise UserError(
            f"no server answers at {server.origin} ({type(error).__name__}): start `pickup serve`, or say "
            "where it is with --server"
        ) from None
    if status >= 400:
        raise UserError(f"not called: {told['error']['message']}")
    return dict(told)


def _tell(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
