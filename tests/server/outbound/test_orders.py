"""By whom a call goes: what the agent's file wants, what is set up, and what is refused before anybody is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.config.agent_files import AgentFiles
from agent.config.settings import Settings
from agent.errors import CarrierRefused
from agent.protocols.door import CallOrder
from agent.server.outbound.carrier import Carriers
from agent.server.outbound.destinations import Destinations
from agent.server.outbound.orders import OrderRefused, Orders, Ways
from agent.server.outbound.outbound import ways
from agent.storage.attempts import Caps

if TYPE_CHECKING:
    from pathlib import Path

    from agent.server.stores import Stores

NUMBER, ADDRESS, OURS = "+12125551234", "sip:desk@pbx.example", "+15551234567"
OWN = "sip:agent@10.0.0.1:5060"
ALL_WAYS = Ways("twilio", OWN, trunk=True)
RULES = Destinations(frozenset({"US"}), hosts=frozenset({"pbx.example"}))


def orders(
    folder: Path, stores: Stores, known: Ways, by: str = "", caller_id: str | None = OURS
) -> Orders:
    wants = f"outbound: {{by: {by}}}\n" if by else ""
    (folder / "test.yaml").write_text(f"name: Test\npersona: You call.\n{wants}")
    return Orders(
        stores.attempts, AgentFiles(folder, print), lambda: RULES, caller_id, Caps(), known
    )


@pytest.mark.parametrize(
    ("to", "known", "by", "way"),
    [
        (NUMBER, Ways(), "", "twilio"),
        (NUMBER, ALL_WAYS, "", "twilio"),
        (NUMBER, ALL_WAYS, "sip", "sip"),
        (NUMBER, ALL_WAYS._replace(usual="sip"), "", "sip"),
        (NUMBER, ALL_WAYS._replace(usual="sip"), "twilio", "twilio"),
        (ADDRESS, ALL_WAYS, "twilio", "sip"),
        (ADDRESS, ALL_WAYS._replace(trunk=False), "", "sip"),
    ],
)
def test_by_whom_a_call_goes(
    tmp_path: Path, stores: Stores, to: str, known: Ways, by: str, way: str
) -> None:
    habits = orders(tmp_path, stores, known, by).check(to, "test", {}).habits
    assert (habits.by, habits.caller_id) == (way, OURS)


@pytest.mark.parametrize(
    ("to", "known", "by", "told"),
    [
        (ADDRESS, Ways(), "", "SIP_LISTEN"),
        (NUMBER, Ways(), "sip", "SIP_LISTEN"),
        (NUMBER, ALL_WAYS._replace(trunk=False), "sip", "SIP_TRUNK"),
    ],
)
def test_what_nobody_can_carry_is_refused_at_once(
    tmp_path: Path, stores: Stores, to: str, known: Ways, by: str, told: str
) -> None:
    with pytest.raises(OrderRefused, match=told) as refused:
        orders(tmp_path, stores, known, by).check(to, "test", {})
    assert refused.value.why == "carrier"


def test_by_sip_an_agent_without_a_number_calls_from_our_address(
    tmp_path: Path, stores: Stores
) -> None:
    rules = orders(tmp_path, stores, ALL_WAYS, caller_id=None)
    assert rules.check(ADDRESS, "test", {}).habits.caller_id == OWN
    with pytest.raises(OrderRefused, match="no number to call from"):
        rules.check(NUMBER, "test", {})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Ways()),
        ({"SIP_LISTEN": "10.0.0.1:5060"}, Ways("twilio", OWN, trunk=False)),
        ({"SIP_LISTEN": "10.0.0.1:5060", "SIP_TRUNK": "t.example"}, Ways("sip", OWN, trunk=True)),
        (
            {
                "SIP_LISTEN": "10.0.0.1:5060",
                "SIP_REGISTRAR": "pbx.example",
                "SIP_USER": "600",
                "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
            },
            Ways("twilio", "sip:600@pbx.example", trunk=True),
        ),
    ],
)
def test_what_the_settings_set_up(given: dict[str, str], expected: Ways) -> None:
    assert ways(Settings.load(given)) == expected


class OneCarrier:
    """Says what it is asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []

    async def place(self, order: CallOrder) -> str:
        return f"{self.name} places"

    async def find(self, order: CallOrder, since: float) -> str | None:
        return f"{self.name} finds"

    async def unreached(self, call_id: str) -> str | None:
        return f"{self.name} tells"

    async def hang_up(self, call_id: str) -> bool:
        self.asked.append(call_id)
        return True


async def test_each_call_is_the_carrier_s_that_has_it() -> None:
    twilio, sip = OneCarrier("twilio"), OneCarrier("sip")
    both = Carriers({"twilio": twilio, "sip": sip})
    order = CallOrder("o1-1", NUMBER, OURS)
    assert await both.place(order) == "twilio places"
    assert await both.place(order._replace(by="sip")) == "sip places"
    assert await both.find(order._replace(by="sip"), 0.0) == "sip finds"
    assert await both.unreached("CA1") == "twilio tells"
    assert await both.unreached("sip:o1-1") == "sip tells"
    await both.hang_up("sip:o1-1")
    assert (twilio.asked, sip.asked) == ([], ["sip:o1-1"])
    with pytest.raises(CarrierRefused):
        await Carriers({"sip": sip}).hang_up("CA1")
