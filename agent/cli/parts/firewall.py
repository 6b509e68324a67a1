"""The firewall that lets named peers reach embedded SIP and nobody else: its nftables rules, and whether what is loaded does that.

The language is that of nft(8); what is loaded is read as libnftables-json(5) has it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TABLE = "pickup_sip"


class Doors(NamedTuple):
    """What strangers must not reach.

    Attributes:
        sip: the port of signalling, UDP and TCP.
        rtp: the first and the last UDP port of sound.
    """

    sip: int
    rtp: tuple[int, int]


def network(text: str) -> Network:
    """An address or a network in CIDR notation.

    Raises:
        UserError: it is neither, or it is everybody.
    """
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise UserError(f"{text}: {error}; such as 203.0.113.5 or 203.0.113.0/24") from None
    if found.prefixlen == 0:
        raise UserError(f"{text} is everybody: name those who may call")
    return found


def ruleset(doors: Doors, peers: Iterable[Network], media: Iterable[Network] = ()) -> str:
    """The rules as a file for `nft -f`; loading it again replaces what was loaded before.

    Args:
        doors: the ports.
        peers: who may call, and send sound.
        media: who may send sound only.
    """
    sip = list(peers)
    rtp = sip + list(media)
    first, last = doors.rtp
    sets = [
        _set(f"{what}{version}", [each for each in networks if each.version == version])
        for what, networks in (("sip", sip), ("rtp", rtp))
        for version in (4, 6)
    ]
    allowed = [
        f"    {ip} saddr @{what}{version} {ports} accept"
        for version, ip in ((4, "ip"), (6, "ip6"))
        for what, ports in (
            ("sip", f"udp dport {doors.sip}"),
            ("sip", f"tcp dport {doors.sip}"),
            ("rtp", f"udp dport {first}-{last}"),
        )
    ]
    return "\n".join(
        [
            f"table inet {TABLE}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            *sets,
            "  chain input {",
            "    # Before other filters: what is dropped here nobody lets in; what is accepted, they may still drop.",
            "    type filter hook input priority -10; policy accept;",
            '    iifname "lo" accept',
            *allowed,
            f"    udp dport {doors.sip} counter drop",
            f"    tcp dport {doors.sip} counter drop",
            f"    udp dport {first}-{last} counter drop",
            "  }",
            "}",
            "",
        ]
    )


def _set(name: str, networks: Sequence[Network]) -> str:
    # Networks that overlap would be refused.
    four = ipaddress.collapse_addresses(
        each for each in networks if isinstance(each, ipaddress.IPv4Network)
    )
    six = ipaddress.collapse_addresses(
        each for each in networks if isinstance(each, ipaddress.IPv6Network)
    )
    elements = ", ".join(str(each) for each in (*four, *six))
    inside = f" elements = {{ {elements} }};" if elements else ""
    kind = "ipv4_addr" if name.endswith("4") else "ipv6_addr"
    return f"  set {name} {{ type {kind}; flags interval;{inside} }}"


def holes(doors: Doors, loaded: dict[str, Any]) -> list[str]:
    """What of the doors a stranger reaches through the table that is loaded; empty: nothing.

    Args:
        doors: the ports.
        loaded: what `nft -j list table inet pickup_sip` printed.
    """
    parts = loaded["nftables"]
    chains = [part["chain"] for part in parts if "chain" in part]
    inward = {chain["name"] for chain in chains if chain.get("hook") == "input"}
    everybody = {
        f"@{part['set']['name']}" for part in parts if "set" in part and _wide(part["set"])
    }
    rules = [
        part["rule"]["expr"] for part in parts if "rule" in part and part["rule"]["chain"] in inward
    ]
    first, last = doors.rtp
    wanted = (
        (f"SIP by UDP, port {doors.sip}", "udp", range(doors.sip, doors.sip + 1)),
        (f"SIP by TCP, port {doors.sip}", "tcp", range(doors.sip, doors.sip + 1)),
        (f"RTP, ports {first} to {last}", "udp", range(first, last + 1)),
    )
    return [
        name
        for name, protocol, ports in wanted
        if not all(_dropped(rules, protocol, port, everybody) for port in ports)
    ]


def peers_of(loaded: dict[str, Any]) -> int:
    """How many networks may call, as the loaded table has them."""
    sets = [part["set"] for part in loaded["nftables"] if "set" in part]
    return sum(len(each.get("elem", [])) for each in sets if each["name"].startswith("sip"))


def _wide(found: dict[str, Any]) -> bool:
    """Whether a set has everybody in it."""
    return any(
        isinstance(each, dict) and each.get("prefix", {}).get("len", 128) == 0
        for each in found.get("elem", [])
    )


def _dropped(
    rules: list[list[dict[str, Any]]], protocol: str, port: int, everybody: set[str]
) -> bool:
    """Whether a stranger's packet is dropped: the first rule that decides on it says so."""
    for rule in rules:
        verdict = next(
            (word for word in ("accept", "drop") if any(word in each for each in rule)), ""
        )
        matches = [each["match"] for each in rule if "match" in each]
        known = [_applies(match, protocol, port, everybody) for match in matches]
        if not verdict or False in known:
            continue
        if verdict == "accept" or None not in known:
            return verdict == "drop"
    return False


def _applies(match: dict[str, Any], protocol: str, port: int, everybody: set[str]) -> bool | None:
    """Whether a condition holds for a stranger's packet; None where that is not known here."""
    left, right = match["left"], match["right"]
    if match["op"] != "==":
        return None
    if left == {"meta": {"key": "iifname"}} and right == "lo":
        return False
    payload = left.get("payload", {})
    if payload.get("field") == "saddr" and isinstance(right, str) and right.startswith("@"):
        return right in everybody
    if payload.get("field") == "dport":
        return payload.get("protocol") in (protocol, "th") and _among(right, port)
    return None


def _among(right: Any, port: int) -> bool:
    if isinstance(right, dict) and "set" in right:
        return any(_among(each, port) for each in right["set"])
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        return bool(first <= port <= last)
    return bool(right == port)
