"""`pickup demo`: one telephone call through the real server, over loopback, with nothing but this machine."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli.parts.children import Child
from agent.cli.parts.demo_report import Evidence, Step, report, steps
from agent.cli.parts.follow import Follower, Said
from agent.cli.serve import STAND_IN_KEY
from agent.config.agent_files import EXAMPLES
from agent.config.settings import Settings, environment
from agent.drive.tasks import Tasks
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agent.cli.parts.demo_report import DemoReport
    from agent.simulator.caller import CallerOptions
    from agent.simulator.report import CallReport
    from agent.simulator.softphone_report import SoftphoneReport

app = typer.Typer()

PLAYERS = (
    ("ffplay", "-autoexit", "-nodisp", "-loglevel", "error"),
    ("aplay", "-q"),
    ("afplay",),
    ("paplay",),
    ("play", "-q"),
)
"""Programs that play a WAV file, and how each is told to do it quietly."""

SIP_LISTEN = "127.0.0.1:0"

LONGEST = 35.0
LONGEST_LIVE = 60.0
"""Seconds after which the caller hangs up."""


@app.command()
def demo(
    live: Annotated[
        bool, typer.Option("--live", help="Talk to Gemini (GEMINI_API_KEY), not to the stand-in.")
    ] = False,
    wav: Annotated[
        list[Path] | None, typer.Option(help="Your own recording as the caller (PCM WAV).")
    ] = None,
    sip: Annotated[
        bool,
        typer.Option("--sip", help="Call by SIP and RTP, not as Twilio would (extra `sip`)."),
    ] = False,
    play: Annotated[bool, typer.Option("--play", help="Play the recording afterwards.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Place one telephone call as Twilio would, or by SIP, and show what happens."""
    console = Console(stderr=as_json, highlight=False)
    settings = Settings.load(environment(), Path(".env"))
    if live and settings.api_key is None:
        raise UserError("--live needs GEMINI_API_KEY, in the environment or in .env")
    evidence = _call(settings, live, wav or [], sip, console)
    found = steps(
        evidence,
        answers=2 if live else (len(wav) if wav else 4),
        interrupts=not wav,
        judged=not live,
    )
    outcome = report(evidence, found)
    if as_json:
        print(msgspec.json.encode(outcome).decode())
    else:
        _show(console, outcome, found, evidence.transcript.get("turns", []))
    if play:
        _play(outcome.recording)
    if not outcome.ok:
        for step in found:
            if not step.happened:
                console.print(f"[red]did not happen:[/] {step.name} (see {step.look})")
        raise typer.Exit(1)


def _call(settings: Settings, live: bool, wav: list[Path], sip: bool, console: Console) -> Evidence:
    """Start the server and the stand-in, place the call, stop them; what was seen of it."""
    longest = LONGEST_LIVE if live else LONGEST
    options = _caller(wav, longest)
    data = settings.data_dir.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = secrets.token_hex(16)
    with tempfile.TemporaryFile() as log, ExitStack() as stack:
        console.print(
            "starting " + ("" if live else "the stand-in for Gemini Live and ") + "the server"
        )
        try:
            stand_in = None
            if not live:
                stand_in = Child(("simulate", "gemini"), _bare(environment()), log, data)
                stack.callback(stand_in.stop)
            environ = _server_environment(settings, data, token, stand_in)
            environ |= {"SIP_LISTEN": SIP_LISTEN} if sip else {}
            server = Child(("serve", "--port", "0", "--record"), environ, log, data)
            stack.callback(server.stop)
        except UserError:
            _show_log(console, log)
            raise
        follower = Follower(data / "calls")
        call: Coroutine[Any, Any, CallReport | SoftphoneReport]
        if server.sip is not None:
            call = _softphone(server.sip, wav, longest, log)
        else:
            call = _call_through_twilio(_at(options, server.url, token))
        caller = asyncio.run(_followed(call, follower, console))
        violations = _violations(stand_in) if stand_in else None
        server.stop()  # it ends when the call's record is written
        for said in follower.news():
            _say(console, said)
        if caller.start_now_s is None:
            _show_log(console, log)
    return Evidence(caller, follower, _transcript(follower.folder), violations)


def _caller(wav: list[Path], longest: float) -> CallerOptions:
    from agent.simulator.caller import CallerOptions, demo_utterances, recorded

    own = tuple(map(recorded, wav))
    said = (*own, demo_utterances()[-1]) if own else demo_utterances()
    return CallerOptions(url="", utterances=said, max_seconds=longest)


def _at(options: CallerOptions, url: str, token: str) -> CallerOptions:
    from dataclasses import replace

    return replace(options, url=url, auth_token=token)


async def _call_through_twilio(options: CallerOptions) -> CallReport:
    from agent.simulator.caller import run_caller

    return await run_caller(options)


