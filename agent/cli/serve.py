"""`pickup serve`: run the server."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.parse import urlsplit

import typer
from pydantic import SecretStr

from agent.cli.parts.children import Child
from agent.cli.parts.settle import settle
from agent.config.settings import Settings, environment, is_loopback
from agent.errors import UserError

if TYPE_CHECKING:
    from agent.config.agent_files import AgentFiles

app = typer.Typer()

LOOPBACK_TOKEN = "pickup-on-this-machine"
"""What requests are signed with where there is no Twilio account: only this machine can reach the server then."""

STAND_IN_KEY = "stand-in"
"""The stand-in wants a key as Google does, and takes any."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, instead of HOST.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port, instead of PORT; 0: a free one."),
    ] = None,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Answer with the built-in stand-in for Gemini Live.")
    ] = False,
    record: Annotated[bool, typer.Option("--record", help="Keep the sound of every call.")] = False,
) -> None:
    """Answer calls until it is told to stop."""
    settings = Settings.load(environment(), Path(".env"))
    changes = {"host": host, "port": port}
    settings = settings.model_copy(
        update={name: value for name, value in changes.items() if value is not None}
    )
    run(settings, stand_in=stand_in, record=record)


def run(settings: Settings, *, stand_in: bool = False, record: bool = False) -> None:
    """Serve with these settings; returns when the server was stopped and its calls have ended."""
    # Heavy, and wanted only here: a web server, a database, numpy.
    from agent.config.agent_files import AgentFiles, agents_folder
    from agent.drive.logs import configure as configure_logs
    from agent.server.app import Building, build
    from agent.server.run import Server, configure
    from agent.server.sip import prepared
    from agent.storage.migrate import make_engine

    agents = AgentFiles(agents_folder(settings.pickup_agents, Path.cwd()), _report)
    needed = _needed(agents)
    hidden = settings.secrets(needed)
    redactor = configure_logs(settings.log_level, settings.log_format, hidden)
    plan = decide(settings, stand_in=stand_in)
    for name in needed:
        if settings.secret(name) is None:
            _report(f"{name} is not set: {needed[name]} does without the tools that need it")
    _make_folder(settings.data_dir)
    make_engine(settings.database)  # connects to nothing: a driver that is not there is told now
    with ExitStack() as stack:
        listening = stack.enter_context(_bind(settings.host, settings.port))
        settings = prepared(settings)
        if plan.stand_in:
            _report(f"{plan.stand_in}: the built-in stand-in for Gemini Live answers")
            child = Child(("simulate", "gemini"), environment())
            stack.callback(child.stop)
            url = child.url.replace("http", "ws", 1)
            settings = settings.model_copy(update={"gemini_url": url})
        if plan.stand_in or settings.api_key is None:
            key = SecretStr(STAND_IN_KEY)
            settings = settings.model_copy(update={"gemini_api_key": key})
        building = Building(
            settings,
            agents,
            auth_token=plan.token,
            public_url=settings.public_url or _origin(listening),
            recording=record,
            hide=redactor.learn,
        )
        config = configure(build(building), settings.host, settings.port)
        drain_seconds = float(settings.drain_seconds)
        server = Server(config, building, drain_seconds, settle, sip=settings.sip_listen)
        try:
            server.run(sockets=[listening])
        except SystemExit:  # uvicorn's, where the application could not be opened
            raise building.mistake or SystemExit(1) from None
        if building.crippled:
            raise SystemExit(
                1
            )  # whoever keeps it starts another, also where that is done on failure only
        if not server.started:
            raise UserError("it could not start: what is wrong stands above")


def _needed(agents: AgentFiles) -> dict[str, str]:
    """The secrets that the agents' tools need, and who needs them; a mistake in a file is shown now, not to the first caller."""
    found = agents.check()
    return {secret: name for name, agent in found.items() for secret in agent.secrets()}


class Plan(NamedTuple):
    """What follows from the settings.

    Attributes:
        token: what webhooks and streams are signed with.
        stand_in: why the built-in stand-in answers; empty where it does not.
    """

    token: str
    stand_in: str


def decide(settings: Settings, *, stand_in: bool) -> Plan:
    """Say who may call and who answers. A lost secret must never connect callers to a fake, or let strangers in.

    Raises:
        UserError: something is missing that cannot be done without.
    """
    local = _only_this_machine(settings)
    if settings.public_url is None and not local:
        raise UserError(
            f"PUBLIC_URL is not set and HOST={settings.host} can be reached from outside: "
            "set PUBLIC_URL to the origin that Twilio sees, such as https://pickup.example.com"
        )
    token = settings.twilio_auth_token
    if token is None and not local:
        raise UserError(
            "TWILIO_AUTH_TOKEN is not set: without it nobody can tell Twilio's requests from others"
        )
    signed_with = token.get_secret_value() if token else LOOPBACK_TOKEN
    if stand_in:
        return Plan(signed_with, "--stand-in")
    if settings.api_key is not None or (local and settings.gemini_url.startswith("ws://")):
        return Plan(signed_with, "")  # plain ws is somebody's own stand-in, on this machine
    if not local:
        raise UserError("GEMINI_API_KEY is not set (or give --stand-in to answer with a fake)")
    return Plan(signed_with, "no GEMINI_API_KEY")


def _only_this_machine(settings: Settings) -> bool:
    """Whether nobody else can reach this server."""
    public = settings.public_url
    return is_loopback(settings.host) and (public is None or is_loopback(urlsplit(public).hostname))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"DATA_DIR={folder} cannot be made: {error.strerror}") from None


def _bind(host: str, port: int) -> socket.socket:
    """Take the port now, so that a server that cannot have it says so in one line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen on {host} port {port}: {error.strerror}; set HOST or PORT"
        ) from None
    return listening


def _origin(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _report(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
