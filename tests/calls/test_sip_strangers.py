"""What a stranger finds out about the bare library and does to its calls, and that the firewall's rules put an end to it.

The first two are no wishes: they are why README keeps embedded SIP on private networks, behind the front or behind the firewall.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from socket import SOCK_DGRAM
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.cli.parts.firewall import Doors, network, ruleset
from tests.calls.namespaces import Host, machines, needed
from tests.calls.probe_phone import BUZZ, SILENCE, ProbePhone, talk
from tests.infra.recipe import ROOT, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


class Lab(NamedTuple):
    """The machines: a telephone that is a named peer, a stranger, and the library."""

    peer: Host
    stranger: Host
    agent: Host

    def scanned(self, host: Host, home: Path) -> str:
        """What svmap finds from there."""
        words = host.words(program("sipvicious_svmap"), "-p5070", self.agent.address)
        done = subprocess.run(
            words,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def disturbed(self, caller: bytes | None, stranger: bytes) -> int:
        """A second of a call into which a stranger sends: how many loud frames come back to the caller.

        Args:
            caller: what the caller says; None: nothing is sent, as on hold.
            stranger: what the stranger sends, to the port that sound comes from.
        """
        phone = ProbePhone(lambda: self.peer.socket(SOCK_DGRAM), (self.agent.address, 5070))
        assert phone.call() == 200
        assert phone.talk(0.6).loud > 15
        phone.talk(0.6, caller and SILENCE)  # the last of the echo
        assert phone.media is not None
        with self.stranger.socket(SOCK_DGRAM) as theirs, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(talk, theirs, phone.media, 1.0, stranger, 5000)
            heard = phone.talk(1.0, caller)
            assert sending.result().packets == 0  # at least nobody overhears a call
        assert heard.packets > 45
        assert phone.hang_up() == 200
        phone.close()
        return heard.loud


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    needed("ip", "nft")
    log = tmp_path_factory.mktemp("strangers") / "agent.log"
    with (
        machines(("peer", "stranger", "agent")) as (peer, stranger, agent),
        open(log, "wb") as told,
        agent.running(
            sys.executable,
            "-m",
            "tests.calls.sip_echo",
            agent.address,
            "5070",
            stdout=told,
            cwd=ROOT,
        ),
    ):
        until = time.monotonic() + 10
        while "ready" not in log.read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
        yield Lab(peer, stranger, agent)


def test_the_library_tells_a_scanner_its_name(lab: Lab, tmp_path: Path) -> None:
    assert "baresip-python" in lab.scanned(lab.stranger, tmp_path)


def test_the_library_plays_a_strangers_sound_into_a_call_on_hold_and_drowns_a_callers_in_it(
    lab: Lab,
) -> None:
    assert lab.disturbed(None, BUZZ) > 30
    assert lab.disturbed(BUZZ, SILENCE) < 25


def test_behind_the_firewall_strangers_find_nothing_and_are_not_heard(
    lab: Lab, tmp_path: Path
) -> None:
    rules = ruleset(Doors(5070, (20000, 20511)), [network(lab.peer.address)])
    lab.agent.run("nft", "-f", "-", text=rules)
    try:
        assert "found nothing" in lab.scanned(lab.stranger, tmp_path)
        assert lab.disturbed(None, BUZZ) == 0
        assert lab.disturbed(BUZZ, SILENCE) > 35
    finally:
        lab.agent.run("nft", "delete", "table", "inet", "pickup_sip")
