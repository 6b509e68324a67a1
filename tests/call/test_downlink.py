"""The agent's voice on its way to the caller, and what may cut it."""

from __future__ import annotations

from agent.audio.playout import PlayoutOptions
from agent.call.downlink import Downlink, Lately
from agent.events import Clear, Mark, Pcm8k, Pcm24k, Play
from tests.call.calls import HELLO, speech


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


def sound(downlink: Downlink, begin: float, seconds: float) -> bytes:
    """What a line is sent in that time."""
    sent = b""
    for n in range(round(seconds / 0.02)):
        for command in downlink.due(begin + 0.02 * n):
            if isinstance(command, Play):
                sent += command.pcm
            else:
                assert isinstance(command, Mark)
                downlink.playout.mark_played(command.name, begin + 0.02 * n)
    return sent


def speaking() -> Downlink:
    """In the middle of two seconds."""
    downlink = Downlink(PlayoutOptions())
    downlink.playout.attach(0.0)
    downlink.feed(speech(2.0))
    downlink.end_utterance()
    downlink.due(0.0)
    downlink.due(0.1)
    return downlink


def test_a_voice_that_is_held_goes_on_with_its_last_word() -> None:
    downlink = speaking()
    whole = downlink.lately.between(0, 1280)
    assert downlink.pause(0.16) == [Clear()]
    assert downlink.due(0.3) == []
    assert downlink.playout.deadline() is None
    downlink.feed(speech(0.1))  # what is said meanwhile queues up
    assert downlink.sent == 1280
    assert downlink.speak_on(800) == (1280, 480)
    assert sound(downlink, 0.9, 0.02)[:960] == whole[1600:]


def test_a_word_that_began_before_what_is_known_is_not_said_again() -> None:
    downlink = speaking()
    downlink.pause(0.16)
    assert downlink.speak_on(-2 * 8000) == (1280, 0)


def test_where_nothing_is_on_its_way_a_hold_needs_no_clear() -> None:
    downlink = Downlink(PlayoutOptions())
    assert downlink.pause(0.0) == []


def test_a_line_that_is_queued_behind_stays_protected() -> None:
    downlink = speaking()
    downlink.say_whole(HELLO.pcm)
    assert downlink.own_words(0.16)
    downlink.pause(0.16)
    downlink.speak_on(800)
    end = downlink.position
    downlink.cut(0.9)
    assert downlink.position == end


def test_what_was_sent_lately_is_known_by_position() -> None:
    lately = Lately()
    lately.put(0, Pcm8k(b"ab" * 160))
    lately.put(160, Pcm8k(b"cd" * 160))
    lately.put(160, Pcm8k(b"ef" * 80))  # it was taken back
    assert lately.end == 240
    assert lately.between(159, 161) == b"abef"
    lately.put(400, Pcm8k(b"gh" * 160))  # on another line
    assert lately.between(0, 401) == b"gh"
    lately.put(560, Pcm8k(bytes(4 * 8000)))
    assert lately.end == 8000 * 2 + 560
    assert lately.between(0, 4000) == b""


def test_a_voice_that_is_paused_in_the_silence_at_its_end_has_no_more_to_say() -> None:
    downlink = Downlink(PlayoutOptions())
    downlink.playout.attach(0.0)
    downlink.feed(speech(0.1))
    downlink.feed(Pcm24k(bytes(2 * 24000)), audible=False)
    downlink.due(0.0)
    downlink.due(0.3)
    downlink.pause(0.3)
    until = downlink.sound_until
    downlink.speak_on(downlink.sent - 800)
    assert downlink.sound_until == until
