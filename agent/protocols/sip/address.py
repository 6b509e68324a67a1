"""SIP addresses (RFC 3261, sections 19.1 and 20.10): who calls, who is called, and what a listening address is."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST = 200
"""Characters of an address; longer ones are cut, since they come from strangers."""

_NUMBER = re.compile(r"\+?[0-9][0-9().-]{2,}")
"""What is a telephone number as the user of an address (RFC 3966, section 5.1.1), with its visual separators."""

_SEPARATORS = str.maketrans("", "", "().-")

_URI = re.compile(r"(sips?|tel):(?:([^@;?]*)@)?([^;?]*)", re.IGNORECASE)


class Address(NamedTuple):
    """A SIP or tel URI without password, parameters and headers; empty where there was none.

    Attributes:
        user: decoded; of a tel URI the number.
        host: lower case, IPv6 in brackets; empty in a tel URI.
        port: with its colon, empty where there is none.
    """

    user: str
    host: str
    port: str = ""

    @property
    def number(self) -> str:
        """How the rest of us calls it: E.164 where the user is such a number, else `sip:user@host`."""
        plain = self.user.translate(_SEPARATORS)
        if plain.startswith("+") and _NUMBER.fullmatch(self.user):
            return plain
        if not self.host:
            return plain
        return f"sip:{self.user}@{self.host}" if self.user else f"sip:{self.host}"


def address(text: str) -> Address:
    """The address in a header such as `"Alice" <sip:alice@example.com;user=phone>;tag=1`, or in a bare URI."""
    text = text[: 4 * LONGEST]
    inside = re.search(r"<([^<>]*)>\s*(?:;[^<>]*)?$", text)
    found = _URI.match((inside[1] if inside else text).strip())
    if found is None:
        return Address("", "")
    scheme, user, host = found[1].lower(), unquote(found[2] or ""), found[3].lower()
    if scheme == "tel":
        return Address(host[:LONGEST], "")
    user = user.split(":")[0]
    if not user.isprintable():
        user = ""
    port = re.search(r"(?<![:\[])(:[0-9]{1,5})$", host) if not host.endswith("]") else None
    at = port.start() if port else len(host)
    return Address(user[:LONGEST], host[:at][:LONGEST], host[at:])


_CALLED = re.compile(r"sip:([A-Za-z0-9._~*+-]{1,64})@([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
"""What can be called: somebody at a host, without password, parameters and headers."""

LONGEST_CALLED = 128
"""Characters of an address that is called: what a record has room for."""


def callee(text: str) -> str | None:
    """The one spelling of a `sip:` address that can be called, such as `sip:desk@pbx.example:5080`; None if it is none.

    Case counts in a user's name and not in a host's, and 5060 is the port that is meant where none is named (RFC 3261, section 19.1.4).
    Parameters are refused and not cut off: they may mean another callee.
    """
    scheme, _, rest = text.strip().partition(":")
    user, _, where = rest.rpartition("@")
    spelled = f"{scheme.lower()}:{unquote(user)}@{where.lower()}".removesuffix(":5060")
    if len(spelled) > LONGEST_CALLED or not _CALLED.fullmatch(spelled):
        return None
    return spelled


CALLED_PARTY = "p-called-party-id"
"""Whom a call is for, where a proxy has changed the Request-URI to where that one is registered (RFC 7315, section 4.2)."""


def called(headers: Mapping[str, str], user: str, host: str) -> Address:
    """Whom a call is for: To tells who was dialled first, which is somebody else where the call was forwarded (RFC 3261, section 8.2.2.1).

    Args:
        headers: of the INVITE, by lower-case name.
        user: of its Request-URI; empty where that is not known, or is only where we are registered.
        host: where that user is.
    """
    named = address(headers.get(CALLED_PARTY, ""))
    if named != Address("", ""):
        return named
    dialled = address(headers.get("to", ""))
    moved = user and dialled.user.lower() != user.lower()
    return Address(user, host) if moved else dialled


def target(number: str, beside: str) -> str:
    """Where a number or an address is called: a number at the same host as the address `beside`."""
    if number.lower().startswith(("sip:", "sips:")):
        return number
    there = address(beside)
    return f"sip:{number}@{there.host}{there.port}"


def variables(headers: Mapping[str, str], allowed: Iterable[str]) -> dict[str, str]:
    """What allowed headers bring as an agent's variables: X-Order-Id as `order_id`, User-to-User as `user_to_user`."""
    found = {name.lower(): value for name, value in headers.items()}
    return {
        name.lower().removeprefix("x-").replace("-", "_"): found[name.lower()]
        for name in allowed
        if name.lower() in found
    }


class Listening(NamedTuple):
    """Where SIP is listened for: an address, not a name, and a port; 0: a free one."""

    host: str
    port: int

    @property
    def text(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def exposed(self) -> bool:
        """Whether strangers may reach it: a public address, or every address of the machine."""
        ip = ipaddress.ip_address(self.host)
        return ip.is_unspecified or not ip.is_private


def listening(text: str) -> Listening:
    """Read `ADDRESS:PORT`, IPv6 in brackets.

    Raises:
        ValueError: it is none.
    """
    host, _, port = text.strip().rpartition(":")
    if host.startswith("[") != host.endswith("]") or (":" in host) != host.startswith("["):
        raise ValueError("not an address and a port")
    ip = ipaddress.ip_address(host.strip("[]"))
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("not a port")
    return Listening(str(ip), int(port))
