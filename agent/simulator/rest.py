"""Twilio's REST API for calls, over HTTP: the door of the phone network, as strict as the rest.

    POST /2010-04-01/Accounts/{account}/Calls.json          place a call
    GET  /2010-04-01/Accounts/{account}/Calls.json          list them
    GET  /2010-04-01/Accounts/{account}/Calls/{call}.json   look at one
    POST /2010-04-01/Accounts/{account}/Calls/{call}.json   hang up, cancel, or replace its TwiML
    .../Conferences, .../Participants                       see `rest_conferences`
    GET  /stats                                             what the stand-in knows (not Twilio's)
    POST /ring                                              somebody calls in (not Twilio's)

Sources: Twilio, "REST API: requests, responses" and "Call resource".
"""

from __future__ import annotations

import asyncio
import binascii
import hmac
import re
import signal
from base64 import b64decode
from collections import deque
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from agent.errors import UserError
from agent.simulator import rest_forms
from agent.simulator.caller import CallerOptions, demo_utterances
from agent.simulator.clock import Owner
from agent.simulator.network import Network
from agent.simulator.rest_conferences import Asked, conferences
from agent.simulator.rest_forms import VERSION, ApiError, Fields, filters, missing
from agent.simulator.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agent.simulator.callee import Directory
    from agent.simulator.cdr import CallRecord
    from agent.simulator.network import NetworkOptions
    from agent.simulator.program import Call
    from agent.simulator.report import AnyCallEvent

ACCOUNT = re.compile(rf"/{VERSION}/Accounts/([^/]+)(/.*)")
CALL = re.compile(r"/Calls/([^/]+)\.json")
FORM_BYTES = 64 * 1024
SUBRESOURCES = {
    "notifications": "Notifications",
    "recordings": "Recordings",
    "payments": "Payments",
    "events": "Events",
    "siprec": "Siprec",
    "streams": "Streams",
    "transcriptions": "Transcriptions",
    "user_defined_messages": "UserDefinedMessages",
    "user_defined_message_subscriptions": "UserDefinedMessageSubscriptions",
}


