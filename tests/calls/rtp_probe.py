"""Calls by SIP and RTP in plain Python: a measuring instrument that shares no line with what it measures.

    python -m tests.calls.rtp_probe --to 127.0.0.1:5070 --calls 30 --seconds 20 [--loss 0.05 --jitter 0.2]
    python -m tests.calls.rtp_probe --to 127.0.0.1:5070 --speak-at 2    (silence, then a second of noise: to interrupt)

Each call sends G.711 mu-law, 20 ms at a time (RFC 3550, 3551): a quiet tone that never stops, and every 100 ms a loud frame of one
of eight pitches. Where the other end is an echo, the loud frames that come back tell the round trip and which frames were
played, and the quiet tone tells of holes. Loss and jitter are the sender's own: what leaves late or never is, to whoever
receives it, a packet that came late or never. Prints one line of JSON.

Signalling is the least that RFC 3261 asks of a caller: INVITE with its retransmissions, ACK for every 200, BYE, and an answer to
a BYE of the other side.
"""

from __future__ import annotations

import argparse
import asyncio
import audioop
import json
import random
import re
import secrets
import struct
import time
from typing import Any

import numpy as np

RATE = 8000
FRAME = 160
PITCHES = (700, 1000, 1300, 1600, 1900, 2200, 2600, 3000)
LOUD_EVERY = 5  # frames
LOUD_FROM = 4000  # of 32768: the quiet tone stays below, a loud frame's first half wave is above
HOLE_SAMPLES = 40  # 5 ms of nothing where there should be a tone
SILENT = 60


def frames(loud: list[int], count: int) -> list[bytes]:
    """What is sent: `count` frames, every fifth of them loud with the pitches in `loud`."""
    at = np.arange(count * FRAME)
    pcm = 1500 * np.sin(2 * np.pi * 350 * at / RATE)
    for n, pitch in enumerate(loud):
        start = (n * LOUD_EVERY + LOUD_EVERY - 1) * FRAME
        time_ = np.arange(FRAME) / RATE
        pcm[start : start + FRAME] = 12_000 * np.sin(2 * np.pi * PITCHES[pitch] * time_ + 0.5)
    mulaw = audioop.lin2ulaw(pcm.astype("<i2").tobytes(), 2)
    return [mulaw[at : at + FRAME] for at in range(0, len(mulaw), FRAME)]


def interruption(speak_at: float, count: int) -> list[bytes]:
    """Silence, a second of noise, silence."""
    pcm = np.zeros(count * FRAME)
    start = int(speak_at * RATE)
    room = len(pcm[start : start + RATE])
    pcm[start : start + room] = np.random.default_rng(1).normal(0, 4000, room).clip(-30_000, 30_000)
    mulaw = audioop.lin2ulaw(pcm.astype("<i2").tobytes(), 2)
    return [mulaw[at : at + FRAME] for at in range(0, len(mulaw), FRAME)]


