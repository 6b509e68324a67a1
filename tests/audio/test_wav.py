"""Our spoken lines are read, recordings are written; Python's own `wave` is the judge."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

import agent
from agent.audio.wav import BLOCK, read_wav, write_stereo
from agent.errors import UserError
from agent.events import Pcm24k

LINES = sorted((Path(agent.__file__).parent / "lines").glob("*.wav"))


def wav(pcm: bytes, *, channels: int = 1, width: int = 2, rate: int = 24_000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


@pytest.mark.parametrize("line", LINES, ids=lambda path: path.stem)
def test_every_shipped_line_can_be_read(line: Path) -> None:
    pcm = read_wav(line)
    assert type(pcm) is Pcm24k
    assert 0.5 < pcm.seconds < 15.0
    assert pcm == read_wav(line.read_bytes())


def test_a_file_that_was_cut_off_gives_its_whole_samples() -> None:
    data = wav(b"\x01\x02\x03\x04")
    assert read_wav(data) == b"\x01\x02\x03\x04"
    assert read_wav(data[:-1]) == b"\x01\x02"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (wav(bytes(2), rate=8000), "1 channel(s) of 16 bit at 8000 Hz, but"),
        (wav(bytes(4), channels=2), "2 channel(s) of 16 bit at 24000 Hz, but"),
        (wav(bytes(1), width=1), "1 channel(s) of 8 bit at 24000 Hz, but"),
        (b"", "cannot be read"),
        (b"ID3" + bytes(100), "cannot be read"),
        (wav(bytes(2))[:20], "cannot be read"),
    ],
)
def test_anything_else_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(UserError) as refused:
        read_wav(data)
    assert said in str(refused.value)
    assert str(refused.value).startswith("the WAV data ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing\\.wav cannot be read"):
        read_wav(tmp_path / "nothing.wav")


def ramp(samples: int, step: int = 1) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.arange(samples) * step % 30_000).astype("<i2")


def recording(left: bytes, right: bytes) -> tuple[bytes, int]:
    out = io.BytesIO()
    samples = write_stereo(out, io.BytesIO(left), io.BytesIO(right), rate=8000)
    return out.getvalue(), samples


@pytest.mark.parametrize(
    ("caller", "agent_side"),
    [(10, 10), (10, 7), (0, 5), (0, 0), (BLOCK, BLOCK + 1), (3 * BLOCK + 5, BLOCK - 1)],
)
def test_both_sides_stand_beside_each_other(caller: int, agent_side: int) -> None:
    left, right = ramp(caller), ramp(agent_side, -3)
    data, samples = recording(left.tobytes(), right.tobytes())
    assert samples == max(caller, agent_side)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        assert file.getnframes() == samples
        both = np.frombuffer(file.readframes(samples), "<i2").reshape(-1, 2)
    assert both[:caller, 0].tolist() == left.tolist()
    assert both[:agent_side, 1].tolist() == right.tolist()
    assert not both[caller:, 0].any()
    assert not both[agent_side:, 1].any()
    assert len(data) == 44 + 4 * samples


def test_half_a_sample_at_the_end_is_left_out() -> None:
    data, samples = recording(b"\x01\x02\x03", b"\x05")
    assert samples == 1
    assert data[44:] == b"\x01\x02\x00\x00"


def test_it_begins_where_the_files_stand() -> None:
    left = io.BytesIO(b"\x09\x09\x01\x02")
    left.seek(2)
    out = io.BytesIO()
    assert write_stereo(out, left, io.BytesIO(), rate=8000) == 1
    assert out.getvalue()[44:] == b"\x01\x02\x00\x00"


class Counting(io.BytesIO):
    """Remembers the largest piece that was asked of it or given to it."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0
        self.largest = max(self.largest, size)
        return super().read(size)

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self.largest = max(self.largest, len(data))
        return super().write(data)


def test_never_more_than_a_block_is_in_memory() -> None:
    left, right, out = Counting(bytes(2_000_000)), Counting(bytes(1_000_000)), Counting()
    write_stereo(out, left, right, rate=8000)
    assert max(left.largest, right.largest) <= 2 * BLOCK
    assert out.largest <= 4 * BLOCK


def test_a_recording_longer_than_riff_can_say_keeps_a_header_that_players_accept() -> None:
    class Endless(io.BytesIO):
        """A file of 40 hours that is read as if it had been cut off at once."""

        def seek(self, offset: int, whence: int = 0, /) -> int:
            return 40 * 3600 * 8000 * 2 if whence == io.SEEK_END else super().seek(offset, whence)

    class Header(io.BytesIO):
        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            super().write(data)
            raise BrokenPipeError

    out: BinaryIO = Header()
    with pytest.raises(BrokenPipeError):
        write_stereo(out, Endless(), io.BytesIO(), rate=8000)
    header = out.getvalue()  # type: ignore[attr-defined]
    assert struct.unpack("<I", header[4:8]) == (2**32 - 1,)
    assert struct.unpack("<I", header[40:44]) == (2**32 - 37,)
