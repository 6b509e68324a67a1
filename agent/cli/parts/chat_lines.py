"""What `pickup chat` shows of a call, line by line: for a person, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent import events as e

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ChatLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """One line of `--json`; `t` is seconds since the call began."""

    v: int = 1
    t: float


class ChatStarted(ChatLine, frozen=True, kw_only=True, tag="started"):
    """The call has begun; `answers` is the model's name, or `stand-in`."""

    call: str
    agent: str
    answers: str
    folder: str


class ChatSaid(ChatLine, frozen=True, kw_only=True, tag="said"):
    """`caller`, `agent` (as the model transcribes itself), or `pickup` for a sentence of our own."""

    who: str
    text: str


class ChatTool(ChatLine, frozen=True, kw_only=True, tag="tool_called"):
    """The model called a tool."""

    id: str
    name: str
    args: dict[str, Any]


class ChatAnswer(ChatLine, frozen=True, kw_only=True, tag="tool_answered"):
    """What the model was answered."""

    id: str
    name: str
    response: dict[str, Any]


class ChatNote(ChatLine, frozen=True, kw_only=True, tag="note"):
    """Something happened to the call."""

    text: str


class ChatEnded(ChatLine, frozen=True, kw_only=True, tag="ended"):
    """The call is over; `reason` as its record has it."""

    reason: str


AnyChatLine = ChatStarted | ChatSaid | ChatTool | ChatAnswer | ChatNote | ChatEnded


class Teller:
    """Turns the steps of a call into lines.

    Args:
        tell: takes each line.
    """

    def __init__(self, tell: Callable[[AnyChatLine], None]) -> None:
        self._tell = tell
        self._words = ""

    def own_said(self, t: float, text: str) -> None:
        """A sentence of our own."""
        self._flush(t)
        self._tell(ChatSaid(t=round(t, 3), who="pickup", text=text))

    def saw(self, t: float, event: e.AnyEvent | None, commands: Sequence[e.AnyCommand]) -> None:
        """A step of the call."""
        t = round(t, 3)
        match event:
            case e.AgentSaid(text=text):
                self._words += text
            case e.GenerationComplete() | e.TurnComplete():
                self._flush(t)
            case e.Interrupted():
                self._flush(t, " ...")
            case e.CallerTyped(text=text):
                self._flush(t, " ...")
                self._tell(ChatSaid(t=t, who="caller", text=text))
            case e.LineDigit(digit=digit):
                self._tell(ChatSaid(t=t, who="caller", text=f"[{digit}]"))
            case e.ToolCalled(id=id, name=name, args=args):
                self._flush(t)
                self._tell(ChatTool(t=t, id=id, name=name, args=args))
            case e.ModelEnded(reason=reason):
                self._flush(t, " ...")
                self._tell(ChatNote(t=t, text=f"the model's session ended: {reason}"))
            case _:
                pass
        for command in commands:
            self._done(t, command)

    def _done(self, t: float, command: e.AnyCommand) -> None:
        match command:
            case e.SendToolResult(id=id, name=name, response=response):
                self._tell(ChatAnswer(t=t, id=id, name=name, response=response))
            case e.PutThrough(target=target):
                self._tell(ChatNote(t=t, text=f"the caller is put through to {target}"))
            case e.Tell(text=text):
                self._tell(ChatNote(t=t, text=text))
            case e.Finish(reason=reason):
                self._flush(t)
                self._tell(ChatEnded(t=t, reason=reason))
            case _:
                pass

    def _flush(self, t: float, end: str = "") -> None:
        if words := self._words.strip():
            self._tell(ChatSaid(t=t, who="agent", text=words + end))
        self._words = ""


def in_words(line: AnyChatLine) -> str:
    """A line for a person."""
    match line:
        case ChatStarted(agent=agent, answers=answers):
            return f"        {agent}, answered by {answers}"
        case ChatSaid(who=who, text=text):
            return f"{who:<6}  {text}"
        case ChatTool(name=name, args=args):
            return f"        {name}({_json(args)})"
        case ChatAnswer(name=name, response=response):
            return f"        {name} answers {_json(response)}"
        case ChatNote(text=text):
            return f"        {text}"
        case ChatEnded(reason=reason):
            return f"        ended: {reason.replace('_', ' ')}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
