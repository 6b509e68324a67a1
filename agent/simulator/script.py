"""Scripts: a conversation as YAML, and the brain that plays the agent's part in it.

    name: A dentist's front desk
    greeting: {clip: agent_greeting.wav, text: This is the front desk.}
    turns:
      - caller: {clip: caller_open.wav, text: What time do you open?}
        agent: {clip: agent_open.wav, text: At eight.}
        tools: [{name: end_call, args: {}}]     # called after the words
        then: {text: Goodbye.}                  # said when the last of them has answered
    fallback: {clip: agent_again.wav, text: Could you say that again?}

An utterance that sounds like a turn's caller clip gets that turn's reply. Any other utterance
gets the next turn that was not played yet, so that a script also answers a stranger; after the
last turn it gets `fallback`. Words without a clip are spoken as a sound of their length; a caller
without clips is understood in writing only. `$tool.key.0.key` in a tool's arguments stands for
that part of the tool's latest result, of an earlier turn. Clips are PCM16 mono WAV files: the caller's at any rate, the
agent's at 24 kHz. They are looked up beside the script, then among the shipped ones.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from agent.errors import UserError
from agent.simulator.brain import SPEECH_RATE_HZ, Call, Heard, Reply, Say, described, speechlike
from agent.simulator.ears import Recogniser

if TYPE_CHECKING:
    from agent.simulator.ears import Utterance

SPEECH_FOLDER = Path(__file__).parent / "speech"
SCRIPT_FOLDER = Path(__file__).parent / "scripts"
SHORTEST = 0.2
"""Seconds of a word that has no clip."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words and the clip that speaks them; without one they are a sound as long as they take."""

    text: str
    clip: str = ""


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that the agent calls."""

    name: str
    args: dict[str, Any] = {}


class ScriptedTurn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One exchange: what the caller says, what the agent answers, what it calls after that, and says then."""

    caller: Line
    agent: Line
    tools: tuple[ToolCall, ...] = ()
    then: Line | None = None


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole conversation, as written; `pace`: letters in a second of speech that has no clip."""

    name: str
    greeting: Line
    turns: tuple[ScriptedTurn, ...]
    fallback: Line | None = None
    pace: float = 15.0


class Play:
    """A script with its clips loaded: shared by all conversations that follow it.

    Attributes:
        greeting: The agent's first words.
        replies: Per turn, the agent's reply.
        fallback: What the agent says when the script has run out; may be nothing.
    """

    def __init__(self, script: Script, folder: Path) -> None:
        """Load the clips.

        Raises:
            UserError: a clip is missing, or is not what it should be.
        """
        self._pace = script.pace
        self.greeting: Reply = (self._say(script.greeting, folder),)
        self.fallback: Reply = (self._say(script.fallback, folder),) if script.fallback else ()
        self.replies: list[Reply] = [
            (self._say(turn.agent, folder), *(Call(tool.name, tool.args) for tool in turn.tools))
            for turn in script.turns
        ]
        self.then: list[Reply] = [
            (self._say(turn.then, folder),) if turn.then else () for turn in script.turns
        ]
        self._said = [turn.caller.text for turn in script.turns]
        self._ears = Recogniser(
            {
                str(at): read_clip(find_clip(turn.caller.clip, folder))
                for at, turn in enumerate(script.turns)
                if turn.caller.clip
            }
        )

    def recognise(self, utterance: Utterance) -> tuple[int, str] | None:
        """Return the turn (from 0) whose caller clip this is, and its words; None: no such turn."""
        name = self._ears.recognise(utterance.pcm, utterance.rate_hz)
        return (int(name), self._said[int(name)]) if name is not None else None

    def written(self, text: str) -> int | None:
        """Return the turn (from 0) whose caller's words are in a text; None: no turn's are."""
        plain = text.casefold()
        found = (at for at, said in enumerate(self._said) if said and said.casefold() in plain)
        return next(found, None)

    def _say(self, line: Line, folder: Path) -> Say:
        if not line.clip:
            return Say(speechlike(max(SHORTEST, len(line.text) / self._pace)), line.text)
        path = find_clip(line.clip, folder)
        pcm, rate_hz = read_clip(path)
        if rate_hz != SPEECH_RATE_HZ:
            raise UserError(f"{path}: an agent's clip is {SPEECH_RATE_HZ} Hz, this has {rate_hz}")
        return Say(pcm, line.text)


def load(path: Path) -> Play:
    """Read a script and its clips.

    Raises:
        UserError: the file cannot be read, or a field is wrong; the text names file and field.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the script: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        script = msgspec.convert(raw, Script)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from error
    if not script.turns:
        raise UserError(f"{path}: a script needs at least one turn - at `$.turns`")
    return Play(script, path.parent)


