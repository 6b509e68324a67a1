"""The front of infra/kamailio before an agent: who has a password gets through, sound finds its way, nobody else does anything.

Some machines are outside (a telephone, one that guesses passwords, one that floods, a stranger...), the front has a leg on each
side, and the agent is inside, where nothing outside can reach it. What answers there is the library itself, as an echo.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import SOCK_DGRAM, socket
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from tests.calls.namespaces import Host, machines, needed
from tests.calls.probe_phone import BUZZ, SILENCE, ProbePhone, talk
from tests.infra.recipe import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).parent.parent.parent
FRONT = ROOT / "infra" / "kamailio"
SIPP = Path(__file__).parent / "sipp"
REALM, PASSWORD = "front.test", "right"
NAMES = re.compile(
    rb"kamailio|openser|sip-router|baresip|rtpengine|pickup|^(server|user-agent|warning):",
    re.I | re.M,
)
"""What would tell a scanner which programs these are."""


class Lab(NamedTuple):
    """The machines, and where the front is."""

    caller: Host
    guesser: Host
    flooder: Host
    stranger: Host
    relayed: Host
    front: Host
    agent: Host
    log: Path

    @property
    def outside(self) -> tuple[str, int]:
        return self.front.addresses["net0"], 5060

    def phone(self, host: Host, user: str = "phone7") -> ProbePhone:
        return ProbePhone(lambda: host.socket(SOCK_DGRAM), self.outside, user)

    def calls(self) -> int:
        """How many calls the agent has seen."""
        return self.log.read_text().count("call begun")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    needed("ip", "kamailio", "rtpengine", "sipp")
    work = tmp_path_factory.mktemp("front")
    shutil.copy(FRONT / "kamailio.cfg", work)
    ha1 = hashlib.md5(f"phone7:{REALM}:{PASSWORD}".encode()).hexdigest()
    (work / "users.cfg").write_text(
        f'event_route[htable:mod-init] {{\n  $sht(users=>phone7) = "{ha1}";\n}}\n'
    )
    outside = ("caller", "guesser", "flooder", "stranger", "relayed", "front")
    with machines(outside, ("front", "agent")) as (
        caller,
        guesser,
        flooder,
        stranger,
        relayed,
        front,
        agent,
    ):
        out, into = front.addresses["net0"], front.addresses["net1"]
        environ = {**os.environ, **environment(out, into, agent.address)}
        log = work / "agent.log"
        with (
            open(log, "wb") as told,
            open(work / "front.log", "wb") as said,
            agent.running(
                sys.executable,
                "-m",
                "tests.calls.sip_echo",
                agent.address,
                "5070",
                stdout=told,
                cwd=ROOT,
            ),
            front.running(*rtpengine(out, into), stderr=said),
        ):
            within(10.0, lambda: "ready" in log.read_text())
            within(10.0, lambda: listens(front, 2223))
            with front.running(*kamailio(work), env=environ, stderr=said):
                within(10.0, lambda: listens(front, 5060))
                yield Lab(caller, guesser, flooder, stranger, relayed, front, agent, log)


def environment(outside: str, inside: str, agent: str) -> dict[str, str]:
    """What the front is told."""
    return {
        "FRONT_ADDRESS": outside,
        "FRONT_PUBLIC": outside,
        "FRONT_PORT": "5060",
        "FRONT_INSIDE": inside,
        "FRONT_REALM": REALM,
        "FRONT_RTP": "udp:127.0.0.1:2223",
        "AGENT_ADDRESS": agent,
        "AGENT_URI": f"sip:{agent}:5070",
    }


def kamailio(work: Path) -> list[str]:
    return ["kamailio", "-DD", "-E", "-Y", str(work), "-f", str(work / "kamailio.cfg")]


def rtpengine(outside: str, inside: str) -> list[str]:
    sides = [f"--interface=outside/{outside}", f"--interface=inside/{inside}"]
    return ["rtpengine", f"--config-file={FRONT / 'rtpengine.conf'}", *sides]


def listens(host: Host, port: int) -> bool:
    return f":{port} " in host.run("ss", "-lnu").stdout


def within(seconds: float, what: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, what
        time.sleep(0.05)


@pytest.fixture
def phone(lab: Lab) -> Iterator[ProbePhone]:
    made = lab.phone(lab.caller)
    yield made
    made.close()


# ------------------------------------------------------------------ who gets in


def test_a_call_with_the_right_password_completes_and_is_heard(lab: Lab, phone: ProbePhone) -> None:
    before = lab.calls()
    assert phone.call(PASSWORD) == 200
    heard = phone.talk(1.0)
    assert heard.loud > 35
    assert {source[0] for source in heard.sources} == {lab.outside[0]}
    assert phone.hang_up() == 200
    within(3.0, lambda: lab.log.read_text().count("call ended") == before + 1)


def test_the_agent_is_told_whom_the_call_is_for_by_the_front_alone(
    lab: Lab, phone: ProbePhone
) -> None:
    said = "P-Called-Party-ID: <sip:somebody@else.example>\r\n"
    assert phone.call(PASSWORD, called="sales", more=said) == 200
    assert phone.hang_up() == 200
    told = lab.log.read_text().splitlines()
    assert [line for line in told if "call begun" in line][-1] == (
        "call begun for <sip:sales@{}:{}>".format(*lab.outside)
    )


def test_sipp_agrees(lab: Lab, tmp_path: Path) -> None:
    before = lab.calls()
    scenario = ("-sf", str(SIPP / "front_call.xml"), "-s", "agent", "-au", "phone7", "-ap")
    ends = ("-m", "1", "-i", lab.caller.address, "-nostdin", "-timeout", "6", "-timeout_error")
    for password, wrong in ((PASSWORD, False), ("wrong", True)):
        words = ("sipp", *scenario, password, *ends, "{}:{}".format(*lab.outside))
        done = subprocess.run(
            lab.caller.words(*words), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == wrong, done.stdout[-2000:]
    assert lab.calls() == before + 1


def test_without_the_right_password_the_agent_sees_nothing(lab: Lab, phone: ProbePhone) -> None:
    before = lab.calls()
    nobody = lab.phone(lab.caller, "nobody")
    answers = []
    for who in (phone, nobody):
        for password in (None, "wrong"):
            assert who.call(password) == 407
            answers.append((who.last.first, sorted(who.last.headers)))
    nobody.close()
    assert all(
        answer == answers[0] for answer in answers
    )  # nor does anybody learn which users there are
    assert lab.calls() == before


def test_a_used_answer_is_not_good_again(lab: Lab, phone: ProbePhone) -> None:
    assert phone.call(PASSWORD) == 200
    assert phone.hang_up() == 200
    sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
    phone.to_tag, phone.routes, phone.call_id = "", "", phone.call_id + "again"
    phone.send("INVITE", sdp, f"Proxy-Authorization: {phone.said}\r\n")
    assert phone.final(3.0) == 407


def test_who_guesses_passwords_is_not_answered_any_more(lab: Lab, phone: ProbePhone) -> None:
    guesser = lab.phone(lab.guesser)
    answers = []
    for number in range(12):
        answers.append(guesser.call(f"guess{number}", seconds=0.5))
        time.sleep(0.2)  # slowly: no flood
    assert answers[0] == 407
    assert answers[-1] == 0
    assert guesser.call(PASSWORD, seconds=0.5) == 0
    guesser.close()
    assert phone.ask() == 200  # it alone


# ------------------------------------------------------------------ where the sound goes


def test_sound_comes_back_to_where_it_is_sent_from_whatever_the_sdp_says(
    lab: Lab, phone: ProbePhone
) -> None:
    assert phone.call(PASSWORD, wrong_port=True) == 200
    assert phone.talk(1.0).loud > 35
    assert phone.hang_up() == 200


def test_a_telephone_behind_nat_hears_that_the_agent_hangs_up(lab: Lab, phone: ProbePhone) -> None:
    phone.here = "192.168.77.7:5060"  # what it believes of itself
    assert phone.call(PASSWORD) == 200
    phone.send("INFO", "Signal=#\r\nDuration=160\r\n", kind="application/dtmf-relay")
    assert phone.final(2.0) == 200
    until = time.monotonic() + 3.0
    while (got := phone.receive(until - time.monotonic())) and not got.first.startswith("BYE "):
        pass
    assert got is not None


def test_once_the_source_is_learned_a_stranger_does_not_drown_the_caller(
    lab: Lab, phone: ProbePhone
) -> None:
    assert phone.call(PASSWORD) == 200
    assert phone.media is not None
    phone.talk(4.5)  # rtpengine looks around for some three seconds; until then he could
    with lab.stranger.socket(SOCK_DGRAM) as theirs, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(talk, theirs, phone.media, 1.0, SILENCE, 5000)
        assert phone.talk(1.0).loud > 35
        sending.result()
    assert phone.hang_up() == 200


@pytest.mark.parametrize("early", [True, False])
def test_a_stranger_is_not_heard_and_hears_nothing(
    lab: Lab, phone: ProbePhone, early: bool
) -> None:
    assert phone.call(PASSWORD) == 200
    assert phone.media is not None
    if not early:
        phone.talk(3.5)
        phone.talk(0.5, SILENCE)  # the last of the echo
    with lab.stranger.socket(SOCK_DGRAM) as theirs, ThreadPoolExecutor(1) as pool:
        stranger = pool.submit(talk, theirs, phone.media, 1.0, BUZZ)
        heard = phone.talk(1.2, SILENCE)
        assert stranger.result().packets == 0
    assert heard.packets > 50
    assert heard.loud == 0
    assert phone.talk(0.6).loud > 15  # and the call goes on
    assert phone.hang_up() == 200


# ------------------------------------------------------------------ what else there is to try


def test_the_front_relays_for_nobody(lab: Lab) -> None:
    phone = lab.phone(lab.relayed)
    with lab.stranger.socket(SOCK_DGRAM) as theirs:
        target = "{}:{}".format(*theirs.getsockname())
        before = lab.calls()
        phone.target = f"sip:elsewhere@{target}"
        for method in ("INVITE", "MESSAGE", "REGISTER", "BYE", "ACK"):
            for tag in ("", "made-up"):
                for routes in ("", f"Route: <sip:{target};lr>\r\n"):
                    phone.call_id, phone.tag, phone.to_tag = os.urandom(6).hex(), "t", tag
                    phone.routes = routes
                    phone.send(method)
                    time.sleep(0.08)
        assert lab.calls() == before
        # Somebody with a password, too, gets to the agent and nowhere else.
        assert phone.call(PASSWORD) == 200
        assert phone.hang_up() == 200
        phone.routes = f"Route: <sip:{target};lr>\r\n"
        phone.send("INFO")
        theirs.settimeout(0.5)
        with pytest.raises(TimeoutError):
            theirs.recvfrom(2048)
    phone.close()


def test_no_answer_names_a_program(lab: Lab) -> None:
    answers: list[bytes] = []

    def overheard() -> socket:
        return cast("socket", Overheard(lab.stranger.socket(SOCK_DGRAM), answers))

    phone = ProbePhone(overheard, lab.outside, "phone7")
    assert phone.ask() == 200
    assert phone.ask("REGISTER") == 405
    assert phone.call() == 407
    assert phone.call(PASSWORD) == 200
    assert phone.hang_up() == 200
    phone.send("BYE")
    assert phone.final(2.0) == 481
    phone.close()
    assert len(answers) >= 7
    for answer in answers:
        assert not NAMES.search(answer), answer


def test_a_scanner_finds_nothing_and_under_another_name_no_program(
    lab: Lab, tmp_path: Path
) -> None:
    environ = {**os.environ, "HOME": str(tmp_path)}
    words = lab.stranger.words(program("sipvicious_svmap"), lab.outside[0])
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert "found nothing" in done.stdout + done.stderr
    # The same question from somebody who does not say that it is a scanner's.
    phone = lab.phone(lab.stranger)
    assert phone.ask(more="User-Agent: a telephone\r\n") == 200
    assert not {"server", "user-agent"} & set(phone.last.headers)
    phone.close()


class Overheard:
    """A socket that keeps what came in."""

    def __init__(self, real: socket, kept: list[bytes]) -> None:
        self._real, self._kept = real, kept
        self.sendto, self.settimeout = real.sendto, real.settimeout
        self.getsockname, self.close = real.getsockname, real.close

    def recvfrom(self, size: int) -> tuple[bytes, object]:
        data, source = self._real.recvfrom(size)
        if data.startswith(b"SIP/2.0"):
            self._kept.append(data)
        return data, source


def test_a_flood_is_cut_off_and_a_live_call_does_not_notice(
    lab: Lab, phone: ProbePhone, tmp_path: Path
) -> None:
    assert phone.call(PASSWORD) == 200
    before = lab.calls()
    words = (
        "sipp",
        "-sn",
        "uac",
        "-i",
        lab.flooder.address,
        "-r",
        "500",
        "-m",
        "1500",
        "-l",
        "2000",
        "-nostdin",
    )
    with lab.flooder.running(
        *words, "{}:{}".format(*lab.outside), cwd=tmp_path, stdout=subprocess.DEVNULL
    ):
        heard = phone.talk(3.0)
    assert heard.loud > 130
    assert phone.hang_up() == 200
    assert lab.calls() == before
    flooder = lab.phone(lab.flooder)
    assert flooder.ask(seconds=0.5) == 0  # it is not answered any more
    flooder.close()
    assert phone.ask() == 200
