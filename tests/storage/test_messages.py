"""Messages and promises to call back: each stored once, and found again."""

from __future__ import annotations

from typing import Any

from agent.storage.callbacks import Callback, Callbacks, CallbackState
from agent.storage.database import Database
from agent.storage.messages import Message, Messages


def message(name: str, **fields: Any) -> Message:
    base: dict[str, Any] = {
        "id": name,
        "call": "c1",
        "agent": "front_desk",
        "taken_at": 100.0,
        "text": "The tap drips again.",
        "from_number": "+15550001111",
        "urgent": True,
    }
    return Message(**(base | fields))


def callback(name: str, **fields: Any) -> Callback:
    base: dict[str, Any] = {
        "id": name,
        "call": "c1",
        "agent": "front_desk",
        "made_at": 100.0,
        "number": "+15550001111",
        "at": 5000.0,
        "note": "About the bill.",
    }
    return Callback(**(base | fields))


async def test_a_message_is_stored_once_and_comes_back_as_it_was(database: Database) -> None:
    messages = Messages(database)
    assert await messages.take(message("m1"))
    assert not await messages.take(message("m1", text="Something else."))
    assert await messages.take(message("m2", call="c2", taken_at=101.0, from_number=None))
    assert await messages.recent(1) == [message("m2", call="c2", taken_at=101.0, from_number=None)]
    assert await messages.recent(call="c1") == [message("m1")]


async def test_a_promise_is_open_until_it_is_kept_or_withdrawn(database: Database) -> None:
    callbacks = Callbacks(database)
    assert await callbacks.schedule(callback("b1"))
    assert not await callbacks.schedule(callback("b1", at=1.0))
    await callbacks.schedule(callback("b2", at=4000.0, call="c2"))
    assert [each.id for each in await callbacks.open()] == ["b2", "b1"]
    assert [each.id for each in await callbacks.open(until=4500.0)] == ["b2"]
    assert [each.id for each in await callbacks.due({"front_desk"}, 4000.0, 4999.0)] == ["b2"]
    assert len(await callbacks.due({"front_desk", "other"}, 0.0, 5000.0)) == 2
    assert await callbacks.due({"other"}, 0.0, 5000.0) == []
    assert await callbacks.settle("b1", CallbackState.DONE)
    assert not await callbacks.settle("b1", CallbackState.CANCELLED)
    assert [each.id for each in await callbacks.open()] == ["b2"]
    assert await callbacks.of_call("c1") == [callback("b1", state=CallbackState.DONE)]
