"""The bare library in a process of its own: takes every call, says back what it hears, and hangs up when it is sent a #.

python -m tests.calls.sip_echo ADDRESS PORT
"""

from __future__ import annotations

import asyncio
import sys

from baresip import (
    Account,
    AudioNotActive,
    AudioRestarted,
    Call,
    CallState,
    Config,
    DigitEvent,
    Runtime,
    UserAgent,
)

FRAME = 320  # 20 ms of 16 bit at 8 kHz


async def echo(call: Call) -> None:
    print("call begun for", call.headers.get("P-Called-Party-ID"), flush=True)
    hung_up: set[asyncio.Task[None]] = set()

    def key(dtmf: DigitEvent) -> None:
        if dtmf.digit == "#":
            hung_up.add(asyncio.create_task(call.hangup()))

    call.on_dtmf(key)
    await call.answer()
    while call.state is not CallState.CLOSED:
        try:
            while pcm := call.audio.read(FRAME):
                call.audio.write(pcm)
        except (AudioNotActive, AudioRestarted):
            pass
        await asyncio.sleep(0.01)
    print("call ended", flush=True)


async def main(address: str, port: str) -> None:
    runtime = Runtime()
    await runtime.start(
        Config(
            net_interface=address,
            max_concurrent_calls=50,
            rtp_timeout=30,
            expose_headers=("P-Called-Party-ID",),
            extra_config_text=f"sip_listen {address}:{port}\nsip_transports udp,tcp\n"
            "rtp_ports 20000-20511\naudio_jitter_buffer_type fixed\naudio_jitter_buffer_ms 40-200\n"
            "call_hold_other_calls no\n",
        )
    )
    calls: set[asyncio.Task[None]] = set()

    def take(call: Call) -> None:
        calls.add(task := asyncio.create_task(echo(call)))
        task.add_done_callback(calls.discard)

    for transport in ("udp", "tcp"):
        account = Account(
            user="agent",
            domain=f"{address}:{port}",
            password="",
            reg_interval=0,
            transport=transport,
            extra_params=("catchall=yes", "video_codecs=none"),
        )
        (await UserAgent.create(runtime, account)).on_incoming(take)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
