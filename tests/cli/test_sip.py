"""`pickup sip firewall` prints the rules of the settings, and the doctor says whether they are loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import test_utils, web

from agent.cli import main
from agent.cli.parts import checks_sip
from agent.cli.parts.checks import Patient
from agent.cli.parts.checks_sip import judge, sip_checks
from agent.cli.parts.firewall import network, ruleset
from agent.config.settings import Settings
from tests.cli.test_firewall import DOORS, GOOD, PEERS, table

SIP = {"SIP_LISTEN": "0.0.0.0:5060", "SIP_PROTECTION": "firewall", "SIP_RTP_PORTS": "20000-20099"}


def test_the_command_prints_the_rules_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in SIP.items():
        monkeypatch.setenv(name, value)
    words = ["sip", "firewall", "--peer", "203.0.113.0/24", "--peer", "2001:db8::7", "--media"]
    with pytest.raises(SystemExit) as left:
        main([*words, "198.51.100.0/24"])
    assert left.value.code == 0
    assert capsys.readouterr().out == ruleset(DOORS, PEERS, [network("198.51.100.0/24")])


@pytest.mark.parametrize("listen", [None, "127.0.0.1:0"])
def test_without_a_port_there_are_no_rules(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    listen: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIP_LISTEN", raising=False)
    if listen:
        monkeypatch.setenv("SIP_LISTEN", listen)
    with pytest.raises(SystemExit) as left:
        main(["sip", "firewall", "--peer", "203.0.113.5"])
    assert left.value.code == 2
    assert "set SIP_LISTEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "loaded", "err", "verdict", "text"),
    [
        (0, table(*GOOD), "", "ok", "only 1 named network reaches SIP port 5060"),
        (0, table(*GOOD, elements=["203.0.113.5", "203.0.113.7"]), "", "ok", "2 named networks"),
        (0, table(*GOOD, elements=[]), "", "warn", "nobody reaches"),
        (0, table(*GOOD[:3]), "", "fail", "strangers reach SIP by TCP, port 5060"),
        (1, None, "Error: No such file or directory", "fail", "not loaded"),
        (1, None, "Operation not permitted (you must be root)", "warn", "only root"),
    ],
)
def test_the_doctor_says_whether_the_rules_are_loaded(
    status: int, loaded: dict[str, Any] | None, err: str, verdict: str, text: str
) -> None:
    found = judge(Settings.load(SIP), status, json.dumps(loaded), err)
    assert found.verdict == verdict
    assert text in found.text
    assert bool(found.mend) == (verdict != "ok")


def test_the_doctor_looks_only_where_a_firewall_is_promised() -> None:
    assert [check.name for check in sip_checks(Settings.load(SIP))] == ["sip firewall"]
    assert sip_checks(Settings.load({**SIP, "SIP_PROTECTION": "front"})) == ()
    assert sip_checks(Settings.load({"SIP_PROTECTION": "firewall"})) == ()


@pytest.mark.parametrize(
    ("metrics", "verdict", "told"),
    [
        ("pickup_sip_registered 1.0\n", "ok", "knows the server"),
        ("x 1\npickup_sip_registered 0.0\n", "fail", "does not know"),
        ("nothing of ours\n", "skip", "no server runs here"),
        (None, "skip", "no server runs here"),
    ],
)
async def test_the_doctor_asks_the_server_whether_it_is_registered(
    tmp_path: Path, metrics: str | None, verdict: str, told: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=metrics)

    app = web.Application()
    app.router.add_get("/metrics", answer)

    async with test_utils.TestServer(app) as server, aiohttp.ClientSession() as http:
        port = str(server.port)
        if metrics is None:
            await server.close()
        settings = Settings.load(
            {"SIP_LISTEN": "127.0.0.1:0", "SIP_REGISTRAR": "pbx.example", "PORT": port}
        )
        (check,) = sip_checks(settings)
        found = await check.look(Patient(settings, tmp_path, http, lambda: 0.0))
    assert (check.name, found.verdict) == ("sip registrar", verdict)
    assert told in found.text
    assert bool(found.mend) == (verdict == "fail")


async def test_without_nft_the_doctor_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checks_sip, "NFT", (str(tmp_path / "nft"),))
    (check,) = sip_checks(Settings.load(SIP))
    patient = Patient(Settings.load(SIP), tmp_path, None, lambda: 0.0)  # type: ignore[arg-type]
    found = await check.look(patient)
    assert (found.verdict, found.mend) == ("fail", "install nftables")


async def test_the_doctor_asks_nft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = tmp_path / "nft"
    answer.write_text(f"#!/bin/sh\ncat <<'X'\n{json.dumps(table(*GOOD))}\nX\n")
    answer.chmod(0o755)
    monkeypatch.setattr(checks_sip, "NFT", (str(answer),))
    (check,) = sip_checks(Settings.load(SIP))
    patient = Patient(Settings.load(SIP), tmp_path, None, lambda: 0.0)  # type: ignore[arg-type]
    assert (await check.look(patient)).verdict == "ok"
