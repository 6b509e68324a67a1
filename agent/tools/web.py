"""HTTP out of tools: one shared client, which reaches nobody that it should not.

What a model was talked into must not make this server speak to its own network. Names are looked up by the client, so the check
is made on the very address that a socket is about to connect to: a name that changes its mind between a check and the connection
(DNS rebinding) gains nothing. Redirects are not followed and no proxy of the environment is used, for the same reason.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

CONNECTIONS = 100
"""Connections at once; one more waits, and its tool's deadline runs meanwhile."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that stand for IPv4 ones (RFC 6052, section 2.1)."""


class NotPublic(OSError):
    """An address of this machine, of its network, or of nobody."""


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, also where it is wrapped in another (RFC 4291, 3056, 6052)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


def _public_socket(
    found: tuple[socket.AddressFamily | int, socket.SocketKind | int, int, str, tuple[object, ...]],
) -> socket.socket:
    family, kind, protocol, _, address = found
    if not is_public(str(address[0])):
        raise NotPublic(errno.EACCES, f"{address[0]} is not a public address")
    return socket.socket(family, kind, protocol)


class Web:
    """The clients that all tools share; made when the first tool needs one.

    Args:
        resolver: who looks names up; by default the system.
    """

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver
        self._sessions: dict[tuple[bool, bool], aiohttp.ClientSession] = {}

    def session(self, *, private: bool, fresh: bool) -> aiohttp.ClientSession:
        """A client.

        Args:
            private: it may reach this machine and its network.
            fresh: it opens a connection for each request. A connection that lay idle may close just as a request is sent, and
                then nobody knows whether it was read: no way to ask for something that must not be done twice.
        """
        key = private, fresh
        if key not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS,
                resolver=self._resolver,
                force_close=fresh,
                socket_factory=None if private else _public_socket,
            )
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),  # one call's cookies are none of another's
                timeout=aiohttp.ClientTimeout(total=None),  # each tool has its own deadline
                trust_env=False,
            )
        return self._sessions[key]

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
