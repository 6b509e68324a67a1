"""`pickup bench`: many simulated calls against a server process of its own, and what they cost."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from agent.cli.parts import bench_figures
from agent.cli.parts.bench_report import BenchReport, Seen, Spent, lines, report
from agent.cli.parts.children import Child
from agent.cli.parts.cost import (
    Cores,
    Sample,
    check_machine,
    cores,
    interpreter,
    pinned,
    resident_mb,
    sample,
    scheduling,
)
from agent.cli.parts.settle import settle
from agent.cli.serve import STAND_IN_KEY
from agent.config.agent_files import EXAMPLES
from agent.config.settings import Settings, environment
from agent.errors import UserError
from agent.simulator.crowd import CrowdOptions, run_crowd, warm_up
from agent.simulator.records import Stats

if TYPE_CHECKING:
    from agent.simulator.report import CallReport

app = typer.Typer()

SETUP_SECONDS = 0.3
"""The stand-in's answer to a setup takes this long, always: its dice are not what is measured."""
REPLY_SECONDS = 2.0


@app.command()
def bench(
    calls: Annotated[int, typer.Option(help="Calls at once.", min=1, max=1000)] = 10,
    seconds: Annotated[float, typer.Option(help="How long all of them last.", min=1)] = 60.0,
    voice_detection: Annotated[
        bool, typer.Option(help="Let the server listen for voices itself (LOCAL_BARGE_IN).")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
) -> None:
    """Measure the server under simulated calls: CPU, memory, added latency, holes, losses.

    Server, model and callers are processes of their own, the server on a core of its own. Recording
    and transcript are on. A row that does not count says why, and the exit status is 1.
    """
    check_machine()
    console = Console(stderr=as_json, highlight=False)
    data = Settings.load(environment(), Path(".env")).data_dir.absolute()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=data) as folder:
        row = _measure(calls, seconds, Path(folder), console, listens=voice_detection)
    if as_json:
        print(msgspec.json.encode(row).decode())
    else:
        _show(console, row)
    for why in row.void:
        console.print(f"[red]this row is void:[/] {why}")
    if not row.ok:
        raise typer.Exit(1)


def _measure(
    calls: int, seconds: float, data: Path, console: Console, *, listens: bool
) -> BenchReport:
    """Start server and model, place the calls, stop everything; the row."""
    where = cores()
    console.print(
        f"server on core {where.server}; model and callers on core {where.generators}; "
        f"{calls} calls for {seconds:g} s; scheduling: {scheduling()}; {interpreter()}"
    )
    with ExitStack() as stack:
        log = stack.enter_context(open(data / "log", "wb"))
        token = secrets.token_hex(16)
        stack.enter_context(pinned(where.generators))  # this process is the callers
        model = Child(_model_words(listens=listens), _bare(environment()), log, data)
        stack.callback(model.stop)
        with pinned(where.server):
            environ = _server_environment(data, token, model.url, calls)
            environ["LOCAL_BARGE_IN"] = str(listens)
            server = Child(("serve", "--port", "0", "--record"), environ, log, data)
        stack.callback(server.stop)
        options = CrowdOptions(
            url=server.url, auth_token=token, calls=calls, seconds=seconds, recorded=listens
        )
        crowd = _Crowd(options, server.process.pid, model.process.pid)
        callers = _run(crowd)
        if not callers:
            console.print((data / "log").read_text(errors="replace"), markup=False)
            raise UserError("the server took no call at all; its log is above")
        seen = _seen(calls, callers, _stats(model))
        server.stop()  # it ends when the last call's record is written
        if listens:
            seen = seen._replace(voice_detection=True, listened=_listened(data))
    return report(crowd.spent(where), seen)


def _listened(data: Path) -> float:
    """Seconds of sound that the server listened to, by its records."""
    records = (msgspec.json.decode(path.read_bytes()) for path in data.rglob("transcript.json"))
    return sum(float(record["metrics"]["listened"]) for record in records)


class _Crowd:
    """The calls, and what the machine spends meanwhile."""

    def __init__(self, options: CrowdOptions, server: int, model: int) -> None:
        self._options = options
        self._server = server
        self._generators = {"model": model, "callers": os.getpid()}
        self._samples: list[Sample] = []
        self._memory: list[float] = []

    async def run(self) -> list[CallReport]:
        """Place all calls; none where not even the first one comes about."""
        first = await warm_up(self._options)
        if first.start_now_s is None:
            return []
        self._memory.append(resident_mb(self._server))
        return await run_crowd(self._options, self._mark)

    def _mark(self) -> None:
        self._samples.append(sample([self._server, *self._generators.values()]))
        self._memory.append(resident_mb(self._server))

    def spent(self, where: Cores) -> Spent:
        before, after = self._samples
        memory = (self._memory[0], self._memory[-1])
        return Spent(where, self._server, self._generators, before, after, memory)


def _run(crowd: _Crowd) -> list[CallReport]:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        factory = None
    else:
        factory = uvloop.new_event_loop
    settle()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(crowd.run())


def _seen(calls: int, callers: list[CallReport], stats: Stats) -> Seen:
    violations = [f"{each.rule}: {each.detail}" for each in stats.violations]
    sessions = stats.sessions[1:]  # the first was the warm-up's
    return Seen(calls, callers, bench_figures.matched(callers, sessions), violations)


def _stats(model: Child) -> Stats:
    with urllib.request.urlopen(f"{model.url}/stats", timeout=60) as answer:
        return msgspec.json.decode(answer.read(), type=Stats)


def _model_words(*, listens: bool) -> tuple[str, ...]:
    """The model; where the server listens itself, one that says nothing of an interruption once it has generated its reply."""
    return (
        *("simulate", "gemini", "--brain", "bench", "--trace"),
        *("--interrupts", "generation" if listens else "playback"),
        *("--setup-seconds", str(SETUP_SECONDS), "--reply-seconds", str(REPLY_SECONDS)),
    )


def _bare(environ: dict[str, str]) -> dict[str, str]:
    """The environment without settings: what is measured is the same whatever is exported."""
    known = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environ.items() if name not in known}


def _server_environment(data: Path, token: str, model_url: str, calls: int) -> dict[str, str]:
    return _bare(environment()) | {
        "DATA_DIR": str(data),
        "PICKUP_AGENTS": str(EXAMPLES),
        "TWILIO_AUTH_TOKEN": token,
        "GEMINI_URL": model_url.replace("http", "ws", 1),
        "GEMINI_API_KEY": STAND_IN_KEY,
        "MAX_CALLS": str(calls + 1),
        "LOG_LEVEL": "warning",
    }


def _show(console: Console, row: BenchReport) -> None:
    table = Table(title=f"{row.calls} calls, {row.seconds:g} s", title_justify="left")
    for column in ("", "p50 / p95 / p99", "promised", ""):
        table.add_column(column)
    for line in lines(row):
        kept = {None: "", True: "[green]kept[/]", False: "[red]missed[/]"}[line.kept]
        table.add_row(line.name, line.value, line.promise, kept)
    console.print(table)
    load = ", ".join(f"{each.name} {each.cpu_percent:g} %" for each in row.generators)
    console.print(
        f"server {row.server_cpu_percent:g} % of core {row.server_core} (others there: "
        f"{row.others_percent:g} %; taken by the host: {row.stolen_percent:g} %); load on core {row.generator_core}: {load}, "
        f"late {row.generator_late_ms:g} ms (p99)"
    )
