"""A second implementation of SIP and RTP that nobody here wrote (Debian's baresip) holds the demo's conversation."""

from __future__ import annotations

import shutil
import subprocess
import wave
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from agent.config.agent_files import EXAMPLES
from agent.simulator.caller import SPEECH
from agent.simulator.wav import read_phone_wav
from tests.calls.sip_serving import sip_serving

if TYPE_CHECKING:
    from pathlib import Path

SAYS = {4.5: "caller_open", 11.0: "caller_park", 15.5: "caller_cost", 22.0: "caller_bye"}
"""Seconds into the call, and what is said: the third while the agent still answers the second."""
SECONDS = 33

CONFIG = """\
sip_listen 127.0.0.1:0
net_interface lo
module_path /usr/lib/baresip/modules
module g711.so
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


@pytest.mark.slow
@pytest.mark.timeout(100)
@pytest.mark.skipif(shutil.which("baresip") is None, reason="Debian's baresip is not installed")
def test_another_telephone_holds_the_whole_conversation(tmp_path: Path) -> None:
    said = np.zeros(SECONDS * 8000, "<i2")
    for at, clip in SAYS.items():
        sound = read_phone_wav(SPEECH / f"{clip}.wav")
        said[int(at * 8000) :][: len(sound)] = sound
    phone = tmp_path / "phone"
    phone.mkdir()
    with wave.open(str(phone / "said.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(said.tobytes())
    (phone / "config").write_text(CONFIG.format(said=phone / "said.wav", folder=phone))
    (phone / "accounts").write_text("<sip:caller@127.0.0.1>;regint=0;audio_codecs=pcmu\n")
    (phone / "contacts").touch()
    with sip_serving(tmp_path, agent=(EXAMPLES / "front_desk.yaml").read_text()) as served:
        done = subprocess.run(
            ["baresip", "-f", str(phone), "-n", "127.0.0.1", "-t", str(SECONDS)]
            + ["-e", f"/dial sip:agent@{served.where}"],
            capture_output=True,
            text=True,
            timeout=SECONDS + 20,
            cwd=phone,
            check=False,
        )
        stats = served.stats()
    (path,) = served.data.glob("calls/*/transcript.json")
    told = msgspec.json.decode(path.read_bytes())
    assert told["end_reason"] == "agent_hung_up", done.stdout
    heard = [line["text"] for line in told["lines"] if line["who"] == "caller"]
    assert heard == [
        "Hi. What time do you open tomorrow?",
        "And where can I park my car?",
        "Sorry, is it free on Sundays?",
        "Great, thank you. Goodbye.",
    ]
    assert told["metrics"]["barge_ins"] == 1
    assert not stats["violations"]
    (dump,) = phone.glob("dump-*-dec.wav")
    with wave.open(str(dump)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)
        rate = file.getframerate() * file.getnchannels()
    blocks = sound[: len(sound) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10)
    spoken = (np.sqrt((blocks**2).mean(axis=1)) > 300).sum() / 10
    assert 8.0 < spoken < 20.0  # seconds of the agent's voice, as the telephone recorded them
