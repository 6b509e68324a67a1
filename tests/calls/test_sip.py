"""Calls over SIP, from the first INVITE to the record: sipp is the caller and the judge."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import wave
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import soxr

from agent.config.settings import Settings
from agent.server.lines import SHIPPED
from agent.server.sip import prepared
from agent.simulator.brain import BenchBrain, Call, Heard, Say, speechlike
from agent.simulator.gemini_setup import Conduct
from tests.calls.exchange import exchange, within
from tests.calls.sipp_runner import Verdict, needs_sipp, sipp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

    from agent.simulator.ears import Utterance
    from tests.calls.exchange import Exchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90), needs_sipp]

LOCAL = "127.0.0.1:0"


class Operator(BenchBrain):
    """Calls a tool after the caller's first words; says goodbye when a transfer failed."""

    def __init__(self, tool: Call | None = None) -> None:
        super().__init__(0.5)
        self._tool = tool

    def prompted(self, text: str) -> Any:
        if "could not be put through" in text:
            return (Say(speechlike(0.5), "Nobody there, goodbye."), Call("end_call", {}))
        return super().prompted(text)

    def heard(self, utterance: Utterance) -> Heard:
        said = super().heard(utterance)
        return said if self._tool is None else Heard(said.text, (*said.reply, self._tool))


class Office:
    """A server that listens for SIP."""

    def __init__(self, here: Exchange, folder: Path, where: str) -> None:
        self.here = here
        self.folder = folder
        self.where = where

    async def call(self, scenario: str, *more: str, **how: Any) -> Verdict:
        """One call by sipp, which must have gone as its scenario says."""
        verdict = await sipp(self.folder, scenario, self.where, *more, **how)
        assert verdict.good, verdict.told
        return verdict

    async def record(self, n: int = 1) -> tuple[str, list[dict[str, Any]]]:
        """How the nth call ended, and its flight record."""
        folder = self.here.folder / "calls"

        def ended() -> Any:
            found = sorted(folder.glob("*/transcript.json")) if folder.exists() else []
            return found if len(found) >= n and self.here.building.active == 0 else None

        transcripts = await within(8.0, ended, "no record of the call")
        told = msgspec.json.decode(transcripts[n - 1].read_bytes())
        events = (transcripts[n - 1].parent / "events.jsonl").read_text().splitlines()
        return told["end_reason"], [msgspec.json.decode(line) for line in events]


@asynccontextmanager
async def office(
    folder: Path, tool: Call | None = None, *, listen: str = LOCAL, slow: float = 0.02, **more: Any
) -> AsyncIterator[Office]:
    where = prepared(Settings.load({"SIP_LISTEN": listen})).sip_listen
    assert where is not None
    conduct = Conduct(setup_seconds=0.02, model_delay_seconds=slow, speed=50.0)
    given = {"SIP_LISTEN": where, "SIP_HEADERS": "X-Order-Id"} | more.pop("settings", {})
    async with exchange(
        folder,
        brain=lambda: Operator(tool),
        conduct=conduct,
        agent=more.pop("agent", None),
        tones=more.pop("tones", True),
        **given,
    ) as here:
        yield Office(here, folder, where)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """What happened, one word each."""
    return [entry["kind"] for entry in events if "kind" in entry]


def digits(events: list[dict[str, Any]]) -> str:
    return "".join(entry["digit"] for entry in events if entry.get("kind") == "line_digit")


@pytest.mark.parametrize("transport", ["u1", "t1"])
async def test_a_caller_speaks_presses_keys_and_hangs_up(tmp_path: Path, transport: str) -> None:
    agent = {"variables": {"order_id": ""}, "greeting": "Your order is {{order_id}}."}
    async with office(tmp_path, agent=agent) as there:
        await there.call("speech_dtmf", "-t", transport)
        reason, events = await there.record()
        assert reason == "caller_hung_up"
        assert digits(events) == "123#"
        assert "A-17" in str(events[0])
        asked = there.here.gemini.stats()
        assert asked.opened == 1


async def test_the_agent_hangs_up(tmp_path: Path) -> None:
    async with office(tmp_path, Call("end_call", {})) as there:
        await there.call("wait_bye")
        assert (await there.record())[0] == "agent_hung_up"


