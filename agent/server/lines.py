"""Sentences that Pickup says itself: shipped in English, or rendered once by the model and kept in `DATA_DIR`."""

from __future__ import annotations

import hashlib
import wave
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import yaml

from agent.audio.wav import read_wav
from agent.call.options import OwnLine, OwnLines
from agent.errors import UserError
from agent.events import Pcm24k
from agent.storage.disk import write_private

if TYPE_CHECKING:
    from agent.config.agent_file import AgentFile

log = structlog.get_logger()

CHOSEN = frozenset(("disclosure", "consent", "filler"))
"""Lines that are only said where the agent's file wants them."""

PROVIDERS = {"busy"}
"""Words that are said by the provider's own voice, and by ours only to callers who come in without one."""

SHIPPED = Path(__file__).parent.parent / "lines"


class LineStore:
    """All own lines of this process.

    Args:
        folder: where rendered lines are kept, made when the first is.
        refuses: whether callers may be refused in our voice, so that the words for that are rendered as well.
    """

    def __init__(self, folder: Path, *, refuses: bool = False) -> None:
        self._folder = folder
        self._refuses = refuses
        words = yaml.safe_load((SHIPPED / "lines.yaml").read_text())["en"]
        self._shipped = {
            name: OwnLine(name, text, read_wav((SHIPPED / f"{name}.en.wav").read_bytes()))
            for name, text in words.items()
        }

    def lines_for(self, agent: AgentFile) -> OwnLines:
        """What this agent's calls can say by themselves.

        A sentence that is not rendered yet is said in our shipped words: an honest one in English is better than none.
        """
        own = own_words(agent)
        lines: dict[str, OwnLine] = {}
        for name in OwnLines.__struct_fields__:
            line = self._rendered(agent, name, own[name]) if name in own else None
            line = line or self._shipped.get(_instead(agent, name))
            if line is not None and (name in own or name not in CHOSEN):
                lines[name] = line
        return OwnLines(**lines)

    def refusal(self, agent: AgentFile, text: str) -> OwnLine | None:
        """What a refused caller is told, as sound; None where no sound says that.

        Until the agent's own words for a full house are rendered the shipped ones are said: they mean the same.
        """
        own = _refusal_words(agent)
        name = next((name for name in own if own[name] == text), "")
        line = self._rendered(agent, name, text) if name else None
        shipped = self._shipped["busy"]
        return line or (shipped if name == "busy" or text == shipped.text else None)

    def wanted(self, agent: AgentFile, model: str) -> list[tuple[str, str]]:
        """The agent's own sentences that still have to be rendered: their names and words."""
        words = own_words(agent) | (_refusal_words(agent) if self._refuses else {})
        return [
            (name, text)
            for name, text in words.items()
            if not self._is_shipped(name, text) and not self._path(agent, text, model).exists()
        ]

    def keep(self, agent: AgentFile, text: str, model: str, pcm: Pcm24k) -> None:
        """Keep a rendered sentence; whole or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sound = BytesIO()
        with wave.open(sound, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(Pcm24k.rate)
            file.writeframes(pcm)
        write_private(self._path(agent, text, model), sound.getvalue())

    def _rendered(self, agent: AgentFile, name: str, text: str) -> OwnLine | None:
        if self._is_shipped(name, text):
            return None
        for path in sorted(self._folder.glob(f"{_key(agent, text)}.*.wav")):
            try:
                return OwnLine(name, text, read_wav(path))
            except UserError as error:
                log.warning("a rendered line is thrown away", why=str(error))
                path.unlink(missing_ok=True)
        return None

    def _is_shipped(self, name: str, text: str) -> bool:
        return name in self._shipped and self._shipped[name].text == text

    def _path(self, agent: AgentFile, text: str, model: str) -> Path:
        return self._folder / f"{_key(agent, text)}.{model}.wav"


def _instead(agent: AgentFile, name: str) -> str:
    """The shipped line for a name: who is put through to a person is not asked to call again."""
    return "put_through" if name == "trouble" and agent.fallback_number else name


def own_words(agent: AgentFile) -> dict[str, str]:
    """What the agent's file has other words for, or first words at all, by the line's name."""
    words: dict[str, str] = agent.lines.model_dump(exclude_none=True, exclude=PROVIDERS)
    told = words.pop("put_through", None)
    if told is not None and agent.fallback_number:
        words["trouble"] = told
    if agent.disclosure is not False:
        words["disclosure"] = agent.disclosure
    if agent.consent is not None:
        words["consent"] = agent.consent
    return words


def _refusal_words(agent: AgentFile) -> dict[str, str]:
    """What the agent's file says to callers whom it does not talk to."""
    closed = agent.closed.say if agent.closed is not None else None
    words = {"busy": agent.lines.busy, "closed": closed}
    return {name: text for name, text in words.items() if text is not None}


def _key(agent: AgentFile, text: str) -> str:
    """One rendering for each agent, voice, language and text."""
    said = "\n".join((agent.name, agent.voice, agent.language, text))
    return hashlib.sha256(said.encode()).hexdigest()[:16]
