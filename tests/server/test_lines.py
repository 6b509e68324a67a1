"""Our own lines: shipped, or rendered once for an agent and kept."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agent.call.options import OwnLines
from agent.config.agent_file import DISCLOSURE, AgentFile
from agent.config.agent_parts import OwnWords
from agent.events import Pcm24k
from agent.server.lines import PROVIDERS, SHIPPED, LineStore
from agent.server.spoken import SPOKEN

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "gemini-3.8-live"
SOUND = Pcm24k(b"\x01\x02" * 2400)
OWN = "Sie sprechen mit einem Automaten."
WANTED = ("disclosure", OWN)


def agent(disclosure: Any = OWN, **fields: Any) -> AgentFile:
    return AgentFile(name="Desk", persona="You answer.", disclosure=disclosure, **fields)


@pytest.fixture
def store(tmp_path: Path) -> LineStore:
    return LineStore(tmp_path / "lines")


def test_the_shipped_lines_have_words_and_sound(store: LineStore) -> None:
    lines = store.lines_for(agent(DISCLOSURE))
    assert lines.disclosure is not None
    assert lines.disclosure.text == DISCLOSURE
    for line in (lines.trouble, lines.time_limit, lines.budget, lines.disclosure):
        assert 1.0 < line.pcm.seconds < 10.0
        assert len(line.text.split()) > 5
    for line in (lines.moment, lines.still_there, lines.repeat, lines.unheard):
        assert 0.5 < line.pcm.seconds < 4.0
        assert line.text.endswith((".", "?"))


def test_who_is_put_through_to_a_person_is_not_asked_to_call_again(store: LineStore) -> None:
    alone, helped = (store.lines_for(agent(fallback_number=n)) for n in (None, "+15550001111"))
    assert "call again" in alone.trouble.text
    assert "put you through" in helped.trouble.text
    assert alone.time_limit == helped.time_limit
    own = agent(fallback_number="+15550001111", lines=OwnWords(trouble="Ich verbinde Sie."))
    assert ("trouble", "Ich verbinde Sie.") in store.wanted(own, MODEL)


def test_every_wav_that_is_shipped_has_its_words(store: LineStore) -> None:
    assert {path.name.partition(".")[0] for path in SHIPPED.glob("*.wav")} == set(store._shipped)


def test_the_busy_line_has_the_same_words_on_every_line(store: LineStore) -> None:
    assert store._shipped["busy"].text == SPOKEN["busy"]


def test_a_refused_caller_hears_what_is_true(tmp_path: Path) -> None:
    store = LineStore(tmp_path / "lines", refuses=True)
    own = agent(False, lines=OwnWords(busy="Alles besetzt."), closed="Morgen wieder.")
    assert store.wanted(own, MODEL) == [("busy", "Alles besetzt."), ("closed", "Morgen wieder.")]
    busy = store.refusal(own, "Alles besetzt.")
    assert busy is not None
    assert busy.text == SPOKEN["busy"]
    assert store.refusal(own, "Morgen wieder.") is None
    assert store.refusal(own, SPOKEN["trouble"]) is None
    for text in ("Alles besetzt.", "Morgen wieder."):
        store.keep(own, text, MODEL, SOUND)
        line = store.refusal(own, text)
        assert line is not None
        assert (line.text, line.pcm) == (text, SOUND)


def test_an_agent_that_waives_the_disclosure_has_none(store: LineStore) -> None:
    assert store.lines_for(agent(False)).disclosure is None
    assert store.wanted(agent(False), MODEL) == []


def test_the_shipped_words_need_no_rendering(store: LineStore) -> None:
    assert store.wanted(agent(DISCLOSURE), MODEL) == []


def test_until_it_is_rendered_the_shipped_one_is_said(store: LineStore) -> None:
    assert store.wanted(agent(), MODEL) == [WANTED]
    line = store.lines_for(agent()).disclosure
    assert line is not None
    assert line.text == DISCLOSURE


def test_what_was_rendered_is_said_from_then_on_and_after_a_restart(tmp_path: Path) -> None:
    LineStore(tmp_path / "lines").keep(agent(), OWN, MODEL, SOUND)
    store = LineStore(tmp_path / "lines")
    assert store.wanted(agent(), MODEL) == []
    line = store.lines_for(agent()).disclosure
    assert line is not None
    assert (line.text, line.pcm) == (OWN, SOUND)


@pytest.mark.parametrize(
    "other", [{"voice": "Puck"}, {"language": "de-DE"}, {"disclosure": "Something else."}]
)
def test_another_voice_language_or_text_is_another_line(
    store: LineStore, other: dict[str, Any]
) -> None:
    store.keep(agent(), OWN, MODEL, SOUND)
    changed = agent(**other)
    assert store.wanted(changed, MODEL) == [("disclosure", changed.disclosure)]
    line = store.lines_for(changed).disclosure
    assert line is not None
    assert line.text == DISCLOSURE


def test_another_model_is_asked_again_and_until_then_the_first_is_heard(store: LineStore) -> None:
    store.keep(agent(), OWN, MODEL, SOUND)
    assert store.wanted(agent(), "gemini-4-live") == [WANTED]
    line = store.lines_for(agent()).disclosure
    assert line is not None
    assert line.pcm == SOUND


def test_a_line_is_kept_whole_or_not_at_all(
    tmp_path: Path, store: LineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.storage.disk.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.keep(agent(), OWN, MODEL, SOUND)
    assert list((tmp_path / "lines").iterdir()) == []
    assert store.wanted(agent(), MODEL) == [WANTED]


def test_a_kept_line_is_for_us_alone(tmp_path: Path, store: LineStore) -> None:
    store.keep(agent(), OWN, MODEL, SOUND)
    (path,) = (tmp_path / "lines").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_kept_line_that_cannot_be_read_costs_no_call(tmp_path: Path, store: LineStore) -> None:
    store.keep(agent(), OWN, MODEL, SOUND)
    (path,) = (tmp_path / "lines").iterdir()
    path.write_bytes(b"RIFF and no more")
    line = store.lines_for(agent()).disclosure
    assert line is not None
    assert line.text == DISCLOSURE
    assert store.wanted(agent(), MODEL) == [WANTED]  # and is rendered anew


def test_the_words_are_the_ones_of_the_agents_default() -> None:
    words = yaml.safe_load((SHIPPED / "lines.yaml").read_text())["en"]
    assert words["disclosure"] == DISCLOSURE


def test_every_sentence_of_ours_can_be_said_in_the_agents_words() -> None:
    own = set(OwnWords.model_fields) - PROVIDERS - {"put_through"}
    assert own | {"disclosure", "consent"} == set(OwnLines.__struct_fields__)


def test_the_agents_own_words_are_said_once_they_have_a_sound(store: LineStore) -> None:
    desk = agent(
        DISCLOSURE, lines=OwnWords(moment="Moment.", filler="Gleich."), consent="Aufnahme."
    )
    wanted = [("moment", "Moment."), ("filler", "Gleich."), ("consent", "Aufnahme.")]
    assert sorted(store.wanted(desk, MODEL)) == sorted(wanted)
    before = store.lines_for(desk)
    assert before.moment.text == "One moment, please."
    assert before.filler is None  # `moment` is said instead
    assert before.consent is not None
    assert before.consent.text == "This call is being recorded."
    for _, text in wanted:
        store.keep(desk, text, MODEL, SOUND)
    after = store.lines_for(desk)
    assert after.filler is not None
    assert after.consent is not None
    texts = (after.moment.text, after.filler.text, after.consent.text)
    assert texts == ("Moment.", "Gleich.", "Aufnahme.")
    assert store.wanted(desk, MODEL) == []
    assert store.lines_for(agent(DISCLOSURE)).consent is None


def test_who_is_put_through_hears_the_agents_words_for_that(store: LineStore) -> None:
    words = OwnWords(trouble="Leider nicht.", put_through="Ich verbinde.")
    assert store.wanted(agent(False, lines=words), MODEL) == [("trouble", "Leider nicht.")]
    helped = agent(False, lines=words, fallback_number="+15550001111")
    assert store.wanted(helped, MODEL) == [("trouble", "Ich verbinde.")]
