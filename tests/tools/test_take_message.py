"""Messages: written down once, after the caller has said that they are right."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import StorageError, ToolFailed
from agent.tools.base import CallInfo
from agent.tools.schema import plain
from agent.tools.take_message import LeftMessage, TakeMessage

CALL = CallInfo("c1", "front_desk", "+15550001111")


class Inbox:
    """Keeps what it is given, or nothing."""

    def __init__(self, *, down: bool = False) -> None:
        self.kept: list[LeftMessage] = []
        self.down = down

    async def take(self, info: CallInfo, message: LeftMessage) -> None:
        if self.down:
            raise StorageError("down")
        self.kept.append(message)


async def take(inbox: Inbox, info: CallInfo = CALL, **args: Any) -> dict[str, Any]:
    answer = await TakeMessage(info, inbox).run({"message": "The tap drips.", **args})
    return answer.response


async def test_a_message_holds_what_was_said_and_whom_to_answer() -> None:
    inbox = Inbox()
    said = await take(inbox, name=" Anna ", urgent=True, confirmed=True)
    (message,) = inbox.kept
    assert (message.text, message.name, message.number) == (
        "The tap drips.",
        "Anna",
        "+15550001111",
    )
    assert message.urgent
    assert "written down" in said["result"]


async def test_the_number_that_the_caller_gives_goes_before_the_one_that_called() -> None:
    inbox = Inbox()
    await take(inbox, number="555 0102", confirmed=True)
    await take(inbox, CallInfo("c2", "front_desk"), confirmed=True)
    assert [message.number for message in inbox.kept] == ["555 0102", ""]


async def test_what_was_not_read_back_is_not_written_down() -> None:
    inbox = Inbox()
    with pytest.raises(ToolFailed, match="Read the message back"):
        await take(inbox, confirmed=False)
    assert inbox.kept == []


async def test_the_same_message_has_the_same_id_and_another_call_another_one() -> None:
    inbox = Inbox()
    await take(inbox, confirmed=True)
    await take(inbox, confirmed=True, urgent=True)
    await take(inbox, CallInfo("c2", "front_desk", "+15550001111"), confirmed=True)
    await take(inbox, confirmed=True, message="Another one.")
    first, again, other_call, other_text = (message.id for message in inbox.kept)
    assert first == again
    assert len({first, other_call, other_text}) == 3


async def test_a_message_that_is_not_kept_is_not_promised() -> None:
    with pytest.raises(ToolFailed, match="not kept"):
        await take(Inbox(down=True), confirmed=True)


def test_it_is_declared_in_words_that_models_read() -> None:
    schema = TakeMessage.declaration.parameters or {}
    assert plain(schema, "take_message", strict=True) == schema
