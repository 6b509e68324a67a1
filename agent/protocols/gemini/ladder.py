"""What to leave out of a setup after the service has refused it. Pure.

    refused, a field is named      that field goes, and nothing else; for the last time, all of the next row go with it
    refused, nothing is named      every option goes that a call can well do without; tools and resumption stay
    refused again, or for the last time    model, persona and sound remain

A refused setup is never sent twice: where a step would change nothing the next one is taken, and after the last there is none.

The service names fields as protobuf's JSON reader does, with the place of their parent in snake case ("Invalid JSON payload
received. Unknown name "proactivity" at 'setup': Cannot find field.": sohzm/cheating-daddy#479), and a close frame cuts its words off
at 123 bytes (RFC 6455, section 5.5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.protocols.gemini.setup import DEVELOPER_API, SETTINGS, Rung, setup_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent.protocols.gemini.setup import Endpoint, GeminiOptions

Path = tuple[str, ...]

_UNKNOWN = re.compile(r"""unknown name "?(\w+)"? at '([\w.\[\]]*)('?)""", re.IGNORECASE)
_TOKEN = re.compile(r"""(['"]?)([A-Za-z_]\w*(?:\[\d+\])*(?:\.\w+(?:\[\d+\])*)*)""")
_TELLING = re.compile(r"[._]|[a-z][A-Z]")
"""What a word must have to be a field's name and not English, where it is not in quotes."""


def step_down(
    options: GeminiOptions,
    without: Collection[str],
    refusal: str,
    *,
    last: bool = False,
    endpoint: Endpoint = DEVELOPER_API,
) -> frozenset[str] | None:
    """What to leave out of the next setup.

    Args:
        options: what the session is to be opened with.
        without: names of options that the refused setup was sent without.
        refusal: the service's words.
        last: no setup may be tried after the next one.
        endpoint: where it goes.

    Returns:
        Names of options, `without` among them; None where nothing is left that could be given up.
    """
    refused = setup_message(options, endpoint, without)
    for more in _steps(refusal, last=last):
        less = frozenset(without) | more
        if setup_message(options, endpoint, less) != refused:
            return frozenset(without) | {
                option for option in more if _matters(options, endpoint, without, less, option)
            }
    return None


def _steps(refusal: str, *, last: bool) -> Iterator[frozenset[str]]:
    """What may be given up, the smallest sacrifice first."""
    fields = named(refusal)
    if fields:
        # Who named two fields one by one may have a third to name: the last setup is for this call, not for finding out.
        yield fields | _RUNGS[Rung.EXTRA] if last else fields
    if fields or not last:
        yield _RUNGS[Rung.EXTRA]
    yield _RUNGS[Rung.EXTRA] | _RUNGS[Rung.USEFUL]


def _matters(
    options: GeminiOptions,
    endpoint: Endpoint,
    before: Collection[str],
    after: frozenset[str],
    option: str,
) -> bool:
    """Whether leaving this one out has any part in the change: what was never set is not said to be missing."""
    first, last = setup_message(options, endpoint, before), setup_message(options, endpoint, after)
    return (
        setup_message(options, endpoint, {*before, option}) != first
        or setup_message(options, endpoint, after - {option}) != last
    )


def named(refusal: str) -> frozenset[str]:
    """The options that a refusal names: the field itself, all that is under it, or else what it is a part of.

    Those that are never given up are not among them.
    """
    found: set[str] = set()
    for unknown in _UNKNOWN.finditer(refusal):
        name, parent, closed = unknown.groups()
        found |= _at(_path(parent), _snake(name), cut=not closed)
    if not found:
        for token in _TOKEN.finditer(_UNKNOWN.sub("", refusal)):
            quote, text = token.groups()
            if quote or _TELLING.search(text):
                found |= _called(_path(text), cut=bool(quote) and token.end() == len(refusal))
    return frozenset(found - _RUNGS[Rung.ESSENTIAL])


def _at(parent: Path, name: str, *, cut: bool) -> set[str]:
    """The options at or under `name` in `parent`, of which only a beginning is known where it was cut off."""
    if not cut:
        return _called((*parent, name), cut=False)
    begin = ".".join(parent)
    return {
        option
        for option, path in _PATHS.items()
        for n, part in enumerate(path)
        if part == name and ".".join(path[:n]).startswith(begin)
    }


def _called(field: Path, *, cut: bool) -> set[str]:
    """The options at or under `field`; where there are none, those that it is a part of."""
    size, text = len(field), ".".join(field)
    under = {
        option
        for option, path in _PATHS.items()
        if any(path[n : n + size] == field for n in range(len(path)))
        or (cut and size > 1 and ".".join(path).startswith(text))
    }
    return under or {
        option for option, path in _PATHS.items() if size > 1 and field[: len(path)] == path
    }


def _path(text: str) -> Path:
    """A dotted path as the table has it: snake case, without `setup` and without places in lists."""
    parts = tuple(_snake(part) for part in re.sub(r"\[\d*\]?", "", text).split("."))
    return tuple(part for part in (parts[1:] if parts[0] == "setup" else parts) if part)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


_PATHS: dict[str, Path] = {setting.option: _path(setting.path) for setting in SETTINGS}
_RUNGS: dict[Rung, frozenset[str]] = {
    rung: frozenset(setting.option for setting in SETTINGS if setting.rung is rung) for rung in Rung
}
