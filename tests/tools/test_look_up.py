"""`look_up`: passages with their sources, or that there is nothing."""

from __future__ import annotations

import pytest

from agent.errors import StorageError, ToolFailed
from agent.tools.look_up import NOTHING, PASSAGES, LookUp, Quote
from agent.tools.schema import plain


class Shelf:
    """A library of at most one text."""

    def __init__(self, *quotes: Quote, down: bool = False) -> None:
        self.quotes = quotes
        self.down = down
        self.asked: list[tuple[str, int]] = []

    async def search(self, question: str, limit: int) -> tuple[Quote, ...]:
        self.asked.append((question, limit))
        if self.down:
            raise StorageError("down")
        return self.quotes


async def test_passages_are_given_with_their_sources() -> None:
    shelf = Shelf(Quote("prices.md, Prices > Cleaning", "Eighty dollars."))
    answer = await LookUp(shelf).run({"question": "cleaning"})
    assert answer.response == {
        "passages": [{"source": "prices.md, Prices > Cleaning", "text": "Eighty dollars."}]
    }
    assert shelf.asked == [("cleaning", PASSAGES)]


async def test_nothing_found_is_said_so() -> None:
    answer = await LookUp(Shelf()).run({"question": "cleaning"})
    assert answer.response == {"result": NOTHING}


async def test_documents_that_cannot_be_read_are_not_made_up() -> None:
    with pytest.raises(ToolFailed, match="cannot be read just now"):
        await LookUp(Shelf(down=True)).run({"question": "cleaning"})


def test_it_is_declared_in_words_that_models_read() -> None:
    schema = LookUp.declaration.parameters or {}
    assert plain(schema, "look_up", strict=True) == schema
