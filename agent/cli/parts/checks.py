"""What `pickup doctor` looks at on this machine; what it asks of others is in `checks_outside`.

A check is a coroutine from a `Patient` to a `Finding`. It changes nothing, takes at most `PATIENCE`, and need not catch what
it does not expect: whoever runs it reads that too.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from agent.config.agent_files import AgentFiles, agents_folder
from agent.config.settings import Settings, is_loopback
from agent.errors import UserError
from agent.server import verdicts
from agent.server.inspection import inspect
from agent.server.lines import LineStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.config.agent_file import AgentFile

PATIENCE = 3.0
"""Seconds that a check may take."""

DISK_LOW = 0.05
"""Share of a disk that must be free: below it `/readyz` says that no new calls should come."""

DISK_TIGHT = 2 * 1024**3
"""Bytes. A recorded hour takes about 350 MB (three tracks of PCM)."""


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        verdict: how it ended.
        text: what was seen, or why nothing was looked at.
        mend: what to do about it, empty where nothing is to be done.
    """

    verdict: Verdict
    text: str
    mend: str = ""


class Patient(NamedTuple):
    """What is looked at.

    Attributes:
        settings: the deployment's.
        here: the working folder.
        http: for requests; it follows no redirects unless told to.
        clock: seconds, monotonic.
    """

    settings: Settings
    here: Path
    http: aiohttp.ClientSession
    clock: Callable[[], float]


class Check(NamedTuple):
    """A row of the table."""

    name: str
    look: Callable[[Patient], Awaitable[Finding]]


def good(text: str) -> Finding:
    return Finding(Verdict.OK, text)


def doubtful(text: str, mend: str) -> Finding:
    return Finding(Verdict.WARN, text, mend)


def bad(text: str, mend: str) -> Finding:
    return Finding(Verdict.FAIL, text, mend)


def skipped(reason: str) -> Finding:
    return Finding(Verdict.SKIP, reason)


async def agents(patient: Patient) -> Finding:
    """Every agent's file is right."""
    folder = agents_folder(patient.settings.pickup_agents, patient.here)
    files = AgentFiles(folder, lambda line: None)
    lines = LineStore(patient.settings.data_dir / "lines")
    remarks = await asyncio.to_thread(inspect, files, patient.settings, lines)
    names, complaints = list(remarks), []
    for name, some in remarks.items():
        places = [(folder / f"{name}.yaml", each) for each in some if each.grave]
        complaints += [f"{path}:{each.line}: {each.text}" for path, each in places]
    if complaints:
        return bad(
            "; ".join(complaints), "correct the line that is named: see `pickup agents check`"
        )
    if not names:
        return bad(f"no agent in {folder}", "run `pickup init`, or set PICKUP_AGENTS")
    return good(f"{', '.join(names)} in {folder}")


def readable_agents(settings: Settings, here: Path) -> dict[str, AgentFile]:
    """The agents by their files' names; those that cannot be read are the business of another check."""
    files = AgentFiles(agents_folder(settings.pickup_agents, here), lambda line: None)
    found = {}
    for name in files.names():
        try:
            found[name] = files.get(name)
        except UserError:
            continue
    return found


async def setups(patient: Patient) -> Finding:
    """No model refused a part of an agent's setup lately."""
    settings = patient.settings
    path, wall = settings.data_dir / verdicts.FILE, datetime.now(UTC).timestamp()
    kept = {(each.model, each.agent): each for each in verdicts.read(path) if each.holds(wall)}
    complaints = []
    for agent in readable_agents(settings, patient.here).values():
        found = kept.get((agent.model or settings.gemini_model, agent.digest()))
        if found is not None:
            hours = (wall - found.found_at) / 3600
            complaints.append(
                f"{agent.name} does without {', '.join(found.left_out)}: {found.model} refused it "
                f"{hours:.1f} h ago: {found.why}"
            )
    if not complaints:
        return good("none was refused lately")
    mend = "`pickup doctor --live` finds out what exactly; it is tried again after 24 h"
    return doubtful("; ".join(complaints), mend)


