"""What `pickup doctor` looks at where SIP is on: that the rules of `pickup sip firewall` are loaded, that the registrar knows us."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import aiohttp

from agent.cli.parts.checks import Check, Finding, Patient, bad, doubtful, good, nearby, skipped
from agent.cli.parts.firewall import TABLE, holes, peers_of
from agent.cli.sip import doors

if TYPE_CHECKING:
    from agent.config.settings import Settings

NFT = ("nft", "-j", "list", "table", "inet", TABLE)
REGISTERED = re.compile(r"(?m)^pickup_sip_registered (\S+)$")
LOAD = "load them as root: `pickup sip firewall --peer NETWORK | nft -f -`"


async def firewall(patient: Patient) -> Finding:
    """Strangers reach neither SIP nor the ports of sound."""
    try:
        asked = await asyncio.create_subprocess_exec(
            *NFT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        return bad("nft is not installed, so no rules of ours are loaded", "install nftables")
    out, err = await asked.communicate()
    return judge(patient.settings, asked.returncode or 0, out.decode(), err.decode())


def judge(settings: Settings, status: int, out: str, err: str) -> Finding:
    """What nft's answer says about the firewall.

    Args:
        settings: with `SIP_LISTEN`.
        status: nft's exit status.
        out: its answer, JSON where the status is 0.
        err: what it complained of.
    """
    if "Operation not permitted" in err:
        return doubtful(
            "only root may see which rules are loaded", "run `pickup doctor` once as root"
        )
    if status != 0:
        return bad("SIP_PROTECTION=firewall, and our rules are not loaded", LOAD)
    loaded, wanted = json.loads(out), doors(settings)
    if found := holes(wanted, loaded):
        return bad(f"strangers reach {'; '.join(found)}", LOAD)
    ports = f"SIP port {wanted.sip} and RTP ports {wanted.rtp[0]} to {wanted.rtp[1]}"
    if (peers := peers_of(loaded)) == 0:
        return doubtful(f"nobody reaches {ports}", "name who may call with --peer")
    return good(
        f"only {peers} named {'network reaches' if peers == 1 else 'networks reach'} {ports}"
    )


async def registrar(patient: Patient) -> Finding:
    """The server that runs here is registered."""
    try:
        async with patient.http.get(f"{nearby(patient.settings)}/metrics") as answer:
            known = REGISTERED.search(await answer.text())
    except (aiohttp.ClientError, OSError, ValueError):
        known = None
    if known is None:
        return skipped("no server runs here that could be registered")
    where = f"SIP_REGISTRAR={patient.settings.sip_registrar}"
    if float(known[1]) == 0:
        return bad(
            f"{where} does not know the server that runs here",
            "check SIP_REGISTRAR, SIP_USER and SIP_PASSWORD: the server's log has the answer that it got",
        )
    return good(f"{where} knows the server that runs here")


def sip_checks(settings: Settings) -> tuple[Check, ...]:
    """The checks that these settings call for."""
    if settings.sip_listen is None:
        return ()
    called_for = (
        (settings.sip_protection == "firewall", Check("sip firewall", firewall)),
        (settings.sip_registrar is not None, Check("sip registrar", registrar)),
    )
    return tuple(check for wanted, check in called_for if wanted)