class Rtp(asyncio.DatagramProtocol):
    """One call's sound: keeps what came, and when."""

    def __init__(self) -> None:
        self.came: list[tuple[float, bytes]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.came.append((time.monotonic(), data))


class Call:
    """One call: its dialog and its sound."""

    def __init__(
        self, number: int, seconds: float, dice: random.Random, speak_at: float | None = None
    ) -> None:
        self.id = secrets.token_hex(8)
        self.tag = secrets.token_hex(4)
        self.branch = "z9hG4bK" + secrets.token_hex(8)
        self.number = number
        self.count = int(seconds * 50)
        if speak_at is None:
            # The last frame is a quiet one: a filter on the way keeps the end of it until more comes.
            louds = (self.count - 1) // LOUD_EVERY
            self.loud = [dice.randrange(len(PITCHES)) for _ in range(louds)]
            self.frames = frames(self.loud, self.count)
        else:
            self.loud = []
            self.frames = interruption(speak_at, self.count)
        self.sent: list[float | None] = []  # None: lost
        self.rtp = Rtp()
        self.to: tuple[str, int] | None = None
        self.remote_tag = ""
        self.contact = ""
        self.status = 0
        self.final = asyncio.Event()
        self.ended_by_them = False


class Signalling(asyncio.DatagramProtocol):
    """The caller's side of all dialogs, over one socket."""

    def __init__(self, server: tuple[str, int], calls: list[Call]) -> None:
        self.server = server
        self.calls = {call.id: call for call in calls}
        self.here = ("", 0)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.here = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        text = data.decode(errors="replace")
        head, _, body = text.partition("\r\n\r\n")
        named = re.search(r"(?im)^(?:call-id|i):\s*(\S+)", head)
        call = self.calls.get(named[1]) if named else None
        if call is None:
            return
        if head.startswith("SIP/2.0 "):
            self._answered(call, int(head[8:11]), head, body)
        elif head.startswith(("BYE ", "UPDATE ", "INVITE ", "OPTIONS ")):
            call.ended_by_them |= head.startswith("BYE ")
            kept = [
                line
                for line in head.split("\r\n")[1:]
                if re.match(r"(?i)(via|v|from|f|to|t|call-id|i|cseq):", line)
            ]
            status = "200 OK" if head.startswith(("BYE ", "OPTIONS ")) else "488 Not Acceptable"
            answer = "\r\n".join([f"SIP/2.0 {status}", *kept, "Content-Length: 0", "", ""])
            self.transport.sendto(answer.encode(), addr)

    def _answered(self, call: Call, status: int, head: str, body: str) -> None:
        if not re.search(r"(?im)^cseq:\s*1\s+INVITE", head):
            return
        call.status = max(call.status, status)
        if status < 200:
            return
        if (tag := re.search(r"(?im)^(?:to|t):.*;tag=([^;\s]+)", head)) is not None:
            call.remote_tag = tag[1]
        if (contact := re.search(r"(?im)^(?:contact|m):\s*<?([^>;\s]+)", head)) is not None:
            call.contact = contact[1]
        if status < 300:
            address = re.search(r"(?m)^c=IN IP4 (\S+)", body)
            port = re.search(r"(?m)^m=audio (\d+)", body)
            if address and port:
                call.to = (address[1], int(port[1]))
        self.request(call, "ACK", 1, branch="z9hG4bK" + secrets.token_hex(8))
        call.final.set()

    def request(self, call: Call, method: str, number: int, branch: str, body: str = "") -> None:
        host, port = self.here
        them = f"sip:agent@{self.server[0]}:{self.server[1]}"
        tag = f";tag={call.remote_tag}" if call.remote_tag else ""
        lines = [
            f"{method} {call.contact or them} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:probe{call.number}@{host}>;tag={call.tag}",
            f"To: <{them}>{tag}",
            f"Call-ID: {call.id}",
            f"CSeq: {number} {method}",
            f"Contact: <sip:probe@{host}:{port}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.transport.sendto(("\r\n".join(lines) + "\r\n\r\n" + body).encode(), self.server)

    async def invite(self, call: Call, within: float) -> bool:
        """Ring until it is answered; whether it was."""
        host = self.here[0]
        port = call.rtp.transport.get_extra_info("sockname")[1]
        sdp = (
            f"v=0\r\no=- {call.number} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"
            "a=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        )
        wait, until = 0.5, time.monotonic() + within
        while not call.final.is_set() and time.monotonic() < until:
            if call.status == 0:
                self.request(call, "INVITE", 1, call.branch, sdp)
            try:
                async with asyncio.timeout(wait):
                    await call.final.wait()
            except TimeoutError:
                wait = min(2 * wait, 4.0)
        return call.to is not None

    async def bye(self, call: Call) -> None:
        if not call.ended_by_them:
            self.request(call, "BYE", 2, "z9hG4bK" + secrets.token_hex(8))
            await asyncio.sleep(0.1)


async def talk(call: Call, phase: float, loss: float, jitter: float, dice: random.Random) -> None:
    """Send what the call has to say, a frame every 20 ms; some of it late, some of it never."""
    source, base = dice.getrandbits(32), dice.getrandbits(15)
    loop = asyncio.get_running_loop()
    begun = time.monotonic() + phase
    for n, payload in enumerate(call.frames):
        await asyncio.sleep(max(0.0, begun + n * 0.02 - time.monotonic()))
        header = struct.pack(">BBHII", 0x80, 0, (base + n) & 0xFFFF, n * FRAME, source)
        if dice.random() < loss:
            call.sent.append(None)
            continue
        call.sent.append(time.monotonic())
        if jitter:
            late = dice.uniform(0, jitter)
            loop.call_later(late, call.rtp.transport.sendto, header + payload, call.to)
        else:
            call.rtp.transport.sendto(header + payload, call.to)
        if call.ended_by_them:
            return


class Sound:
    """What one call heard: its packets in order, as PCM, with the time of each."""

    def __init__(self, came: list[tuple[float, bytes]]) -> None:
        voice = [
            (at, data)
            for at, data in came
            if len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F == 0
        ]
        self.arrived = [at for at, _ in voice]
        numbers = [struct.unpack_from(">H", data, 2)[0] for _, data in voice]
        steps = [(b - a) & 0xFFFF for a, b in zip(numbers, numbers[1:], strict=False)]
        self.missing = sum(step - 1 for step in steps if 1 < step < 1000)
        self.longest_gap = max(
            (b - a for a, b in zip(self.arrived, self.arrived[1:], strict=False)), default=0.0
        )
        payloads = [data[12:] for _, data in voice]
        self.pcm = np.frombuffer(audioop.ulaw2lin(b"".join(payloads), 2), "<i2").astype(float)
        lengths = np.cumsum([0, *map(len, payloads)])
        self._starts = lengths[:-1]

    def heard_at(self, sample: int) -> float:
        """When a sample came to the ear: its packet's arrival, and its place in it."""
        packet = int(np.searchsorted(self._starts, sample, "right")) - 1
        return self.arrived[packet] + float(sample - self._starts[packet]) / RATE

    def loud(self) -> list[tuple[int, int]]:
        """The loud frames: first sample, and pitch."""
        above = np.flatnonzero(np.abs(self.pcm) > LOUD_FROM)
        found: list[tuple[int, int]] = []
        last = -RATE
        for sample in map(int, above):
            if sample - last > FRAME // 2:
                piece = self.pcm[sample : sample + FRAME - 20]
                time_ = np.arange(len(piece)) / RATE
                power = [abs((piece * np.exp(2j * np.pi * p * time_)).sum()) for p in PITCHES]
                found.append((sample, int(np.argmax(power))))
            last = sample
        return found

    def holes(self, first: int, last: int) -> list[float]:
        """Where nothing was heard between two samples: lengths in milliseconds."""
        silent = np.abs(self.pcm[first:last]) < SILENT
        edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(int), [0]])))
        lengths = edges[1::2] - edges[::2]
        return [float(length) * 1000 / RATE for length in lengths if length >= HOLE_SAMPLES]

    def ends(self) -> list[float]:
        """When each stretch of sound ended at the ear: 200 ms of quiet followed."""
        audible = np.flatnonzero(np.abs(self.pcm) > 300)
        if len(audible) == 0:
            return []
        last = [*map(int, audible[:-1][np.diff(audible) > RATE // 5]), int(audible[-1])]
        return [self.heard_at(sample) for sample in last]


def matched(sent: list[int], heard: list[int]) -> list[tuple[int, int]]:
    """The longest common subsequence: pairs of places in `sent` and in `heard`."""
    table = np.zeros((len(sent) + 1, len(heard) + 1), int)
    for i in range(len(sent) - 1, -1, -1):
        for j in range(len(heard) - 1, -1, -1):
            same = sent[i] == heard[j]
            table[i, j] = table[i + 1, j + 1] + 1 if same else max(table[i + 1, j], table[i, j + 1])
    pairs, i, j = [], 0, 0
    while i < len(sent) and j < len(heard):
        if sent[i] == heard[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif table[i + 1, j] >= table[i, j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def judged(call: Call) -> dict[str, Any]:
    """What one call showed."""
    sound = Sound(call.rtp.came)
    loud = sound.loud()
    places = [n * LOUD_EVERY + LOUD_EVERY - 1 for n in range(len(call.loud))]
    reached = [
        (n, place) for n, place in enumerate(places) if place < len(call.sent) and call.sent[place]
    ]
    pairs = matched([call.loud[n] for n, _ in reached], [pitch for _, pitch in loud])
    there = [float(call.sent[reached[i][1]] or 0.0) for i, _ in pairs]
    back = [sound.heard_at(loud[j][0]) for _, j in pairs]
    trips = [(came - (sent - 0.02)) * 1000 for sent, came in zip(there, back, strict=True)]
    heard = [sound.heard_at(sample) for sample, _ in loud]
    between = (loud[0][0], loud[-1][0]) if loud else (0, 0)
    return {
        "round_trip_ms": [round(trip, 1) for trip in trips],
        "sent_s": there,
        "heard_s": back,
        "reached": len(reached),
        "played": len(pairs),
        "holes_ms": sound.holes(*between),
        "missing_packets": sound.missing,
        "longest_gap_ms": round(sound.longest_gap * 1000, 1),
        "longest_stall_ms": round(
            max((b - a for a, b in zip(heard, heard[1:], strict=False)), default=0.0) * 1000, 1
        ),
        "sound_ended_s": sound.ends(),
        "ended_by_them": call.ended_by_them,
    }


async def probe(
    server: tuple[str, int],
    calls: int,
    seconds: float,
    loss: float = 0.0,
    jitter: float = 0.0,
    seed: int = 1,
    speak_at: float | None = None,
) -> dict[str, Any]:
    """Place so many calls at once and hold them; what they showed."""
    loop = asyncio.get_running_loop()
    dice = random.Random(seed)
    every = [Call(n, seconds, dice, speak_at) for n in range(calls)]
    _, signalling = await loop.create_datagram_endpoint(
        lambda: Signalling(server, every), local_addr=(server[0], 0)
    )
    for call in every:
        await loop.create_datagram_endpoint(lambda rtp=call.rtp: rtp, local_addr=(server[0], 0))  # type: ignore[misc]
    answered = await asyncio.gather(*(signalling.invite(call, 30.0) for call in every))
    connected = [call for call, yes in zip(every, answered, strict=True) if yes]
    await asyncio.sleep(0.5)
    print(json.dumps({"talking": len(connected), "now_s": time.monotonic()}), flush=True)
    await asyncio.gather(
        *(
            talk(call, n * 0.02 / max(1, len(connected)), loss, jitter, dice)
            for n, call in enumerate(connected)
        )
    )
    print(json.dumps({"silent": len(connected), "now_s": time.monotonic()}), flush=True)
    await asyncio.sleep(1.0)
    await asyncio.gather(*(signalling.bye(call) for call in connected))
    for call in every:
        call.rtp.transport.close()
    signalling.transport.close()
    return {
        "calls": calls,
        "connected": len(connected),
        "statuses": sorted({call.status for call in every}),
        "each": [judged(call) for call in connected],
    }


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--to", required=True)
    arguments.add_argument("--calls", type=int, default=1)
    arguments.add_argument("--seconds", type=float, default=10.0)
    arguments.add_argument("--loss", type=float, default=0.0)
    arguments.add_argument("--jitter", type=float, default=0.0)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--speak-at", type=float)
    given = arguments.parse_args()
    host, _, port = given.to.rpartition(":")
    print(
        json.dumps(
            asyncio.run(
                probe(
                    (host, int(port)),
                    given.calls,
                    given.seconds,
                    given.loss,
                    given.jitter,
                    given.seed,
                    given.speak_at,
                )
            )
        )
    )


if __name__ == "__main__":
    main()
