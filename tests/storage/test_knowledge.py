"""What an agent may look up: found with its source, never found where nothing is, up to date, and safe against any question."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from agent.errors import StorageError
from agent.storage import knowledge as room
from agent.storage.knowledge import KnowledgeIndex
from agent.storage.passages import LONGEST, READERS, content_words, markdown, pieces

PRICES = """\
# Harbour Dental

We are by the harbour.

## Prices

### Cleaning

A cleaning costs eighty dollars.

### Crowns

A crown is from nine hundred dollars.

```sh
# a comment, and no heading
```

## Parking

Twenty places behind the building; the café next door has more.
"""

PDF = """%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>>>> endobj
4 0 obj <</Length {length}>> stream
{stream}
endstream endobj
5 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj
trailer <</Root 1 0 R /Size 6>>
startxref
0
%%EOF
"""


def pdf(text: str) -> str:
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET"
    return PDF.format(length=len(stream), stream=stream)


class Shelf:
    """A folder, and an index of it that is opened anew for each question, as a new process would."""

    def __init__(self, home: Path, language: str = "en-US") -> None:
        self.folder = home / "knowledge"
        self.folder.mkdir()
        self.file = home / "index" / "k.db"
        self.language = language

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    @property
    def index(self) -> KnowledgeIndex:
        return KnowledgeIndex(self.folder, self.file, self.language)

    def sources(self, question: str) -> list[tuple[str, str]]:
        return [(found.source, found.heading) for found in self.index.search(question)]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf(tmp_path)
    made.write("prices.md", PRICES)
    return made


# ---- finding


def test_a_passage_is_found_with_its_file_and_its_headings(shelf: Shelf) -> None:
    (found, *_) = shelf.index.search("How much are your cleanings, please?")
    assert (found.source, found.heading) == (
        "prices.md",
        "Harbour Dental > Prices > Cleaning",
    )
    assert found.text == "A cleaning costs eighty dollars."


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("CROWN", "Crowns"),
        ("cafe", "Parking"),
        ("parked cars", "Parking"),
        ("comment", "Crowns"),
    ],
)
def test_forms_accents_and_capitals_do_not_matter(
    shelf: Shelf, question: str, heading: str
) -> None:
    assert shelf.sources(question)[0][1].endswith(heading)


def test_a_word_in_a_heading_counts_more_than_one_in_the_text(shelf: Shelf) -> None:
    shelf.write("a.md", "# Rules\n\nParking is mentioned here.\n")
    assert shelf.sources("parking")[0] == ("prices.md", "Harbour Dental > Parking")


@pytest.mark.parametrize("question", ["swimming pool", "what do you have for me?", "", "?!", "\0"])
def test_nothing_is_found_where_nothing_is(shelf: Shelf, question: str) -> None:
    assert shelf.index.search(question) == []


def test_no_more_than_asked_for(shelf: Shelf) -> None:
    for n in range(9):
        shelf.write(f"{n}.txt", f"The whale number {n}.")
    assert len(shelf.index.search("whale", limit=3)) == 3


def test_other_languages_are_found_by_the_beginnings_of_words(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "de-DE")
    shelf.write("haus.md", "# Parken\n\nZwanzig Parkplätze liegen hinter dem Haus.\n")
    assert shelf.sources("Wo ist der Parkplatz?") == [("haus.md", "Parken")]
    assert shelf.sources("die der das") == []


# ---- any question


@pytest.mark.parametrize(
    "question",
    [
        'crown" OR heading : *',
        "NEAR(crown dollars, 1)",
        "heading: crown AND NOT cleaning",
        "^crown* + -",
        "'; DROP TABLE passages; --",
        '"""',
        "{heading text}: crown",
    ],
)
def test_a_question_is_never_syntax(shelf: Shelf, question: str) -> None:
    shelf.index.search(question)
    assert shelf.sources("cleaning")


@settings(max_examples=60)
@given(st.text(max_size=80))
def test_whatever_is_asked_is_answered(
    tmp_path_factory: pytest.TempPathFactory, question: str
) -> None:
    home = Path(tmp_path_factory.getbasetemp()) / "any"
    if not home.exists():
        home.mkdir()
        Shelf(home).write("prices.md", PRICES)
    for language in ("en", "xx"):
        index = KnowledgeIndex(home / "knowledge", home / language, language)
        assert all(found.source == "prices.md" for found in index.search(question))


