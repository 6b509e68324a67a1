"""Our own voice detector in whole calls: real speech, real wires, a stand-in that lets short words pass or notices late."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from agent.cli.parts.replayed import replay_folder
from agent.simulator import faults
from agent.simulator.brain import BenchBrain
from agent.simulator.gemini_setup import Conduct
from agent.simulator.phone import Manners
from tests.calls.exchange import Exchange, Heard, exchange, words

if TYPE_CHECKING:
    from pathlib import Path

PATIENT = Manners(quiet_s=0.3, patience_s=8.0, hang_up_after_s=4.0)
CALL = "CA" + "1" * 32


async def told(here: Exchange, *say: Any, seconds: float = 14.0) -> tuple[Heard, dict[str, Any]]:
    """A call, and its counters."""
    heard = await here.call(*say, manners=PATIENT, max_seconds=seconds, call_sid=CALL)
    record = await here.record(CALL)
    transcript = here.folder / "calls" / record.id / "transcript.json"
    metrics: dict[str, Any] = msgspec.json.decode(transcript.read_bytes())["metrics"]
    return heard, metrics


@pytest.mark.slow
async def test_a_short_word_that_the_model_let_pass_is_answered_after_a_moment(
    tmp_path: Path,
) -> None:
    unheard = (faults.parse("short-words-unheard=0.9"),)
    async with exchange(tmp_path, faults=unheard) as here:
        heard, metrics = await told(here, words(0.7, clip="caller_open"))
    (word,) = heard.report.spoken
    answer = next(each for each in heard.report.heard if each.start_s > word.end_s)
    print(f"answered {answer.start_s - word.end_s:.2f} s after the word")
    assert metrics["rescued"] == 1
    assert answer.start_s - word.end_s < 3.5  # the first nudge would come after four
    (session,) = here.gemini.stats().sessions
    assert (session.utterances.answered, session.utterances.answered_twice) == (1, 0)


OVER = words(1.5, clip="caller_park", interrupt_after_s=1.0)
LATE = Conduct(setup_seconds=0.02, model_delay_seconds=0.02, speed=50.0, interrupts="generation")
"""Once a reply is generated, this model says no more of an interruption than the caller's words."""


@pytest.mark.slow
@pytest.mark.parametrize("listens", [True, False])
async def test_the_agent_stops_where_the_model_does_not_notice(
    tmp_path: Path, listens: bool
) -> None:
    long = exchange(
        tmp_path,
        conduct=LATE,
        brain=lambda: BenchBrain(6.0),
        agent={"recording": True},
        LOCAL_BARGE_IN=str(listens),
    )
    async with long as here:
        heard, metrics = await told(here, words(1.2, clip="caller_cost"), OVER, seconds=20.0)
    over = heard.report.spoken[1]
    assert over.interrupts
    stops = [each.at_s - over.start_s for each in heard.report.clears]
    print(f"local {listens}: stopped {stops} s after the caller began")
    assert metrics["stopped"] == metrics["barge_ins"] == len(stops) == int(listens)
    assert metrics["spoken_on"] == 0
    assert all(0 < each < 0.6 for each in stops)
    (row,) = here.rows(CALL)
    for mute in (
        False,
        True,
    ):  # what the detector has answered is in the record, also without sound
        again = replay_folder(here.folder / "calls" / row.id, mute=mute).replay
        assert (again.differences, again.fault, again.sound) == ([], "", not mute)
        assert again.machine.metrics.stopped == int(listens)


@pytest.mark.slow
async def test_telling_the_end_of_speech_saves_the_models_wait_for_it(tmp_path: Path) -> None:
    """The wait that is saved is the stand-in's, 0.5 s of silence; nobody knows how long Google's is."""
    waited = {}
    for end in ("0", "0.3"):
        folder = tmp_path / f"end-{end}"
        folder.mkdir()
        async with exchange(folder, LOCAL_SPEECH_END=end) as here:
            say = [words(1.2, clip=clip) for clip in ("caller_cost", "caller_park", "caller_bye")]
            heard, _ = await told(here, *say, seconds=20.0)
        waited[end] = median(
            min(each.start_s for each in heard.report.heard if each.start_s > spoken.end_s)
            - spoken.end_s
            for spoken in heard.report.spoken
        )
    print(f"answered after {waited['0']:.3f} s, with the end told {waited['0.3']:.3f} s")
    assert waited["0"] - waited["0.3"] > 0.1
