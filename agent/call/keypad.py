"""The caller's keys: what was pressed together is told together, and a tool may ask for a number that is typed.

Keys that nobody asked for go to the model as words, once the caller pauses. While a tool collects keys, they are the tool's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from agent.events import CollectKeys

MOST = 64
"""Keys that wait to be told; more in one breath is no caller, and is dropped, newest first."""

MASK = "x"
"""What a record has in place of a secret key: no key of a telephone."""


class Typed(NamedTuple):
    """What a collection came to: the tool call that it answers, and the answer."""

    id: str
    name: str
    response: dict[str, Any]
    secret: bool


class Keypad:
    """What the caller has pressed and nobody was told yet."""

    def __init__(self) -> None:
        self._keys = ""
        self._asked: tuple[str, str, CollectKeys] | None = None

    @property
    def collects(self) -> bool:
        """Whether a tool waits for keys."""
        return self._asked is not None

    def hides(self, key: str) -> bool:
        """Whether a record must not have this key."""
        return self._asked is not None and self._asked[2].secret and key != self._asked[2].end

    def collect(self, id_: str, name: str, wanted: CollectKeys) -> None:
        """From now on keys are for this tool call; those that were pressed ahead are its first."""
        self._asked = (id_, name, wanted)

    def stop(self, ids: list[str]) -> None:
        """These tool calls want nothing any more."""
        if self._asked is not None and self._asked[0] in ids:
            self._asked, self._keys = None, ""

    def press(self, key: str) -> None:
        if len(self._keys) < MOST:
            self._keys += key

    def wait(self, pause: float) -> float:
        """Seconds without a key after which they are all; `pause` where nobody collects."""
        return pause if self._asked is None else self._asked[2].within

    def complete(self) -> bool:
        """Whether a collection has all that it wants."""
        if self._asked is None:
            return False
        wanted = self._asked[2]
        ended = wanted.end != "" and wanted.end in self._keys
        return ended or len(self._keys) >= wanted.most

    def typed(self) -> Typed | None:
        """What the collection came to, which ends with this; None where there is none."""
        if self._asked is None:
            return None
        id_, name, wanted = self._asked
        keys, ended = self._keys, False
        if wanted.end and wanted.end in keys:
            keys, ended = keys[: keys.index(wanted.end)], True
        done = ended or len(keys) >= wanted.most
        keys = keys[: wanted.most]
        response: dict[str, Any] = {"digits": keys, "complete": done}
        if not keys:
            response = {"error": "The caller has pressed no key.", "complete": done}
        self._asked, self._keys = None, ""
        return Typed(id_, name, response, wanted.secret)

    def told(self) -> str:
        """The keys that go to the model as words; they are told once."""
        keys, self._keys = self._keys, ""
        return keys


def masked(response: dict[str, Any]) -> dict[str, Any]:
    """A secret answer as a record has it: how many keys there were, and none of them."""
    keys = {name: MASK * len(response[name]) for name in response if name == "digits"}
    return response | keys
