"""At a registrar that nobody here wrote: Kamailio, with passwords. It goes away and comes back; calls go on."""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import pytest

from agent.simulator.brain import Call
from tests.calls.exchange import within
from tests.calls.sipp_runner import bound, callee, free_ports, needs_sipp, sipp
from tests.calls.test_outbound import CALLEE, OURS
from tests.calls.test_sip import office
from tests.calls.test_sip_outbound import SipCaller, office as calling_office
from tests.infra.recipe import program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.calls.exchange import Exchange
    from tests.calls.test_sip import Office

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120), needs_sipp]

CONFIG = Path(__file__).parent / "registrar.cfg"
USER, PASSWORD = "600", "right"


class Registrar:
    """Kamailio at a port of its own, up or down."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports("127.0.0.1", 1)
        self.where = f"127.0.0.1:{self.port}"
        self.callee = "127.0.0.1:9"
        self._folder = folder
        self._program = program("kamailio")

    @contextmanager
    def up(self, refusal: str = "") -> Iterator[None]:
        environ = {
            **os.environ,
            "REGISTRAR_PORT": str(self.port),
            "CALLEE": f"sip:{self.callee}",
            "REFUSAL": refusal,
        }
        words = [self._program, "-DD", "-E", "-Y", str(self._folder), "-f", str(CONFIG)]
        with (
            open(self._folder / "kamailio.log", "ab") as log,
            subprocess.Popen(words, env=environ, stderr=log, cwd=self._folder) as process,
        ):
            try:
                yield
            finally:
                process.terminate()


@pytest.fixture
def registrar(tmp_path: Path) -> Registrar:
    return Registrar(tmp_path)


@asynccontextmanager
async def registering(
    folder: Path, registrar: Registrar, password: str = PASSWORD
) -> AsyncIterator[Office]:
    settings = {
        "SIP_REGISTRAR": registrar.where,
        "SIP_USER": USER,
        "SIP_PASSWORD": password,
        "SIP_HEADERS": "",
    }
    quick = patch.multiple("agent.telephony.sip", AGAIN=(0.2, 1.0), ANSWERS_WITHIN=2.0)
    with quick:
        async with office(folder, settings=settings) as there:
            yield there


def told(here: Exchange, what: str) -> list[dict[str, Any]]:
    """The lines of the log that say so."""
    lines = [msgspec.json.decode(line) for line in here.log.getvalue().splitlines()]
    return [line for line in lines if str(line.get("event", "")).startswith(what)]


async def registered(here: Exchange, times: int = 1, seconds: float = 8.0) -> None:
    await within(
        seconds, lambda: len(told(here, "registered")) >= times, lambda: here.log.getvalue()
    )


async def test_a_call_that_comes_by_the_registration_reaches_its_agent(
    tmp_path: Path, registrar: Registrar
) -> None:
    (tmp_path / "agents").mkdir()
    text = "name: Sales\npersona: You sell.\ndisclosure: false\nnumbers: ['sip:sales']\n"
    (tmp_path / "agents" / "sales.yaml").write_text(text)
    with registrar.up():
        async with registering(tmp_path, registrar) as there:
            await registered(there.here)
            verdict = await sipp(tmp_path, "short", registrar.where, service="sales")
            assert verdict.good, verdict.told
            reason, events = await there.record()
            assert (reason, events[0]["agent"]) == ("caller_hung_up", "Sales")
            assert "agent_said" in {entry.get("kind") for entry in events}
            assert await there.here.metric("pickup_sip_registered") == 1
            await there.call("short", service="sales")  # and one that comes without it


async def test_a_wrong_password_is_told_once_and_calls_go_on(
    tmp_path: Path, registrar: Registrar
) -> None:
    with registrar.up():
        async with registering(tmp_path, registrar, "wrong") as there:
            await within(5.0, lambda: told(there.here, "not registered"), "nothing is told")
            await there.call("short")
            assert [line["why"] for line in told(there.here, "not registered")] == [401]
            assert told(there.here, "registered") == []
            assert await there.here.metric("pickup_sip_registered") == 0


async def test_a_registrar_that_is_down_is_told_once_and_asked_again(
    tmp_path: Path, registrar: Registrar
) -> None:
    async with registering(tmp_path, registrar) as there:
        await within(15.0, lambda: told(there.here, "not registered"), "nothing is told")
        await there.call("short")
        with registrar.up():
            await registered(there.here, seconds=20.0)
        with registrar.up("Not Now"):  # later, and it has forgotten everybody
            await within(9.0, lambda: len(told(there.here, "not registered")) == 2, "not told")
            await there.call("short")
        with registrar.up():
            await registered(there.here, 2, 20.0)
            verdict = await sipp(tmp_path, "short", registrar.where)
            assert verdict.good, verdict.told
        why = [line["why"] for line in told(there.here, "not registered")]
        assert why == ["no answer", 503]


async def test_a_registrar_that_asks_for_a_password_carries_calls_to_numbers(
    tmp_path: Path, registrar: Registrar
) -> None:
    """407 (RFC 3261, section 22.3), the answer checked by Kamailio."""
    async with callee(tmp_path, "called_at_once") as there:
        registrar.callee = there.where
        with registrar.up():
            await within(5.0, lambda: bound(registrar.port), "it does not start")
            settings: dict[str, Any] = {
                "SIP_REGISTRAR": registrar.where,
                "SIP_USER": USER,
                "SIP_PASSWORD": PASSWORD,
                "CALLER_ID": OURS,
            }
            async with calling_office(tmp_path, Call("end_call", {}), **settings) as caller:
                assert isinstance(caller, SipCaller)
                assert (await caller.call(there, to=CALLEE))["reason"] == "agent_hung_up"
