"""The load of a measurement: what its callers say, and the raw timelines that both stand-ins keep for it."""

from __future__ import annotations

import pytest

from agent.simulator.crowd import CrowdOptions, run_crowd, small_talk
from agent.simulator.gemini_setup import Conduct
from agent.simulator.records import MOST_TRACED, Chunk, trace
from agent.simulator.report import Ended
from tests.simulator.live_rig import SPEECH, Rig

TEXT = {"realtimeInput": {"text": "Greet the caller."}}


@pytest.mark.parametrize("wanted", [True, False])
def test_every_chunk_is_traced_where_that_is_asked_for(wanted: bool) -> None:
    rig = Rig(conduct=Conduct(setup_seconds=0.5, trace=wanted)).ready()
    rig.send(TEXT)
    rig.wait(5)
    rig.say(SPEECH[:6400])
    heard, spoken = rig.record.audio_in, rig.record.audio_out
    if not wanted:
        assert heard == spoken == []
        return
    assert [chunk.samples for chunk in heard] == [320] * 10
    assert heard[-1].t == rig.now
    assert sum(chunk.samples for chunk in spoken) * 2 == len(rig.audio())
    assert spoken[0].t == next(each.t for each in rig.record.moments if each.what == "first_audio")


def test_a_trace_is_bounded() -> None:
    chunks = [Chunk(0.0, 1)] * MOST_TRACED
    trace(chunks, 1.0, 1)
    assert len(chunks) == MOST_TRACED


def test_every_third_thing_that_is_said_interrupts() -> None:
    said = small_talk(CrowdOptions(url="http://nowhere", calls=1, seconds=1.0, speech_s=0.5))
    assert [each.interrupt_after_s for each in said] == [None, None, 1.0]
    assert [len(each.mulaw) for each in said] == [4000] * 3
    assert said[0].first == 0  # the onset of speech is timed, so it must lie where a frame begins


async def test_a_crowd_reports_on_every_call_and_marks_its_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.simulator.crowd.APART_S", 0.01)
    monkeypatch.setattr("agent.simulator.crowd.SETTLE_S", 0.05)
    marks: list[str] = []
    options = CrowdOptions(url="http://127.0.0.1:9", calls=3, seconds=0.05)
    reports = await run_crowd(options, lambda: marks.append("mark"))
    assert [each.ended for each in reports] == [Ended.WEBHOOK_FAILED] * 3
    assert len({each.call_sid for each in reports}) == 3
    assert len(marks) == 2