class Rest:
    """Answers the API's requests.

    Attributes:
        refusals: the next requests get these, one each: how a test brings a 429 or a 503.
        silences: of the next requests so many are done, and never answered: the connection is reset.
        refused: every error that was answered, in order.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.refusals: deque[ApiError] = deque()
        self.silences = 0
        self.refused: list[ApiError] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request, a refusal in Twilio's words."""
        try:
            if (request.method, request.path) == ("GET", "/stats"):
                return _json(self.stats())
            if (request.method, request.path) == ("POST", "/ring"):
                return self._ring((await _read(request)).form)
            rest = self._admit(request)
            if self.refusals:
                raise self.refusals.popleft()
            answer = await self._route(request, rest)
            if self.silences:
                self.silences -= 1
                _reset(request)
            return answer
        except ApiError as error:
            self.refused.append(error)
            return _json(error.body(), error.status)

    def stats(self) -> dict[str, object]:
        """Every call with all that is known of it, and every refusal."""
        return {
            "calls": [call.record for call in self._network.calls.values()],
            "reports": [call.report for call in self._network.calls.values()],
            "conferences": {one.sid: one.status for one in self._network.conferences.values()},
            "refused": [error.body() for error in self.refused],
        }

    def _admit(self, request: web.Request) -> str:
        """Check who asks; returns the path behind the account's.

        Raises:
            ApiError: 20003 it is not the customer, 20404 it is not their account.
        """
        options = self._network.options
        pairs = [(options.account_sid, options.auth_token)]
        if options.api_key:
            pairs.append((options.api_key, options.api_secret))
        given = _credentials(request.headers.get("Authorization", ""))
        if not any(hmac.compare_digest(given, f"{who}:{secret}".encode()) for who, secret in pairs):
            raise ApiError(20003, "Authenticate", 401)
        found = ACCOUNT.fullmatch(request.path)
        if found is None or found[1] != options.account_sid:
            raise missing(request.path)
        return found[2]

    async def _route(self, request: web.Request, rest: str) -> web.Response:
        if rest == "/Calls.json" and request.method == "POST":
            return self._place((await _read(request)).form)
        if rest == "/Calls.json" and request.method == "GET":
            return self._list(request)
        if rest.startswith("/Conferences"):
            return _json(*conferences(self._network, await _read(request), rest))
        found = CALL.fullmatch(rest)
        call = self._network.calls.get(found[1]) if found else None
        if call is None:
            raise missing(request.path)
        if request.method == "GET":
            return _json(resource(call.record))
        if request.method != "POST":
            raise ApiError(20004, "Method not allowed", 405)
        return self._update(request, call, (await _read(request)).form)

    def _ring(self, form: Mapping[str, list[str]]) -> web.Response:
        """Let the demo's caller call the customer.

        Raises:
            ApiError: 21205 there is no `Url` to ring at, 20001 a field is unknown.
        """
        fields = Fields(form)
        if not (url := fields.url("Url", 21205)):
            raise ApiError(21205, "Url says which server is called")
        options = self._network.options
        calling = CallerOptions(
            url=url,
            auth_token=options.auth_token,
            account_sid=options.account_sid,
            from_number=fields.one("From", "+12025550143"),
            to_number=fields.one("To", "+12025550100"),
            utterances=demo_utterances(),
            start_delay_s=options.start_delay_s,
        )
        fields.nothing_else()
        self._network.ring(calling)
        return _json({"sid": calling.call_sid}, 201)

    def _place(self, form: Mapping[str, list[str]]) -> web.Response:
        network = self._network
        order, url = rest_forms.order(form, network.options.numbers)
        party = network.directory.find(order.to)
        if party.outcome == "refused":
            raise ApiError(party.error_code, f"{order.to} cannot be called from this account")
        most = network.options.max_calls
        if most is not None and network.live >= most:
            raise ApiError(20429, "Too Many Requests", 429)
        return _json(resource(network.place(order, url).record), 201)

    def _list(self, request: web.Request) -> web.Response:
        query = request.query
        wanted, size, page = filters(query, _FILTERS)
        found = [resource(call.record) for call in reversed(self._network.calls.values())]
        found = [one for one in found if all(one[name] == value for name, value in wanted.items())]
        start = size * page
        uri = f"/{VERSION}/Accounts/{self._network.options.account_sid}/Calls.json"
        more = f"{uri}?PageSize={size}&Page={page + 1}" if start + size < len(found) else None
        shown = found[start : start + size]
        return _json(
            {
                "calls": shown,
                "end": start + len(shown) - 1 if shown else 0,
                "first_page_uri": f"{uri}?PageSize={size}&Page=0",
                "next_page_uri": more,
                "page": page,
                "page_size": size,
                "previous_page_uri": f"{uri}?PageSize={size}&Page={page - 1}" if page else None,
                "start": start,
                "uri": f"{uri}?{urlencode(query)}" if query else uri,
            }
        )

    def _update(
        self, request: web.Request, call: Call, form: Mapping[str, list[str]]
    ) -> web.Response:
        """Hang up, cancel, or replace what runs.

        Raises:
            ApiError: 20404 the call is over, 21220 it is not in progress, 20001 nothing is asked.
        """
        fields = Fields(form)
        status = fields.choice("Status", "", ("completed", "canceled"))
        verbs, _ = rest_forms.instructions(fields)
        fields.nothing_else()
        if bool(status) == bool(verbs):
            raise ApiError(20001, "Status, Url or Twiml: one of them says what to do")
        if verbs and not self._network.replace(call, verbs):
            raise ApiError(21220, "Call is not in-progress. Cannot redirect.")
        if status and call.record.over:
            raise missing(request.path)
        if status == "completed":
            self._network.complete(call)
        elif status:
            self._network.cancel(call)
        return _json(resource(call.record))


_FILTERS = {"To": "to", "From": "from", "Status": "status", "ParentCallSid": "parent_call_sid"}


