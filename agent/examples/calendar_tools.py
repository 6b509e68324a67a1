"""Tools of the booking example: a calendar of half hours in one SQLite file, made when it is first used.

Copy this file beside your agent's file and change it, or put your own calendar behind the same three functions. It is read again
when you save it.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from agent.tools.python_tool import CallInfo, ToolFailed, tool

FILE = "calendar.db"
"""The calendar, in the folder `data` of where Pickup was started; where there is none, in the system's folder for temporary files."""

ZONE = ZoneInfo("America/New_York")
OPENS, CLOSES = 9, 17
"""The first half hour begins at nine, the last one ends at five; Monday to Friday."""
AHEAD = 60
"""Days that one can book ahead."""

TABLE = """CREATE TABLE IF NOT EXISTS appointments
    (day TEXT, at TEXT, name TEXT, number TEXT, call TEXT, PRIMARY KEY (day, at))"""


def now() -> datetime:
    return datetime.now(ZONE)


def path() -> Path:
    folder = Path("data")
    return (folder if folder.is_dir() else Path(tempfile.gettempdir())) / FILE


@contextmanager
def calendar() -> Iterator[sqlite3.Connection]:
    """The calendar; what happens inside is written together or not at all."""
    try:
        with closing(sqlite3.connect(path(), timeout=5)) as database, database:
            database.execute(TABLE)
            yield database
    except sqlite3.OperationalError as error:
        raise ToolFailed("The calendar cannot be opened just now.") from error


def slots(day: date) -> list[str]:
    """The beginnings of the half hours that one can come in, whether they are taken or not."""
    if day.weekday() >= 5 or not 0 <= (day - now().date()).days <= AHEAD:
        return []
    halves = [time(hour, minute) for hour in range(OPENS, CLOSES) for minute in (0, 30)]
    ahead = [half for half in halves if datetime.combine(day, half, ZONE) > now()]
    # Some are somebody else's, always the same ones, so that the example has something to work around.
    return [f"{half:%H:%M}" for half in ahead if (day.toordinal() + half.hour * 2) % 5]


def free(database: sqlite3.Connection, day: date) -> list[str]:
    taken = database.execute("SELECT at FROM appointments WHERE day = ?", (str(day),))
    gone = {at for (at,) in taken}
    return [slot for slot in slots(day) if slot not in gone]


def said(day: date, at: time) -> str:
    return f"{day:%A}, {day:%B} {day.day}, at {at:%H:%M}"


@tool(reads_only=True)
def free_times(day: date | None = None) -> dict[str, Any]:
    """Look up when an appointment can be had. Offer at most three times at once.

    Args:
        day: the day the caller wants; left out, the next three days on which something is free.
    """
    today = now().date()
    days = [day] if day else [today + timedelta(n) for n in range(AHEAD)]
    found = []
    with calendar() as database:
        for each in days:
            if times := free(database, each):
                found.append({"day": str(each), "weekday": f"{each:%A}", "free": times})
            if len(found) == 3:
                break
    return {"today": f"{today:%A} {today}", "days": found or "nothing is free"}


@tool
def book(day: date, at: time, name: str, call: CallInfo) -> str:
    """Book an appointment. Say day and time back and ask for the caller's name first.

    Args:
        day: the day, one that free_times named.
        at: the beginning, one that free_times named.
        name: who will come.
        call: filled in by Pickup; the model does not see it.
    """
    if not name.strip():
        raise ToolFailed("Ask for the caller's name first.")
    with calendar() as database:
        if f"{at:%H:%M}" not in free(database, day):
            raise ToolFailed(f"{said(day, at)} is not free. Look up free_times and offer another.")
        row = (str(day), f"{at:%H:%M}", name.strip(), call.caller, call.id)
        added = database.execute("INSERT OR IGNORE INTO appointments VALUES (?, ?, ?, ?, ?)", row)
        if added.rowcount == 0:  # somebody else was faster
            raise ToolFailed(f"{said(day, at)} has just been taken. Offer another time.")
    return f"Booked for {name.strip()}: {said(day, at)}."


@tool
def cancel(day: date, at: time, call: CallInfo) -> str:
    """Cancel an appointment that was booked from the telephone that is calling now.

    Args:
        day: the day of the appointment.
        at: its beginning.
        call: filled in by Pickup; the model does not see it.
    """
    # By the number that calls and not by a name that anybody could give.
    mine = (str(day), f"{at:%H:%M}", call.caller)
    with calendar() as database:
        gone = database.execute(
            "DELETE FROM appointments WHERE day = ? AND at = ? AND number = ? AND number <> ''",
            mine,
        )
        if gone.rowcount == 0:
            raise ToolFailed(
                f"There is no appointment on {said(day, at)} that was made from this telephone."
            )
    return f"Cancelled: {said(day, at)}."
