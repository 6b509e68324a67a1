"""`pickup simulate`: the stand-ins as programs, usable against any other client or server."""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agent.cli.parts.settle import settle
from agent.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.simulator.brain import Brain

app = typer.Typer(
    name="simulate",
    help="Run a stand-in: for Gemini Live, for a caller (through Twilio, or by SIP), or for Twilio's"
    " REST API.",
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
    ECHO = "echo"


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
Port = Annotated[int, typer.Option(help="Port; 0: any free one.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Seed = Annotated[int, typer.Option(help="Makes every choice repeatable.")]
Script = Annotated[
    Path | None, typer.Option(help="Conversation to follow (YAML); default: the demo's.")
]
SetupSeconds = Annotated[
    float | None,
    typer.Option(help="setup to setupComplete; default: 0.3 to 1.8 s.", min=0, max=600),
]
ModelDelay = Annotated[
    float, typer.Option(help="End of speech to the reply, seconds.", min=0, max=600)
]
Speed = Annotated[
    float, typer.Option(help="Replies are sent so many times real time.", min=0.1, max=1000)
]
ReplySeconds = Annotated[
    float, typer.Option(help="Length of the bench brain's replies.", min=0.1, max=600)
]
Trace = Annotated[
    bool, typer.Option("--trace", help="Keep time and length of every chunk of audio.")
]
VoiceActivity = Annotated[
    bool, typer.Option("--voice-activity", help="Send voiceActivity messages.")
]
ListGeminiFaults = Annotated[
    bool,
    typer.Option("--faults", help="List the faults.", is_eager=True, callback=_menu("gemini")),
]
ListLineFaults = Annotated[
    bool,
    typer.Option("--faults", help="List the faults.", is_eager=True, callback=_menu("twilio")),
]


@app.command()
def gemini(
    port: Port = 0,
    host: Host = "127.0.0.1",
    script: Script = None,
    seed: Seed = 0,
    setup_seconds: SetupSeconds = None,
    model_delay: ModelDelay = 0.25,
    speed: Speed = 4.0,
    interrupts: Annotated[
        Interrupts, typer.Option(help="Speech interrupts until then.")
    ] = Interrupts.PLAYBACK,
    voice_activity: VoiceActivity = False,
    brain: Annotated[Mind, typer.Option(help="Who answers.")] = Mind.DEMO,
    echo: Annotated[
        bool, typer.Option("--echo", help="Say every chunk back at once: short for --brain echo.")
    ] = False,
    reply_seconds: ReplySeconds = 4.0,
    trace: Trace = False,
    fault: GeminiFaults = None,
    faults: ListGeminiFaults = False,
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
    from agent.simulator.faults import parse
    from agent.simulator.gemini import Options, serve
    from agent.simulator.gemini_setup import Conduct

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
    mind = _mind(Mind.ECHO if echo else brain, script, reply_seconds)
    options = Options(host=host, port=port, seed=seed, conduct=conduct)
    _run(serve(options, mind, _announce))


def _mind(brain: Mind, script: Path | None, reply_seconds: float) -> Callable[[], Brain]:
    """What makes the mind of each conversation."""
    from agent.simulator.brain import BenchBrain, EchoBrain
    from agent.simulator.script import SCRIPT_FOLDER, ScriptBrain, load

    if brain is Mind.ECHO:
        return EchoBrain
    if brain is Mind.BENCH:
        bench = BenchBrain(reply_seconds)
        return lambda: bench
    play = load(script or SCRIPT_FOLDER / "demo.yaml")
    return lambda: ScriptBrain(play)


def _run(work: Coroutine[object, object, None]) -> None:
    import asyncio

    try:
        import uvloop
    except ImportError:  # not made for Windows
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def _announce(origin: str) -> None:
    settle()
    print(json.dumps({"listening": origin}), flush=True)


@app.command()
def twilio(
    port: Port = 0,
    host: Host = "127.0.0.1",
    account: Annotated[str, typer.Option(help="SID of the account.")] = "AC" + "0" * 32,
    token: Annotated[
        str, typer.Option(help="Its auth token: for the API, and it signs the webhooks.")
    ] = "stand-in",
    number: Annotated[
        list[str] | None, typer.Option(help="A number of ours, which may call; default: any may.")
    ] = None,
    party: Annotated[
        list[str] | None,
        typer.Option(
            help="NUMBER=PARTY: who is at a number: human, machine, fax, busy, no-answer, failed or"
            " refused, each with [:after=S,talk=S,keys=1,greeting=S,beep=S|none,sip=CODE,code=CODE,"
            "verdict=NAME@S]; repeatable. Without one, +1...555-0190 to 0196 say it themselves"
            " (nobody, busy, failed, machine, machine without beep, fax, human after 5 s)."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Calls a second; later ones are queued.", min=0.01)
    ] = None,
    max_calls: Annotated[
        int | None, typer.Option(help="429 for calls beyond so many at once.", min=0)
    ] = None,
) -> None:
    """Serve the stand-in for Twilio's REST API until SIGTERM or Ctrl-C: calls, and conferences.

    Prints {"listening": "http://ADDRESS:PORT"} as its first line: that is TWILIO_API_URL for a
    server. GET /stats tells every call: what happened, who could hear whom, who hung up. POST /ring
    with Url (the server's origin), From and To lets somebody call in.
    """
    from agent.simulator.callee import Directory, parse_entry
    from agent.simulator.network import NetworkOptions
    from agent.simulator.rest import serve

    options = NetworkOptions(
        account_sid=account,
        auth_token=token,
        numbers=frozenset(number or ()),
        calls_per_second=rate,
        max_calls=max_calls,
    )
    directory = Directory(dict(map(parse_entry, party or ())))
    _run(serve(options, directory, host, port, _announce))


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
    faults: ListLineFaults = False,
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


class Codec(StrEnum):
    """What the softphone offers."""

    PCMU = "pcmu"
    PCMA = "pcma"
    G722 = "g722"


class Transport(StrEnum):
    """How SIP travels."""

    UDP = "udp"
    TCP = "tcp"


class KeysBy(StrEnum):
    """How keys travel."""

    RTPEVENT = "rtpevent"
    INFO = "info"


@app.command()
def sip(
    to: Annotated[str, typer.Option(help="Whom to call: sip:USER@HOST[:PORT].")],
    wav: Annotated[
        list[Path] | None,
        typer.Option(help="What the caller says (PCM WAV); repeatable; default: the demo's clips."),
    ] = None,
    dtmf: Annotated[
        str | None, typer.Option(help="Keys to press first: 0-9, A-D, * and #.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Stereo WAV of the call: caller left, agent right.")
    ] = None,
    codec: Annotated[
        list[Codec] | None, typer.Option(help="Offered, best first; default: pcmu, pcma.")
    ] = None,
    transport: Annotated[Transport, typer.Option(help="Of the signalling.")] = Transport.UDP,
    dtmf_by: Annotated[
        KeysBy, typer.Option(help="Telephone events in RTP, or INFO.")
    ] = KeysBy.RTPEVENT,
    user: Annotated[str, typer.Option(help="Who calls; answers a challenge.")] = "caller",
    password: Annotated[str, typer.Option(help="Of USER, where the other side asks.")] = "",
    header: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, of the INVITE; repeatable.")
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Speak after so many seconds of silence.", min=0.1)
    ] = 8,
    seconds: Annotated[float, typer.Option(help="The caller hangs up after so long.", min=1)] = 60,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one line of JSON, and no more.")
    ] = False,
) -> None:
    """Place one call by SIP, with real RTP, and a caller who reacts (needs the extra `sip`)."""
    import asyncio

    import msgspec

    from agent.simulator.caller import CallAudio, demo_utterances, recorded
    from agent.simulator.phone import Manners
    from agent.simulator.report import Ended
    from agent.simulator.softphone import SoftphoneOptions, keys, run_softphone
    from agent.simulator.softphone_report import SipEvent, tell

    def watch(event: SipEvent) -> None:
        print(tell(event), file=sys.stderr if as_json else sys.stdout, flush=True)

    audio = CallAudio()
    said = tuple(map(recorded, wav)) if wav else () if dtmf else demo_utterances()
    options = SoftphoneOptions(
        to=to,
        transport=transport.value,
        codecs=tuple(each.value for each in codec or (Codec.PCMU, Codec.PCMA)),
        user=user,
        password=password,
        headers=dict(map(_header, header or ())),
        keys_by=dtmf_by.value,
        max_seconds=seconds,
        manners=Manners(patience_s=patience),
        utterances=((keys(dtmf),) if dtmf else ()) + said,
    )
    report = asyncio.run(run_softphone(options, on_event=watch, audio=audio))
    if out is not None:
        audio.write(out)
    if as_json:
        print(msgspec.json.encode(report).decode())
    if report.ended not in (Ended.AGENT_HUNG_UP, Ended.CALLER_HUNG_UP):
        raise typer.Exit(1)


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise UserError(f"'{text}' is not NAME=VALUE")
    return name, value
