"""HTTP tools against a real server: what it is sent, what the model is told, and whom no tool may reach."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from agent.errors import OutcomeUnknown, ToolFailed, UserError
from agent.tools import http_tool as room
from agent.tools.arguments import fit
from agent.tools.effects import Effectful
from agent.tools.http_tool import HttpSpec, HttpTool, make_http_tool
from agent.tools.web import NotPublic, Web, is_public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ID = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


class Crm:
    """A server, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        self.answer: Callable[[], web.StreamResponse] = lambda: web.json_response({"ok": True})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        return self.answer()

    def tool(self, web: Web, path: str = "/", **fields: Any) -> HttpTool:
        secrets = fields.pop("secrets", {})
        given: dict[str, Any] = {"name": "crm", "description": "Ask.", "allow_private": True}
        return make_http_tool(HttpSpec(url=f"{self.url}{path}", **given | fields), secrets, web)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Crm, Web]]:
    app = web.Application()
    runner = web.AppRunner(app)
    crm = Crm("")
    app.router.add_route("*", "/{path:.*}", crm.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    crm.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = Web()
    try:
        yield crm, client
    finally:
        await client.close()
        await runner.cleanup()


async def ask(tool: HttpTool, **args: Any) -> dict[str, Any]:
    """The response, or the words of the failure."""
    fitted = fit(tool.declaration.parameters, args)
    assert not fitted.complaints
    if isinstance(tool, Effectful):
        return (await tool.carry_out(fitted.args, "key-1")).response
    return (await tool.run(fitted.args)).response


# ---- what it is sent -----------------------------------------------------------------------------------------------


async def test_arguments_are_filled_in_or_become_the_query() -> None:
    properties: Any = {
        "id": {"type": "string"},
        "day": {"type": "string"},
        "rooms": {"type": "array", "items": {"type": "integer"}},
        "late": {"type": "boolean"},
    }
    schema = {"type": "object", "properties": properties, "required": ["id"]}
    async with serving() as (crm, client):
        tool = crm.tool(client, "/orders/{id}?kind=new", parameters=schema)
        await ask(tool, id="a/b ü?#%&", day="1 März", rooms=[1, 2.0], late=True)
        ((method, path, headers, body),) = crm.asked
    assert (method, body) == ("GET", "")
    assert path == (
        "/orders/a%2Fb%20%C3%BC%3F%23%25%26?kind=new&day=1+M%C3%A4rz&rooms=1&rooms=2&late=true"
    )
    assert "Idempotency-Key" not in headers


@pytest.mark.parametrize("id_", ["..", ".", ""])
async def test_an_argument_cannot_climb_out_of_its_path(id_: str) -> None:
    async with serving() as (crm, client):
        tool = crm.tool(client, "/orders/{id}", parameters=ID)
        with pytest.raises(ToolFailed, match="crm cannot take"):
            await ask(tool, id=id_)
        assert crm.asked == []


@pytest.mark.parametrize(
    ("body", "sent", "media_type"),
    [
        ("json", '{"name": "Ann", "guests": {"n": 2}}', "application/json"),
        (
            "form",
            "name=Ann&guests=%7B%22n%22%3A2%7D",
            "application/x-www-form-urlencoded",
        ),
    ],
)
async def test_a_body_a_key_and_who_asks(body: str, sent: str, media_type: str) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "guests": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
    async with serving() as (crm, client):
        tool = crm.tool(
            client,
            method="POST",
            body=body,
            parameters=schema,
            headers={"X-Desk": "1"},
            secrets={"Authorization": "Bearer secret"},
        )
        assert await ask(tool, name="Ann", guests={"n": 2}) == {"ok": True}
        ((method, _, headers, got),) = crm.asked
    assert (method, got) == ("POST", sent)
    assert headers["Content-Type"].partition(";")[0] == media_type
    assert (headers["Authorization"], headers["X-Desk"]) == ("Bearer secret", "1")
    assert headers["Idempotency-Key"] == "key-1"


@pytest.mark.parametrize(
    ("fields", "effect"),
    [
        ({"method": "GET"}, False),
        ({"method": "POST"}, True),
        ({"method": "DELETE"}, True),
        ({"method": "POST", "reads_only": True}, False),
        ({"method": "GET", "reads_only": False}, True),
    ],
)
async def test_what_changes_something_is_an_effect(fields: dict[str, Any], effect: bool) -> None:
    client = Web()
    tool = Crm("http://h").tool(client, **fields)
    assert isinstance(tool, Effectful) is effect
    assert tool.declaration.deadline == 10.0


@pytest.mark.parametrize(
    ("path", "parameters", "why"),
    [
        ("/{id}", {}, "http tool crm: {id} in its url is no required parameter"),
        (
            "/{id}",
            {"type": "object", "properties": {"id": {"type": "string"}}},
            "http tool crm: {id} in its url is no required parameter",
        ),
        (
            "/",
            {"type": "object", "properties": {"id": {}}},
            "http tool crm: id can be anything, which no model can be told",
        ),
    ],
)
def test_an_endpoint_that_cannot_work_is_one_clear_error(
    path: str, parameters: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError) as raised:
        Crm("http://h").tool(Web(), path, parameters=parameters)
    assert str(raised.value) == why


# ---- what the model is told ----------------------------------------------------------------------------------------

TOO_LONG = "crm has run, but answered with more than 64 kB, and at most 64 kB can be passed on. Ask for less."
UNSURE = ": it is not known whether it was done. Do not try it again."

Reply = dict[str, Any]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"text": '{"a": 1}', "content_type": "application/json"}, {"a": 1}),
        ({"text": "[1, 2]", "content_type": "application/json"}, {"result": [1, 2]}),
        ({"text": "{}", "content_type": "application/json"}, {"result": "done"}),
        ({"text": "{}", "content_type": "application/problem+json"}, {"result": "done"}),
        ({"text": "at eight"}, {"result": "at eight"}),
        ({"status": 204}, {"result": "done"}),
        ({"text": "<p>", "content_type": "application/json"}, "application/json that is not JSON"),
        ({"body": b"\x89PNG", "content_type": "image/png"}, "image/png that is not JSON"),
        ({"text": "x" * 10_000_000}, TOO_LONG),
        ({"status": 404, "text": "no such order"}, "crm answered 404 Not Found: no such order"),
        ({"status": 409}, "crm answered 409 Conflict."),
        ({"status": 302, "headers": {"Location": "/x"}}, "302 Found: it has moved, and nobody"),
        ({"status": 503}, "crm answered 503 Service Unavailable."),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_answer(method: str, reply: Reply, told: dict[str, Any] | str) -> None:
    async with serving() as (crm, client):
        crm.answer = lambda: web.Response(**reply)
        tool = crm.tool(client, method=method)
        if isinstance(told, str):
            with pytest.raises(ToolFailed) as raised:
                await ask(tool)
            assert told in str(raised.value)
            assert not isinstance(raised.value, OutcomeUnknown)
        else:
            assert await ask(tool) == told
        assert len(crm.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_server_that_fails_leaves_an_effect_unknown(status: int) -> None:
    async with serving() as (crm, client):
        crm.answer = lambda: web.Response(status=status)
        with pytest.raises(ToolFailed, match=rf"crm answered {status} .*Try again later"):
            await ask(crm.tool(client))
        with pytest.raises(OutcomeUnknown, match=f"crm answered {status} .*{UNSURE}"):
            await ask(crm.tool(client, method="POST"))


async def test_nobody_there_is_certain_and_broken_off_is_not() -> None:
    async with serving() as (crm, client):
        nobody = crm.tool(client, method="POST")
        url, crm.url = crm.url, "http://127.0.0.1:1"
        with pytest.raises(ToolFailed, match="crm cannot be reached, and nothing was done") as no:
            await ask(crm.tool(client, method="POST"))
        assert not isinstance(no.value, OutcomeUnknown)
        crm.url = url

        def vanish() -> web.StreamResponse:
            raise asyncio.CancelledError  # the server closes the connection

        crm.answer = vanish
        with pytest.raises(OutcomeUnknown, match="crm broke off"):
            await ask(nobody)
        with pytest.raises(ToolFailed, match="crm broke off. Try again later"):
            await ask(crm.tool(client))


@pytest.mark.parametrize(
    ("fields", "tries"),
    [
        ({"retries": 2}, 3),
        ({"retries": 2, "method": "POST"}, 1),
        ({"retries": 2, "method": "POST", "idempotent": True}, 3),
        ({"retries": 2, "method": "PUT"}, 3),
        ({"retries": 2, "idempotent": False}, 1),
        ({}, 1),
    ],
)
async def test_it_is_tried_again_only_where_that_does_nothing_more(
    fields: dict[str, Any], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PAUSE", 0.001)
    async with serving() as (crm, client):
        crm.answer = lambda: web.Response(status=503)
        with pytest.raises(ToolFailed):
            await ask(crm.tool(client, **fields))
        keys = {headers.get("Idempotency-Key") for _, _, headers, _ in crm.asked}
        assert len(crm.asked) == tries
        assert len(keys) == 1


async def test_a_second_try_that_succeeds_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PAUSE", 0.001)
    async with serving() as (crm, client):
        answers = [web.Response(status=502), web.json_response({"table": 4})]
        crm.answer = lambda: answers.pop(0)
        assert await ask(crm.tool(client, retries=1)) == {"table": 4}


# ---- whom no tool may reach ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:0001::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2001:db8::1",
    ],
)
def test_these_are_no_public_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_these_are(address: str) -> None:
    assert is_public(address)


