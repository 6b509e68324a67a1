"""Runs sipp, which nobody here wrote, against a SIP port: scenarios of ours in `sipp/`, its own sound and its own ports."""

from __future__ import annotations

import asyncio
import audioop
import re
import shutil
import socket
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.simulator.caller import SPEECH
from agent.simulator.clock import Owner
from agent.simulator.wav import read_phone_wav

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

SCENARIOS = Path(__file__).parent / "sipp"

LONGEST = 200_000
"""Characters that are kept of what it says: its complaints of calls that end late come after its statistics."""

needs_sipp = pytest.mark.skipif(
    shutil.which("sipp") is None, reason="sipp is not installed (apt-get install sip-tester)"
)


class Verdict(NamedTuple):
    """What sipp says of its calls.

    Attributes:
        good: whether each went as its scenario says.
        told: its last screen, and what it complained of.
    """

    good: bool
    told: str

    def count(self, name: str) -> int:
        """A line of its statistics, such as `Successful call`, over the whole run."""
        found = re.search(rf"{name} +\| +\d+ +\| +(\d+)", self.told)
        assert found, self.told
        return int(found[1])


def free_ports(host: str, count: int) -> list[int]:
    """Even ports that are free for UDP and TCP now, as is the odd one behind each (RFC 3550, section 11: RTCP)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found: list[int] = []
    with ExitStack() as held:  # what was tried is not tried again

        def bind(kind: socket.SocketKind, port: int) -> int:
            tried = held.enter_context(socket.socket(family, kind))
            tried.bind((host, port))
            taken: int = tried.getsockname()[1]
            return taken

        while len(found) < count:
            port = bind(socket.SOCK_DGRAM, 0)
            if port % 2:
                continue
            with suppress(OSError):
                bind(socket.SOCK_DGRAM, port + 1)
                bind(socket.SOCK_STREAM, port)
                found.append(port)
    return found


def sounds(folder: Path) -> None:
    """The caller's voice as bytes of G.711, beside the place where sipp runs."""
    pcm = read_phone_wav(SPEECH / "caller_open.wav").tobytes()
    (folder / "speech.ulaw").write_bytes(audioop.lin2ulaw(pcm, 2))
    (folder / "speech.alaw").write_bytes(audioop.lin2alaw(pcm, 2))


class Callee(NamedTuple):
    """Somebody who waits for a call.

    Attributes:
        where: ADDRESS:PORT.
        done: what sipp says of it once it is over.
    """

    where: str
    done: asyncio.Task[Verdict]


@asynccontextmanager
async def callee(
    folder: Path, scenario: str, *, says: Mapping[str, str] | None = None, seconds: float = 30.0
) -> AsyncIterator[Callee]:
    """Run a scenario that waits to be called, for as long as the context lasts.

    Args:
        folder: where sipp may write, and finds its sounds.
        scenario: a file of ours without its ending.
        says: what it says in other words than the file has: sipp fills in no status.
        seconds: how long it may take.
    """
    if not (folder / "speech.ulaw").exists():
        sounds(folder)
    path = told(folder, scenario, says or {})
    port, media = free_ports("127.0.0.1", 2)
    async with Owner() as owner:
        words = (
            *("sipp", "-sf", str(path)),
            *("-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(port), "-mp", str(media)),
        )
        done = owner.start(_run(folder, scenario, words, (), seconds), scenario)
        while not bound(port):
            assert not done.done(), await done
            await asyncio.sleep(0.02)
        yield Callee(f"127.0.0.1:{port}", done)


def told(folder: Path, scenario: str, says: Mapping[str, str]) -> Path:
    """A scenario of ours in other words, where it has some."""
    text = (SCENARIOS / f"{scenario}.xml").read_text()
    for usual, instead in says.items():
        assert usual in text
        text = text.replace(usual, instead)
    path = folder / f"{scenario}.xml"
    path.write_text(text)
    return path


def bound(port: int) -> bool:
    """Whether somebody listens for UDP on 127.0.0.1:PORT."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


async def sipp(
    folder: Path,
    scenario: str,
    where: str,
    *more: str,
    service: str = "desk",
    host: str = "127.0.0.1",
    says: Mapping[str, str] | None = None,
    seconds: float = 40.0,
) -> Verdict:
    """Run a scenario.

    Args:
        folder: where sipp may write, and finds its sounds.
        scenario: a file of ours without its ending.
        where: ADDRESS:PORT of who is called.
        more: further arguments, such as `-t t1`.
        service: the user that is called.
        host: our own address.
        says: as for `callee`.
        seconds: how long it may take.
    """
    if not (folder / "speech.ulaw").exists():
        sounds(folder)
    port, media = free_ports(host, 2)
    words = (
        *("sipp", "-sf", str(told(folder, scenario, says or {})), where, "-s", service),
        *("-i", host, "-mi", host, "-p", str(port), "-mp", str(media)),
    )
    return await _run(folder, scenario, words, more, seconds)


async def _run(
    folder: Path, scenario: str, words: tuple[str, ...], more: tuple[str, ...], seconds: float
) -> Verdict:
    process = await asyncio.create_subprocess_exec(
        *words,
        *("-nostdin", "-trace_err", "-error_file", f"{scenario}.err"),
        *("-timeout", str(int(seconds)), "-timeout_error"),
        *(more if "-m" in more else ("-m", "1", *more)),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds + 5)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    errors = folder / f"{scenario}.err"
    screen = out.decode(errors="replace") + (errors.read_text() if errors.exists() else "")
    return Verdict(process.returncode == 0, screen[-LONGEST:])
