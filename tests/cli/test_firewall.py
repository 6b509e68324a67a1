"""The firewall's rules are what nft takes, let named peers in and nobody else, and a hole in what is loaded is found."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
from socket import SOCK_DGRAM, SOCK_STREAM
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import integers, ip_addresses, lists, tuples

from agent.cli.parts.firewall import Doors, Network, holes, network, peers_of, ruleset
from agent.errors import UserError
from tests.calls.namespaces import machines, needed

DOORS = Doors(5060, (20000, 20099))
PEERS = [network("203.0.113.0/24"), network("2001:db8::7")]


# ------------------------------------------------------------------ who is named


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("somebody", "such as 203.0.113.5"),
        ("203.0.113.5/24", "has host bits set"),
        ("0.0.0.0/0", "everybody"),
        ("::/0", "everybody"),
    ],
)
def test_who_is_no_peer_is_told(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        network(text)


def test_only_named_peers_stand_in_the_rules_and_media_servers_may_only_send_sound() -> None:
    text = ruleset(DOORS, PEERS, [network("198.51.100.0/24")])
    lines = {line.split()[1]: line for line in text.splitlines() if line.startswith("  set ")}
    assert "203.0.113.0/24" in lines["sip4"]
    assert "198.51.100.0/24" not in lines["sip4"]
    assert "198.51.100.0/24, 203.0.113.0/24" in lines["rtp4"]
    assert "2001:db8::7/128" in lines["sip6"]


# ------------------------------------------------------------------ what is loaded


def rule(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"chain": "input", "expr": list(parts)}}


def port(protocol: str, right: Any) -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": "==", "left": left, "right": right}}


def source(right: Any) -> dict[str, Any]:
    left = {"payload": {"protocol": "ip", "field": "saddr"}}
    return {"match": {"op": "==", "left": left, "right": right}}


LO = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}
MARKED = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 7}}
ACCEPT, DROP = {"accept": None}, {"drop": None}
RANGE = {"range": [20000, 20099]}
GOOD = [
    rule(LO, ACCEPT),
    rule(source("@sip4"), port("udp", 5060), ACCEPT),
    rule(port("udp", {"set": [5060, RANGE]}), {"counter": {"packets": 3, "bytes": 9}}, DROP),
    rule(port("tcp", 5060), DROP),
]


def table(
    *rules: dict[str, Any], hook: str = "input", elements: Any = ("203.0.113.5",)
) -> dict[str, Any]:
    chain = {"chain": {"name": "input", "hook": hook}}
    peers = {"set": {"name": "sip4", "elem": list(elements)}}
    return {"nftables": [{"metainfo": {}}, peers, chain, *rules]}


def test_a_good_table_has_no_hole() -> None:
    assert holes(DOORS, table(*GOOD)) == []
    assert peers_of(table(*GOOD)) == 1


@pytest.mark.parametrize(
    ("loaded", "open_doors"),
    [
        (table(), ["SIP by UDP", "SIP by TCP", "RTP"]),
        (table(*GOOD, hook="forward"), ["SIP by UDP", "SIP by TCP", "RTP"]),
        (table(*GOOD[:3]), ["SIP by TCP"]),
        (table(rule(port("tcp", 5060), ACCEPT), *GOOD), ["SIP by TCP"]),
        (table(rule(ACCEPT), *GOOD), ["SIP by UDP", "SIP by TCP", "RTP"]),
        (table(rule(MARKED, port("udp", 20050), ACCEPT), *GOOD), ["RTP"]),
        (table(*GOOD[:2], rule(MARKED, DROP)), ["SIP by UDP", "SIP by TCP", "RTP"]),
        (table(*GOOD, elements=[{"prefix": {"addr": "0.0.0.0", "len": 0}}]), ["SIP by UDP"]),
        (table(*GOOD[:2], GOOD[3], rule(port("udp", 5060), DROP)), ["RTP"]),
        (table(rule(LO, DROP), rule(port("th", RANGE), DROP), *GOOD[3:]), ["SIP by UDP"]),
        (
            table(rule({"match": {**port("udp", 1)["match"], "op": "!="}}, ACCEPT), *GOOD),
            ["SIP by UDP", "SIP by TCP", "RTP"],
        ),
    ],
)
def test_a_hole_is_found(loaded: dict[str, Any], open_doors: list[str]) -> None:
    found = holes(DOORS, loaded)
    assert [name.partition(",")[0] for name in found] == open_doors


# ------------------------------------------------------------------ by nft and by the kernel

networks = tuples(ip_addresses(), integers(1, 32)).map(
    lambda pair: ipaddress.ip_network((pair[0], pair[1]), strict=False)
)


@pytest.mark.slow
@pytest.mark.timeout(60)
@given(lists(networks, max_size=8), lists(networks, max_size=4))
def test_nft_takes_whatever_peers_there_are(peers: list[Network], media: list[Network]) -> None:
    nft = shutil.which("nft") or "/usr/sbin/nft"
    text = ruleset(DOORS, peers, media)
    done = subprocess.run(
        [nft, "-c", "-f", "-"], input=text, capture_output=True, text=True, check=False
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("nft wants root")
    assert done.returncode == 0, (text, done.stderr)


@pytest.mark.slow
def test_peers_get_through_and_strangers_do_not() -> None:
    needed("ip", "nft")
    with machines(("peer", "media", "stranger", "agent")) as (peer, media, stranger, agent):
        sip, tcp = agent.socket(SOCK_DGRAM, 5060), agent.socket(SOCK_STREAM, 5060)
        rtp, other = agent.socket(SOCK_DGRAM, 20042), agent.socket(SOCK_DGRAM, 20100)
        tcp.listen()

        def reached(host: Any) -> list[str]:
            found = []
            for name, end in (("sip", sip), ("rtp", rtp), ("other", other)):
                with host.socket(SOCK_DGRAM) as out:
                    out.sendto(b"x", end.getsockname())
                end.settimeout(0.4)
                try:
                    end.recvfrom(10)
                    found.append(name)
                except TimeoutError:
                    pass
            with host.socket(SOCK_STREAM) as out:
                out.settimeout(0.4)
                try:
                    out.connect(tcp.getsockname())
                    tcp.accept()[0].close()
                    found.append("tcp")
                except TimeoutError:
                    pass
            return found

        everything = ["sip", "rtp", "other", "tcp"]
        assert reached(stranger) == everything  # so it is the rules that keep him out
        doors = Doors(5060, (20000, 20099))
        text = ruleset(doors, [network(peer.address)], [network(media.address)])
        for _ in range(2):  # the second time it replaces itself
            agent.run("nft", "-f", "-", text=text)
        loaded = json.loads(agent.run("nft", "-j", "list", "table", "inet", "pickup_sip").stdout)
        assert holes(doors, loaded) == []
        assert peers_of(loaded) == 1
        assert holes(Doors(5061, (20000, 20100)), loaded) != []
        assert reached(peer) == everything
        assert reached(media) == ["rtp", "other"]
        assert reached(stranger) == ["other"]
        assert reached(agent) == everything
        for each in (sip, tcp, rtp, other):
            each.close()