class Names(AbstractResolver):
    """Knows one address for every name."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        address = self._address
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "crm.example"])
async def test_this_machine_is_not_reached_by_whatever_name(host: str) -> None:
    async with serving() as (crm, client):
        port = crm.url.rpartition(":")[2]
        crm.url = f"http://{host}:{port}"
        if host == "crm.example":
            client._resolver = Names("127.0.0.1")  # whatever a check before would have been told
        tool = crm.tool(client, allow_private=False)
        with pytest.raises(ToolFailed, match="crm cannot be reached") as raised:
            await ask(tool)
        assert crm.asked == []
    cause = raised.value.__cause__
    assert isinstance(cause, OSError)
    assert "is not a public address" in str(cause)
    assert isinstance(cause.__cause__, NotPublic)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1"])
async def test_odd_spellings_of_this_machine_are_no_way_either(host: str) -> None:
    async with serving() as (crm, client):
        crm.url = f"http://{host}:{crm.url.rpartition(':')[2]}"
        with pytest.raises(ToolFailed, match="crm cannot be reached"):
            await ask(crm.tool(client, allow_private=False))
        assert crm.asked == []


async def test_a_redirect_to_this_machine_is_not_followed() -> None:
    async with serving() as (crm, client):
        crm.answer = lambda: web.Response(status=307, headers={"Location": f"{crm.url}/inside"})
        with pytest.raises(ToolFailed, match="307 Temporary Redirect: it has moved"):
            await ask(crm.tool(client))
        assert [path for _, path, _, _ in crm.asked] == ["/"]


async def test_cookies_of_one_call_are_none_of_another() -> None:
    def with_cookie() -> web.StreamResponse:
        response = web.json_response({"ok": True})
        response.set_cookie("call", "1")
        return response

    async with serving() as (crm, client):
        crm.answer = with_cookie
        for _ in range(2):
            await ask(crm.tool(client))
        assert all("Cookie" not in headers for _, _, headers, _ in crm.asked)


async def test_what_is_sent_as_json_is_json() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    async with serving() as (crm, client):
        await ask(crm.tool(client, method="PUT", parameters=schema), n=1.5)
        assert json.loads(crm.asked[0][3]) == {"n": 1.5}