async def test_a_caller_gives_up_while_it_rings(tmp_path: Path) -> None:
    async with office(tmp_path, slow=4.0, settings={"ANSWER_WITHIN": "6"}) as there:
        await there.call("cancel")
        assert (await there.record())[0] == "caller_hung_up"


async def test_a_call_is_held_and_taken_up_again(tmp_path: Path) -> None:
    async with office(tmp_path) as there:
        await there.call("hold")
        reason, events = await there.record()
        assert reason == "caller_hung_up"
        assert [entry["on"] for entry in events if entry.get("kind") == "line_held"] == [
            True,
            False,
        ]


async def test_a_caller_who_holds_may_be_silent_for_longer_than_a_line_may(tmp_path: Path) -> None:
    async with office(tmp_path) as there:
        await there.call("silent_hold")
        assert (await there.record())[0] == "caller_hung_up"


async def test_a_caller_who_vanishes_is_noticed_within_twenty_seconds(tmp_path: Path) -> None:
    async with office(tmp_path) as there:
        await there.call("vanish")
        reason, events = await there.record()
        assert reason == "line_lost"
        last = max(entry["t"] for entry in events if entry.get("kind") == "line_audio")
        assert last < 25.0


async def test_keys_come_by_info_too_and_a_session_may_be_refreshed(tmp_path: Path) -> None:
    async with office(tmp_path) as there:
        await there.call("info_update")
        reason, events = await there.record()
        assert (reason, digits(events)) == ("caller_hung_up", "576")


@pytest.mark.parametrize(
    ("called", "party", "answers"),
    [
        ("600", "", "Six"),  # forwarded: To is who was dialled first
        ("sales", "", "Test"),  # Sales answers at its own domain only
        ("x-7f", "<sip:anybody@sales.example>", "Sales"),
        ("x-7f", "", "First"),  # told by nothing else than To
    ],
)
async def test_whom_a_forwarded_call_reaches(
    tmp_path: Path, called: str, party: str, answers: str
) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    for name, number in (("Six", "600"), ("Sales", "sip:*@sales.example"), ("First", "sip:first")):
        text = f"name: {name}\npersona: You answer.\ndisclosure: false\nnumbers: ['{number}']\n"
        (agents / f"{name.lower()}.yaml").write_text(text)
    to = "To: <sip:[service]@[remote_ip]:[remote_port]>"
    dialled = f"To: <sip:{'first' if answers == 'First' else 'nobody'}@example.com>"
    says = {to: dialled} | ({"X-Order-Id: A-17": f"P-Called-Party-ID: {party}"} if party else {})
    async with office(tmp_path) as there:
        await there.call("short", service=called, says=says)
        _, events = await there.record()
        assert events[0]["agent"] == answers


TRANSFERS = {"tools": ["end_call", "transfer_call"], "transfer": {"sales": "sip:sales@127.0.0.1"}}
PUT_THROUGH = Call("transfer_call", {"target": "sales"})


async def test_the_agent_puts_a_caller_through(tmp_path: Path) -> None:
    async with office(tmp_path, PUT_THROUGH, agent=TRANSFERS) as there:
        await there.call("refer")
        assert (await there.record())[0] == "transferred"


async def test_a_caller_whom_nobody_takes_is_back_with_the_agent(tmp_path: Path) -> None:
    async with office(tmp_path, PUT_THROUGH, agent=TRANSFERS) as there:
        await there.call("refer_busy")
        reason, events = await there.record()
        assert reason == "agent_hung_up"
        assert "the line is busy" in str(events)


@pytest.mark.parametrize("scenario", ["delayed_offer", "pcma"])
async def test_other_ways_to_offer_sound(tmp_path: Path, scenario: str) -> None:
    async with office(tmp_path) as there:
        await there.call(scenario)
        reason, events = await there.record()
        assert reason == "caller_hung_up"
        assert "caller_said" in kinds(events)  # the words were heard


