"""`pickup torture`: everything that the fault menu has, one call each, against any Media Streams server."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from agent.cli.parts.children import Child
from agent.cli.parts.torture_call import (
    AT_LAST,
    HANGS_UP,
    Desk,
    Line,
    arms,
    call,
    port_of,
    settled,
    short_spoken,
    stand_in,
)
from agent.cli.parts.torture_verdict import (
    Noticed,
    Verdict,
    allowed,
    judge,
    judge_plain,
    notice,
)
from agent.cli.serve import STAND_IN_KEY
from agent.config.agent_files import EXAMPLES
from agent.config.settings import Settings, environment
from agent.errors import UserError
from agent.simulator.caller import demo_utterances
from agent.simulator.menu import MENU, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer()

MODEL_PORT = 8790
"""Where the stand-in listens for somebody else's server, unless told otherwise."""


class Side(StrEnum):
    """Whose faults."""

    GEMINI = "gemini"
    TWILIO = "twilio"


class TortureReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `pickup torture --json` prints; `folder` has records and log of the server that was started."""

    v: int = 1
    ok: bool
    url: str | None
    model_url: str
    folder: str | None
    without_fault: Noticed
    faults: list[Verdict]


@app.command()
def torture(
    url: Annotated[
        str | None,
        typer.Argument(
            help="http(s): the voice webhook or its origin; ws(s): a media stream."
            " Without it, a server of our own is started."
        ),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="NAME of a fault; repeatable.")] = None,
    side: Annotated[Side | None, typer.Option(help="Only one side's faults.")] = None,
    seconds: Annotated[
        float, typer.Option(help="The caller gives up after so long.", min=20, max=600)
    ] = 75,
    model_port: Annotated[
        int | None,
        typer.Option(
            help=f"Port of the stand-in for Gemini Live; default: {MODEL_PORT}, or with no URL any.",
            min=1,
            max=65535,
        ),
    ] = None,
    token: Annotated[
        str, typer.Option(help="Auth token that signs the requests; empty: they are not signed.")
    ] = "",
    public_url: Annotated[
        str | None, typer.Option(help="The origin that gets signed, where it is not URL's.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Let everything go wrong, one call each, and tell what the caller noticed.

    The model that the server under test asks must be the stand-in: configure it for the address that
    is printed first (GEMINI_URL=ws://127.0.0.1:8790 for Pickup; any key is taken). Only the wire is used.

    A fault is passed when the caller hears a word within 5 s of the answer, no silence lasts longer
    than 3 s (10 s where the model itself is silent), nothing is lost, said twice or answered twice, no
    rule of either wire is broken, the call ends as one without a fault does, and no session is left 5 s
    later (12 s where the line ends without a stop). What cannot be survived (a bad key, a used-up quota) is passed with a sentence of the
    server's own and the call's end. A fault that never came, as when a server sends no such field, is
    told and counts neither way. Our own server is a new one for each fault. Exit status 0: no fault that came was failed, and one was passed.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    chosen = choose(only or [], side)
    with _stage(url, Line(url or "", token, public_url, seconds), model_port, console) as stage:
        outcome = _run(stage, chosen, console)
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        _sum_up(outcome, console)
    if not outcome.ok:
        raise typer.Exit(1)


def choose(only: list[str], side: Side | None) -> list[Entry]:
    """The faults that are wanted: those that calls survive first, and the used-up quota at the very end.

    Raises:
        UserError: there is no such fault.
    """
    entries = [entry for entry in MENU if side is None or entry.side == side]
    known = {entry.name for entry in entries}
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"no fault {unknown[0]!r}: there are {', '.join(sorted(known))}")
    wanted = [entry for entry in entries if not only or entry.name in only]
    # A server may remember for a while that it was turned away: what comes after must not suffer.
    return sorted(wanted, key=lambda entry: (allowed(entry).may_end, entry.name == "quota"))


class _Stage:
    """Where the calls go, and what the stand-ins run on.

    Attributes:
        plain: The stand-in of the call without a fault, running; taken once.
        folder: What our own server and the stand-ins keep, and their log.
    """

    def __init__(self, line: Line, desk: Desk, plain: Child, folder: Path) -> None:
        self.line = line
        self.desk = desk
        self.plain = plain
        self.folder = folder
        self.port = port_of(plain)
        self.failed = True

    @contextmanager
    def answering(self, name: str) -> Iterator[Line]:
        """Where to call for one fault: a new server of our own, or the one that was named.

        A server may remember for a day which setup was refused; our own tells what each fault does by itself.
        """
        if self.line.url:
            yield self.line
            return
        data, token = self.folder / name, secrets.token_hex(16)
        environ = _server_environment(data, token, self.port)
        words = ("serve", "--port", "0", "--record")
        server = Child(words, environ, self.desk.log, self.folder)
        try:
            yield self.line._replace(url=server.url, token=token)
        finally:
            server.stop()

    @property
    def model_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def _stage(url: str | None, line: Line, port: int | None, console: Console) -> Iterator[_Stage]:
    """Start the stand-in, and stop it.

    What our server and the stand-ins kept and complained of stays where something has failed.
    """
    data = Settings.load(environment(), Path(".env")).data_dir.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=data))
    log = folder / "log"
    try:
        with ExitStack() as stack:
            desk = Desk(_bare(), stack.enter_context(open(log, "wb")), folder)
            plain = stand_in(desk, port or (MODEL_PORT if url else 0), [])
            stack.callback(plain.stop)
            stage = _Stage(line, desk, plain, folder)
            yield stage
    except UserError:
        console.print(f"the log: {log}")
        raise
    if not stage.failed:
        shutil.rmtree(folder, ignore_errors=True)


def _run(stage: _Stage, chosen: list[Entry], console: Console) -> TortureReport:
    """One call without a fault, then one for each."""
    console.print(f"the model of the server under test has to be {stage.model_url}")
    try:
        with stage.answering("plain") as line:
            plain = asyncio.run(call(line, stage.plain.url, demo_utterances(), []))
    finally:
        stage.plain.stop()
    console.print(f"without a fault: {escape(str(notice(plain)))}")
    if why := judge_plain(plain):
        raise UserError(f"a call without a fault is not good: {'; '.join(why)}")
    verdicts = []
    for entry in chosen:
        verdict = _one(stage, entry, plain.report.ended.value)
        verdicts.append(verdict)
        console.print(_line(verdict))
    ok = all(each.passed is not False for each in verdicts) and any(
        each.passed for each in verdicts
    )
    stage.failed = not ok
    return TortureReport(
        ok=ok,
        url=stage.line.url or None,
        model_url=stage.model_url,
        folder=None if ok else str(stage.folder),
        without_fault=notice(plain),
        faults=verdicts,
    )


def _one(stage: _Stage, entry: Entry, plain_end: str) -> Verdict:
    models, lines = arms(entry)
    model = stand_in(stage.desk, stage.port, models)
    try:
        hangs_up_after = HANGS_UP.get(entry.name) if entry.side == "twilio" else None
        said = short_spoken() if entry.name == "short-words-unheard" else demo_utterances()
        with stage.answering(f"{entry.side}-{entry.name}") as line:
            lets_go = allowed(entry).lets_go
            evidence = asyncio.run(call(line, model.url, said, lines, hangs_up_after, lets_go))
            if evidence.left:
                asyncio.run(settled(model.url, AT_LAST))
    finally:
        model.stop()
    return judge(entry, models + lines, evidence, plain_end)


def _line(verdict: Verdict) -> str:
    how = {True: "[green]pass[/]", False: "[red]FAIL[/]", None: "[yellow]none[/]"}[verdict.passed]
    why = {True: "", False: "; ".join(verdict.why), None: "the fault never came"}[verdict.passed]
    name = f"{verdict.side:<6} {verdict.name:<20}"
    noticed = escape(str(verdict.noticed))
    return f"{how}  {name} {noticed}" + (f"  [bold]{escape(why)}[/]" if why else "")


def _sum_up(outcome: TortureReport, console: Console) -> None:
    passed = sum(each.passed is True for each in outcome.faults)
    never = sum(each.passed is None for each in outcome.faults)
    console.print(
        f"{passed} of {len(outcome.faults)} passed, "
        f"{len(outcome.faults) - passed - never} failed, {never} never came"
    )
    if outcome.folder:
        console.print(f"records and log: {outcome.folder}")


def _bare() -> dict[str, str]:
    """The environment without settings: an exported key must not turn this into paid calls."""
    known = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environment().items() if name not in known}


def _server_environment(data: Path, token: str, port: int) -> dict[str, str]:
    return _bare() | {
        "DATA_DIR": str(data),
        "PICKUP_AGENTS": str(EXAMPLES),
        "TWILIO_AUTH_TOKEN": token,
        "GEMINI_URL": f"ws://127.0.0.1:{port}",
        "GEMINI_API_KEY": STAND_IN_KEY,
        "LOG_LEVEL": "warning",
        "DRAIN_SECONDS": "5",
    }
