"""`schedule_callback`: somebody shall call back, at a time at which somebody is there."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
import phonenumbers

from agent.errors import StorageError, ToolFailed
from agent.tools.base import Answer, Declaration
from agent.tools.take_message import same_wish

if TYPE_CHECKING:
    from agent.tools.base import CallInfo

SHORTEST = len("+1234567")
"""What is shorter is a number that only its own network knows."""
FURTHEST = 90
"""Days ahead that a callback may be promised."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A call that somebody was promised.

    Attributes:
        id: the same for the same promise of the same call.
        number: E.164.
        at: seconds since 1970-01-01 UTC.
        note: what about.
    """

    id: str
    number: str
    at: float
    note: str = ""


class CallbackDesk(Protocol):
    """Where promises go."""

    async def schedule(self, info: CallInfo, promise: Promise) -> None:
        """Keep a promise; one that is there already stays as it is. Raises StorageError."""
        ...


class Diary(msgspec.Struct, frozen=True):
    """When callbacks may be promised.

    Attributes:
        zone: the agent's time zone (IANA).
        is_open: whether somebody is there, at seconds since 1970-01-01 UTC.
        wall: tells those seconds now.
    """

    zone: str
    is_open: Callable[[float], bool]
    wall: Callable[[], float]

    def local(self, seconds: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(seconds, ZoneInfo(self.zone))


class ScheduleCallback:
    """Promises a call.

    Args:
        info: the call.
        desk: where promises go.
        diary: when they may be.
        who: calls back, as the model is told.
    """

    def __init__(
        self, info: CallInfo, desk: CallbackDesk, diary: Diary, who: str = "a person calls"
    ) -> None:
        self._info = info
        self._desk = desk
        self._diary = diary
        self.declaration = Declaration(
            name="schedule_callback",
            description=(
                f"Promise that {who} back. Agree on a day and time with the caller first, and say that it is settled "
                f"only after this has answered. This call began on {said(diary.local(diary.wall()))} ({diary.zone})."
            ),
            parameters={
                "type": "object",
                "properties": {
                    "at": {
                        "type": "string",
                        "description": f"When, as YYYY-MM-DDTHH:MM in local time ({diary.zone}).",
                        "maxLength": 40,
                    },
                    "number": {
                        "type": "string",
                        "description": "The number to call, where it is not the one that the caller calls from.",
                        "maxLength": 40,
                    },
                    "note": {
                        "type": "string",
                        "description": "Whom to ask for and what it is about.",
                        "maxLength": 1000,
                    },
                },
                "required": ["at"],
            },
        )

    async def run(self, args: dict[str, Any]) -> Answer:
        """Keep the promise; the same one is kept once, however often it is told."""
        at = moment(args["at"], self._diary)
        number = e164(args.get("number", "").strip(), self._info.caller)
        told = {"number": number, "at": at, "note": args.get("note", "").strip()}
        promise = Promise(id=same_wish(self._info.id, "schedule_callback", told), **told)
        try:
            await self._desk.schedule(self._info, promise)
        except StorageError as error:
            raise ToolFailed("The callback was not noted. Try once more in a moment.") from error
        when = said(self._diary.local(at))
        return Answer(
            {"result": f"Noted: a call on {when}, to the number that ends in {number[-4:]}."}
        )


def moment(text: str, diary: Diary) -> float:
    """The seconds since 1970-01-01 UTC at which a callback is wanted.

    Raises:
        ToolFailed: it is no time, not in the future, too far away, or nobody is there.
    """
    now = diary.wall()
    today = f"It is now {said(diary.local(now))}."
    try:
        wanted = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ToolFailed(f"{text!r} is no time: write it as YYYY-MM-DDTHH:MM. {today}") from None
    try:
        at = (wanted if wanted.tzinfo else wanted.replace(tzinfo=ZoneInfo(diary.zone))).timestamp()
        local = diary.local(at)
    except (ValueError, OverflowError):
        raise ToolFailed(f"That is too far away. {today}") from None
    if wanted.tzinfo is None and local.replace(tzinfo=None) != wanted:
        raise ToolFailed("The clocks are put forward then: that day does not have that time.")
    if at <= now:
        raise ToolFailed(f"That is in the past. {today}")
    if at > now + FURTHEST * 86_400:
        raise ToolFailed(f"That is more than {FURTHEST} days away. {today}")
    if not diary.is_open(at):
        raise ToolFailed(f"Nobody is there on {said(local)}. Ask for another time.")
    return at


def e164(given: str, caller: str) -> str:
    """The number to call: what the caller said, read as people write numbers where they call from, else the caller's own.

    Raises:
        ToolFailed: there is none, or it is no telephone number.
    """
    if not given:
        if not caller.startswith("+"):
            raise ToolFailed("The caller's number is not known. Ask for the number to call.")
        given = caller
    try:
        number = phonenumbers.parse(given, _region(caller))
    except phonenumbers.NumberParseException:
        raise ToolFailed(
            f"{given} cannot be read as a number. Ask for it with the country's code."
        ) from None
    found = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not phonenumbers.is_possible_number(number) or len(found) < SHORTEST:
        raise ToolFailed(f"{given} is no telephone number. Ask for it again, digit by digit.")
    return found


def _region(caller: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(caller))
    except phonenumbers.NumberParseException:
        return None


def said(local: datetime.datetime) -> str:
    """`Sunday 22 November 2026, 14:30`: with the weekday, which models get wrong."""
    return f"{local:%A} {local.day} {local:%B %Y}, {local:%H:%M}"
