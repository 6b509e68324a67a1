"""`pickup simulate`: the two stand-ins as programs, usable against any other client or server."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.cli.parts.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="simulate",
    help="Run a stand-in: for Gemini Live, or for Twilio with a caller.",
    no_args_is_help=True,
)


class Interrupts(StrEnum):
    """When the caller's speech interrupts the model."""

    PLAYBACK = "playback"
    GENERATION = "generation"


class Mind(StrEnum):
    """Who answers."""

    DEMO = "demo"
    BENCH = "bench"


def _menu(of: Literal["gemini", "twilio"]) -> Callable[[bool], None]:
    def show(wanted: bool) -> None:
        if wanted:
            from agent.simulator.menu import describe

            print(describe(of))
            raise typer.Exit

    return show


GeminiFaults = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME[=VALUE][@MOMENT[xTIMES]]; a moment: SECONDS after setupComplete, or"
        " audio|speech|heard|reply|tool[N][+SECONDS]; repeatable."
    ),
]
Refused = Annotated[
    list[str] | None, typer.Option(help="PATH: 1007 names it where a setup holds it; repeatable.")
]
RefusedUnnamed = Annotated[
    list[str] | None, typer.Option(help="PATH: 1007 where a setup holds it; repeatable.")
]
Quota = Annotated[
    int | None, typer.Option(help="Refuse sessions beyond so many at once.", min=0, max=9999)
]
SessionLimit = Annotated[
    float | None,
    typer.Option(help="Seconds to the end of each session; goAway before.", min=1, max=86_400),
]
GoAway = Annotated[
    float, typer.Option(help="goAway so long before, or a quarter of the limit.", min=0.1)
]
Closes = Annotated[
    list[str] | None, typer.Option(help="CODE@SECONDS: short for --fault close=CODE@SECONDS.")
]


@app.command()
def gemini(
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    script: Annotated[
        Path | None, typer.Option(help="Conversation to follow (YAML); default: the demo's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes every choice repeatable.")] = 0,
    setup_seconds: Annotated[
        float | None,
        typer.Option(help="setup to setupComplete; default: 0.3 to 1.8 s.", min=0, max=600),
    ] = None,
    model_delay: Annotated[
        float, typer.Option(help="End of speech to the reply, seconds.", min=0, max=600)
    ] = 0.25,
    speed: Annotated[
        float, typer.Option(help="Replies are sent so many times real time.", min=0.1, max=1000)
    ] = 4.0,
    interrupts: Annotated[
        Interrupts, typer.Option(help="Speech interrupts until then.")
    ] = Interrupts.PLAYBACK,
    voice_activity: Annotated[
        bool, typer.Option("--voice-activity", help="Send voiceActivity messages.")
    ] = False,
    brain: Annotated[Mind, typer.Option(help="Who answers.")] = Mind.DEMO,
    reply_seconds: Annotated[
        float, typer.Option(help="Length of the bench brain's replies.", min=0.1, max=600)
    ] = 4.0,
    trace: Annotated[
        bool, typer.Option("--trace", help="Keep time and length of every chunk of audio.")
    ] = False,
    fault: GeminiFaults = None,
    faults: Annotated[
        bool,
        typer.Option("--faults", help="List the faults.", is_eager=True, callback=_menu("gemini")),
    ] = False,
    refuse: Refused = None,
    refuse_unnamed: RefusedUnnamed = None,
    quota: Quota = None,
    session_limit: SessionLimit = None,
    goaway: GoAway = 50.0,
    close: Closes = None,
) -> None:
    """Serve the stand-in for Gemini Live until SIGTERM or Ctrl-C.

    Prints {"listening": "http://ADDRESS:PORT"} as its first line. GET /stats tells what it saw,
    GET /control?close=1011 ends the live sessions.
    """
    import asyncio

    from agent.simulator.brain import BenchBrain, Brain
    from agent.simulator.faults import parse
    from agent.simulator.gemini import Options, serve
    from agent.simulator.gemini_setup import Conduct
    from agent.simulator.script import SCRIPT_FOLDER, ScriptBrain, load

    del faults  # its callback has shown them
    written = [
        *(fault or []),
        *(f"close={text}" for text in close or []),
        *(f"refuse={path}" for path in refuse or []),
        *(f"refuse-unnamed={path}" for path in refuse_unnamed or []),
        *([] if quota is None else [f"quota={quota}"]),
    ]
    conduct = Conduct(
        setup_seconds=setup_seconds,
        model_delay_seconds=model_delay,
        speed=speed,
        interrupts=interrupts.value,
        voice_activity=voice_activity,
        trace=trace,
        session_limit_seconds=session_limit,
        goaway_seconds=goaway,
        faults=tuple(map(parse, written)),
    )
    if brain is Mind.DEMO:
        play = load(script or SCRIPT_FOLDER / "demo.yaml")
    else:
        bench = BenchBrain(reply_seconds)

    def mind() -> Brain:
        return ScriptBrain(play) if brain is Mind.DEMO else bench

    options = Options(host=host, port=port, seed=seed, conduct=conduct)
    try:
        import uvloop
    except ImportError:  # not made for Windows
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(options, mind, _announce))


