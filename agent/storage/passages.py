"""Cuts files into passages of a size that can be said: by headings, then by paragraphs; and questions into words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

LONGEST = 1000
"""Characters of a passage: a minute of speech, and about the most that answers one question."""
MOST_WORDS = 32
"""Words of a question that are looked for; a longer one is cut."""


class Passage(NamedTuple):
    """A piece of a file; `heading` says where it stands in it."""

    heading: str
    text: str


class Unreadable(Exception):
    """A file cannot be made into passages; the text says why."""


def markdown(text: str) -> list[Passage]:
    """A passage per section, with the headings above it; `#` inside a block of code is no heading (CommonMark, 4.2, 4.5)."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    above: list[tuple[int, str]] = []
    fence = ""
    for line in text.splitlines():
        opening = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if opening and (not fence or line.strip().startswith(fence)):
            fence = "" if fence else opening[1]
        heading = None if fence else re.match(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$", line)
        if heading:
            level = len(heading[1])
            above = [each for each in above if each[0] < level] + [(level, heading[2].strip())]
            sections.append((" > ".join(title for _, title in above if title), []))
        else:
            sections[-1][1].append(line)
    return [
        Passage(heading, piece)
        for heading, lines in sections
        for piece in pieces("\n".join(lines).strip())
    ]


def plain(text: str) -> list[Passage]:
    """Paragraphs, as many together as fit."""
    return [Passage("", piece) for piece in pieces(text.strip())]


def pages(texts: Iterable[str]) -> list[Passage]:
    """The passages of each page."""
    return [
        Passage(f"page {n}", piece)
        for n, text in enumerate(texts, 1)
        for piece in pieces(text.strip())
    ]


def pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces of at most `LONGEST` characters, between paragraphs where that is possible, else lines, sentences, words."""
    piece = ""
    for part in _parts(text, (r"\n\s*\n", r"\n", r"(?<=[.!?。])\s+", r"\s+")):
        if piece and len(piece) + len(part) + 1 > LONGEST:
            yield piece
            piece = ""
        piece = f"{piece}\n{part}" if piece else part
    if piece:
        yield piece


def _parts(text: str, cuts: tuple[str, ...]) -> Iterator[str]:
    """Parts that fit, cut at the first of `cuts` that is enough, each."""
    for part in re.split(cuts[0], text):
        part = part.strip()
        if len(part) <= LONGEST:
            if part:
                yield part
        elif len(cuts) > 1:
            yield from _parts(part, cuts[1:])
        else:
            yield from (part[n : n + LONGEST] for n in range(0, len(part), LONGEST))


# ---- files


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None


def _pdf(path: Path) -> list[Passage]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ModuleNotFoundError:
        raise Unreadable("PDF files need pypdf: pip install 'pickup[pdf]'") from None
    try:
        found = pages(page.extract_text() for page in PdfReader(path).pages)
    except (PyPdfError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unreadable(f"it is no PDF that can be read ({type(error).__name__})") from error
    if not found:
        raise Unreadable("it has no text: scanned pages have to be recognised first")
    return found


READERS: dict[str, Callable[[Path], list[Passage]]] = {
    "md": lambda path: markdown(_text(path)),
    "markdown": lambda path: markdown(_text(path)),
    "txt": lambda path: plain(_text(path)),
    "pdf": _pdf,
}
"""How a file is read, by the end of its name."""


# ---- questions

STOP_WORDS = {
    "en": "a an and any are as at be been but by can could did do does for from get had has have he her him his how i if in is it "
    "its may me much must my no not of on or our please she should so some tell than that the their them then there these they "
    "this to us want was we were what when where which who whom whose why will with would you your about",
    "de": "aber als am an auch auf aus bei bin bis bitte da das dass dem den der des die doch du ein eine einem einen einer es für "
    "haben habt hat hatte ich ihr ihre im in ist ja kann kein keine mein meine mir mit nach nicht noch nur oder sein sich sie sind "
    "so über um und uns von vor wann war was welche wenn wer wie wir wird wo zu zum zur",
    "fr": "au aux avec ce ces cette comment dans de des du elle elles en est et il ils je la le les leur mais mon nous ne où par pas "
    "pour quand que quel quelle qui sa sans se ses son sont sur tu un une vos votre vous y",
    "es": "al como con cual cuando cuanto de del donde el ella en es esta este hay la las lo los me mi muy no o para pero por que qué "
    "quien se si sin su sus un una y yo",
    "it": "alla anche che chi come con cosa da dal dei del della di dove e è gli ha ho i il io la le lo ma mi nel non o per più quando "
    "quanto se si sono su un una",
}
"""Words that are in every text, by language: alone they find nothing."""


def content_words(question: str, language: str) -> list[str]:
    """The words of a question that say what it is about, as FTS5's tokenizer would cut them."""
    common = STOP_WORDS.get(language, "").split()
    words = re.findall(r"[^\W_]+", question.lower())[:MOST_WORDS]
    return list(dict.fromkeys(word for word in words if word not in common))