def resource(record: CallRecord) -> dict[str, object]:
    """A call as the API shows it."""
    uri = f"/{VERSION}/Accounts/{record.account_sid}/Calls/{record.sid}"
    return {
        "account_sid": record.account_sid,
        "annotation": None,
        "answered_by": record.answered_by or None,
        "api_version": VERSION,
        "caller_name": None,
        "date_created": _date(record.created_wall_s),
        "date_updated": _date(record.ended_wall_s or record.created_wall_s),
        "direction": record.direction,
        "duration": str(record.seconds) if record.over else None,
        "end_time": _date(record.ended_wall_s),
        "forwarded_from": None,
        "from": record.from_,
        "from_formatted": _formatted(record.from_),
        "group_sid": None,
        "parent_call_sid": record.parent_sid or None,
        "phone_number_sid": None,
        "price": None,
        "price_unit": "USD",
        "queue_time": str(round(record.queued_ms)),
        "sid": record.sid,
        "start_time": _date(record.answered_wall_s),
        "status": record.status,
        "stir_verstat": None,
        "subresource_uris": {
            name: f"{uri}/{path}.json" for name, path in sorted(SUBRESOURCES.items())
        },
        "to": record.to,
        "to_formatted": _formatted(record.to),
        "trunk_sid": None,
        "uri": f"{uri}.json",
    }


def _date(wall_s: float | None) -> str | None:
    return None if wall_s is None else formatdate(wall_s)


def _formatted(number: str) -> str:
    match = re.fullmatch(r"\+1(\d{3})(\d{3})(\d{4})", number)
    return number if match is None else f"({match[1]}) {match[2]}-{match[3]}"


def _credentials(header: str) -> bytes:
    scheme, _, coded = header.partition(" ")
    try:
        return b64decode(coded, validate=True) if scheme.lower() == "basic" else b""
    except binascii.Error:
        return b""


async def _read(request: web.Request) -> Asked:
    kind = request.content_type
    form: dict[str, list[str]] = {}
    if request.method == "POST":
        if kind != "application/x-www-form-urlencoded":
            raise ApiError(20001, f"the body is {kind}, not a form", 415)
        for name, value in (await request.post()).items():
            form.setdefault(name, []).append(str(value))
    return Asked(request.method, request.path, form, dict(request.query))


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _json(body: object, status: int = 200) -> web.Response:
    if status == 204:
        return web.Response(status=status)
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


class TwilioStandIn:
    """The served stand-in: its network, its API and its origin (`http://...`)."""

    def __init__(self, network: Network, rest: Rest, origin: str) -> None:
        self.network = network
        self.rest = rest
        self.origin = origin


@asynccontextmanager
async def serving(
    options: NetworkOptions,
    directory: Directory | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    emit: Callable[[AnyCallEvent], None] | None = None,
) -> AsyncIterator[TwilioStandIn]:
    """Serve the API as long as the context lasts; its calls end with it.

    Args:
        options: the account.
        directory: who is at which number; None: the numbers themselves say it.
        host: address to listen on.
        port: 0: any free one.
        emit: told what happens in outbound calls; must not block.

    Raises:
        UserError: the address cannot be listened on.
    """
    async with Ticker() as ticker, Owner() as owner:
        network = Network(options, ticker, owner, directory, emit)
        rest = Rest(network)
        app = web.Application(client_max_size=FORM_BYTES)
        app.router.add_route("*", "/{path:.*}", rest.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.02, access_log=None)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                where = f"{host} port {port}"
                raise UserError(f"cannot listen on {where}: {error.strerror or error}") from error
            address, bound = runner.addresses[0][:2]
            name = f"[{address}]" if ":" in address else address
            yield TwilioStandIn(network, rest, f"http://{name}:{bound}")
        finally:
            await runner.cleanup()


async def serve(
    options: NetworkOptions,
    directory: Directory,
    host: str,
    port: int,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the origin once connections are accepted."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options, directory, host=host, port=port) as stand_in:
        announce(stand_in.origin)
        await stop.wait()
