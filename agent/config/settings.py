"""Deployment settings and secrets: the environment and `.env`, read once, checked, frozen.

The environment wins over the file. A variable that is empty counts as unset (compose files pass such), one that Pickup does not
know is ignored, and one that is wrong ends the command with its name and what it should be. This is the only file that
looks at `os.environ`; README's table and `.env.example` are written from the declarations below.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, Self, get_args
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.config.sip import (
    check,
    codec_names,
    header_names,
    hosts,
    port_range,
    quotable,
    waiting,
    where_to_listen,
)
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class Shape(NamedTuple):
    """What a setting should look like, in words that finish the sentence "NAME should be ..."."""

    text: str


def is_loopback(host: str | None) -> bool:
    """Say whether `host` (a name or an address) can only be this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _origin(value: str, secure: str, plain: str) -> str:
    """Check that `value` is scheme, host and perhaps a port: `plain` schemes for loopback only."""
    url = urlsplit(value.strip())
    if not url.hostname or url.username is not None or url.path not in ("", "/"):
        raise ValueError("not an origin")
    if url.query or url.fragment or url.port == 0:  # `port` itself raises ValueError above 65535
        raise ValueError("not an origin")
    if url.scheme not in secure.split() and not (
        url.scheme in plain.split() and is_loopback(url.hostname)
    ):
        raise ValueError("scheme")
    return f"{url.scheme}://{url.netloc.lower()}"


def _web_origin(value: str) -> str:
    return _origin(value, secure="https", plain="http")


def _socket_origin(value: str) -> str:
    return _origin(value.replace("http", "ws", 1), secure="wss", plain="ws")


def _host(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value):
        return value
    return str(ipaddress.ip_address(value))


