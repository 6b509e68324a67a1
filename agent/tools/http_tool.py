"""Tools that are HTTP endpoints, described in the agent's file: method, URL, schema, and how to prove who asks."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from agent.errors import OutcomeUnknown, ToolFailed, UserError
from agent.tools.answers import DONE, LARGEST, presentable, too_large
from agent.tools.base import Answer, Declaration
from agent.tools.effects import unknown
from agent.tools.schema import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.tools.web import Web

PLACE = re.compile(r"\{(\w+)\}")

READS = frozenset({"GET", "HEAD"})
REPEATABLE = READS | {"PUT", "DELETE"}
"""Methods whose second request does nothing more (RFC 9110, section 9.2.2)."""

NOT_BEGUN = frozenset({429, 503})
"""Refusals before anything was done (RFC 6585, section 4; RFC 9110, section 15.6.4)."""

TRY_AGAIN = NOT_BEGUN | {502, 504}

PAUSE = 0.2
"""Seconds before the second try; twice as long before each further one."""

SAID = 500
"""Characters of an error's body that the model is told."""


class HttpSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint.

    Attributes:
        name: what the model calls it.
        description: when to call it.
        method: of HTTP.
        url: with `{argument}` where an argument goes; it is percent-encoded there.
        headers: sent as they are; secrets are handed over apart.
        parameters: JSON Schema of its arguments; empty: it takes none.
        body: how the arguments that the URL does not take are sent, unless the method has no body: then they are its query.
        timeout: seconds for all tries together.
        retries: further tries, where a repeated request does nothing more.
        idempotent: whether it does nothing more; None: the method says so. With it goes an `Idempotency-Key`.
        reads_only: whether it changes nothing; None: the method says so.
        allow_private: whether it may reach this machine and its network.
    """

    name: str
    description: str
    method: str = "GET"
    url: str
    headers: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    body: Literal["json", "form"] = "json"
    timeout: float = 10.0
    retries: int = 0
    idempotent: bool | None = None
    reads_only: bool | None = None
    allow_private: bool = False

    @property
    def changes_nothing(self) -> bool:
        return self.method in READS if self.reads_only is None else self.reads_only

    @property
    def repeatable(self) -> bool:
        if self.idempotent is not None:
            return self.idempotent
        return self.changes_nothing or self.method in REPEATABLE

    def declaration(self) -> Declaration:
        """What the model is told.

        Raises:
            UserError: a model cannot be told the schema, or the URL asks for what is no required argument.
        """
        where = f"http tool {self.name}"
        parameters = plain(self.parameters, where, strict=True) if self.parameters else None
        required = (parameters or {}).get("required", ())
        for place in PLACE.findall(self.url):
            if place not in required:
                raise UserError(f"{where}: {{{place}}} in its url is no required parameter")
        return Declaration(self.name, self.description, parameters, deadline=self.timeout)


class _Reply(NamedTuple):
    """What came back: its status, its media type and its body, None where that is longer than we take."""

    status: int
    reason: str
    media_type: str
    body: bytes | None


class HttpTool:
    """One endpoint as a tool.

    Args:
        spec: the endpoint.
        declaration: what `spec.declaration()` says.
        secrets: headers that prove who asks.
        web: sends.
    """

    def __init__(
        self, spec: HttpSpec, declaration: Declaration, secrets: Mapping[str, str], web: Web
    ) -> None:
        self.declaration = declaration
        self._spec = spec
        self._secrets = secrets
        self._web = web

    async def run(self, args: dict[str, Any]) -> Answer:
        """Ask the endpoint; its answer goes to the model."""
        return await self._ask(args, "")

    async def _ask(self, args: dict[str, Any], key: str) -> Answer:
        spec = self._spec
        url, rest = self._url(args)
        for tries_left in range(spec.retries if spec.repeatable else 0, -1, -1):
            try:
                reply = await self._send(url, rest, key)
            except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
                if not tries_left:
                    said = f"{spec.name} cannot be reached, and nothing was done."
                    raise ToolFailed(said) from error
            except (aiohttp.ClientError, OSError) as error:
                if not tries_left:
                    raise self._doubt("broke off") from error
            else:
                if reply.status not in TRY_AGAIN or not tries_left:
                    return self._answer(reply)
            await asyncio.sleep(PAUSE * 2 ** (spec.retries - tries_left))
        raise AssertionError

    def _url(self, args: dict[str, Any]) -> tuple[URL, dict[str, Any]]:
        """The URL with its arguments, and the arguments that are not in it."""
        rest = dict(args)

        def fill(place: re.Match[str]) -> str:
            value = rest.pop(place[1], args.get(place[1], ""))
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            if text in ("", ".", ".."):  # would be another path
                raise ToolFailed(f"{self._spec.name} cannot take {text!r} as {place[1]}.")
            return quote(text, safe="")

        return URL(PLACE.sub(fill, self._spec.url), encoded=True), rest

    async def _send(self, url: URL, rest: dict[str, Any], key: str) -> _Reply:
        spec = self._spec
        headers = {"Accept": "application/json, text/plain;q=0.9", **spec.headers, **self._secrets}
        if key:
            headers["Idempotency-Key"] = key
        body: dict[str, Any] = {}
        if spec.method in ("GET", "HEAD", "DELETE"):
            url = url.update_query(_flat(rest)) if rest else url
        elif spec.body == "json":
            body["json"] = rest
        else:
            body["data"] = _flat(rest)
        session = self._web.session(private=spec.allow_private, fresh=not spec.repeatable)
        async with session.request(
            spec.method, url, headers=headers, allow_redirects=False, **body
        ) as response:
            taken = bytearray()
            async for part in response.content.iter_chunked(LARGEST):
                taken += part
                if len(taken) > LARGEST:
                    response.close()  # the rest is not wanted
                    break
            return _Reply(
                response.status,
                response.reason or "",
                response.content_type,
                bytes(taken) if len(taken) <= LARGEST else None,
            )

    def _answer(self, reply: _Reply) -> Answer:
        name = self._spec.name
        said = f"{reply.status} {reply.reason}".strip()
        if 300 <= reply.status < 400:
            raise ToolFailed(f"{name} answered {said}: it has moved, and nobody follows it.")
        if reply.status >= 500 and reply.status not in NOT_BEGUN:
            raise self._doubt(f"answered {said}")
        if reply.status >= 400:
            body = (reply.body or b"").decode(errors="replace").strip()[:SAID]
            raise ToolFailed(f"{name} answered {said}{': ' if body else '.'}{body}")
        if reply.body is None:
            raise ToolFailed(too_large(name, f"more than {LARGEST // 1024} kB"))
        return Answer(self._read(reply.media_type, reply.body))

    def _read(self, media_type: str, body: bytes) -> dict[str, Any]:
        name = self._spec.name
        if not body.strip():
            return DONE
        if media_type.startswith("text/") and media_type != "text/json":
            return presentable(name, body.decode(errors="replace"))
        try:
            return presentable(name, json.loads(body))
        except (ValueError, RecursionError):
            raise ToolFailed(
                f"{name} has run, but answered with {media_type} that is not JSON."
            ) from None

    def _doubt(self, why: str) -> ToolFailed:
        """What became of a request that was sent: without an effect that is a plain failure."""
        name = self._spec.name
        if self._spec.changes_nothing:
            return ToolFailed(f"{name} {why}. Try again later.")
        return OutcomeUnknown(unknown(name, why))


class HttpEffect(HttpTool):
    """An endpoint that does something which must not be done twice."""

    async def carry_out(self, args: dict[str, Any], key: str) -> Answer:
        """Ask the endpoint; a second request with the same key is the same wish, if the endpoint heeds it."""
        return await self._ask(args, key)


def make_http_tool(spec: HttpSpec, secrets: Mapping[str, str], web: Web) -> HttpTool:
    """An endpoint as a tool.

    Raises:
        UserError: see `HttpSpec.declaration`.
    """
    kind = HttpTool if spec.changes_nothing else HttpEffect
    return kind(spec, spec.declaration(), secrets, web)


def _flat(args: dict[str, Any]) -> list[tuple[str, str]]:
    """Arguments as a query or a form has them: a list is its items, anything nested is JSON."""
    pairs = []
    for name, value in args.items():
        for each in value if isinstance(value, list) else [value]:
            text = each if isinstance(each, str) else msgspec.json.encode(each).decode()
            pairs.append((name, text))
    return pairs
