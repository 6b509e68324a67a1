"""A telephone in plain Python that shares no code with the server: SIP over UDP (RFC 3261), digest, G.711 by RTP (RFC 3550).

It does what a well-behaved telephone does not: name another RTP port than the one it sends from, as NAT does.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME = 160
SILENCE = b"\xff" * FRAME
BUZZ = (b"\x80" * 20 + b"\x00" * 20) * 4  # 200 Hz, as loud as mu-law can be


class Message(NamedTuple):
    """A SIP message: its first line, its headers by lower-case name (several of one joined by commas), its body."""

    first: str
    headers: dict[str, str]
    body: str

    @property
    def status(self) -> int:
        """Of a response; 0: it is a request."""
        words = self.first.split()
        return int(words[1]) if words[0] == "SIP/2.0" else 0


def parse(data: bytes) -> Message:
    """Read a message as a peer writes it."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return Message(first, headers, body)


def digest(challenge: str, method: str, uri: str, name: str, password: str) -> str:
    """Answer a challenge (RFC 2617 3.2.2, without qop)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    first, second = md5(f"{name}:{said['realm']}:{password}"), md5(f"{method}:{uri}")
    answer = md5(f"{first}:{said['nonce']}:{second}")
    return (
        f'Digest username="{name}", realm="{said["realm"]}", nonce="{said["nonce"]}", '
        f'uri="{uri}", response="{answer}", algorithm=MD5'
    )


@dataclass
class Heard:
    """What came in by RTP.

    Attributes:
        sources: packets by the address they came from.
        loud: packets that were no silence.
    """

    sources: Counter[tuple[str, int]] = field(default_factory=Counter)
    loud: int = 0

    @property
    def packets(self) -> int:
        return sum(self.sources.values())


class ProbePhone:
    """One call at a time.

    Args:
        open_socket: opens a UDP socket where the telephone is.
        server: address and port of who is called.
    """

    def __init__(
        self, open_socket: Callable[[], socket.socket], server: tuple[str, int], user: str = "probe"
    ) -> None:
        self.sip, self.rtp, self.other = open_socket(), open_socket(), open_socket()
        self.server = server
        self.user = user
        self.here = "{}:{}".format(*self.sip.getsockname())
        self.call_id, self.tag, self.to_tag = "", "", ""
        self.number, self.sent = 0, 0
        self.target = f"sip:agent@{server[0]}:{server[1]}"
        self.routes = ""
        self.media: tuple[str, int] | None = None
        self.last = Message("", {}, "")
        self.said = ""

    def close(self) -> None:
        for each in (self.sip, self.rtp, self.other):
            each.close()

    def send(
        self,
        method: str,
        body: str = "",
        more: str = "",
        branch: str = "",
        kind: str = "application/sdp",
    ) -> str:
        """Send a request; returns its branch."""
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        if method not in ("ACK", "CANCEL"):
            self.number += 1
        to_tag = f";tag={self.to_tag}" if self.to_tag else ""
        typed = f"Content-Type: {kind}\r\n" if body else ""
        text = (
            f"{method} {self.target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.here};branch={branch};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:{self.user}@{self.here}>;tag={self.tag}\r\n"
            f"To: <sip:agent@{self.server[0]}>{to_tag}\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {self.number} {method}\r\nContact: <sip:{self.user}@{self.here}>\r\n"
            f"{self.routes}{more}{typed}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.sip.sendto(text.encode(), self.server)
        return branch

    def receive(self, seconds: float) -> Message | None:
        """The next message, or None where none comes."""
        self.sip.settimeout(max(seconds, 0.001))
        try:
            return parse(self.sip.recvfrom(65535)[0])
        except (TimeoutError, BlockingIOError):
            return None

    def final(self, seconds: float) -> int:
        """Wait for the answer to what was sent last: its status, or 0 where none comes."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            got = self.receive(left)
            if got and got.status >= 200 and got.headers["cseq"].startswith(f"{self.number} "):
                self.last = got
                return got.status
        return 0

    def ask(self, method: str = "OPTIONS", more: str = "", seconds: float = 2.0) -> int:
        """A request outside of any call: the status of its answer."""
        self.call_id, self.tag, self.to_tag = secrets.token_hex(8), secrets.token_hex(4), ""
        self.routes = ""
        self.send(method, more=more)
        return self.final(seconds)

    def call(
        self,
        password: str | None = None,
        *,
        called: str = "agent",
        more: str = "",
        wrong_port: bool = False,
        seconds: float = 10.0,
    ) -> int:
        """Place a call; answers one challenge where there is a password.

        Args:
            called: user of the Request-URI; To is the agent.
            more: headers.
            wrong_port: name a port in the SDP from which nothing is sent.
        """
        self.call_id, self.tag, self.to_tag = secrets.token_hex(8), secrets.token_hex(4), ""
        self.routes, self.target = "", f"sip:{called}@{self.server[0]}:{self.server[1]}"
        address, port = (self.other if wrong_port else self.rtp).getsockname()
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
        )
        branch = self.send("INVITE", sdp, more)
        status = self.final(seconds)
        if status == 407 and password is not None:
            self.send("ACK", branch=branch)
            said = digest(
                self.last.headers["proxy-authenticate"], "INVITE", self.target, self.user, password
            )
            self.said = said
            branch = self.send("INVITE", sdp, f"{more}Proxy-Authorization: {said}\r\n")
            status = self.final(seconds)
        self.to_tag = self.last.headers.get("to", "").partition("tag=")[2] if status else ""
        if 200 <= status < 300:
            self._answered()
            self.send("ACK")
        elif status:
            self.send("ACK", branch=branch)
        return status

    def _answered(self) -> None:
        headers = self.last.headers
        if contact := re.search(r"<([^>]+)>", headers.get("contact", "")):
            self.target = contact[1]
        records = [
            each.strip() for each in headers.get("record-route", "").split(",") if each.strip()
        ]
        self.routes = "".join(f"Route: {each}\r\n" for each in reversed(records))
        address = re.search(r"c=IN IP4 (\S+)", self.last.body)
        port = re.search(r"m=audio (\d+)", self.last.body)
        assert address and port, self.last.body
        self.media = address[1], int(port[1])

    def hang_up(self) -> int:
        self.send("BYE")
        return self.final(3.0)

    def talk(self, seconds: float, sound: bytes | None = BUZZ) -> Heard:
        """Send 20 ms frames and listen, in real time; without a sound only listen."""
        assert self.media is not None
        first, self.sent = self.sent, self.sent + round(seconds * 50)
        return talk(self.rtp, self.media, seconds, sound, first)


def talk(
    rtp: socket.socket,
    where: tuple[str, int],
    seconds: float,
    sound: bytes | None = BUZZ,
    first: int = 0,
) -> Heard:
    """Send RTP from a socket to anywhere, at 50 packets a second, and listen on it."""
    heard, begun = Heard(), time.monotonic()
    for number in range(round(seconds * 50)):
        count = first + number
        header = struct.pack("!BBHII", 0x80, 0, count & 0xFFFF, count * FRAME, id(rtp) & 0xFFFFFFFF)
        if sound is not None:
            rtp.sendto(header + sound, where)
        until = begun + (number + 1) * 0.02
        while (left := until - time.monotonic()) > 0:
            rtp.settimeout(left)
            try:
                data, source = rtp.recvfrom(2048)
            except (TimeoutError, BlockingIOError):
                break
            if len(data) > 12:
                heard.sources[source] += 1
                heard.loud += min(byte & 0x7F for byte in data[12:]) < 0x30
    return heard
