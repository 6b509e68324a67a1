"""Machines and networks of their own on this one: network namespaces with bridges between them; nothing here reaches beyond.

A `Host` is a namespace. Its commands run inside, and its sockets are opened inside and can then be used from anywhere.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLONE_NEWNET = 0x40000000  # sched.h; os.setns came with Python 3.12
NETWORK = "10.79.{}.{}"


def needed(*programs: str) -> None:
    """Skip where a program is missing, or where this user may make no namespaces."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Host(NamedTuple):
    """A machine of its own.

    Attributes:
        name: of its namespace.
        addresses: one on each network it is on, by the network's name.
    """

    name: str
    addresses: dict[str, str]

    @property
    def address(self) -> str:
        """Its only address."""
        (address,) = self.addresses.values()
        return address

    def words(self, *words: str) -> list[str]:
        """The command line that runs a command there."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(
        self, *words: str, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        done = subprocess.run(
            self.words(*words), input=text, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done

    @contextmanager
    def running(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command there until the end of the block."""
        with subprocess.Popen(self.words(*words), **options) as process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()

    def socket(self, kind: socket.SocketKind, port: int = 0) -> socket.socket:
        """A socket of that machine, bound to its address."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.name}") as its:
            assert libc.setns(its.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                made = socket.socket(socket.AF_INET, kind)
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0
        made.bind((self.address, port))
        return made


@contextmanager
def machines(*networks: Sequence[str]) -> Iterator[list[Host]]:
    """Make a machine of each name, on the networks that name it.

    Args:
        networks: the names of the machines on each; who is on two is on both, and forwards nothing.
    """
    names = list(dict.fromkeys(name for network in networks for name in network))
    prefix = f"pk{os.getpid() % 100000}"
    with ExitStack() as stack:

        def namespace(name: str) -> str:
            full = f"{prefix}-{name}"
            _ip("netns", "add", full)
            stack.callback(_ip, "netns", "del", full)
            _ip("-n", full, "link", "set", "lo", "up")
            return full

        switch = namespace("switch")
        hosts = {name: Host(namespace(name), {}) for name in names}
        for number, network in enumerate(networks):
            bridge = f"br{number}"
            _ip("-n", switch, "link", "add", bridge, "type", "bridge")
            _ip("-n", switch, "link", "set", bridge, "up")
            for place, name in enumerate(network, start=2):
                host, end = hosts[name], f"{name[:8]}{number}"
                address = NETWORK.format(number, place)
                _ip(
                    "-n",
                    switch,
                    "link",
                    "add",
                    end,
                    "type",
                    "veth",
                    "peer",
                    f"eth{number}",
                    "netns",
                    host.name,
                )
                _ip("-n", switch, "link", "set", end, "master", bridge, "up")
                _ip("-n", host.name, "addr", "add", f"{address}/24", "dev", f"eth{number}")
                _ip("-n", host.name, "link", "set", f"eth{number}", "up")
                host.addresses[f"net{number}"] = address
        yield [hosts[name] for name in names]
