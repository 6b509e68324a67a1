"""A telephone that nobody here wrote: Debian's baresip, whose G.722 is spandsp's. It says a sound, and keeps what it hears."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import wave
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from agent.simulator.clock import Owner
from tests.calls.sipp_runner import bound, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

    Sound = NDArray[np.float64]

needs_baresip = pytest.mark.skipif(
    shutil.which("baresip") is None, reason="Debian's baresip is not installed"
)

CODECS = {"pcmu": "PCMU/8000/1", "g722": "G722/16000/1"}

CONFIG = """\
sip_listen 127.0.0.1:{port}
net_interface lo
module_path /usr/lib/baresip/modules
module g711.so
module g722.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app menu.so
audio_source aufile,{said}
audio_player aufile,{folder}/unused.wav
audio_alert aufile,{said}
snd_path {folder}
rtp_ports 30000-30100
"""


class Called(NamedTuple):
    """What one call came to.

    Attributes:
        told: what the telephone wrote.
        heard: its recording, samples of 16 bit.
        rate: of that, Hz: the codec's.
    """

    told: str
    heard: Sound
    rate: int


def call(phone: Path, where: str, said: Sound, codec: str, seconds: int) -> Called:
    """Call `where` (ADDRESS:PORT) and say that.

    Args:
        phone: a folder that is made for this.
        said: samples of 16 bit at the codec's rate.
        codec: the only one that is offered, of `CODECS`.
        seconds: after so long the telephone hangs up, if nobody has before.
    """
    _furnish(phone, said, codec)
    done = subprocess.run(
        ["baresip", "-f", str(phone), "-n", "127.0.0.1", "-t", str(seconds)]
        + ["-e", f"/dial sip:agent@{where}"],
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        cwd=phone,
        check=False,
    )
    return _came_to(phone, done.stdout)


@asynccontextmanager
async def called(
    phone: Path, said: Sound, codec: str, seconds: int
) -> AsyncIterator[tuple[str, asyncio.Task[Called]]]:
    """A telephone that takes a call at once: its ADDRESS:PORT, and what the call came to; arguments as for `call`."""
    (port,) = free_ports("127.0.0.1", 1)
    _furnish(phone, said, codec, port, ";answermode=auto")
    words = ("baresip", "-f", str(phone), "-n", "127.0.0.1", "-t", str(seconds))
    process = await asyncio.create_subprocess_exec(
        *words, cwd=phone, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )

    async def finished() -> Called:
        out, _ = await process.communicate()
        return _came_to(phone, out.decode(errors="replace"))

    async with Owner() as owner:
        done = owner.start(finished(), "telephone")
        try:
            while not bound(port):
                assert not done.done()
                await asyncio.sleep(0.02)
            yield f"127.0.0.1:{port}", done
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _furnish(phone: Path, said: Sound, codec: str, port: int = 0, more: str = "") -> None:
    rate = int(CODECS[codec].split("/")[1])
    phone.mkdir()
    with wave.open(str(phone / "said.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(said.astype("<i2").tobytes())
    config = CONFIG.format(said=phone / "said.wav", folder=phone, port=port)
    (phone / "config").write_text(config)
    account = f"<sip:caller@127.0.0.1>;regint=0;audio_codecs={CODECS[codec]}{more}\n"
    (phone / "accounts").write_text(account)
    (phone / "contacts").touch()


def _came_to(phone: Path, told: str) -> Called:
    (dump,) = phone.glob("dump-*-dec.wav")
    with wave.open(str(dump)) as recorded:
        sound = np.frombuffer(recorded.readframes(recorded.getnframes()), "<i2")
        channels, rate = recorded.getnchannels(), recorded.getframerate()
    return Called(told, sound[::channels].astype(np.float64), rate)
