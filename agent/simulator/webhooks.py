"""Twilio's HTTP requests to its customer: signed, given up after 15 seconds, and read strictly.

Sources: Twilio, "Security, validating requests", "TwiML, how Twilio interacts with your app" and
the error pages 11200 and 11205.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import aiohttp

from agent.simulator import twiml
from agent.simulator.report import Notice
from agent.simulator.signature import sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

WEBHOOK_S = 15.0
"""Twilio's limit for the whole answer (error 11200)."""
CONNECT_S = 5.0


class WebhookFailed(Exception):
    """No TwiML came: Twilio would play "an application error has occurred"."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.notice = Notice(code, detail)


def origin(url: str) -> str:
    """Scheme and authority, a WebSocket's as its HTTP sibling's."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


class Webhooks:
    """Asks one customer's server.

    Attributes:
        public: the origin that Twilio sees, which is what gets signed.
    """

    def __init__(
        self, http: aiohttp.ClientSession, auth_token: str, reach: str, public: str | None = None
    ) -> None:
        """Ask over `http`.

        Args:
            http: the connections.
            auth_token: signs every request; empty signs nothing.
            reach: the origin to connect to for URLs of `public`; other hosts' are left as they are.
            public: None: the same as `reach`.
        """
        self._http = http
        self._auth_token = auth_token
        self._reach = reach
        self.public = (public or reach).rstrip("/")

    async def document(self, url: str, params: Mapping[str, str]) -> list[twiml.Verb]:
        """POST a webhook and read its TwiML.

        Raises:
            WebhookFailed: 11200 not 200 (a redirect neither: its signature would be another's),
                11205 no answer in time.
            TwimlError: the document breaks a rule.
        """
        status, content_type, body = await self.post(url, params)
        if status != 200:
            raise WebhookFailed(11200, f"HTTP {status} from {url}")
        return twiml.parse(body, content_type, url)

    async def post(self, url: str, params: Mapping[str, str]) -> tuple[int, str, bytes]:
        """POST a form; returns status, content type and body.

        Raises:
            WebhookFailed: 11205 no answer in time.
        """
        headers = {
            "Host": urlsplit(url).netloc,
            "User-Agent": "TwilioProxy/1.1",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "Accept": "*/*",
            "I-Twilio-Idempotency-Token": secrets.token_hex(16),
            **self.signature(url, params),
        }
        try:
            async with self._http.post(
                self.reachable(url), data=urlencode(params), headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WebhookFailed(11205, f"no answer from {url}: {error!r}") from error

    async def tell(self, url: str, params: Mapping[str, str]) -> Notice | None:
        """POST a callback, whose answer changes nothing; returns what went wrong with it."""
        try:
            status, _, _ = await self.post(url, params)
        except WebhookFailed as failure:
            return failure.notice
        return Notice(11200, f"HTTP {status} from the callback {url}") if status >= 300 else None

    async def fetch_audio(self, url: str) -> Notice | None:
        """Fetch what <Play> names; returns what is wrong with it."""
        try:
            async with self._http.get(self.reachable(url)) as answer:
                kind = answer.headers.get("Content-Type", "")
                if answer.status == 200 and kind.startswith("audio/"):
                    return None
                return Notice(11200, f"<Play>: {answer.status} {kind}")
        except (aiohttp.ClientError, TimeoutError) as error:
            return Notice(11205, f"<Play>: no answer from {url}: {error!r}")

    def signature(
        self, url: str, params: Mapping[str, str], other_token: str | None = None
    ) -> dict[str, str]:
        """The header that signs a request; none where there is no token."""
        token = self._auth_token if other_token is None else other_token
        return {"X-Twilio-Signature": sign(token, url, params)} if token else {}

    def reachable(self, url: str) -> str:
        """Where to connect for a public URL."""
        if origin(url) != origin(self.public):
            return url
        there = urlsplit(self._reach)
        secure = there.scheme == "https"
        scheme = ("wss" if secure else "ws") if url.startswith("ws") else there.scheme
        return urlsplit(url)._replace(scheme=scheme, netloc=there.netloc).geturl()


@asynccontextmanager
async def webhooks(
    auth_token: str, reach: str, public: str | None = None
) -> AsyncIterator[Webhooks]:
    """Ask a customer's server as long as the context lasts; arguments as for `Webhooks`."""
    timeout = aiohttp.ClientTimeout(total=WEBHOOK_S, connect=CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        yield Webhooks(http, auth_token, reach, public)
