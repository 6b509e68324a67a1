"""C's stderr, which is not Python's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agent.telephony import native_stderr
from agent.telephony.native_stderr import NativeStderr

SCRIPT = """\
import ctypes, os, sys
from agent.telephony.native_stderr import NativeStderr

libc = ctypes.CDLL(None)

def write(text):
    stream = ctypes.c_void_p.in_dll(libc, "stderr")
    libc.fputs(text, stream)
    libc.fflush(stream)

stderr = NativeStderr()
write(b"one ")
assert stderr.silence()
assert stderr.silence()
write(b"two ")
os.write(2, b"three ")
print("four", end=" ", file=sys.stderr, flush=True)
stderr.restore()
stderr.restore()
write(b"five")
"""


@pytest.mark.skipif(native_stderr._family() != "glibc", reason="C's stderr is called otherwise")
def test_what_c_writes_is_nobodys_until_it_is_restored_and_python_writes_on() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"one three four five")


def test_where_it_cannot_be_set_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_stderr, "_family", lambda: "")
    stderr = NativeStderr()
    assert not stderr.silence()
    stderr.restore()