def test_a_long_question_is_cut() -> None:
    assert len(content_words(" ".join(f"word{n}" for n in range(500)), "en")) == 32


# ---- up to date


def test_what_changes_is_read_again_and_what_goes_is_forgotten(shelf: Shelf) -> None:
    text = shelf.write("sub/hours.txt", "We open at eight.")
    assert shelf.sources("open") == [("sub/hours.txt", "")]
    text.write_text("We close on Sundays.")
    os.utime(text, ns=(1, 1))
    assert shelf.sources("open") == []
    assert shelf.sources("sunday") == [("sub/hours.txt", "")]
    text.unlink()
    assert shelf.sources("sunday") == []
    assert shelf.sources("cleaning")


def test_what_did_not_change_is_not_read_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shelf.sources("cleaning")
    monkeypatch.setattr(room, "READERS", dict.fromkeys(READERS))
    assert shelf.sources("cleaning")


def test_another_language_makes_the_index_anew(shelf: Shelf) -> None:
    assert shelf.sources("cleanings")
    shelf.language = "fr"
    assert shelf.sources("cleaning") == [("prices.md", "Harbour Dental > Prices > Cleaning")]
    assert shelf.sources("dents") == []


def test_many_may_make_and_ask_the_same_index_at_once(shelf: Shelf) -> None:
    for n in range(20):
        shelf.write(f"{n}.txt", f"The whale number {n}.")
    found: list[int] = []

    def ask() -> None:
        found.append(len(shelf.index.search("whale", limit=50)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 6


# ---- files that cannot be read


@pytest.mark.slow  # pypdf is a heavy import
def test_a_pdf_is_found_by_its_page(shelf: Shelf) -> None:
    shelf.write("terms.pdf", pdf("Refunds are paid within thirty days."))
    assert shelf.sources("refund") == [("terms.pdf", "page 1")]
    assert shelf.index.refresh() == []
    shelf.write("broken.pdf", "%PDF-1.4 and nothing else")
    shelf.write("empty.pdf", pdf(""))
    assert [line.split(" (")[0] for line in shelf.index.refresh()] == [
        "broken.pdf: it is no PDF that can be read",
        "empty.pdf: it has no text: scanned pages have to be recognised first",
    ]


def test_what_cannot_be_read_is_told_and_costs_the_others_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LARGEST_FILE", 2000)
    (shelf.folder / "latin.txt").write_bytes("Öffnungszeiten".encode("latin-1"))
    shelf.write("huge.txt", "x" * 2001)
    shelf.write(".hidden.md", "cleaning")
    shelf.write("program.py", "cleaning")
    assert [line.split(" (")[0] for line in shelf.index.refresh()] == [
        "huge.txt: it is larger than 0 MB",
        "latin.txt: it is not UTF-8",
    ]
    assert [source for source, _ in shelf.sources("cleaning")] == ["prices.md"]


def test_a_link_out_of_the_folder_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("The cleaning lady's password.")
    (shelf.folder / "link.md").symlink_to(secret)
    assert shelf.sources("password") == []


def test_only_so_many_passages_are_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_PASSAGES", 2)
    (problem,) = shelf.index.refresh()
    assert problem.startswith("prices.md: there are more than 2 passages")
    assert shelf.sources("cleaning")


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no folder"):
        KnowledgeIndex(tmp_path / "none", tmp_path / "k.db").search("cleaning")


def test_an_index_that_is_no_database_is_an_error(shelf: Shelf) -> None:
    shelf.file.parent.mkdir()
    shelf.file.write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(StorageError, match="DatabaseError"):
        shelf.index.search("cleaning")


# ---- passages


def test_sections_carry_the_headings_above_them() -> None:
    passages = markdown("before\n# A\n## B ##\ntext\n# C\n#no heading\n~~~\n# code\n~~~\nafter")
    assert passages == [
        ("", "before"),
        ("A > B", "text"),
        ("C", "#no heading\n~~~\n# code\n~~~\nafter"),
    ]


@given(st.text(alphabet="ab .\n", max_size=6000))
def test_pieces_fit_and_lose_no_word(text: str) -> None:
    found = list(pieces(text))
    assert all(0 < len(piece) <= LONGEST for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_a_long_section_is_cut_between_paragraphs() -> None:
    paragraph = "word " * 110
    assert [len(piece) for piece in pieces("\n\n".join([paragraph] * 3))] == [549, 549, 549]
