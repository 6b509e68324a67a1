"""`pickup chat`: talk to an agent in writing, through the same call machine, model session and tools as a call by telephone."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from agent.cli.parts.chat_lines import AnyChatLine
    from agent.cli.parts.typed_lines import TypedLines
    from agent.config.agent_file import AgentFile
    from agent.config.agent_files import AgentFiles
    from agent.config.settings import Settings
    from agent.drive.tasks import Tasks
    from agent.server.text_call import TextCall
    from agent.simulator.script import Play

app = typer.Typer()

HARMLESS = frozenset(
    ("end_call", "hold", "send_digits", "collect_digits", "look_up", "transfer_call")
)
"""Built-in tools that leave nothing behind; a transfer calls nobody here."""

TROUBLE = frozenset(("model_lost", "internal_error"))
"""Ends of a call that are not the agent's."""

HINT = "write to the agent; !WORDS interrupts, /press 12# presses keys, Ctrl-D hangs up"


class Chat(NamedTuple):
    """What is talked about."""

    settings: Settings
    agents: AgentFiles
    agent: AgentFile
    number: str
    direction: Literal["inbound", "outbound"]
    variables: dict[str, str]
    play: Play | None
    as_json: bool


@app.command()
def chat(
    agent: Annotated[str, typer.Option("--agent", help="Name of the agent's file.")],
    var: Annotated[
        list[str] | None, typer.Option("--var", help="name=value for the agent; may be repeated.")
    ] = None,
    number: Annotated[
        str, typer.Option("--from", help="The caller's number, as tools see it.")
    ] = "",
    outbound: Annotated[
        bool, typer.Option("--outbound", help="As if the agent had called.")
    ] = False,
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="Have the built-in stand-in answer, key or not.")
    ] = False,
    script: Annotated[
        Path | None, typer.Option(help="Scenario that the stand-in plays; else NAME's own.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each thing that happens.")
    ] = False,
) -> None:
    """Talk to an agent in writing: one line a turn, from the terminal or a pipe. Its tools really run."""
    from agent.cli.parts.text_model import fakes
    from agent.cli.parts.variables import variables
    from agent.config.agent_files import AgentFiles, agents_folder
    from agent.config.settings import Settings, environment
    from agent.config.variables import with_variables
    from agent.drive.logs import configure

    settings = Settings.load(environment(), Path(".env"))
    agents = AgentFiles(agents_folder(settings.pickup_agents, Path.cwd()), _report)
    given = variables(var or [])
    called = with_variables(agents.get(agent), given)
    configure("warning", settings.log_format, settings.secrets(called.secrets()))
    why = fakes(settings, stand_in=stand_in)
    play = _play(agents.folder, agent, called, script) if why else None
    _report(_who_answers(settings, called, why))
    if real := [name for name in _tools(called) if name not in HARMLESS]:
        _report(f"these tools run, and what they do is done: {', '.join(real)}")
    direction: Literal["inbound", "outbound"] = "outbound" if outbound else "inbound"
    told = Chat(settings, agents, called, number, direction, given, play, as_json)
    reason = asyncio.run(_chat(told))
    if reason in TROUBLE:
        raise typer.Exit(1)


def _play(folder: Path, name: str, agent: AgentFile, script: Path | None) -> Play:
    """What the stand-in plays: a scenario's answers, or nothing but the greeting."""
    from agent.cli.parts.text_model import script_of
    from agent.config.scenario import Scenario, ScenarioTurn, load_scenario
    from agent.simulator.script import Play

    own = folder / "scenarios" / f"{name}.yaml"
    path = script or (own if own.is_file() else None)
    told = load_scenario(path) if path else Scenario(name=name, turns=(ScenarioTurn(),))
    return Play(script_of(told, agent), (path or own).parent)


def _who_answers(settings: Settings, agent: AgentFile, why: str) -> str:
    if why:
        return f"{why}: the built-in stand-in for Gemini Live answers, from a script"
    return f"{agent.model or settings.gemini_model} at {settings.gemini_url} answers"


def _tools(agent: AgentFile) -> list[str]:
    """What the agent's tools are called in its file."""
    return [
        entry.builtin
        or entry.python
        or (entry.http.name if entry.http else "")
        or (entry.mcp.name if entry.mcp else "")
        for entry in agent.tools
    ]


async def _chat(chat: Chat) -> str:
    from agent.cli.parts.chat_lines import ChatStarted, Teller
    from agent.cli.parts.text_model import answering
    from agent.cli.parts.typed_lines import TypedLines
    from agent.drive.tasks import Tasks
    from agent.server.text_call import TextCall, assembled
    from agent.tools.base import CallInfo

    tell = _json if chat.as_json else _plain
    tasks = Tasks("chat")
    with ThreadPoolExecutor(2, "disk") as disk:
        async with (
            answering(chat.settings, chat.play) as settings,
            assembled(settings, chat.agents, tasks, disk) as assembly,
        ):
            teller = Teller(tell)
            info = CallInfo(
                assembly.wiring.new_id(),
                chat.agent.name,
                chat.number,
                chat.direction,
                chat.variables,
            )
            call = TextCall(assembly, chat.agent, info, seen=teller.saw, own_said=teller.own_said)
            answers = "stand-in" if chat.play else chat.agent.model or settings.gemini_model
            tell(
                ChatStarted(
                    t=0.0,
                    call=info.id,
                    agent=chat.agent.name,
                    answers=answers,
                    folder=str(assembly.wiring.folder(info.id).absolute()),
                )
            )
            running = tasks.start_read("call", call.run())
            with TypedLines(sys.stdin.fileno()) as lines:
                if sys.stdin.isatty():
                    _report(HINT)
                try:
                    await _converse(call, lines, tasks)
                finally:  # Ctrl-C too: the call ends as one whose caller has hung up
                    call.hang_up()
                    await asyncio.wait([running])
    return running.result()


async def _converse(call: TextCall, lines: TypedLines, tasks: Tasks) -> None:
    """Pass line after line to the agent, each in its turn, until either side has no more."""
    over = tasks.start_read("over", call.over.wait())
    while True:
        line = tasks.start_read("line", lines.next())
        await asyncio.wait([line, over], return_when=asyncio.FIRST_COMPLETED)
        if not line.done():
            line.cancel()
            return
        text = line.result()
        if text is not None and text.startswith("!"):
            if await call.may_interrupt():
                call.say(text[1:].strip())
        elif not await call.may_speak() or text is None:
            return
        elif text.startswith("/press "):
            for key in text.removeprefix("/press "):
                call.press(key)
        else:
            call.say(text)


def _plain(line: AnyChatLine) -> None:
    from agent.cli.parts.chat_lines import in_words

    print(in_words(line), flush=True)


def _json(line: AnyChatLine) -> None:
    import msgspec

    print(msgspec.json.encode(line).decode(), flush=True)


def _report(line: str) -> None:
    typer.echo(f"pickup: {line}", err=True)