async def _softphone(
    where: str, wav: list[Path], longest: float, log: IO[bytes]
) -> SoftphoneReport:
    """The call by SIP, in a process of its own: what speaks SIP runs once in one."""
    from agent.simulator.caller import SPEECH
    from agent.simulator.softphone_report import SoftphoneReport

    clips = [*wav, SPEECH / "caller_bye.wav"] if wav else []
    words = ["--to", f"sip:agent@{where}", "--seconds", f"{longest:g}", "--json"]
    for clip in clips:
        words += ["--wav", str(clip.absolute())]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "simulate", "sip", *words),
        env=_bare(environment()),
        stdout=subprocess.PIPE,
        stderr=log,
    )
    told, _ = await process.communicate()
    try:
        return msgspec.json.decode(told, type=SoftphoneReport)
    except msgspec.DecodeError:
        raise UserError("`pickup simulate sip` did not place the call: see above") from None


async def _followed(
    call: Coroutine[Any, Any, CallReport | SoftphoneReport], follower: Follower, console: Console
) -> CallReport | SoftphoneReport:
    """The call, with the conversation on the terminal as it is recorded."""
    task = Tasks("demo").start_read("caller", call)
    while not task.done():
        await asyncio.wait([task], timeout=0.2)
        for said in follower.news():
            _say(console, said)
    return task.result()


def _bare(environ: dict[str, str]) -> dict[str, str]:
    """The environment without settings: an exported key must not turn the demo into a paid call."""
    known = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environ.items() if name not in known}


def _server_environment(
    settings: Settings, data: Path, token: str, stand_in: Child | None
) -> dict[str, str]:
    environ = _bare(environment()) | {
        "DATA_DIR": str(data),
        "PICKUP_AGENTS": str(EXAMPLES),
        "TWILIO_AUTH_TOKEN": token,
        "LOG_LEVEL": "warning",
        "DRAIN_SECONDS": "5",
    }
    if stand_in is not None:
        url = stand_in.url.replace("http", "ws", 1)
        return environ | {"GEMINI_URL": url, "GEMINI_API_KEY": STAND_IN_KEY}
    key = settings.api_key
    return environ | {
        "GEMINI_API_KEY": key.get_secret_value() if key else "",
        "GEMINI_MODEL": settings.gemini_model,
        "GEMINI_URL": settings.gemini_url,
        "GEMINI_API_VERSION": settings.gemini_api_version,
    }


def _violations(stand_in: Child) -> list[str]:
    """Rules of the Live API that our side broke."""
    with urllib.request.urlopen(f"{stand_in.url}/stats", timeout=5) as answer:
        stats = json.load(answer)
    return [f"{each['rule']}: {each['detail']}" for each in stats["violations"]]


def _transcript(folder: Path | None) -> dict[str, Any]:
    path = folder / "transcript.json" if folder else None
    if path is None or not path.exists():
        return {}
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def _say(console: Console, said: Said) -> None:
    colour = {"caller": "cyan", "agent": "green"}.get(said.who, "dim")
    who = f"{said.who:<6}" if said.who else "      "
    console.print(f"{said.t:6.2f} s  [{colour}]{who}  {escape(said.text)}[/]", soft_wrap=True)


STEPS = (
    ("sent", "sent_ms"),
    ("model's first byte", "model_ms"),
    ("first frame out", "frame_ms"),
    ("heard", "out_ms"),
    ("in all", "latency_ms"),
)
"""From the end of the caller's speech to the ear: the columns, and where the record has each. "First frame out" and "heard" both
begin at the model's first byte."""


def _show(
    console: Console, outcome: DemoReport, found: list[Step], turns: list[dict[str, Any]]
) -> None:
    table = Table(
        title="from the end of the caller's speech, in milliseconds", title_justify="left"
    )
    table.add_column("turn")
    for column, _ in STEPS:
        table.add_column(column, justify="right")
    for turn in turns:
        cells = [turn[field] for _, field in STEPS]
        table.add_row(str(turn["n"]), *("" if cell is None else f"{cell:.0f}" for cell in cells))
    console.print(table)
    console.print(
        f"first word {_ms(outcome.first_word_ms)} after the answer; interrupted to silence "
        f"{_ms(outcome.barge_in.clear_ms)}; lost {outcome.lost_ms:g} ms; holes {outcome.underruns}"
    )
    console.print(f"{sum(step.happened for step in found)} of {len(found)} steps happened")
    for name, path in (("recording", outcome.recording), ("transcript", outcome.transcript)):
        console.print(f"{name}: {path}", soft_wrap=True)
    if outcome.recording:
        console.print(f"listen: {_player()} {outcome.recording}", soft_wrap=True)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _player() -> str:
    found = [" ".join(player) for player in PLAYERS if shutil.which(player[0])]
    return (found or [" ".join(PLAYERS[0])])[0]


def _play(recording: str | None) -> None:
    for player in PLAYERS:
        if recording and shutil.which(player[0]):
            subprocess.run([*player, recording], check=False)
            return
    print("no player found (ffplay, aplay, afplay, paplay or sox's play)", file=sys.stderr)


def _show_log(console: Console, log: IO[bytes]) -> None:
    log.seek(0)
    console.print(log.read().decode(errors="replace"), markup=False)
