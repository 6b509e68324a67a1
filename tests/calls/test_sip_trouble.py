"""What becomes of the process when its SIP library has trouble, and what of calls gets into its output: real servers, looked at from outside."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from agent.simulator.caller import CallerOptions, run_caller
from agent.simulator.report import Ended
from tests.calls.exchange import within, words
from tests.calls.sip_serving import AGENT, sip_serving
from tests.calls.sipp_runner import needs_sipp, sipp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.calls.sip_serving import Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

KILLER = """\
import threading, time
from pathlib import Path
from agent.tools.python_tool import tool

@tool(reads_only=True)
def nothing() -> str:
    "Nothing."
    return ""

def kill() -> None:
    while not Path("kill").exists():
        time.sleep(0.02)
    from baresip._native import ffi, lib
    lib.bp_cmd(lib.BP_CMD_STOP, 0, ffi.NULL)

threading.Thread(target=kill, daemon=True).start()
"""
"""A tool's file that ends the library's own thread from inside, as a bug of its own would."""


def readyz(served: Served) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(f"{served.server.url}/readyz") as answer:
            return answer.status, json.load(answer)
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@needs_sipp
async def test_a_library_that_dies_is_told_at_once_and_calls_by_other_ways_are_let_finish(
    tmp_path: Path,
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "killer.py").write_text(KILLER)
    log = tmp_path / "log"
    agent = f"{AGENT}tools: [{{python: killer}}]\n"
    settings = {"DRAIN_SECONDS": "60"}
    with (
        log.open("wb") as errors,
        sip_serving(tmp_path, agent=agent, errors=errors, settings=settings) as served,
    ):
        assert await asyncio.to_thread(readyz, served) == (200, READY)
        caller = CallerOptions(
            url=served.server.url,
            auth_token="stand-in",
            utterances=(words(0.5), words(0.5)),
            max_seconds=9.0,
        )
        by_twilio = asyncio.ensure_future(run_caller(caller))
        by_sip = asyncio.ensure_future(sipp(tmp_path, "vanish", served.where, seconds=20))
        await within(8.0, lambda: calls(served) == 2, "not both are there")
        await asyncio.sleep(1.0)
        (tmp_path / "kill").touch()
        begun = time.monotonic()
        await within(3.0, lambda: readyz(served)[0] == 503, "it is still said to be ready")
        assert time.monotonic() - begun < 1.5
        told = (await asyncio.to_thread(readyz, served))[1]
        assert (told["sip_dead"], told["draining"]) == (True, True)
        await within(3.0, lambda: calls(served) == 1, "the call by SIP has not ended")
        report = await by_twilio
        assert report.ended is Ended.CALLER_HUNG_UP
        assert len(report.heard) >= 2  # it was talked with after the library had died
        await within(5.0, lambda: not served.server.running, "it does not end")
        assert served.server.process.returncode == 1
        by_sip.cancel()
        await asyncio.wait({by_sip})
    ends = sorted(
        json.loads(path.read_text())["end_reason"]
        for path in served.data.glob("calls/*/transcript.json")
    )
    assert ends == ["caller_hung_up", "line_lost"]
    assert "SIP is dead in this process" in log.read_text()
    assert "Traceback" not in log.read_text()


READY = {
    "draining": False,
    "disk_low": False,
    "sip_dead": False,
    "calls": 0,
    "full": False,
    "database_down": False,
}


def calls(served: Served) -> int:
    found: int = readyz(served)[1]["calls"]
    return found


# ---- what is written

CALLER, CALLED = "+12025550143", "12025550100"
METHODS = (
    *("OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REGISTER", "INFO", "UPDATE"),
    *("PRACK", "BYE", "CANCEL", "REFER", "FOO", "INVITE"),
)


def requests(where: tuple[str, int], here: tuple[str, int], transport: str) -> Iterator[bytes]:
    """One of each method from and to telephone numbers, and some that are none."""
    uris = (f"sip:{CALLED}@{where[0]}:{where[1]}", f"tel:{CALLER}")
    for n, method in enumerate(METHODS):
        for uri in uris:
            yield (
                f"{method} {uri} SIP/2.0\r\n"
                f"Via: SIP/2.0/{transport} {here[0]}:{here[1]};branch=z9hG4bK{transport}{n}{uri[:3]}\r\n"
                f'From: "{CALLER}" <sip:{CALLER}@{here[0]}>;tag=a{n}\r\n'
                f"To: <{uri}>\r\nCall-ID: {transport}{n}{uri[:3]}\r\nCSeq: 1 {method}\r\n"
                f"Contact: <sip:{CALLER}@{here[0]}:{here[1]}>\r\nMax-Forwards: 70\r\n"
                "Event: presence\r\nContent-Type: text/plain\r\n"
                f"Refer-To: <sip:{CALLER}@{here[0]}>\r\nContent-Length: {len(CALLER)}\r\n\r\n{CALLER}"
            ).encode()
    yield f"INVITE sip:{CALLER}@ SIP/2.0\r\ngarbage {CALLER}\r\n\r\n".encode()
    yield f"{CALLER} {CALLED}\r\n\r\n".encode()
    yield f"SIP/2.0 200 {CALLER}\r\nTo: <sip:{CALLER}@x>\r\nCSeq: 1 INVITE\r\n\r\n".encode()


def sent(served: Served) -> list[str]:
    """Send them all by UDP and TCP; the status of what was answered."""
    host, _, port = served.where.rpartition(":")
    where = (host, int(port))
    answers: list[str] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_connection(where) as tcp,
    ):
        udp.bind((host, 0))
        udp.settimeout(1.0)
        tcp.settimeout(1.0)
        for request in requests(where, udp.getsockname(), "UDP"):
            udp.sendto(request, where)
        for request in requests(where, tcp.getsockname(), "TCP"):
            tcp.sendall(request)
        for receive in (udp.recv, tcp.recv):
            try:
                while data := receive(65_536):
                    answers += [line for line in data.decode().splitlines() if line[:4] == "SIP/"]
            except (TimeoutError, ConnectionResetError):
                continue
    return answers


@needs_sipp
async def test_no_phone_number_is_written_whatever_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"LOG_LEVEL": "debug"}
    with (
        log.open("wb") as errors,
        sip_serving(tmp_path, errors=errors, settings=settings) as served,
    ):
        answers = await asyncio.to_thread(sent, served)
        verdict = await sipp(tmp_path, "short", served.where, service=CALLED)
        assert verdict.good, verdict.told
        printed = served.server.line(0.5)
    codes = {line.split()[1] for line in answers}
    assert {"200", "481", "501"} <= codes, codes  # they were read: refused each in its way
    text = log.read_text() + (printed or "")
    assert "call ended" in text
    for number in (CALLER, CALLED):
        assert number.removeprefix("+") not in text
    assert "unhandled request" not in text
