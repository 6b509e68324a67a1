"""A telephone system calls a Twilio SIP domain: the same webhook and stream, other words for who calls whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.simulator.report import Ended
from tests.calls.exchange import exchange, words

if TYPE_CHECKING:
    from pathlib import Path

SID = "CA" + "5" * 32


async def test_the_called_user_chooses_the_agent_and_only_headers_it_asks_for_are_its_variables(
    tmp_path: Path,
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "another.yaml").write_text("name: Another\npersona: You answer.\n")
    agent = {
        "numbers": ["sip:desk"],
        "greeting": "Your order is {{order_id}}.",
        "variables": {"order_id": "none"},
    }
    async with exchange(tmp_path, agent=agent) as here:
        heard = await here.call(
            words(0.4),
            call_sid=SID,
            from_number="sip:ada@192.0.2.7:5060",
            to_number="sip:Desk@acme.sip.twilio.com;region=ie1",
            sip_headers={"X-Order-Id": "A-17", "X-Other": "canary"},
            max_seconds=2.0,
        )
        assert heard.report.ended is Ended.CALLER_HUNG_UP
        assert len(heard.report.heard) >= 1
        await here.record(SID)
        started = here.events(SID)[0]
        assert started["agent"] == "Test"
        assert "A-17" in str(started)
        assert "canary" not in str(started)
        assert "ada@" not in here.log.getvalue()
