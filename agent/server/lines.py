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

SHIPPED = Path(__file__).parent.parent / "lines"


class LineStore:
    """All own lines of this process.

    Args:
        folder: where rendered lines are kept, made when the first is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        words = yaml.safe_load((SHIPPED / "lines.yaml").read_text())["en"]
        self._shipped = {
            name: OwnLine(name, text, read_wav((SHIPPED / f"{name}.en.wav").read_bytes()))
            for name, text in words.items()
        }

    def lines_for(self, agent: AgentFile) -> OwnLines:
        """What this agent's calls can say by themselves.

        A disclosure that is not rendered yet is said in our shipped words: an honest sentence in English is better than none.
        """
        return OwnLines(
            trouble=self._shipped["trouble"],
            time_limit=self._shipped["time_limit"],
            moment=self._shipped["moment"],
            repeat=self._shipped["repeat"],
            still_there=self._shipped["still_there"],
            unheard=self._shipped["unheard"],
            disclosure=self._disclosure(agent),
        )

    def wanted(self, agent: AgentFile, model: str) -> str | None:
        """The disclosure's words where they still have to be rendered, else None."""
        text = agent.disclosure
        if text is False or text == self._shipped["disclosure"].text:
            return None
        return None if self._path(agent, model).exists() else text

    def keep(self, agent: AgentFile, model: str, pcm: Pcm24k) -> None:
        """Keep a rendered disclosure; whole or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sound = BytesIO()
        with wave.open(sound, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(Pcm24k.rate)
            file.writeframes(pcm)
        write_private(self._path(agent, model), sound.getvalue())

    def _disclosure(self, agent: AgentFile) -> OwnLine | None:
        if agent.disclosure is False:
            return None
        for path in sorted(self._folder.glob(f"{self._key(agent)}.*.wav")):
            try:
                return OwnLine("disclosure", agent.disclosure, read_wav(path))
            except UserError as error:
                log.warning("a rendered disclosure is thrown away", why=str(error))
                path.unlink(missing_ok=True)
        return self._shipped["disclosure"]

    def _path(self, agent: AgentFile, model: str) -> Path:
        return self._folder / f"{self._key(agent)}.{model}.wav"

    def _key(self, agent: AgentFile) -> str:
        """One rendering for each agent, voice, language and text."""
        said = "\n".join((agent.name, agent.voice, agent.language, str(agent.disclosure)))
        return hashlib.sha256(said.encode()).hexdigest()[:16]
