"""The playout clock, with literal times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.audio.playout import Heard, Playout, PlayoutOptions
from agent.errors import OwnFault
from agent.events import Mark, Pcm8k, Play


def tone(samples: int, first: int = 0) -> Pcm8k:
    """Samples that say their own position (mod 2**15), so that any misplaced one shows."""
    return Pcm8k((np.arange(first, first + samples) % 32768).astype("<i2").tobytes())


def attached(now: float = 0.0, **options: float) -> Playout:
    playout = Playout(PlayoutOptions(**options))
    playout.attach(now)
    return playout


def shape(commands: list[Play | Mark]) -> list[int | str]:
    return [each.pcm.samples if isinstance(each, Play) else each.name for each in commands]


def played(commands: list[Play | Mark]) -> bytes:
    return b"".join(each.pcm for each in commands if isinstance(each, Play))


# ---- sending -------------------------------------------------------------------------------------


def test_fills_the_lead_at_once_and_then_tops_up_by_40_ms() -> None:
    playout = attached(10.0)
    playout.feed(tone(8000))
    assert shape(playout.due(10.0)) == [1600, "m1", 1600, "m2"]
    assert playout.due(10.0) == []
    assert playout.deadline() == pytest.approx(10.04, abs=1e-9)
    assert playout.due(10.0399) == []
    assert shape(playout.due(10.04)) == [320]
    assert playout.deadline() == pytest.approx(10.08, abs=1e-9)
    assert shape(playout.due(10.085)) == [320]  # woken late: the deadlines do not move
    assert playout.deadline() == pytest.approx(10.12, abs=1e-9)
    assert shape(playout.due(10.12)) == [320]
    assert shape(playout.due(10.16)) == [320]
    assert shape(playout.due(10.20)) == [320, "m3"]


def test_every_deadline_gives_something() -> None:
    """A deadline at which nothing is due would wake the loop again and again."""
    now = 987_654.321_987  # an uptime of eleven days
    playout = attached(now, patience=60.0)
    playout.feed(tone(40_000))
    playout.due(now)
    for _ in range(100):
        deadline = playout.deadline()
        assert deadline is not None
        assert deadline > now
        now = deadline
        assert playout.due(now) != []


def test_nothing_is_due_without_a_line() -> None:
    playout = Playout(PlayoutOptions())
    playout.feed(tone(800))
    playout.end_utterance()
    assert playout.due(5.0) == []
    assert playout.deadline() is None
    playout.attach(6.0)
    assert playout.deadline() == 6.0
    assert shape(playout.due(6.0)) == [800, "m1"]
    playout.feed(tone(8000))
    playout.detach(6.02)
    assert playout.due(7.0) == []
    assert playout.deadline() is None


def test_a_partial_frame_waits_for_more_audio() -> None:
    playout = attached()
    playout.feed(tone(159))
    assert playout.due(0.0) == []
    assert playout.deadline() is None
    playout.feed(tone(1, 159))
    assert playout.deadline() == 0.0
    assert played(playout.due(0.0)) == tone(160)


def test_a_partial_frame_is_padded_at_the_end_of_an_utterance() -> None:
    playout = attached()
    playout.feed(tone(200))
    assert shape(playout.due(0.0)) == [160]
    assert playout.end_utterance() == 320
    commands = playout.due(0.001)
    assert shape(commands) == [160, "m1"]
    assert played(commands) == tone(40, 160) + bytes(240)
    assert playout.sent == playout.queued == 320


def test_an_utterance_that_ends_after_it_was_sent_is_marked_once() -> None:
    playout = attached()
    playout.feed(tone(320))
    assert shape(playout.due(0.0)) == [320]
    assert playout.end_utterance() == 320
    assert playout.end_utterance() == 320
    assert playout.deadline() == 0.0
    assert shape(playout.due(0.01)) == ["m1"]
    assert playout.due(0.02) == []
    assert playout.end_utterance() == 320
    assert playout.due(0.03) == []


def test_the_regular_mark_also_serves_as_the_end_of_an_utterance() -> None:
    playout = attached()
    playout.feed(tone(1600))
    assert shape(playout.due(0.0)) == [1600, "m1"]
    assert playout.end_utterance() == 1600
    assert playout.due(0.01) == []
    playout.feed(tone(160, 1600))
    playout.due(1.0)
    assert playout.underruns == 0  # another utterance, after a pause


def test_an_utterance_that_never_spoke_asks_for_nothing() -> None:
    playout = attached()
    assert playout.end_utterance() == 0
    assert playout.due(0.0) == []


def test_marks_follow_the_end_of_each_utterance() -> None:
    playout = attached()
    playout.feed(tone(320))
    assert playout.end_utterance() == 320
    playout.feed(tone(1000, 320))
    assert playout.end_utterance() == 1440
    assert shape(playout.due(0.0)) == [320, "m1", 1120, "m2"]


def test_the_queue_is_bounded_and_counts_what_it_refused() -> None:
    playout = attached(limit=1.0)
    assert playout.feed(tone(7000)) == 0
    assert playout.feed(tone(1500, 7000)) == 500
    assert playout.feed(tone(10)) == 10
    assert playout.queued == 8000
    playout.due(0.0)  # 400 ms are with the provider now
    assert playout.feed(tone(3300, 8000)) == 100


def test_half_a_sample_is_a_fault_of_ours() -> None:
    with pytest.raises(OwnFault):
        attached().feed(Pcm8k(b"abc"))


@pytest.mark.parametrize("options", [{"frame": 0.0}, {"lead": 0.01}, {"mark_every": 0.01}])
def test_options_that_could_never_send_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="frame"):
        PlayoutOptions(**options)


def test_a_low_water_mark_above_the_lead_still_sends_whole_frames() -> None:
    playout = attached(top_up=0.5)
    playout.feed(tone(8000))
    playout.due(0.0)
    assert playout.deadline() == pytest.approx(0.02)
    assert shape(playout.due(0.02)) == [160]


# ---- the ear -------------------------------------------------------------------------------------


def test_the_clock_runs_from_the_first_send_to_what_was_sent() -> None:
    playout = attached(10.0)
    playout.feed(tone(1600))
    assert playout.heard(10.5) == 0
    playout.due(10.5)
    assert playout.heard(10.5) == 0
    assert playout.heard(10.55) == 400
    assert playout.heard(10.54) == 400  # never back
    assert playout.unplayed(10.6) == pytest.approx(0.1)
    assert playout.heard(10.7) == 1600
    assert playout.heard(99.0) == 1600


def test_a_line_with_a_constant_delay_is_followed_after_five_marks() -> None:
    playout = attached()
    playout.feed(tone(40_000))
    marks = 0
    for step in range(300):  # a provider 60 ms away that plays in real time
        now = step * 0.01
        while marks < math.floor((now - 0.06 + 1e-9) / 0.2):
            marks += 1
            playout.mark_played(f"m{marks}", now)
        playout.due(now)
    assert playout.heard(2.99) == pytest.approx((2.99 - 0.06) * 8000, abs=1)


def test_one_late_echo_does_not_move_the_clock() -> None:
    playout = attached()
    playout.feed(tone(40_000))
    for step in range(0, 100, 2):
        playout.due(step * 0.01)
        if step and step % 20 == 0:
            playout.mark_played(f"m{step // 20}", step * 0.01)
    playout.mark_played("m5", 1.25)  # we were away for 250 ms
    assert playout.heard(1.3) == 10_400


def test_a_faster_provider_is_followed_at_once() -> None:
    playout = attached()
    playout.feed(tone(3200))
    playout.due(0.0)
    playout.mark_played("m1", 0.19)
    assert playout.heard(0.19) == 1600
    assert playout.heard(0.29) == 2400


def test_an_echo_confirms_the_marks_before_it() -> None:
    playout = attached()
    playout.feed(tone(3200))
    assert shape(playout.due(0.0)) == [1600, "m1", 1600, "m2"]
    playout.mark_played("m2", 0.4)
    assert playout.heard(0.4) == 3200
    assert not playout.overdue(99.0)
    playout.mark_played("m1", 0.5)
    playout.mark_played("m2", 0.6)
    playout.mark_played("nobody", 0.7)
    assert playout.heard(0.7) == 3200


def test_the_echo_of_a_mark_sent_after_its_audio_played_tells_no_time() -> None:
    playout = attached()
    playout.feed(tone(320))
    playout.due(0.0)
    playout.end_utterance()
    assert shape(playout.due(5.0)) == ["m1"]
    playout.mark_played("m1", 5.05)
    playout.feed(tone(8000, 320))
    playout.due(6.0)
    assert playout.heard(6.1) == 320 + 800


def test_a_pause_begins_a_new_run() -> None:
    playout = attached()
    playout.feed(tone(800))
    playout.end_utterance()
    playout.due(0.0)
    playout.feed(tone(800, 800))
    assert playout.deadline() == 0.0
    playout.due(3.0)
    assert playout.heard(3.05) == 1200
    assert playout.underruns == 0


def test_running_dry_inside_an_utterance_is_an_underrun() -> None:
    playout = attached()
    playout.feed(tone(800))
    playout.due(0.0)
    playout.feed(tone(800, 800))
    playout.due(0.2)  # the provider fell silent at 0.1
    assert playout.underruns == 1
    assert playout.heard(0.25) == 1200


def test_audio_that_comes_in_the_last_moment_is_no_underrun() -> None:
    playout = attached()
    playout.feed(tone(800))
    playout.due(0.0)
    playout.feed(tone(800, 800))
    playout.due(0.099)
    assert playout.underruns == 0
    assert playout.heard(0.15) == 1200


def test_a_line_that_returns_no_mark_is_lost() -> None:
    playout = attached()
    playout.feed(tone(1600))
    playout.due(0.0)
    deadline = playout.deadline()
    assert deadline is not None
    assert deadline == pytest.approx(0.2 + 0.4 + 2.0)
    assert not playout.overdue(2.59)
    assert playout.overdue(deadline)
    playout.mark_played("m1", 2.7)
    assert not playout.overdue(99.0)
    assert playout.deadline() is None


def test_a_line_that_fell_silent_is_not_believed_to_have_played_on() -> None:
    playout = attached()
    playout.feed(tone(40_000))
    now = 0.0
    while not playout.overdue(now):
        playout.due(now)
        if now == pytest.approx(0.2):
            playout.mark_played("m1", now)  # the last that was heard of it
        now = playout.deadline() or 0.0
    assert now == pytest.approx(0.4 + 0.4 + 2.0)
    assert playout.heard(now) == 3200 + 3200  # the mark that is missing, and the lead
    playout.detach(now)
    assert playout.sent == 6400
    playout.attach(now + 3.0)
    assert played(playout.due(now + 3.0)) == tone(3200, 6400)


def test_an_overdue_mark_wakes_us_between_two_messages() -> None:
    playout = attached()
    playout.feed(tone(40_000))
    now = 0.0
    while not playout.overdue(now):
        playout.due(now)
        now = playout.deadline() or 0.0
    assert now == pytest.approx(0.2 + 0.4 + 2.0)


def test_all_is_settled_when_it_was_heard_and_the_line_has_said_so() -> None:
    playout = attached()
    assert playout.settled(0.0)
    playout.feed(tone(800))
    assert not playout.settled(0.0)
    playout.end_utterance()
    playout.due(0.0)
    assert not playout.settled(0.09)
    assert not playout.settled(0.2)  # heard by our clock, not yet by the line's word
    playout.mark_played("m1", 0.21)
    assert playout.settled(0.21)


# ---- rewinding -----------------------------------------------------------------------------------


def test_rewind_puts_back_what_was_not_heard() -> None:
    playout = attached()
    playout.feed(tone(8000))
    playout.due(0.0)
    assert playout.rewind(0.1) is True
    assert playout.sent == 800
    assert playout.queued == 8000
    assert playout.rewind(0.1) is False
    commands = playout.due(0.1)
    assert played(commands)[:3200] == tone(1600, 800)
    assert shape(commands) == [1600, "m3", 1600, "m4"]  # names never repeat


def test_rewind_counts_the_frame_that_is_being_heard_as_heard() -> None:
    playout = attached()
    playout.feed(tone(8000))
    playout.due(0.0)
    assert playout.heard(0.101) == 808
    assert playout.rewind(0.101) is True
    assert playout.sent == 960
    assert playout.heard(0.101) == 808
    assert playout.rewind(0.105) is False  # the line was told already
    assert playout.heard(0.5) == 960
    playout.drop(0)  # what was sent cannot be unsaid
    assert playout.queued == 960
    assert [len(each.pcm) // 2 for each in playout.take_heard(0.5)] == [960]


def test_audio_after_a_rewind_joins_the_frame_that_is_being_heard() -> None:
    playout = attached()
    playout.feed(tone(8000))
    playout.due(0.0)
    playout.rewind(0.101)
    playout.due(0.105)  # 960 is reached at 0.12
    assert playout.heard(0.11) == 880
    assert playout.heard(0.13) == 1040
    assert playout.underruns == 0


def test_nothing_to_rewind_when_all_was_heard() -> None:
    playout = attached()
    assert playout.rewind(0.0) is False
    playout.feed(tone(800))
    playout.due(0.0)
    assert playout.rewind(0.2) is False
    assert playout.sent == 800


def test_void_marks_mean_nothing_even_when_clear_returns_them() -> None:
    playout = attached()
    playout.feed(tone(8000))
    playout.due(0.0)
    playout.rewind(0.1)
    playout.drop(playout.sent)
    playout.mark_played("m1", 0.11)
    playout.mark_played("m2", 0.11)
    assert playout.heard(0.12) == 800
    assert not playout.overdue(99.0)


def test_a_void_mark_counts_where_its_audio_ended_before_the_clear() -> None:
    playout = attached()
    playout.feed(tone(8000))
    playout.due(0.0)
    playout.rewind(0.25)  # m1's audio ended at 0.2 but its echo is still under way
    playout.mark_played("m1", 0.26)
    assert playout.heard(0.25) == 2000


def test_the_end_of_an_utterance_that_was_rewound_is_marked_again() -> None:
    playout = attached()
    playout.feed(tone(800))
    playout.end_utterance()
    playout.feed(tone(800, 800))
    playout.end_utterance()
    assert shape(playout.due(0.0)) == [800, "m1", 800, "m2"]
    playout.rewind(0.04)
    assert shape(playout.due(0.04)) == [480, "m3", 800, "m4"]


def test_a_protected_line_survives_a_drop() -> None:
    """An interruption during the disclosure: it goes on, the greeting behind it is cut."""
    playout = attached()
    playout.feed(tone(800))
    disclosure = playout.end_utterance()
    playout.feed(tone(4000, 800))
    playout.end_utterance()
    playout.due(0.0)
    assert playout.rewind(0.04)
    playout.drop(disclosure)
    assert playout.queued == 800
    assert shape(playout.due(0.04)) == [480, "m3"]
    playout.drop(disclosure)  # nothing left to cut
    playout.feed(tone(160, 800))
    playout.due(5.0)
    assert playout.underruns == 0


def test_a_protected_line_that_ends_within_a_frame_is_played_to_its_end() -> None:
    playout = attached()
    playout.feed(tone(1000))
    playout.feed(tone(4000, 1000))
    playout.due(0.0)
    assert playout.rewind(0.04)
    playout.drop(1000)
    assert playout.queued == 1120
    commands = playout.due(0.04)
    assert shape(commands) == [800, "m3"]
    assert played(commands) == tone(680, 320) + bytes(240)


def test_an_interrupted_utterance_is_no_underrun() -> None:
    playout = attached()
    playout.feed(tone(1600))
    playout.due(0.0)
    playout.rewind(0.1)
    playout.drop(playout.sent)
    playout.feed(tone(800, 800))
    playout.due(2.0)
    assert playout.underruns == 0
    playout.rewind(3.0)  # nothing unheard this time, and the utterance is cut all the same
    playout.drop(playout.sent)
    playout.feed(tone(800, 1600))
    playout.due(4.0)
    assert playout.underruns == 0


def test_a_second_leg_begins_with_what_the_first_did_not_play() -> None:
    playout = attached()
    playout.feed(tone(2000))
    playout.end_utterance()
    playout.due(0.0)
    playout.detach(0.1)
    assert playout.sent == 800
    assert playout.heard(5.0) == 800
    playout.attach(6.0)
    playout.mark_played("m1", 6.0)  # a name of the old leg
    commands = playout.due(6.0)
    assert shape(commands) == [1280, "m3"]
    assert played(commands) == tone(1200, 800) + bytes(160)
    assert playout.heard(6.05) == 1200
    assert playout.underruns == 0
    playout.attach(6.05)  # a leg that replaces one we still believed in
    assert playout.sent == 1280
    assert shape(playout.due(6.05)) == [800, "m4"]


def test_an_end_left_unmarked_by_the_first_leg_is_marked_on_the_second() -> None:
    playout = attached()
    playout.feed(tone(320))
    playout.due(0.0)
    playout.end_utterance()
    playout.detach(0.035)
    playout.attach(0.036)
    assert shape(playout.due(0.036)) == ["m1"]
    playout.mark_played("m1", 0.5)
    playout.feed(tone(160, 320))
    playout.due(1.0)
    assert playout.heard(1.01) == 400


# ---- the recording -------------------------------------------------------------------------------


def test_heard_audio_is_taken_once_with_its_time() -> None:
    playout = attached()
    playout.feed(tone(1600))
    playout.due(7.0)
    assert playout.take_heard(7.0) == []
    assert playout.take_heard(7.05) == [Heard(at=7.0, position=0, pcm=tone(400))]
    assert playout.take_heard(7.05) == []
    (rest,) = playout.take_heard(8.0)
    assert rest.at == pytest.approx(7.05)
    assert (rest.position, rest.pcm) == (400, tone(1200, 400))


def test_two_runs_are_two_stretches() -> None:
    playout = attached()
    playout.feed(tone(800))
    playout.due(0.0)
    playout.feed(tone(800, 800))
    playout.due(2.0)
    assert playout.take_heard(2.05) == [
        Heard(at=0.0, position=0, pcm=tone(800)),
        Heard(at=2.0, position=800, pcm=tone(400, 800)),
    ]


def test_stretches_of_a_run_join_although_the_clock_was_corrected() -> None:
    playout = attached()
    playout.feed(tone(3200))
    playout.end_utterance()
    playout.due(0.0)
    taken = playout.take_heard(0.1)
    playout.mark_played("m1", 0.15)  # 50 ms sooner than we thought
    taken += playout.take_heard(0.35)
    assert [each.at for each in taken] == [0.0, pytest.approx(0.1)]
    playout.feed(tone(160, 3200))
    playout.due(
        0.36
    )  # by the clock, the first run ended at 0.35; in the recording it lasts until 0.4
    assert [each.at for each in playout.take_heard(1.0)] == [pytest.approx(0.4)]


def test_heard_audio_that_nobody_takes_is_bounded() -> None:
    playout = attached(limit=1.0)
    now = 0.0
    for first in range(0, 24_000, 160):
        playout.feed(tone(160, first))
        commands = playout.due(now)
        now += 0.02
        for name in (each.name for each in commands if isinstance(each, Mark)):
            playout.mark_played(name, now)
    taken = playout.take_heard(now)
    assert sum(each.pcm.samples for each in taken) <= 8000 + 320
    assert taken[-1].pcm[-320:] == tone(160, 24_000 - 160)
    assert taken[0].at == pytest.approx(taken[0].position / 8000)
