"""Docstrings in Google's style."""

from __future__ import annotations

import pytest

from agent.tools.docstring import read_docstring

WHOLE = """Book a table
    for tonight.

    Only ever for tonight.

    Args:
        party: how many they are,
            children counted.
        name (str): the caller's name.
        *more: what else.

    Returns:
        the number: of the table.
    """


def test_what_it_does_and_what_its_arguments_are() -> None:
    doc = read_docstring(WHOLE)
    assert doc.does == "Book a table for tonight.\n\nOnly ever for tonight."
    assert doc.arguments == {
        "party": "how many they are, children counted.",
        "name": "the caller's name.",
        "more": "what else.",
    }


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_nothing_said(text: str) -> None:
    assert read_docstring(text) == ("", {})


def test_a_section_that_is_not_one_does_no_harm() -> None:
    assert read_docstring("Do.\n\nArgs:\n    just words") == ("Do.", {})
