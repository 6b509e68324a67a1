"""A telephone that nobody here wrote: Debian's baresip, whose G.722 is spandsp's. It says a sound, and keeps what it hears."""

from __future__ import annotations

import shutil
import subprocess
import wave
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Sound = NDArray[np.float64]

needs_baresip = pytest.mark.skipif(
    shutil.which("baresip") is None, reason="Debian's baresip is not installed"
)

CODECS = {"pcmu": "PCMU/8000/1", "g722": "G722/16000/1"}

CONFIG = """\
sip_listen 127.0.0.1:0
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
    rate = int(CODECS[codec].split("/")[1])
    phone.mkdir()
    with wave.open(str(phone / "said.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(said.astype("<i2").tobytes())
    (phone / "config").write_text(CONFIG.format(said=phone / "said.wav", folder=phone))
    account = f"<sip:caller@127.0.0.1>;regint=0;audio_codecs={CODECS[codec]}\n"
    (phone / "accounts").write_text(account)
    (phone / "contacts").touch()
    done = subprocess.run(
        ["baresip", "-f", str(phone), "-n", "127.0.0.1", "-t", str(seconds)]
        + ["-e", f"/dial sip:agent@{where}"],
        capture_output=True,
        text=True,
        timeout=seconds + 20,
        cwd=phone,
        check=False,
    )
    (dump,) = phone.glob("dump-*-dec.wav")
    with wave.open(str(dump)) as recorded:
        sound = np.frombuffer(recorded.readframes(recorded.getnframes()), "<i2")
        channels, rate = recorded.getnchannels(), recorded.getframerate()
    return Called(done.stdout, sound[::channels].astype(np.float64), rate)
