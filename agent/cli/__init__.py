"""The command `pickup`: one file per command, imported only when it is the one that was asked for.

A command's file has `app`, a Typer application: one command, or several under its name. A mistake that the user can mend is a
`UserError`: one line on stderr, exit status 2.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group

from agent import __version__
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "init": "Write an agents folder and .env.example to start from.",
    "demo": "Place one telephone call as Twilio would and show what happens.",
    "serve": "Run the server that answers the calls.",
    "dev": "Let a real number ring on this machine until Ctrl-C.",
    "dial": "Have the running server call somebody.",
    "chat": "Talk to an agent in writing: its words, its tools, no telephone.",
    "check": "Hold scripted calls with an agent and judge its answers.",
    "doctor": "Check settings and connections; say how to mend them.",
    "agents": "Check the agents' files; print what they may say.",
    "calls": "List the calls that were, or show one of them.",
    "campaign": "Have the running server call everybody in a file.",
    "optout": "Say who must not be called; list them.",
    "messages": "List what callers left, and who is to be called back.",
    "replay": "Play a recorded call to today's core and compare what it does.",
    "bench": "Measure what calls cost, and what they lose and wait.",
    "torture": "Let all go wrong, one call each; tell what callers noticed.",
    "sip": "Print firewall rules that keep strangers from SIP calls.",
    "simulate": "Run a stand-in: for Gemini Live, or for Twilio with a caller.",
}
"""Every command, by the name of its file in this folder, in the order of `pickup --help`."""

app = typer.Typer(help="A voice agent that answers the telephone.", rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"pickup {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """A voice agent that answers the telephone."""


def build(arguments: Sequence[str]) -> TyperGroup:
    """Build the command with all its commands known by name, and the one asked for imported.

    So `pickup --help` is instant: the others' imports (a database, a web server, numpy) cost a second.
    """
    group = get_group(app)
    asked = next((word for word in arguments if not word.startswith("-")), None)
    for name, line in COMMANDS.items():
        command = _imported(name) if name == asked else TyperCommand(name, help=line)
        group.add_command(command, name)
    return group


def _imported(name: str) -> TyperCommand | TyperGroup:
    its: typer.Typer = importlib.import_module(f"agent.cli.{name}").app
    its.rich_markup_mode = None  # one look for all: plain help, which also needs no import of rich
    if its.registered_callback is None and len(its.registered_commands) == 1:
        command = get_command_from_info(
            its.registered_commands[0], pretty_exceptions_short=True, rich_markup_mode=None
        )
        return cast("TyperCommand", command)
    return get_group(its)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit status: 0 success, 2 a mistake to mend, 130 Ctrl-C."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        build(words).main(args=words, prog_name="pickup")
    except UserError as error:
        print(f"pickup: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