def _database(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if urlsplit(value).port == 0:  # and a port that is no number raises by itself
        raise ValueError("no port")
    if scheme in ("postgres", "postgresql", "postgresql+asyncpg") and "/" in rest:
        return f"postgresql+asyncpg://{rest}"
    if scheme not in ("sqlite", "sqlite+aiosqlite") or not rest.startswith("/") or rest == "/":
        raise ValueError("neither an SQLite file nor a PostgreSQL database")
    return f"sqlite+aiosqlite://{rest}"


def _folder(value: Path) -> Path:
    if not value.is_dir():
        raise ValueError("not a folder")
    return value


def _one_word(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("cannot be sent in a header")
    return value


def _countries(value: str) -> str:
    codes = sorted({code.strip().upper() for code in value.split(",") if code.strip()})
    if not all(re.fullmatch("[A-Z]{2}", code) for code in codes):
        raise ValueError("not a list of country codes")
    return ",".join(codes)


def _bare_model(value: str) -> str:
    return value.removeprefix("models/")


def _lower(value: str) -> str:
    return value.lower()


Secret = Annotated[
    SecretStr, AfterValidator(_one_word), Shape("one word of plain letters, digits and signs")
]
AccountSid = Annotated[
    str, Field(pattern=r"^AC[0-9a-fA-F]{32}$"), Shape("AC and 32 hexadecimal digits")
]
KeySid = Annotated[
    str, Field(pattern=r"^SK[0-9a-fA-F]{32}$"), Shape("SK and 32 hexadecimal digits")
]
E164 = Annotated[
    str, Field(pattern=r"^\+[1-9][0-9]{6,14}$"), Shape("a number such as +15551234567 (E.164)")
]
Dollars = Annotated[
    float,
    Field(gt=0, le=1_000_000, allow_inf_nan=False),
    Shape("a number of US dollars above 0"),
]
WebOrigin = Annotated[
    str,
    AfterValidator(_web_origin),
    Shape("an origin such as https://pickup.example.com (no path; http for this machine only)"),
]
SocketOrigin = Annotated[
    str,
    AfterValidator(_socket_origin),
    Shape("an origin such as wss://live.example.com (no path; ws for this machine only)"),
]


@dataclasses.dataclass(frozen=True)
class _Others:
    """All variables, for what an agent's file names; two settings are the same whatever else there is."""

    values: Mapping[str, SecretStr] = dataclasses.field(compare=False, repr=False)


class Settings(BaseSettings):
    """Everything that a deployment decides. Each field is the variable of the same name in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    gemini_api_key: Annotated[
        Secret | None, Field(description="Key of the Gemini API. Without one, see `pickup serve`.")
    ] = None
    google_api_key: Annotated[
        Secret | None, Field(description="The same, where `GEMINI_API_KEY` is not set.")
    ] = None
    gemini_model: Annotated[
        str,
        Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", description="Model that answers the calls."),
        BeforeValidator(_bare_model),
        Shape("a model's name such as gemini-3.8-live"),
    ] = "gemini-3.8-live"
    gemini_url: Annotated[
        SocketOrigin, Field(description="Scheme and host of the Live endpoint.")
    ] = "wss://generativelanguage.googleapis.com"
    gemini_api_version: Annotated[
        str,
        Field(pattern=r"^v[0-9]+((alpha|beta)[0-9]*)?$", description="Version of the Live API."),
        Shape("a version such as v1beta"),
    ] = "v1beta"

    twilio_account_sid: Annotated[
        AccountSid | None, Field(description="Twilio account that owns the numbers.")
    ] = None
    twilio_auth_token: Annotated[
        Secret | None,
        Field(description="Its token: every webhook and stream is checked against it."),
    ] = None
    twilio_api_key: Annotated[
        KeySid | None, Field(description="Key for Twilio's REST API, instead of the token.")
    ] = None
    twilio_api_secret: Annotated[Secret | None, Field(description="Secret of that key.")] = None
    twilio_api_url: Annotated[
        WebOrigin, Field(description="Origin of Twilio's REST API (an emulator's, in tests).")
    ] = "https://api.twilio.com"

    asterisk_user: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name by which Asterisk connects."),
        Shape("letters, digits, dots, dashes and underscores"),
    ] = "asterisk"
    asterisk_password: Annotated[
        Secret | None,
        Field(description="Its password; set, Asterisk may bring calls to `/asterisk/media`."),
    ] = None

    public_url: Annotated[
        WebOrigin | None, Field(description="Origin at which Twilio reaches this server.")
    ] = None
    host: Annotated[
        str,
        AfterValidator(_host),
        Field(description="Address to listen on."),
        Shape("an address or a host name, without a port"),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one."),
        Shape("a whole number from 0 to 65535"),
    ] = 8080

    max_calls: Annotated[
        int,
        Field(ge=1, le=10_000, description="Calls at a time; the next caller hears a busy line."),
        Shape("a whole number from 1 to 10000"),
    ] = 25
    spoken_refusals: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="Callers on SIP and Asterisk who may hear the busy line at once; the others, and with 0 all, "
            "are refused unheard (486), so that a PBX or trunk tries elsewhere.",
        ),
        Shape("a whole number from 0 to 100"),
    ] = 0
    max_call_seconds: Annotated[
        int,
        Field(ge=10, le=86_400, description="Longest call, in seconds."),
        Shape("a whole number of seconds from 10 to 86400"),
    ] = 3600
    drain_seconds: Annotated[
        int,
        Field(ge=0, le=90_000, description="How long a server that stops waits for its calls."),
        Shape("a whole number of seconds from 0 to 90000"),
    ] = 3660
    answer_within: Annotated[
        float,
        Field(
            ge=0, le=8, allow_inf_nan=False, description="Seconds to ring while the model gets up."
        ),
        Shape("a number of seconds from 0 to 8"),
    ] = 2.0

    api_token: Annotated[
        Secret | None,
        Field(description="Token of `/api`, for `pickup dial` too; unset, there is no API."),
    ] = None
    caller_id: Annotated[
        E164 | None,
        Field(description="Number that agents call from whose files name none."),
    ] = None
    call_countries: Annotated[
        str,
        AfterValidator(_countries),
        Field(description="Countries that may be called; unset, nobody is."),
        Shape("two-letter country codes such as US,CA"),
    ] = ""
    calls_per_second: Annotated[
        float,
        Field(gt=0, le=100, allow_inf_nan=False, description="Calls placed in a second."),
        Shape("a number above 0, at most 100"),
    ] = 1.0
    calls_per_hour: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="Calls placed in any hour."),
        Shape("a whole number from 1"),
    ] = 200
    calls_per_day: Annotated[
        int,
        Field(ge=1, le=10_000_000, description="Calls placed in any 24 hours."),
        Shape("a whole number from 1"),
    ] = 1000
    calls_per_number: Annotated[
        int,
        Field(ge=1, le=1000, description="Calls placed to one number in any 24 hours."),
        Shape("a whole number from 1 to 1000"),
    ] = 3
    local_barge_in: Annotated[
        bool,
        Field(
            description="Whether a voice that Pickup's own detector hears stops the agent at once,"
            " without waiting for the model."
        ),
        Shape("true or false"),
    ] = False
    local_speech_end: Annotated[
        float,
        Field(
            ge=0,
            le=2,
            allow_inf_nan=False,
            description="Seconds of quiet after which Pickup tells the model that the caller has"
            " ended; 0 leaves that to the model.",
        ),
        Shape("a number of seconds from 0 to 2"),
    ] = 0.0

    caller_calls_per_hour: Annotated[
        int,
        Field(ge=1, le=1_000_000, description="Calls taken from one number in any hour."),
        Shape("a whole number from 1"),
    ] = 60
    call_budget: Annotated[
        Dollars | None, Field(description="US dollars that one call may cost.")
    ] = 5.0
    day_budget: Annotated[
        Dollars | None, Field(description="US dollars that a day's calls may cost (UTC).")
    ] = None
    carrier_minute: Annotated[
        float,
        Field(
            ge=0, le=100, allow_inf_nan=False, description="US dollars that a minute of line costs."
        ),
        Shape("a number of US dollars from 0 to 100"),
    ] = 0.02

    database_url: Annotated[
        Annotated[
            str,
            AfterValidator(_database),
            Shape("sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"),
        ]
        | None,
        Field(description="Records: SQLite or PostgreSQL; unset, `pickup.db` in `DATA_DIR`."),
    ] = None
    data_dir: Annotated[
        Path,
        Field(description="Where recordings, transcripts and records lie."),
        Shape("the path of a folder"),
    ] = Path("data")
    log_level: Annotated[
        str,
        BeforeValidator(_lower),
        Field(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error."),
        Shape("debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        str,
        BeforeValidator(_lower),
        Field(pattern="^(text|json)$", description="text or json."),
        Shape("text or json"),
    ] = "text"
    pickup_agents: Annotated[
        Annotated[Path, AfterValidator(_folder), Shape("the path of a folder that exists")] | None,
        Field(
            description="Folder of the agents' files; unset, `./agents` where it exists, else the examples."
        ),
    ] = None

    sip_listen: Annotated[
        Annotated[
            str,
            AfterValidator(where_to_listen),
            Shape("ADDRESS:PORT such as 127.0.0.1:5060, an address and not a name"),
        ]
        | None,
        Field(description="Where SIP calls come in (extra `sip`); unset, none do."),
    ] = None
    sip_protection: Annotated[
        str,
        BeforeValidator(_lower),
        Field(
            pattern="^(none|front|firewall)$",
            description="What keeps strangers from SIP: `front`, `firewall`, or `none` for private addresses.",
        ),
        Shape("none, front or firewall"),
    ] = "none"
    sip_rtp_ports: Annotated[
        str,
        AfterValidator(port_range),
        Field(description="UDP ports of SIP calls' sound, two for each call."),
        Shape("a range such as 20000-20511, from 1024 to 65535"),
    ] = "20000-20511"
    sip_jitter_ms: Annotated[
        Annotated[str, Field(pattern="^[0-9]{1,3}(-[0-9]{1,3})?$")],
        AfterValidator(waiting),
        Field(
            description="How long a caller's sound waits for packets that are late, in ms; `40-240`: as long as they have been late."
        ),
        Shape("milliseconds such as 40, or the least and the most such as 40-240, up to 500"),
    ] = "40"
    sip_registrar: Annotated[
        Annotated[
            str,
            Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?$"),
            Shape("a host such as pbx.example.com, or with its port"),
        ]
        | None,
        Field(description="PBX or trunk at which SIP registers; unset, calls come all the same."),
    ] = None
    sip_trunk: Annotated[
        Annotated[
            str,
            Field(
                pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?(;transport=(udp|tcp))?$"
            ),
            Shape("a host such as trunk.example.com, or with its port, or with ;transport=tcp"),
        ]
        | None,
        Field(description="Who carries calls to numbers by SIP; unset, `SIP_REGISTRAR` does."),
    ] = None
    call_sip_hosts: Annotated[
        str,
        AfterValidator(hosts),
        Field(description="Hosts whose `sip:` addresses may be called; unset, none may."),
        Shape("hosts such as pbx.example.com,10.0.0.5, without ports"),
    ] = ""
    sip_user: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9._+~-]{1,64}$", description="Name that it registers as."),
        Shape("a name of letters, digits and . _ + ~ -"),
    ] = "agent"
    sip_password: Annotated[
        Annotated[SecretStr, AfterValidator(quotable), Shape('one line without `"` and backslash')]
        | None,
        Field(description="Password of that user."),
    ] = None
    sip_headers: Annotated[
        str,
        AfterValidator(header_names),
        Field(description="SIP headers that fill an agent's variables (`X-Order-Id`: `order_id`)."),
        Shape("at most 13 names of headers such as X-Order-Id,User-to-User"),
    ] = ""
    sip_codecs: Annotated[
        str,
        AfterValidator(codec_names),
        Field(description="Codecs of SIP calls, the best first; `g722` is wide band (16 kHz)."),
        Shape("some of g722,pcmu,pcma, each once"),
    ] = "g722,pcmu,pcma"

    _others: _Others = PrivateAttr(default_factory=lambda: _Others({}))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `load` passes: nothing is read behind a caller's back."""
        return (init_settings,)

    @classmethod
    def load(cls, environ: Mapping[str, str], env_file: Path | None = None) -> Self:
        """Read and check the settings.

        Args:
            environ: the environment; `environment()` in the command, a literal in tests.
            env_file: a file of NAME=value lines that the environment overrules; it need not exist.

        Raises:
            UserError: a variable is wrong, or half of a pair is missing.
        """
        in_file = _from_file(env_file)
        found = {
            **_known(in_file.items(), str(env_file)),
            **_known(environ.items(), "the environment"),
        }
        try:
            settings = cls.model_validate({name: given.value for name, given in found.items()})
        except ValidationError as error:
            names = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
            raise UserError("; ".join(_complaint(name, found[name]) for name in names)) from None
        if (settings.twilio_api_key is None) != (settings.twilio_api_secret is None):
            raise UserError(
                "TWILIO_API_KEY and TWILIO_API_SECRET belong together: set both or none"
            )
        check(settings)
        given = {**in_file, **environ}
        settings._others = _Others({name: SecretStr(text) for name, text in given.items() if text})
        return settings

    @property
    def api_key(self) -> SecretStr | None:
        """The key of the Gemini API, under either of its names."""
        return self.gemini_api_key or self.google_api_key

    @property
    def database(self) -> str:
        """The database's URL for SQLAlchemy, also where none was set."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'pickup.db'}"

    def secret(self, name: str) -> SecretStr | None:
        """The secret that an agent's file names by its variable; None where that is not set."""
        return self._others.values.get(name)

    def secrets(self, named: Iterable[str] = ()) -> tuple[str, ...]:
        """Every secret's text: what no log may show.

        Args:
            named: the variables that the agents' files name.
        """
        own = [getattr(self, name) for name in type(self).model_fields]
        values = [*own, *(self._others.values.get(name) for name in named)]
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        if password := urlsplit(self.database_url or "").password:
            secrets += {unquote(password): None, password: None}  # both ways in which it is written
        return tuple(secrets)


class _Given(NamedTuple):
    """A value and where it was found."""

    value: str
    where: str


def _known(pairs: Iterable[tuple[str, str | None]], where: str) -> dict[str, _Given]:
    return {
        name.lower(): _Given(value.strip(), where)
        for name, value in pairs
        if value and value.strip() and name.isupper() and name.lower() in Settings.model_fields
    }


def _from_file(path: Path | None) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        # Not interpolated: a `$` in a token is a `$`.
        found = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return {name: value for name, value in found.items() if value}


def _complaint(name: str, given: _Given) -> str:
    secret = _is_secret(name) or "@" in given.value  # a URL may carry a password
    shown = "" if secret else f"={given.value.splitlines()[0][:80]}"
    return f"{name.upper()}{shown} (from {given.where}) should be {_shape(name)}"


def _details(annotation: object) -> Iterator[object]:
    """Everything an annotation says, also inside `X | None`."""
    yield annotation
    for part in get_args(annotation):
        yield from _details(part)


def _is_secret(name: str) -> bool:
    return SecretStr in _details(Settings.model_fields[name].annotation)


def _shape(name: str) -> str:
    field = Settings.model_fields[name]
    details = (*field.metadata, *_details(field.annotation))
    return next(detail.text for detail in details if isinstance(detail, Shape))


def environment() -> dict[str, str]:
    """A copy of this process's environment, for `Settings.load`."""
    return dict(os.environ)


def settings_table() -> str:
    """README's table of settings, in Markdown."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = f"`{_plain(field.default)}`" if field.default is not None else ""
        rows.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def env_example() -> str:
    """The text of `.env.example`: every setting, commented out, with its default."""
    lines = [
        "# Copy to .env and fill in what you need; the environment overrules this file.",
        "# Never commit .env: it holds secrets.",
    ]
    for name, field in Settings.model_fields.items():
        lines += ["", f"# {field.description}", f"# It should be {_shape(name)}."]
        lines.append(f"#{name.upper()}={_plain(field.default)}")
    return "\n".join(lines) + "\n"


def _plain(default: object) -> str:
    return "" if default is None else str(default)
