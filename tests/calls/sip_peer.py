"""The other end of a call by SIP, in a process of its own: baresip's bindings run once in a process.

`python -m tests.calls.sip_peer echo|reject|hang-up ADDRESS PORT CODECS` prints what happens, a line each.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from baresip import Call

HELD_S = 1.0


def free_port(address: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        with (
            socket.socket(family, socket.SOCK_STREAM) as tcp,
            socket.socket(family, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind((address, 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind((address, port))
            except OSError:
                continue
            return port


class Peer:
    """A running peer."""

    def __init__(self, process: subprocess.Popen[str], uri: str) -> None:
        self.process = process
        self.uri = uri

    def said(self, word: str) -> str:
        """The rest of the next line that begins with `word`, before the call is over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            head, _, rest = line.strip().partition(" ")
            if head == word:
                return rest
            if head == "over":
                break
        raise AssertionError(f"the peer's call ended before it said {word}")


@contextmanager
def sip_peer(manner: str, codecs: str = "pcmu,pcma") -> Iterator[Peer]:
    """Somebody to call at `uri` while the context lasts."""
    port = free_port()
    command = [sys.executable, "-m", "tests.calls.sip_peer", manner, "127.0.0.1", str(port), codecs]
    # what a coverage run tells child processes is for ours, not for this one
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        peer = Peer(process, f"sip:agent@127.0.0.1:{port}")
        try:
            peer.said("ready")
            yield peer
        finally:
            process.terminate()


async def _call(call: Call, manner: str) -> None:
    from baresip import AudioNotActive, AudioRestarted, CallState, Event, StackEvent

    def seen(event: StackEvent) -> None:
        if event.event is Event.CALL_DTMF_START:
            print("DTMF", event.text, flush=True)

    if manner == "reject":
        await call.reject()
        return
    call.on(seen)
    await call.answer()
    loop = asyncio.get_running_loop()
    until = loop.time() + HELD_S
    out = bytearray()
    while call.state is not CallState.CLOSED:
        try:
            while pcm := call.audio.read(3200):
                out += pcm
            del out[: call.audio.write(bytes(out))]
        except (AudioNotActive, AudioRestarted):
            pass
        if manner == "hang-up" and loop.time() > until:
            await call.hangup()
            return
        await asyncio.sleep(0.01)
    print("over", flush=True)


async def _serve(manner: str, address: str, port: str, codecs: str) -> None:
    from baresip import Account, Config, Runtime, UserAgent

    runtime = Runtime()
    await runtime.start(
        Config(
            net_interface=address,
            max_concurrent_calls=50,
            extra_config_text=f"sip_listen {address}:{port}\nsip_transports udp,tcp\n"
            "call_hold_other_calls no\n",
        )
    )
    tasks = set()
    for transport in ("udp", "tcp"):
        account = Account(
            user="agent",
            domain=f"{address}:{port}",
            password="",
            reg_interval=0,
            transport="tcp" if transport == "tcp" else "udp",
            audio_codecs=tuple(codecs.split(",")),
            extra_params=("catchall=yes", "video_codecs=none"),
        )
        agent = await UserAgent.create(runtime, account)

        def arrived(call: Call) -> None:
            task = asyncio.create_task(_call(call, manner))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        agent.on_incoming(arrived)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
