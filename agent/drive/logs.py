"""Logs: one line per event on stderr, as text or JSON, without secrets and without phone numbers.

What uvicorn, websockets and every other library logs goes through the same chain, so the rules hold for them too. Redaction
comes last, after a traceback has become text, and is by value: the secrets that the process was given, and whatever looks like
a key or a telephone number. A number keeps its last two digits, enough to tell two calls apart.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TextIO

import structlog

SECRET = "[secret]"

SHORTEST = 6
"""A secret of fewer letters is not looked for: it would hit ordinary words, and is no secret."""

TELLING_KEYS = re.compile(
    r"(?i)(^|_|-)(key|token|secret|password|authorization|cookie|signature)s?$"
)
"""Names of fields whose value is never shown."""

KEYS = re.compile(
    r"""
    (?P<keep>
        (?i:[?&](?:key|token|access_token|secret|password)=)     # in a URL's query
      | (?i:\b(?:bearer|basic)\ )                                # in an Authorization header
      | ://[^/\s:@]*:(?=[^/\s@]*@)                               # a URL's user and password
      | (?i:\b(?:x-goog-api-key|x-twilio-signature|authorization)\b["']?\s*[:=,]\s*["']?
           (?:(?:bearer|basic)\ )?)
    )
    [^\s&"',@]+
    | \bAIza[0-9A-Za-z_-]{30,}                                   # a Google API key anywhere
    """,
    re.VERBOSE,
)

NUMBERS = re.compile(
    r"""
    (?:\+|%2B)\d(?:[\ ().-]{0,2}\d){6,14}(?!\d)    # E.164, also as people group it and as forms send it
    | (?<![\w.-])\d{9,15}(?!\w|\.\d)               # the same without its plus; not part of an id or a fraction
    """,
    re.VERBOSE | re.IGNORECASE,
)

FLOORS = {
    "websockets": logging.INFO,
    "uvicorn.error": logging.INFO,
    "asyncio": logging.INFO,
    "aiohttp.access": logging.INFO,
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
}
"""Libraries that log every frame or statement, with what callers said in it: never below these levels."""


class Redactor:
    """Takes secrets and phone numbers out of whatever is about to be logged.

    Args:
        secrets: the secrets this process was given.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known: set[str] = set()
        self._secrets: re.Pattern[str] | None = None
        self.learn(*secrets)

    def learn(self, *secrets: str) -> None:
        """Take these out too, from now on: a secret may first be named by a file that is saved while the process runs."""
        new = {text for text in secrets if len(text) >= SHORTEST} - self._known
        if new:
            self._known |= new
            longest_first = sorted(self._known, key=len, reverse=True)
            self._secrets = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return `text` without secrets and with phone numbers cut to their last two digits."""
        if self._secrets is not None:
            text = self._secrets.sub(SECRET, text)
        text = KEYS.sub(lambda found: f"{found['keep'] or ''}{SECRET}", text)
        return NUMBERS.sub(lambda found: "*" * 6 + found[0][-2:], text)

    def value(self, value: Any) -> Any:
        """Return `value` redacted; what is neither a number nor a container becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {str(key): self._field(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(repr(value) if not isinstance(value, BaseException) else str(value))

    def _field(self, key: str, value: Any) -> Any:
        if value is not None and TELLING_KEYS.search(key):
            return SECRET
        return self.value(value)

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Act as a processor of structlog's chain."""
        return {key: self._field(key, value) for key, value in event.items()}


def configure(
    level: str, layout: str, secrets: Iterable[str], stream: TextIO | None = None
) -> Redactor:
    """Send all logs of this process, ours and the libraries', through one redacting chain.

    uvicorn must be started with `log_config=None`, or it puts up handlers of its own.

    Args:
        level: debug, info, warning or error.
        layout: text or json.
        secrets: what no line may show.
        stream: where to; stderr unless given (stdout belongs to a command's answer).

    Returns:
        What takes them out, and may learn more.
    """
    stream = stream if stream is not None else sys.stderr
    redactor = Redactor(secrets)
    chain: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*chain, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redactor,
            _renderer(layout, colors=stream.isatty()),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)  # ours, from an earlier call
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, floor in FLOORS.items():
        logging.getLogger(name).setLevel(max(floor, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *chain,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a second call here must reach loggers made before it
    )
    return redactor


def _renderer(layout: str, *, colors: bool) -> structlog.typing.Processor:
    if layout == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback
    )
