"""What `pickup doctor` asks of Google, of Twilio, and of this deployment as Twilio sees it."""

from __future__ import annotations

import asyncio
import datetime
import os
import secrets
import socket
import ssl
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
from twilio.request_validator import RequestValidator

from agent.cli.parts.checks import Check, Finding, bad, doubtful, good, skipped, stand_in
from agent.cli.parts.twilio_rest import connected
from agent.config.agent_files import AgentFiles, agents_folder
from agent.errors import UserError
from agent.protocols.twilio.webhook import SIGNATURE_HEADER
from agent.server.outbound.carrier import credentials
from agent.storage.numbers import last_digits

if TYPE_CHECKING:
    from agent.cli.parts.checks import Patient
    from agent.cli.parts.twilio_rest import Number

EXPIRES_SOON = 10
"""Days. Certificates that renew themselves do so about a month before the end."""

CLOCK_OFF = 2.0
"""Seconds of our clock against a server's that are worth a word: such a date is exact to a second."""

CLOCK_WRONG = 30.0
"""Seconds beyond which one-use tokens and leases go wrong: they allow for that much."""


class Reached(NamedTuple):
    """How long each step to a host took, in milliseconds.

    Attributes:
        expires: when its certificate ends; None without TLS.
    """

    dns: float
    tcp: float
    tls: float | None
    expires: datetime.datetime | None

    def __str__(self) -> str:
        tls = "" if self.tls is None else f", TLS {self.tls:.0f}"
        return f"DNS {self.dns:.0f}, TCP {self.tcp:.0f}{tls} ms"


async def reach(patient: Patient, origin: str) -> Reached | Finding:
    """Go to an origin step by step, and say at which one it ends."""
    url = urlsplit(origin)
    host, secure = url.hostname or "", url.scheme in ("https", "wss")
    number = url.port or (443 if secure else 80)
    clock = patient.clock
    begun = clock()
    try:
        await asyncio.get_running_loop().getaddrinfo(host, number, type=socket.SOCK_STREAM)
    except OSError as error:
        return bad(
            f"{host} is not found: {_reason(error)}", "check the name and this machine's DNS"
        )
    resolved = clock()
    where = f"{host} port {number}"
    try:
        # Where the way to one of its addresses is dead the next one is tried (RFC 8305).
        _, writer = await asyncio.open_connection(host, number, happy_eyeballs_delay=0.25)
    except OSError as error:
        return bad(
            f"{where}: {_refusal(error)}", "check the firewall, and that a server listens there"
        )
    joined = clock()
    expires = None
    try:
        if secure:
            await writer.start_tls(ssl.create_default_context(), server_hostname=host)
            expires = _expiry(writer)
    except ssl.SSLCertVerificationError as error:
        return bad(
            f"{where}: {error.verify_message}",
            "it must present a certificate that a public authority signed for this name",
        )
    except OSError as error:  # ssl.SSLError among them
        return bad(f"{where}: no TLS ({_reason(error)})", "check that this port speaks TLS")
    finally:
        writer.close()
    done = clock()
    steps = [1000 * (b - a) for a, b in ((begun, resolved), (resolved, joined), (joined, done))]
    return Reached(steps[0], steps[1], steps[2] if secure else None, expires)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _refusal(error: OSError) -> str:
    """In the system's words; asyncio's own name the address and not the reason."""
    return os.strerror(error.errno) if error.errno else str(error)


def _expiry(writer: asyncio.StreamWriter) -> datetime.datetime:
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    seconds = ssl.cert_time_to_seconds(certificate["notAfter"])
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


async def gemini_reachable(patient: Patient) -> Finding:
    """The Live endpoint's host answers."""
    if patient.settings.api_key is None and not stand_in(patient.settings):
        return skipped("wants GEMINI_API_KEY")
    reached = await reach(patient, patient.settings.gemini_url)
    return (
        reached
        if isinstance(reached, Finding)
        else good(f"{patient.settings.gemini_url}: {reached}")
    )


class Model(msgspec.Struct, rename="camel"):
    """What is read of a model's card (Google: `models.get`)."""

    supported_generation_methods: list[str] = []


class GoogleError(msgspec.Struct):
    """An error as Google's APIs send it."""

    message: str = ""
    status: str = ""


class GoogleRefusal(msgspec.Struct):
    """The body around a `GoogleError`."""

    error: GoogleError


