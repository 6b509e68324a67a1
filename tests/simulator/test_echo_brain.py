"""The echo brain: what is left of a call's delay is the way there and back."""

from __future__ import annotations

import numpy as np

from agent.simulator.brain import EchoBrain
from tests.simulator.live_rig import QUIET, SPEECH, Rig, audio_frame


def test_every_chunk_comes_back_at_once_as_what_it_was() -> None:
    rig = Rig(brain=EchoBrain()).ready()
    for at in range(0, len(SPEECH), 640):
        rig.wait(0.02)
        rig.send(audio_frame(SPEECH[at : at + 640]))
        assert rig.sent[-1].at == rig.now
    sent, back = (np.frombuffer(pcm, np.int16).astype(float) for pcm in (SPEECH, rig.audio()))
    assert len(back) == len(sent) * 3 // 2
    whole = np.interp(np.arange(len(back)) / 1.5, np.arange(len(sent)), sent)
    assert np.corrcoef(whole, back)[0, 1] > 0.99


def test_silence_comes_back_too_and_nothing_else_ever_does() -> None:
    rig = Rig(brain=EchoBrain()).ready()
    rig.send({"realtimeInput": {"text": "Greet the caller."}})
    rig.say(SPEECH)
    rig.say(QUIET)
    rig.wait(5.0)
    assert len(rig.audio()) // 2 == (len(SPEECH) + len(QUIET)) * 3 // 4
    kinds = {next(iter(sent.message["serverContent"])) for sent in rig.sent}
    assert kinds == {"modelTurn"}
    assert not rig.violations


def test_what_would_be_heard_late_is_let_go() -> None:
    rig = Rig(brain=EchoBrain()).ready()
    frames = [SPEECH[at : at + 640] for at in range(0, 640 * 20, 640)]
    for frame in frames[:5]:  # 100 ms at once, as after a stall
        rig.send(audio_frame(frame))
    assert len(rig.audio()) == 2 * 960  # the third would begin 40 ms late
    for frame in frames[5:]:
        rig.wait(0.02)
        rig.send(audio_frame(frame))
    assert len(rig.audio()) == (2 + 15) * 960
