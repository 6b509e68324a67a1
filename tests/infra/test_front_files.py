"""The front's files agree with each other, and Kamailio takes its own; what they do is tested in tests/calls/test_sip_front.py."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.infra.recipe import ROOT, program

if TYPE_CHECKING:
    from pathlib import Path

FRONT = ROOT / "infra" / "kamailio"
WANTED = set(re.findall(r"^#!defenvs? (\w+)", (FRONT / "kamailio.cfg").read_text(), re.M))


def services() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FRONT / "compose.yml").read_text())
    return dict(loaded["services"])


@pytest.mark.parametrize(
    "words",
    [
        ("hadolint", "Dockerfile"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yml"),
        ("yamllint", "--strict", "-d", "relaxed", "compose.yml"),
    ],
    ids=lambda words: str(words[0]),
)
def test_a_judge_finds_nothing(words: tuple[str, ...]) -> None:
    found = subprocess.run(
        [program(words[0]), *words[1:]], cwd=FRONT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_front_is_told_what_it_asks_for() -> None:
    assert set(services()["front"]["environment"]) == WANTED


def test_the_agent_is_where_the_front_looks_for_it() -> None:
    said = services()
    told, agent = said["front"]["environment"], said["pickup"]
    assert told["AGENT_URI"] == f"sip:{agent['environment']['SIP_LISTEN']}"
    assert told["AGENT_ADDRESS"] == agent["networks"]["inside"]["ipv4_address"]
    assert f"--interface=inside/{told['FRONT_INSIDE']}" in said["rtpengine"]["command"]
    ng = re.search(r"^listen-ng = (\S+)", (FRONT / "rtpengine.conf").read_text(), re.M)
    assert ng is not None
    assert told["FRONT_RTP"] == f"udp:{ng[1]}"


@pytest.mark.parametrize("name", ["front", "rtpengine"])
def test_the_front_has_no_privilege_and_outlives_the_calls(name: str) -> None:
    service = services()[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert "pickup" not in service.get("depends_on", [])
    assert name in services()["pickup"]["depends_on"]
    assert re.search(r"^USER \d+:\d+$", (FRONT / "Dockerfile").read_text(), re.M)


@pytest.mark.slow
def test_kamailio_takes_its_file_with_the_example_of_users(tmp_path: Path) -> None:
    for name, source in (("kamailio.cfg", "kamailio.cfg"), ("users.cfg", "users.example.cfg")):
        (tmp_path / name).write_text((FRONT / source).read_text())
    told = dict.fromkeys(WANTED, "127.0.0.1") | {
        "FRONT_PORT": "5060",
        "AGENT_URI": "sip:127.0.0.1:5070",
        "FRONT_RTP": "udp:127.0.0.1:2223",
    }
    words = [program("kamailio"), "-c", "-f", str(tmp_path / "kamailio.cfg"), "-Y", str(tmp_path)]
    done = subprocess.run(
        words, env={**os.environ, **told}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
