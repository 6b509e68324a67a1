"""The agent's voice on its way to the caller, and what may cut it."""

from __future__ import annotations

from agent.audio.playout import PlayoutOptions
from agent.call.downlink import Downlink
from agent.events import Clear, Play
from tests.call.calls import speech


def test_nothing_is_cut_where_nothing_is_unheard() -> None:
    downlink = Downlink(PlayoutOptions())
    assert downlink.cut(0.0) == []


def test_what_was_never_sent_needs_no_clear() -> None:
    downlink = Downlink(PlayoutOptions())
    downlink.feed(speech(1.0))
    assert downlink.cut(0.0) == []
    assert downlink.position == 0


def test_what_was_sent_is_cleared() -> None:
    downlink = Downlink(PlayoutOptions())
    downlink.playout.attach(0.0)
    downlink.feed(speech(1.0))
    assert any(isinstance(command, Play) for command in downlink.due(0.0))
    assert downlink.cut(0.1) == [Clear()]
    assert downlink.unheard(0.1) is False


def test_a_queue_that_is_full_drops_the_newest_and_counts_it() -> None:
    downlink = Downlink(PlayoutOptions(limit=1.0))
    downlink.feed(speech(1.5))
    assert downlink.dropped == 0.5


def test_heard_audio_is_handed_over_in_pieces_and_at_the_end_whole() -> None:
    downlink = Downlink(PlayoutOptions())
    downlink.playout.attach(0.0)
    downlink.feed(speech(1.0))
    downlink.end_utterance()
    downlink.due(0.0)
    assert downlink.take_heard(0.1) == []
    assert sum(heard.pcm.seconds for heard in downlink.take_heard(0.21)) > 0.2
    assert downlink.take_heard(0.3) == []
    assert downlink.take_heard(0.3, everything=True)
    assert downlink.sent > 0
