"""The file of a campaign: CSV with a column `number` and a column for each variable of the agent.

A row that cannot be called is a mistake that is told with its line, and not one row is dialled before all are right.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import UserError
from agent.protocols.sip.address import callee
from agent.protocols.twilio.number import e164
from agent.server.outbound.orders import OrderRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.server.outbound.orders import Ready
    from agent.storage.attempts import Attempt

NUMBER = "number"
LARGEST = 100_000
"""Rows of one campaign."""
TOLD = 10
"""Mistakes that are told; more would hide them."""
RESULT = ("state", "reason", "tries", "ended_at", "call")


class Row(NamedTuple):
    """Somebody to be called.

    Attributes:
        n: counted from 0, in the order of the file.
        number: E.164.
        variables: what the agent is told of them.
        not_before: when they may first be called, seconds since 1970-01-01 UTC.
    """

    n: int
    number: str
    variables: dict[str, str]
    not_before: float


class CampaignFile(NamedTuple):
    """A file that was read.

    Attributes:
        digest: of its bytes and its agent: the same again is the same campaign.
        columns: the names of its variables, in its order.
    """

    digest: str
    columns: list[str]
    rows: list[Row]


def read(
    path: Path, agent: str, check: Callable[[str, str, dict[str, str]], Ready], now: float
) -> CampaignFile:
    """Read a file, and check all its rows.

    Args:
        path: of the file.
        agent: name of the agent that calls.
        check: the rules of outbound calls: number, agent, variables; raises `OrderRefused`.
        now: seconds since 1970-01-01 UTC.

    Raises:
        UserError: it cannot be read, or has rows that nobody may call: which, and why.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    mistakes: list[str] = []
    first_at: dict[str, int] = {}
    try:
        columns = [name.strip() for name in table.fieldnames or ()]
        if columns.count(NUMBER) != 1 or len(set(columns)) != len(columns):
            raise UserError(
                f"{path}:1: the first line should name the columns, one of them {NUMBER!r}"
            )
        table.fieldnames = columns
        for n, cells in enumerate(table):
            line = table.line_num
            try:
                row = _row(n, cells, agent, check, now)
                if (before := first_at.setdefault(row.number, line)) != line:
                    raise UserError(f"the same number as in line {before}")
                rows.append(row)
            except (UserError, OrderRefused) as error:
                mistakes.append(f"{path}:{line}: {error}")
    except csv.Error as error:
        raise UserError(f"{path}:{table.line_num}: {error}") from None
    if mistakes:
        more = f"\n... and {len(mistakes) - TOLD} more" if len(mistakes) > TOLD else ""
        raise UserError("nobody is called:\n" + "\n".join(mistakes[:TOLD]) + more)
    if not 0 < len(rows) <= LARGEST:
        raise UserError(f"{path} has {len(rows)} rows; a campaign has 1 to {LARGEST}")
    digest = hashlib.sha256(agent.encode() + b"\0" + data).hexdigest()
    return CampaignFile(digest, [name for name in columns if name != NUMBER], rows)


def _row(
    n: int,
    cells: dict[Any, Any],
    agent: str,
    check: Callable[[str, str, dict[str, str]], Ready],
    now: float,
) -> Row:
    """One row that may be called. Raises UserError or OrderRefused."""
    if None in cells or None in cells.values():
        raise UserError("it has not as many cells as the first line")
    variables = {name: value.strip() for name, value in cells.items() if name != NUMBER}
    number = e164(cells[NUMBER].strip()) or callee(cells[NUMBER])
    if number is None:
        raise UserError("the number should be one such as +15551234567 (E.164), or a sip: address")
    ready = check(number, agent, variables)
    not_before = ready.habits.hours.next_permitted(number, now)
    if not_before is None:
        raise UserError("nobody knows what time it is there, so it is never called")
    return Row(n, number, variables, not_before)


def write_results(path: Path, columns: list[str], attempts: Iterable[Attempt]) -> None:
    """Write what became of each row, beside what it had. Raises UserError."""
    from agent.storage.disk import write_private

    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([NUMBER, *columns, *RESULT])
    for each in attempts:
        known = [each.variables.get(name, "") for name in columns]
        ended = "" if each.ended_at is None else f"{each.ended_at:.0f}"
        result = [
            each.state.name.lower(),
            each.reason or "",
            each.tries,
            ended,
            each.provider_call_id or "",
        ]
        table.writerow([_plain(cell) for cell in (each.number, *known, *result)])
    try:
        write_private(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers of E.164 begin with a plus and are none."""
    if isinstance(cell, str) and cell[:1] in ("=", "@", "-", "\t", "\r"):
        return f"'{cell}"
    return cell