async def gemini_model(patient: Patient) -> Finding:
    """The key may use every model that an agent names, for live sessions."""
    settings = patient.settings
    if settings.api_key is None:
        return skipped("a stand-in has no models" if stand_in(settings) else "wants GEMINI_API_KEY")
    origin = settings.gemini_url.replace("ws", "http", 1)
    for model in _models(patient):
        url = f"{origin}/{settings.gemini_api_version}/models/{model}"
        key = {"x-goog-api-key": settings.api_key.get_secret_value()}
        try:
            async with patient.http.get(url, headers=key) as answer:
                finding = judge_model(model, answer.status, await answer.read())
        except aiohttp.ClientError as error:
            return bad(f"{origin}: {error}", "see the line on reaching Gemini")
        if finding is not None:
            return finding
    return good(f"{', '.join(_models(patient))} can hold live sessions")


def _models(patient: Patient) -> list[str]:
    files = AgentFiles(
        agents_folder(patient.settings.pickup_agents, patient.here), lambda line: None
    )
    named = []
    for name in files.names():
        try:
            named.append(files.get(name).model or patient.settings.gemini_model)
        except UserError:
            continue  # the check of the agents says so
    return sorted(set(named)) or [patient.settings.gemini_model]


def judge_model(model: str, status: int, body: bytes) -> Finding | None:
    """What is wrong, from Google's answer to `models.get`; None if nothing is."""
    try:
        if status == 200:
            methods = msgspec.json.decode(body, type=Model).supported_generation_methods
            if "bidiGenerateContent" in methods:
                return None
            return bad(f"{model} holds no live sessions", "set GEMINI_MODEL to a Live model")
        message = msgspec.json.decode(body, type=GoogleRefusal).error.message
    except msgspec.DecodeError:
        return bad(
            f"HTTP {status} that is not Google's", "check GEMINI_URL and what stands between"
        )
    mends = {
        400: "compare GEMINI_API_KEY with https://aistudio.google.com/apikey",
        401: "compare GEMINI_API_KEY with https://aistudio.google.com/apikey",
        403: "let the key use the Gemini API: see its restrictions in Google's console",
        404: "set GEMINI_MODEL (or the agent's `model`) to one that is served",
        429: "wait, or raise the quota: https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    return bad(f"{model}: HTTP {status}: {message[:200]}", mends.get(status, "try again later"))


async def twilio_account(patient: Patient) -> Finding:
    """The account is active and the token is its own: webhooks are signed with that very token."""
    if patient.settings.twilio_account_sid is None and patient.settings.twilio_auth_token is None:
        return skipped("TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN are not set: no real calls")
    try:
        async with connected(credentials(patient.settings, by_token=True)) as rest:
            status = await rest.account_status()
    except UserError as error:
        return bad(str(error), "both are on the first page of https://console.twilio.com")
    if status != "active":
        return bad(f"the account is {status}", "see https://console.twilio.com")
    return good(f"the account is {status}, the token is right")


async def twilio_number(patient: Patient) -> Finding:
    """A number's calls come here."""
    settings = patient.settings
    if settings.twilio_account_sid is None:
        return skipped("TWILIO_ACCOUNT_SID is not set")
    if settings.public_url is None:
        return skipped("PUBLIC_URL is not set: `pickup dev NUMBER` makes a number ring here")
    try:
        async with connected(credentials(settings)) as rest:
            numbers = await rest.numbers()
    except UserError as error:
        return bad(str(error), "see the line on the account")
    return judge_numbers(settings.public_url, numbers)


def judge_numbers(public_url: str, numbers: list[Number]) -> Finding:
    """Whether a call to one of the account's numbers comes here."""
    url = f"{public_url}/twilio/voice"
    here = [each for each in numbers if each.webhooks.voice_url == url]
    if not here:
        return doubtful(
            f"none of the account's {len(numbers)} numbers asks {url}",
            "set that as a number's voice webhook (POST) in Twilio's console, or use `pickup dev`",
        )
    for each in here:
        shown, webhooks = last_digits(each.number), each.webhooks
        if way := each.trunk or webhooks.voice_application_sid:
            return bad(
                f"{shown}: {way} takes the calls past the webhook", "detach it in the console"
            )
        if webhooks.voice_method != "POST":
            return bad(f"{shown}: the webhook is asked by {webhooks.voice_method}", "make it POST")
        if webhooks.status_callback != (wanted := f"{public_url}/twilio/status"):
            return doubtful(
                f"{shown} rings here, but its status callback is another",
                f"set it to {wanted}: a call that breaks off is then known at once",
            )
    return good(f"{', '.join(last_digits(each.number) for each in here)} rings here")


async def public_reachable(patient: Patient) -> Finding:
    """PUBLIC_URL leads somewhere, with a certificate that Twilio accepts."""
    url = patient.settings.public_url
    if url is None:
        return skipped("PUBLIC_URL is not set")
    reached = await reach(patient, url)
    if isinstance(reached, Finding):
        return reached
    if reached.expires is not None:
        days = (reached.expires - datetime.datetime.now(datetime.UTC)).days
        if days < EXPIRES_SOON:
            return doubtful(f"{url}: its certificate ends in {days} days", "renew it")
    return good(f"{url}: {reached}")


async def signature(patient: Patient) -> Finding:
    """A webhook signed as Twilio signs is taken at PUBLIC_URL, and one that is not is turned away."""
    url, token = patient.settings.public_url, patient.settings.twilio_auth_token
    if url is None or token is None:
        return skipped("wants PUBLIC_URL and TWILIO_AUTH_TOKEN")
    url += "/twilio/status"
    # A status of a call that nobody has: it changes nothing.
    form = {
        "CallSid": "CA" + secrets.token_hex(16),
        "AccountSid": patient.settings.twilio_account_sid or "AC" + secrets.token_hex(16),
        "CallStatus": "ringing",
    }
    sign = RequestValidator(token.get_secret_value()).compute_signature(url, form)
    try:
        async with patient.http.post(
            url, data=form, headers={SIGNATURE_HEADER: sign}, allow_redirects=False
        ) as answer:
            signed = answer.status
        async with patient.http.post(url, data=form, allow_redirects=False) as answer:
            unsigned = answer.status
    except aiohttp.ClientError as error:
        return bad(
            f"{url}: {error}", "start `pickup serve`, and check the proxy or tunnel before it"
        )
    return judge_signature(url, signed, unsigned)


def judge_signature(url: str, signed: int, unsigned: int) -> Finding:
    """What the two answers say; 204 and 403 are right."""
    if (signed, unsigned) == (204, 403):
        return good("a signed webhook is taken, an unsigned one is refused")
    if 200 <= unsigned < 300:
        return bad(
            f"{url} takes a webhook that nobody signed ({unsigned})", "this is not `pickup serve`"
        )
    if signed == 403:
        return bad(
            f"{url} refuses a webhook that is signed rightly",
            "start the server with this same TWILIO_AUTH_TOKEN and PUBLIC_URL; a proxy before it "
            "must not change the path",
        )
    if 300 <= signed < 400:
        return bad(f"{url} redirects ({signed})", "set PUBLIC_URL to the origin that it leads to")
    if signed in (404, 502, 503, 504, 530):
        return bad(
            f"{url} answers {signed}", "start `pickup serve`, and lead the proxy or tunnel to it"
        )
    return bad(
        f"{url} answers {signed} to a signed and {unsigned} to an unsigned webhook",
        "see the server's log",
    )


async def clock(patient: Patient) -> Finding:
    """This machine's clock against a server's."""
    url = patient.settings.gemini_url.replace("ws", "http", 1)
    for origin in (url, patient.settings.twilio_api_url):
        try:
            async with patient.http.get(origin, allow_redirects=False) as answer:
                now = datetime.datetime.now(datetime.UTC)
                date = answer.headers.get("Date", "")
        except aiohttp.ClientError:
            continue
        if (finding := judge_clock(date, now)) is not None:
            return finding
    return skipped("no server that was asked told the time")


def judge_clock(date: str, now: datetime.datetime) -> Finding | None:
    """Compare with a `Date` header (RFC 9110, 6.6.1: whole seconds, cut off); None if it is none."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=datetime.UTC)
    ahead = (now - theirs).total_seconds() - 0.5
    text = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} a server's"
    mend = "let the system set its clock (timedatectl set-ntp true)"
    if abs(ahead) > CLOCK_WRONG:
        return bad(text, mend)
    if abs(ahead) > CLOCK_OFF:
        return doubtful(text, mend)
    return good("agrees with a server's to the second")


OUTSIDE_CHECKS = (
    Check("gemini", gemini_reachable),
    Check("gemini model", gemini_model),
    Check("twilio account", twilio_account),
    Check("twilio number", twilio_number),
    Check("public url", public_reachable),
    Check("signature", signature),
    Check("clock", clock),
)
