"""Opening hours: ranges of local time by weekday, and the days on which nobody is there."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agent.config.shapes import OneOrMore, Part, Shape

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

MIDNIGHT = 24 * 60
"""Minutes of a day."""

_TIME = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9]|24:00"
_SPAN = re.compile(rf"({_TIME})\s*-\s*({_TIME})")


class Span(NamedTuple):
    """From one time of the day until another, in minutes since midnight; the end is not part of it.

    One that ends at or before its beginning ends on the next day.
    """

    opens: int
    closes: int

    def holds(self, minute: int) -> bool:
        """Whether a minute of the day on which the span begins lies in it."""
        return self.opens <= minute < (self.closes if self.closes > self.opens else MIDNIGHT)

    def holds_after_midnight(self, minute: int) -> bool:
        """Whether a minute of the day after lies in it."""
        return self.closes <= self.opens and minute < self.closes


def _span(value: object) -> object:
    if not isinstance(value, str):
        return value if isinstance(value, Span) else None
    found = _SPAN.fullmatch(value.strip())
    if found is None:
        raise ValueError("not a range")
    opens, closes = (int(time[:-3]) * 60 + int(time[-2:]) for time in found.groups())
    if opens in (MIDNIGHT, closes):
        raise ValueError("empty")
    return Span(opens, closes)


TimeRange = Annotated[
    Span,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": rf"^({_TIME})\s*-\s*({_TIME})$"}),
    Shape("a range such as 08:00-18:00"),
]


def _date(text: str) -> str:
    """Check YYYY-MM-DD, or MM-DD for a day of every year."""
    datetime.date.fromisoformat(text if len(text) > 5 else f"2024-{text}")
    return text


Day = Annotated[
    tuple[TimeRange, ...],
    OneOrMore,
    Shape("a range such as 08:00-18:00, or a list of them; a day that is left out is closed"),
]
Holiday = Annotated[
    str,
    Field(pattern=r"^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$"),
    AfterValidator(_date),
    Shape("a day such as 2026-12-24, or 12-25 for every year"),
]


class Hours(Part):
    """When the agent's people are there, in the agent's time zone."""

    monday: Day = ()
    tuesday: Day = ()
    wednesday: Day = ()
    thursday: Day = ()
    friday: Day = ()
    saturday: Day = ()
    sunday: Day = ()
    holidays: Annotated[
        tuple[Holiday, ...], Shape("a list of days such as 2026-12-24, or 12-25 for every year")
    ] = ()

    def on(self, day: datetime.date) -> tuple[Span, ...]:
        """The ranges that begin on a day."""
        if {day.isoformat(), day.isoformat()[5:]} & set(self.holidays):
            return ()
        spans: tuple[Span, ...] = getattr(self, DAYS[day.weekday()])
        return spans


def is_open(hours: Hours, zone: str, wall: float) -> bool:
    """Say whether somebody is there.

    Args:
        hours: when.
        zone: the time zone in which they are meant (IANA).
        wall: seconds since 1970-01-01 UTC.
    """
    local = datetime.datetime.fromtimestamp(wall, ZoneInfo(zone))
    minute = local.hour * 60 + local.minute
    yesterday = local.date() - datetime.timedelta(days=1)
    return any(span.holds(minute) for span in hours.on(local.date())) or any(
        span.holds_after_midnight(minute) for span in hours.on(yesterday)
    )
