"""A borrowed number: on disk before it is changed, put back once, by whoever comes next."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from agent.cli.parts.borrowed import Borrowing
from agent.cli.parts.twilio_rest import Number
from agent.errors import UserError
from agent.protocols.twilio.number import Webhooks, pointed_at

ACCOUNT = "AC" + "1" * 32
SID = "PN" + "2" * 32
US = "https://pickup.example.com"
BEFORE = Webhooks(voice_url="https://user:pass@before.example.com/voice", voice_method="POST")
NUMBER = Number(SID, "+15551234567", "", BEFORE)
OURS = pointed_at(US, BEFORE)


class Twilio:
    """One number at Twilio, and who looked at the disk when it was changed."""

    def __init__(self, file: Path) -> None:
        self.has: Webhooks | None = BEFORE
        self.file = file
        self.noted: list[bool] = []
        self.down = False

    async def webhooks(self, sid: str) -> Webhooks | None:
        assert sid == SID
        self._answer()
        return self.has

    async def change(self, sid: str, changes: dict[str, str]) -> None:
        assert sid == SID
        assert self.has is not None
        self._answer()
        self.noted.append(self.file.exists())
        self.has = msgspec.structs.replace(self.has, **changes)

    def _answer(self) -> None:
        if self.down:
            raise UserError("Twilio cannot be reached")


@pytest.fixture
def borrowing(tmp_path: Path) -> Borrowing:
    return Borrowing(tmp_path)


@pytest.fixture
def twilio(borrowing: Borrowing) -> Twilio:
    return Twilio(borrowing.path)


async def take(borrowing: Borrowing, twilio: Twilio) -> None:
    await borrowing.take(twilio, ACCOUNT, NUMBER, OURS)  # type: ignore[arg-type]


async def give_back(borrowing: Borrowing, twilio: Twilio, account: str = ACCOUNT) -> str | None:
    return await borrowing.give_back(twilio, account)  # type: ignore[arg-type]


async def test_a_number_is_taken_and_given_back(borrowing: Borrowing, twilio: Twilio) -> None:
    with borrowing:
        await take(borrowing, twilio)
        assert twilio.has == OURS
        assert (
            await give_back(borrowing, twilio) == "the number's webhooks are what they were before"
        )
        assert twilio.has is not None
        assert twilio.has.voice_url == BEFORE.voice_url
        assert twilio.has.status_callback == ""
        assert await give_back(borrowing, twilio) is None
    assert twilio.noted == [True, True]


async def test_the_note_is_private_and_holds_no_phone_number(
    borrowing: Borrowing, twilio: Twilio
) -> None:
    with borrowing:
        await take(borrowing, twilio)
    assert borrowing.path.stat().st_mode & 0o777 == 0o600
    assert borrowing.path.parent.stat().st_mode & 0o777 == 0o700
    text = borrowing.path.read_text()
    assert "5551234567" not in text
    assert json.loads(text)["before"]["voice_url"] == BEFORE.voice_url


async def test_after_a_crash_the_next_process_puts_it_back(
    borrowing: Borrowing, twilio: Twilio
) -> None:
    with borrowing:
        await take(borrowing, twilio)
    with Borrowing(borrowing.path.parents[1]) as later:
        assert await give_back(later, twilio) is not None
        assert later.read() is None


async def test_a_crash_before_the_change_leaves_nothing_to_undo(
    borrowing: Borrowing, twilio: Twilio
) -> None:
    twilio.down = True
    with borrowing:
        with pytest.raises(UserError):
            await take(borrowing, twilio)
        assert borrowing.read() is not None
        twilio.down = False
        await give_back(borrowing, twilio)
    assert twilio.has == BEFORE
    assert twilio.noted == []


async def test_while_twilio_is_down_the_note_stays(borrowing: Borrowing, twilio: Twilio) -> None:
    with borrowing:
        await take(borrowing, twilio)
        twilio.down = True
        with pytest.raises(UserError):
            await give_back(borrowing, twilio)
        assert borrowing.read() is not None


async def test_what_somebody_changed_meanwhile_is_left_to_them_and_said(
    borrowing: Borrowing, twilio: Twilio
) -> None:
    with borrowing:
        await take(borrowing, twilio)
        twilio.has = Webhooks(voice_url="https://theirs.example.com", voice_method="POST")
        said = await give_back(borrowing, twilio)
    assert said == "somebody changed the number's voice webhook meanwhile: left as found"
    assert twilio.has.voice_url == "https://theirs.example.com"


async def test_a_number_that_was_given_up_needs_no_putting_back(
    borrowing: Borrowing, twilio: Twilio
) -> None:
    with borrowing:
        await take(borrowing, twilio)
        twilio.has = None
        assert "no longer has the number" in (await give_back(borrowing, twilio) or "")
        assert borrowing.read() is None


async def test_another_account_cannot_put_it_back(borrowing: Borrowing, twilio: Twilio) -> None:
    with borrowing:
        await take(borrowing, twilio)
        with pytest.raises(UserError, match=ACCOUNT):
            await give_back(borrowing, twilio, "AC" + "9" * 32)
        assert borrowing.read() is not None


def test_two_processes_do_not_borrow_at_once(borrowing: Borrowing) -> None:
    with borrowing, pytest.raises(UserError, match="another `pickup dev`"):
        Borrowing(borrowing.path.parents[1]).__enter__()
    with borrowing:
        pass


def test_a_note_that_cannot_be_read_is_not_thrown_away(borrowing: Borrowing) -> None:
    with borrowing:
        borrowing.path.write_text("{")
        with pytest.raises(UserError, match=r"borrowed_number\.json cannot be read"):
            borrowing.read()
        assert borrowing.path.exists()


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="DATA_DIR cannot be written"):
        Borrowing(tmp_path / "file").__enter__()


async def test_a_note_that_cannot_be_written_changes_nothing(
    borrowing: Borrowing, twilio: Twilio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.cli.parts.borrowed.write_private", full)
    with borrowing, pytest.raises(UserError, match="No space left"):
        await take(borrowing, twilio)
    assert twilio.has == BEFORE