async def data_dir(patient: Patient) -> Finding:
    """Recordings and records can be written, and there is room for them."""
    folder = patient.settings.data_dir.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        await asyncio.to_thread(_write, there)
        usage = shutil.disk_usage(there)
    except OSError as error:
        return bad(
            f"{folder} cannot be written: {error.strerror}",
            "set DATA_DIR to a folder that this user may write",
        )
    text = f"{folder}, {usage.free / 1024**3:.1f} GB free"
    if usage.free < DISK_LOW * usage.total:
        return bad(
            text, f"free more than {DISK_LOW:.0%} of the disk: below that no new calls are wanted"
        )
    if usage.free < DISK_TIGHT:
        return doubtful(text, "make room: a recorded hour takes about 0.35 GB")
    return good(text if there == folder else f"{text} (made when it is needed)")


def _write(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"pickup doctor")


async def database(patient: Patient) -> Finding:
    """The call records can be read. Nothing is made or migrated: a running server may be older than this command."""
    path = Path(patient.settings.database.partition(":///")[2])
    try:
        calls = await asyncio.to_thread(_count_calls, path)
    except sqlite3.Error as error:
        return bad(
            f"{path} cannot be read: {error}",
            "put back a copy, or move it away: `pickup serve` then begins a new one",
        )
    if calls is None:
        return good(f"{path} is made by the first `pickup serve`")
    return good(f"{path}, {calls} calls")


def _count_calls(path: Path) -> int | None:
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
        return count


async def port(patient: Patient) -> Finding:
    """The server can listen, or listens already."""
    host, number = patient.settings.host, patient.settings.port
    where = f"{host} port {number}"
    if number == 0:
        return good("PORT=0 takes a free one")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        if await _is_ours(patient):
            return good(f"a server of ours listens on {where}")
        return bad(f"{where}: {error.strerror}", "set HOST or PORT, or end what listens there")
    return good(f"{where} is free")


def nearby(settings: Settings) -> str:
    """The origin at which a server of these settings answers on this machine."""
    host = settings.host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{settings.port}"


async def _is_ours(patient: Patient) -> bool:
    try:
        async with patient.http.get(f"{nearby(patient.settings)}/livez") as answer:
            return answer.status == 200 and (await answer.text()).strip() == "ok"
    except (aiohttp.ClientError, OSError, ValueError):
        return False


async def gemini_key(patient: Patient) -> Finding:
    """There is a key of a plausible shape."""
    settings = patient.settings
    key = settings.api_key
    where = "https://aistudio.google.com/apikey"
    if key is None and stand_in(settings):
        return skipped(f"GEMINI_URL={settings.gemini_url} is a stand-in, which wants no key")
    if key is None and (settings.public_url is None or is_loopback(host_of(settings.public_url))):
        return doubtful(
            "GEMINI_API_KEY is not set: the built-in stand-in answers",
            f"set it to a key from {where} to talk to Gemini",
        )
    if key is None:
        return bad("GEMINI_API_KEY is not set", f"set it to a key from {where}")
    text = key.get_secret_value()
    # Keys of the Gemini API are AIza and 35 characters; newer ones begin with AQ. and vary in length.
    if (text.startswith("AIza") and len(text) == 39) or text.startswith("AQ."):
        return good(f"a key of {len(text)} characters")
    return doubtful(
        f"a key of {len(text)} characters that does not look like Google's",
        f"compare it with {where}: AIza and 35 more characters, or AQ. and many",
    )


def stand_in(settings: Settings) -> bool:
    """Whether `GEMINI_URL` is somebody's stand-in: on this machine, and it wants no key."""
    return settings.gemini_url.startswith("ws://") and settings.api_key is None


def host_of(origin: str) -> str:
    """The host of an origin, without its port and brackets."""
    authority = origin.partition("://")[2]
    host = authority if authority.endswith("]") else authority.rpartition(":")[0] or authority
    return host.strip("[]")


LOCAL_CHECKS = (
    Check("agents", agents),
    Check("setups", setups),
    Check("data", data_dir),
    Check("database", database),
    Check("port", port),
    Check("gemini key", gemini_key),
)
