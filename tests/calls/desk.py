"""A tool of the agents in these tests, which must not be used twice for one thing; it is copied beside their files."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.tools.python_tool import tool

BOOK = Path(__file__).with_name("written")
"""Has a line for each use: what was written down."""


@tool
async def write_down(words: str) -> str:
    """Write down what the caller said.

    Args:
        words: What was said.
    """
    await asyncio.sleep(0.15)
    with BOOK.open("a") as book:
        book.write(f"{words}\n")
    return "written"
