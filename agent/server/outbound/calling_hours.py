"""When somebody may be called: by the clock at the callee's, never by ours. Pure.

A number tells its time zone only roughly: a fixed line's area has one, a mobile of a large country several. All zones that are possible
must be inside the hours, and a number whose zone is not known is never called. Where the metadata has another zone for some exchanges of
an area, the area's counts too: exchanges are moved and numbers are taken along, within their area. A number that was ported
farther is beyond what any number can tell.

Source of the hours: 47 CFR 64.1200(c)(1), "before the hour of 8 a.m. or after 9 p.m. (local time at the called party's location)".
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import phonenumbers
from phonenumbers.timezone import UNKNOWN_TIMEZONE, time_zones_for_number
from phonenumbers.tzdata import TIMEZONE_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

AHEAD = 8
"""Days that are searched for the next permitted moment: a week and the day that it begins with."""


class CallingHours(msgspec.Struct, frozen=True):
    """The hours, on the callee's clock.

    Attributes:
        begins, ends: a call may be placed from `begins` on and before `ends`, of the same day.
        days: on which days of the week, Monday 0.
        zone: whose clock counts for an address, which tells of no place (IANA): the agent's own.
    """

    begins: time = time(8)
    ends: time = time(21)
    days: frozenset[int] = frozenset(range(7))
    zone: str = "UTC"

    def permits(self, number: str, wall: float) -> bool:
        """Whether a number (E.164) or a `sip:` address may be called now.

        Args:
            number: who is called.
            wall: seconds since 1970-01-01 UTC.
        """
        found = self._zones(number)
        return bool(found) and all(self._inside(wall, zone) for zone in found)

    def next_permitted(self, number: str, wall: float) -> float | None:
        """The first moment from `wall` on at which the number may be called; None where there is none, or nobody knows."""
        if self.permits(number, wall):
            return wall
        openings = sorted(
            opening for zone in self._zones(number) for opening in self._openings(wall, zone)
        )
        return next((at for at in openings if at > wall and self.permits(number, at)), None)

    def _zones(self, number: str) -> tuple[ZoneInfo, ...]:
        return (ZoneInfo(self.zone),) if number.startswith("sip:") else zones(number)

    def _inside(self, wall: float, zone: ZoneInfo) -> bool:
        local = datetime.fromtimestamp(wall, zone)
        return local.weekday() in self.days and self.begins <= local.time() < self.ends

    def _openings(self, wall: float, zone: ZoneInfo) -> list[float]:
        """When the hours begin in a zone; hours common to several zones begin when those of one of them do."""
        today = datetime.fromtimestamp(wall, zone).date()
        days = (today + timedelta(days=ahead) for ahead in range(-1, AHEAD))
        # Through UTC, so that an hour that the clock leaves out becomes the moment after it.
        return [
            datetime.combine(day, self.begins, zone).astimezone(UTC).timestamp() for day in days
        ]


@lru_cache(4096)
def zones(number: str) -> tuple[ZoneInfo, ...]:
    """All time zones that a number (E.164) may be in; none where one of them is not known."""
    try:
        parsed = phonenumbers.parse(number)
        names = {*time_zones_for_number(parsed), *_of_its_area(parsed)}
        return () if UNKNOWN_TIMEZONE in names else tuple(ZoneInfo(name) for name in sorted(names))
    except (phonenumbers.NumberParseException, ZoneInfoNotFoundError):
        return ()


def _of_its_area(parsed: phonenumbers.PhoneNumber) -> Iterator[str]:
    """Zones of all prefixes of a number that are longer than its country's."""
    country = str(parsed.country_code)
    digits = country + phonenumbers.national_significant_number(parsed)
    for end in range(len(country) + 1, len(digits) + 1):
        yield from TIMEZONE_DATA.get(digits[:end], ())
