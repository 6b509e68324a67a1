"""Calls that we place: ordered over the API, dialled by Twilio's stand-in, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import msgspec
import pytest

from agent.errors import CarrierSilent
from agent.server.stores import Stores
from agent.simulator.brain import BenchBrain, Brain
from agent.simulator.callee import Directory, parse
from agent.simulator.clock import wall
from agent.simulator.network import NetworkOptions
from agent.simulator.phone import Manners
from agent.simulator.rest import TwilioStandIn, serving as twilio_serving
from agent.simulator.rest_forms import ApiError
from agent.storage.callbacks import Callback
from agent.telephony.twilio_rest import TwilioCalls
from tests.calls.exchange import ACCOUNT, AUTH_TOKEN, Exchange, exchange, within

pytestmark = pytest.mark.slow

OURS, CALLEE = "+12025550100", "+12025550143"
API_TOKEN = "token-of-the-api"
BRIEF = Manners(patience_s=0.3, hang_up_after_s=0.8)
"""Whoever picks up listens for a moment and hangs up."""
ANY_TIME = {"calling_hours": "00:00-24:00"}


class Caller:
    """Somebody who orders calls."""

    def __init__(self, exchange: Exchange, twilio: TwilioStandIn) -> None:
        self.exchange = exchange
        self.twilio = twilio

    async def ask(
        self, method: str, path: str, *, token: str = API_TOKEN, key: str = "", **body: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                method, self.exchange.url + path, json=body or None, headers=headers
            ) as answer,
        ):
            return answer.status, await answer.json() if answer.content_length else None

    async def order(self, **more: Any) -> tuple[int, Any]:
        key = more.pop("key", "")
        return await self.ask(
            "POST", "/api/calls", key=key, **({"to": CALLEE, "agent": "test"} | more)
        )

    async def ended(self, call: str, seconds: float = 20.0) -> dict[str, Any]:
        """What became of a call, once it is over."""
        return await self.until(call, lambda told: told["state"] == "ended", seconds)

    async def until(
        self, call: str, holds: Callable[[dict[str, Any]], bool], seconds: float = 20.0
    ) -> dict[str, Any]:
        """What is told of a call, once that holds."""
        told: dict[str, Any] = {}
        for _ in range(int(seconds / 0.05)):
            _, told = await self.ask("GET", f"/api/calls/{call}")
            if holds(told):
                return told
            await asyncio.sleep(0.05)
        raise AssertionError(f"still {told}")

    async def became(self, **more: Any) -> dict[str, Any]:
        status, told = await self.order(**more)
        assert status == 202, told
        return await self.ended(told["id"])

    @property
    def dialled(self) -> int:
        return len(self.twilio.network.calls)


@asynccontextmanager
async def office(
    folder: Path,
    party: str = "human:talk=1",
    agent: dict[str, Any] | None = None,
    brain: Callable[[], Brain] = lambda: BenchBrain(0.4),
    **settings: str,
) -> AsyncIterator[Caller]:
    options = NetworkOptions(account_sid=ACCOUNT, auth_token=AUTH_TOKEN, start_delay_s=0.0)
    callee = msgspec.structs.replace(parse(party), manners=BRIEF)
    directory = Directory({CALLEE: callee, "+12025550144": callee})
    given = {
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "CALLER_ID": OURS,
        "CALL_COUNTRIES": "US",
        "API_TOKEN": API_TOKEN,
        "CALLS_PER_SECOND": "50",
        "CALLS_PER_NUMBER": "50",
    }
    described = {"outbound": ANY_TIME} | (agent or {})
    async with twilio_serving(options, directory) as twilio:
        given["TWILIO_API_URL"] = twilio.origin
        environ: dict[str, Any] = given | settings
        async with exchange(folder, brain=brain, agent=described, **environ) as running:
            yield Caller(running, twilio)


async def test_a_call_is_placed_greets_and_ends_with_one_record(tmp_path: Path) -> None:
    async with office(tmp_path) as caller:
        told = await caller.became()
        (sid,) = caller.twilio.network.calls
        assert told["provider_call_id"] == sid
        record = await caller.exchange.record(sid)
        assert (told["reason"], record.end_reason) == ("caller_hung_up", "caller_hung_up")
        assert record.legs == 1
        report = caller.twilio.network.calls[sid].report
        assert report.violations == []
        assert report.heard  # the agent spoke to whoever picked up


async def test_a_promised_call_is_made_when_it_is_due(tmp_path: Path) -> None:
    agent = {"outbound": ANY_TIME | {"callbacks": "any"}}
    async with office(tmp_path, agent=agent) as caller:
        stores = Stores.at(f"sqlite:///{caller.exchange.folder / 'pickup.db'}")
        due = wall() + 0.5
        promise = Callback(
            id="p1",
            call="c1",
            agent="Test",
            made_at=due - 60,
            number=CALLEE,
            at=due,
            note="A bill.",
        )
        await stores.callbacks.schedule(promise)
        with patch("agent.server.outbound.promises.LOOK_EVERY", 0.1):
            await within(15.0, lambda: caller.dialled, "nobody was called")
        (sid,) = caller.twilio.network.calls
        assert (await caller.exchange.record(sid, 20.0)).end_reason == "caller_hung_up"
        assert await stores.callbacks.open() == []
        await stores.close()


@pytest.mark.parametrize(
    ("party", "reason"),
    [
        ("busy", "caller_busy"),
        ("failed", "call_failed"),
        ("no-answer:after=0.2", "no_answer"),
        ("refused:code=21211", "invalid_number"),
        ("fax:greeting=0.3", "fax"),
    ],
)
async def test_whoever_is_not_reached_is_told_with_the_reason(
    party: str, reason: str, tmp_path: Path
) -> None:
    once = {"outbound": ANY_TIME | {"attempts": 1}}
    async with office(tmp_path, party, once) as caller:
        told = await caller.became()
        assert (told["reason"], told["tries"]) == (reason, 1)


LEAVES_WORD = {"outbound": ANY_TIME | {"voicemail": "Ask to be called back.", "attempts": 1}}


@pytest.mark.parametrize(
    "party",
    [
        "machine:greeting=0.8,beep=1.2",
        "machine:greeting=0.8,beep=none",
        "machine:greeting=0.8,beep=1.2,verdict=machine_end_other@1.5",
    ],
)
async def test_a_machine_gets_the_message_whole_and_after_its_greeting(
    party: str, tmp_path: Path
) -> None:
    async with office(tmp_path, party, LEAVES_WORD) as caller:
        told = await caller.became()
        assert told["reason"] == "voicemail"
        (sid,) = caller.twilio.network.calls
        call = caller.twilio.network.calls[sid]
        asked = [
            command["text"]
            for event in caller.exchange.events(sid)
            for command in event["do"]
            if command["kind"] == "send_text"
        ]
        assert [("Ask to be called back." in text) for text in asked] == [False, True]
        assert call.report.heard[-1].heard_ms >= 390  # of 400 ms, to the end
        assert call.report.violations == []


@pytest.mark.parametrize("verdict", ["machine_start@0.3", "unknown@0.3", "human@0.3"])
async def test_a_verdict_that_proves_nothing_hangs_up_on_nobody(
    verdict: str, tmp_path: Path
) -> None:
    async with office(tmp_path, f"human:verdict={verdict}") as caller:
        told = await caller.became()
        assert told["reason"] in {"caller_hung_up", "voicemail"}
        (sid,) = caller.twilio.network.calls
        record = caller.twilio.network.calls[sid].record
        assert record.hung_up_by == "person"


async def test_a_busy_line_is_tried_again_later_and_not_more_often_than_the_file_says(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "busy", {"outbound": ANY_TIME | {"attempts": 2}}) as caller:
        _, told = await caller.order()
        now = await caller.until(told["id"], lambda told: bool(told["reason"]))
        assert (now["state"], now["reason"], now["tries"]) == ("reserved", "caller_busy", 1)
        assert now["not_before"] - told["reserved_at"] > 3590


async def test_the_same_key_is_the_same_call(tmp_path: Path) -> None:
    async with office(tmp_path) as caller:
        answers = await asyncio.gather(*(caller.order(key="once") for _ in range(10)))
        assert {status for status, _ in answers} == {202}
        (call,) = {told["id"] for _, told in answers}
        await caller.ended(call)
        assert caller.dialled == 1
        status, told = await caller.order(key="once", to="+12025550144")
        assert (status, told["error"]["why"]) == (409, "key")


async def test_variables_reach_the_persona(tmp_path: Path) -> None:
    told = {"persona": "You remind {{patient}}.", "variables": {"patient": None}}
    async with office(tmp_path, agent=told) as caller:
        await caller.became(variables={"patient": "Ada"})
        status, refused = await caller.order(variables={"patient": "Ada", "dose": "2"})
        assert (status, refused["error"]["why"]) == (422, "variables")
        assert "dose" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("order", "status", "why"),
    [
        ({"to": "2025550143"}, 422, "number"),
        ({"to": "+19005550143"}, 403, "destination"),
        ({"to": "+442079460000"}, 403, "destination"),
        ({"to": OURS}, 403, "destination"),
        ({"agent": "nobody"}, 422, "agent"),
        ({"agent": "../test"}, 422, "agent"),
        ({"variables": {"x": "1"}}, 422, "variables"),
        ({"variables": 3}, 400, "body"),
        ({"too": "many"}, 400, "body"),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused_and_nothing_is_dialled(
    order: dict[str, Any], status: int, why: str, tmp_path: Path
) -> None:
    async with office(tmp_path) as caller:
        found, told = await caller.order(**order)
        assert (found, told["error"]["why"]) == (status, why)
        assert "0143" not in told["error"]["message"]
        assert caller.dialled == 0


async def test_whoever_has_no_token_learns_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as caller:
        for token in ("", "token-of-the-ap", API_TOKEN + "x", "ä"):
            status, told = await caller.ask("POST", "/api/calls", token=token, to=CALLEE)
            assert (status, told["error"]["why"]) == (401, "token")
        assert (await caller.ask("GET", "/api/calls/x"))[0] == 404


async def test_outside_the_hours_an_order_is_refused_or_waits(tmp_path: Path) -> None:
    never_now = {"outbound": {"calling_hours": "03:00-03:01"}}
    async with office(tmp_path, agent=never_now) as caller:
        status, told = await caller.order()
        if status == 202:
            pytest.skip("it is three in the morning there")
        assert (status, told["error"]["why"]) == (409, "hours")
        status, waits = await caller.order(wait=True)
        assert (status, waits["state"]) == (202, "reserved")
        assert waits["not_before"] == told["error"]["not_before"]
        assert (await caller.ask("DELETE", f"/api/calls/{waits['id']}"))[0] == 204
        assert (await caller.ended(waits["id"]))["reason"] == "cancelled"
        assert caller.dialled == 0


async def test_an_answer_that_says_nothing_is_looked_into_and_counts_as_a_try(
    tmp_path: Path,
) -> None:
    once = {"outbound": ANY_TIME | {"attempts": 1}}
    with patch("agent.server.outbound.dialer.ASK_AGAIN", (0.05, 0.2)):
        async with office(tmp_path, agent=once) as caller:
            caller.twilio.rest.refusals.append(ApiError(20500, "sorry", 500))
            told = await caller.became()
            assert (told["reason"], told["tries"], caller.dialled) == ("carrier_silent", 1, 0)


async def test_a_call_that_was_placed_without_an_answer_is_found_and_lived(tmp_path: Path) -> None:
    """Twilio places the call, and its answer is lost on the way."""
    with patch("agent.server.outbound.dialer.ASK_AGAIN", (0.05, 0.2)):
        async with office(tmp_path) as caller:
            place = TwilioCalls.place

            async def lost(self: TwilioCalls, order: Any) -> str:
                await place(self, order)
                raise CarrierSilent("the answer was lost")

            with patch.object(TwilioCalls, "place", lost):
                told = await caller.became()
            assert (told["reason"], told["tries"]) == ("caller_hung_up", 1)
            assert caller.dialled == 1


async def test_caps_are_kept(tmp_path: Path) -> None:
    async with office(tmp_path, CALLS_PER_NUMBER="2", CALLS_PER_HOUR="3") as caller:
        answers = [await caller.order() for _ in range(4)]
        assert [status for status, _ in answers] == [202, 202, 429, 429]
        assert answers[2][1]["error"]["why"] == "number_per_day"
        status, _ = await caller.order(to="+12025550144")
        assert status == 202
        status, told = await caller.order(to="+12025550145")
        assert (status, told["error"]["why"]) == (429, "per_hour")
        for call in answers[:2]:
            await caller.ended(call[1]["id"])
