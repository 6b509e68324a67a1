"""The softphone: addresses, keys, and whole calls against SIP stacks in other processes."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agent.errors import UserError
from agent.simulator.report import CallPlaced
from agent.simulator.softphone import SoftphoneOptions, address, keys, run_softphone
from agent.simulator.softphone_report import Answered, KeyArrived, tell
from tests.calls.sip_peer import sip_peer

if TYPE_CHECKING:
    from pathlib import Path


def test_an_address_is_completed_with_port_and_transport() -> None:
    assert address("sip:agent@127.0.0.1", "udp") == ("sip:agent@127.0.0.1:5060", "127.0.0.1")
    assert address("sip:12@127.0.0.1:5070", "tcp").uri == "sip:12@127.0.0.1:5070;transport=tcp"
    assert address("sip:a@127.0.0.1:5070;transport=tcp", "tcp").uri.count("transport") == 1


def test_an_address_of_ipv6_keeps_its_brackets() -> None:
    assert address("sip:agent@[::1]:5070", "udp") == ("sip:agent@[::1]:5070", "::1")


@pytest.mark.parametrize(
    "text",
    [
        "agent@127.0.0.1",
        "sip:127.0.0.1",
        "sip:a b@127.0.0.1",
        "sip:a@127.0.0.1:x",
        "sips:a@b",
        "sip:a@b:65536",
        "",
    ],
)
def test_what_is_no_sip_address_is_said(text: str) -> None:
    with pytest.raises(UserError, match="is not sip:USER@HOST"):
        address(text, "udp")


def test_a_host_without_a_way_is_named() -> None:
    with pytest.raises(UserError, match="no way to nowhere.invalid port 5060"):
        address("sip:agent@nowhere.invalid", "udp")


def test_keys_take_their_time_and_are_those_of_a_telephone() -> None:
    pressed = keys("12#")
    assert (pressed.digits, len(pressed.mulaw)) == ("12#", 45 * 160)
    with pytest.raises(UserError, match="not keys of a telephone"):
        keys("1e")


async def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "baresip", None)
    with pytest.raises(UserError, match=r"pip install 'pickup\[sip\]'"):
        await run_softphone(SoftphoneOptions(to="sip:agent@127.0.0.1"))


def test_every_event_is_a_line() -> None:
    assert tell(Answered(now_s=1.0, call_id="x", after_ms=41.6)) == "answered after 42 ms"
    assert tell(KeyArrived(now_s=1.0, at_s=2.5, key="#")) == "  2.50 s  key #"
    placed = CallPlaced(now_s=1.0, call_sid="", url="sip:agent@127.0.0.1")
    assert tell(placed) == "calling sip:agent@127.0.0.1"


def place(*arguments: str) -> tuple[int, dict[str, Any]]:
    """One call of `pickup simulate sip`, in a process of its own: exit status and report."""
    command = [sys.executable, "-m", "agent", "simulate", "sip", "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60)
    return done.returncode, json.loads(done.stdout or b"{}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "rate"),
    [
        (("--codec", "pcmu"), 8000),
        (("--codec", "pcma", "--transport", "tcp"), 8000),
        (("--codec", "g722", "--dtmf-by", "info"), 16_000),
    ],
)
def test_a_call_is_placed_spoken_into_and_heard(
    options: tuple[str, ...], rate: int, tmp_path: Path
) -> None:
    heard = tmp_path / "heard.wav"
    with sip_peer("echo", codecs="pcmu,pcma,g722/16000/1") as peer:
        status, report = place(
            *("--to", peer.uri, "--dtmf", "42#", "--out", str(heard), *options),
            *("--patience", "1", "--seconds", "4"),
        )
        assert [peer.said("DTMF") for _ in "42#"] == ["4", "2", "#"]
    assert (status, report["ended"], report["rate_hz"]) == (0, "caller_hung_up", rate)
    assert report["packets_received"] > 180
    assert report["starved_frames"] <= 1
    with wave.open(str(heard)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)


@pytest.mark.slow
def test_an_echo_comes_back_as_it_was_said(tmp_path: Path) -> None:
    clip, heard = tmp_path / "clip.wav", tmp_path / "heard.wav"
    dice = np.random.default_rng(7)
    noise = (dice.standard_normal(8000) * 3000).astype("<i2")  # 1 s: nothing else is like it
    with wave.open(str(clip), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(noise.tobytes())
    with sip_peer("echo") as peer:
        status, report = place(
            *("--to", peer.uri, "--wav", str(clip), "--out", str(heard)),
            *("--patience", "1", "--seconds", "4"),
        )
    assert status == 0
    with wave.open(str(heard)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    said, echo = (sound[:, side].astype(float) for side in (0, 1))
    whole = came_from = 0
    for start in range(0, 8000, 800):  # in pieces of 100 ms: a loaded machine may tear one
        piece = noise[start : start + 800].astype(float)
        match = np.correlate(echo, piece, "valid")
        found = int(np.argmax(match))
        level = np.sqrt((echo[found : found + 800] ** 2).sum() * (piece**2).sum())
        came_from = int(np.argmax(np.correlate(said, piece, "valid"))) - start
        whole += match[found] > 0.99 * level and 40 <= (found - start - came_from) / 8 <= 400
    assert whole >= 8
    assert report["spoken"][0]["start_s"] == pytest.approx(came_from / 8000, abs=0.02)


@pytest.mark.slow
def test_a_call_that_is_refused_says_with_what() -> None:
    with sip_peer("reject") as peer:
        status, report = place("--to", peer.uri)
    assert (status, report["ended"], report["status"]) == (1, "rejected", 486)
    assert report["start_now_s"] is None


@pytest.mark.slow
def test_the_other_side_may_hang_up() -> None:
    with sip_peer("hang-up") as peer:
        status, report = place("--to", peer.uri)
    assert (status, report["ended"]) == (0, "agent_hung_up")
    assert 0.8 <= report["seconds"] <= 2.5
