"""Keeps a C library from writing to stderr.

The SIP library (libre) tells of every request that it does not handle on C's `stderr`, whatever its log level is, and names the
address that was asked for: a telephone number, as a rule. That stream is a variable which a program may set like any other (The GNU
C Library, "Standard Streams"), and it is not Python's: what Python, its faulthandler and an abort of C's memory management have
to say goes to file descriptor 2 as before.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

VARIABLE = {"glibc": "stderr", "darwin": "__stderrp"}
"""What the variable is called; elsewhere (musl) it cannot be set."""


def _family() -> str:
    return "darwin" if sys.platform == "darwin" else platform.libc_ver()[0]


class NativeStderr:
    """C's `stderr` of this process."""

    def __init__(self) -> None:
        self._was: int | None = None

    def silence(self) -> bool:
        """What C libraries write there from now on is nobody's; whether that can be had here."""
        name = VARIABLE.get(_family())
        if name is None:
            return False
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        nowhere = libc.fopen(os.devnull.encode(), b"w")
        if not nowhere:
            return False
        stream = ctypes.c_void_p.in_dll(libc, name)
        if self._was is None:
            self._was = stream.value
        stream.value = nowhere
        return True

    def restore(self) -> None:
        """Let them write again; only once those that were silenced have ended."""
        name = VARIABLE.get(_family())
        if name is None or self._was is None:
            return
        libc = ctypes.CDLL(None)
        stream = ctypes.c_void_p.in_dll(libc, name)
        nowhere, stream.value, self._was = stream.value, self._was, None
        libc.fclose(ctypes.c_void_p(nowhere))