def find_clip(name: str, folder: Path) -> Path:
    """Return the clip's path: beside the script, or shipped.

    Raises:
        UserError: there is no such file.
    """
    for path in (folder / name, SPEECH_FOLDER / name):
        if path.is_file():
            return path
    raise UserError(f"{folder / name}: no such clip, nor is one of that name shipped")


def read_clip(path: Path) -> tuple[bytes, int]:
    """Return a clip's PCM16 and its rate in Hertz.

    Raises:
        UserError: it is not a mono PCM16 WAV file with sound in it.
    """
    try:
        with wave.open(str(path), "rb") as clip:
            shape = (clip.getnchannels(), clip.getsampwidth())
            rate_hz, pcm = clip.getframerate(), clip.readframes(clip.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise UserError(f"{path}: not a WAV file: {error}") from error
    if shape != (1, 2) or len(pcm) < rate_hz // 10:
        raise UserError(f"{path}: a clip is mono 16-bit PCM of 50 ms at least")
    return pcm, rate_hz


class ScriptBrain:
    """Plays the agent's part of a script in one conversation."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._greeted = False
        self._next = 0
        self._results: dict[str, Any] = {}  # of tools, the latest by name
        self._awaited = 0  # results that the latest turn still waits for

    def prompted(self, text: str) -> Reply:
        """Answer a turn's words; else greet when first asked, and later use the fallback."""
        turn = self._play.written(text)
        if turn is not None:
            self._greeted = True
            return self._turn(turn)
        if self._greeted:
            return self._play.fallback
        self._greeted = True
        return self._play.greeting

    def heard(self, utterance: Utterance) -> Heard:
        """Answer a turn that was recognised, or else the next one."""
        self._greeted = True
        known = self._play.recognise(utterance)
        if known is not None:
            turn, text = known
        else:
            turn, text = self._next, described(utterance)
        if turn >= len(self._play.replies):
            return Heard(text, self._play.fallback)
        return Heard(text, self._turn(turn))

    def answered(self, tool: str, response: dict[str, Any]) -> Reply:
        """Say what the script has for after a turn's tools, once the last of them has answered."""
        self._results = {**self._results, tool: response}
        self._awaited -= 1
        return self._play.then[self._next - 1] if self._awaited == 0 else ()

    def _turn(self, turn: int) -> Reply:
        self._next = turn + 1
        reply = tuple(
            Call(step.name, filled(step.args, self._results)) if isinstance(step, Call) else step
            for step in self._play.replies[turn]
        )
        self._awaited = sum(isinstance(step, Call) for step in reply)
        return reply


def filled(args: Any, results: dict[str, Any]) -> Any:
    """Put parts of earlier results into arguments: `$tool.key.0` is replaced, all else stays.

    What is not there is null: the tool says what is wrong with that.
    """
    if isinstance(args, dict):
        return {key: filled(value, results) for key, value in args.items()}
    if isinstance(args, list):
        return [filled(value, results) for value in args]
    if not (isinstance(args, str) and args.startswith("$")):
        return args
    found: Any = results
    for key in args[1:].split("."):
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found