def _announce(origin: str) -> None:
    settle()
    print(json.dumps({"listening": origin}), flush=True)


@app.command()
def caller(
    url: Annotated[
        str, typer.Argument(help="http(s): the voice webhook or its origin; ws(s): a media stream.")
    ],
    wav: Annotated[
        list[Path] | None,
        typer.Option(help="What the caller says (PCM WAV); repeatable; default: the demo's clips."),
    ] = None,
    token: Annotated[
        str, typer.Option(help="Auth token that signs the requests; empty: they are not signed.")
    ] = "",
    public_url: Annotated[
        str | None, typer.Option(help="The origin that gets signed, where it is not URL's.")
    ] = None,
    from_: Annotated[str, typer.Option("--from", help="The caller's number.")] = "+12025550143",
    to: Annotated[str, typer.Option(help="The number that was called.")] = "+12025550100",
    seconds: Annotated[float, typer.Option(help="The caller hangs up after so long.", min=1)] = 60,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="NAME[=VALUE][@SECONDS[xSTREAMS]] of the line; repeatable."),
    ] = None,
    faults: Annotated[
        bool,
        typer.Option("--faults", help="List the faults.", is_eager=True, callback=_menu("twilio")),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Makes every choice repeatable.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Stereo WAV of the call: caller left, agent right.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one line of JSON, and no more.")
    ] = False,
) -> None:
    """Place one telephone call as Twilio would, with a caller who reacts."""
    import asyncio

    import msgspec

    from agent.simulator.bad_line import parse
    from agent.simulator.caller import (
        CallAudio,
        CallerOptions,
        demo_utterances,
        recorded,
        run_caller,
    )
    from agent.simulator.report import AnyCallEvent, Ended, describe

    del faults  # its callback has shown them
    for text in fault or []:
        parse(text)

    def watch(event: AnyCallEvent) -> None:
        print(describe(event), file=sys.stderr if as_json else sys.stdout, flush=True)

    audio = CallAudio()
    options = CallerOptions(
        url=url,
        public_url=public_url,
        auth_token=token,
        from_number=from_,
        to_number=to,
        max_seconds=seconds,
        utterances=tuple(map(recorded, wav)) if wav else demo_utterances(),
        faults=tuple(fault or ()),
        seed=seed,
    )
    report = asyncio.run(run_caller(options, on_event=watch, audio=audio))
    if out is not None:
        audio.write(out)
    if as_json:
        print(msgspec.json.encode(report).decode())
    if report.ended not in (Ended.AGENT_HUNG_UP, Ended.CALLER_HUNG_UP):
        raise typer.Exit(1)