async def test_a_codec_that_changes_in_mid_call_leaves_the_line_as_it_is(tmp_path: Path) -> None:
    """G.722, then G.711, then G.722: 16 kHz all along, the words in between are understood, and the answer to them is heard."""
    async with office(tmp_path) as there:
        await there.call("codec_change")
        reason, events = await there.record()
        assert reason == "caller_hung_up"
        (started,) = [entry for entry in events if entry.get("kind") == "line_started"]
        assert started["rate"] == 16000
        frames = [entry for entry in events if entry.get("kind") == "line_audio"]
        assert {entry["pcm"][2] for entry in frames} == {320}
        assert frames[-1]["t"] - frames[0]["t"] == pytest.approx(0.02 * len(frames), abs=0.5)
        said = [entry for entry in events if entry.get("kind") == "caller_said"]
        assert re.fullmatch(r"\[speech [12]\.\d s\]", "".join(entry["text"] for entry in said))
        played = [entry["t"] for entry in events if entry.get("kind") == "line_mark"]
        assert max(played) > said[0]["t"]


async def test_what_is_no_call(tmp_path: Path) -> None:
    async with office(tmp_path) as there:
        await there.call("no_codec")
        await there.call("options")
        assert there.here.opened == 0


async def test_calls_by_ipv6(tmp_path: Path) -> None:
    async with office(tmp_path, listen="[::1]:0") as there:
        await there.call("speech_dtmf", host="::1")
        reason, events = await there.record()
        assert (reason, digits(events)) == ("caller_hung_up", "123#")


async def test_calls_over_a_network_that_loses_a_tenth_of_all_messages(tmp_path: Path) -> None:
    """RFC 3261, section 17: both sides send again."""
    async with office(tmp_path) as there:
        await there.call("short", "-m", "10", "-r", "5", "-lost", "10", seconds=60)
        # Whose last words were lost as well is gone like anybody who vanishes.
        await within(30.0, lambda: there.here.building.active == 0, "a call is left")


async def test_who_calls_a_full_house_is_refused(tmp_path: Path) -> None:
    async with office(tmp_path, settings={"MAX_CALLS": "1"}) as there:
        first = there.here.building

        async def another() -> None:
            await within(5.0, lambda: first.active == 1, "nobody calls")
            await there.call("busy")

        await asyncio.gather(there.call("speech_dtmf"), another())
        first.drain()
        await there.call("busy")


async def test_where_that_is_wanted_a_refused_caller_is_told_in_words_and_the_next_is_not(
    tmp_path: Path,
) -> None:
    """The sentence as it is delivered, at the ear of a telephone in another process, to its last sample."""
    settings = {"SPOKEN_REFUSALS": "1"}
    async with office(tmp_path, settings=settings, tones=False) as there:
        building = there.here.building
        building.drain()

        async def another() -> None:
            await within(5.0, lambda: building.active == 1, "nobody is told")
            await there.call("busy")

        begun = asyncio.get_running_loop().time()
        await asyncio.gather(there.call("told_busy"), another())
        assert 4.2 < asyncio.get_running_loop().time() - begun < 8.0
        await within(1.0, lambda: building.active == 0, "somebody is still told")
        heard = await softphone(tmp_path / "heard.wav", f"sip:desk@{there.where}")
        found = pieces(heard, "busy")
        assert sum(found) > 0.8 * len(found), (
            found
        )  # a frame that came too late takes a piece with it
        assert any(found[-3:]), found
        assert there.here.opened == 0


async def softphone(path: Path, to: str) -> NDArray[np.float64]:
    """Call `to`, say nothing until the other side hangs up, and give what was heard at 8 kHz."""
    command = ("-m", "agent", "simulate", "sip", "--to", to, "--out", str(path))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command, "--patience", "60", "--seconds", "20", "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert json.loads(out)["ended"] == "agent_hung_up", (out, err)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, 2)
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return sound[1::2].astype(float)


def pieces(heard: NDArray[np.float64], line: str) -> list[bool]:
    """Of each tenth of a second of a shipped line with a voice in it: whether it was heard, behind the ones before it."""
    with wave.open(str(SHIPPED / f"{line}.en.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    said = soxr.resample(sound.astype(float), 24_000, 8_000)
    size, behind = 800, 0
    power = np.convolve(heard**2, np.ones(size), "valid")
    found: list[bool] = []
    for at in range(0, len(said) - size + 1, size):
        piece = said[at : at + size]
        if (piece**2).mean() < 300.0**2:
            continue
        like = np.correlate(heard, piece, "valid") / np.sqrt(power * (piece**2).sum() + 1)
        best = int(like[behind:].argmax()) + behind if behind < len(like) else 0
        found.append(bool(like[best] > 0.9))
        behind = best + size // 2 if found[-1] else behind
    return found
