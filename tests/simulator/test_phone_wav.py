"""The caller's own recording: every PCM there is, and one clear line for everything else."""

from __future__ import annotations

import shlex
import struct
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, strategies as st

from agent.errors import UserError
from agent.simulator.wav import read_phone_wav, write_stereo

if TYPE_CHECKING:
    from numpy.typing import NDArray

PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")


def tone(rate: int, seconds: float = 0.5) -> NDArray[np.float64]:
    time = np.arange(round(rate * seconds)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * time), np.float64)


def encode(samples: NDArray[np.float64], bits: int) -> bytes:
    if bits == 8:
        return np.rint(samples * 127 + 128).astype(np.uint8).tobytes()
    whole = np.rint(samples * (2.0 ** (bits - 1) - 1)).astype(np.int64)
    if bits == 24:
        return whole.astype("<i4").reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()


def riff(form: bytes, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    chunks = b""
    for name, body in (*more, (b"fmt ", form), (b"data", data)):
        chunks += name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def form(rate: int, channels: int, bits: int, tag: int = 1) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)


def extensible(rate: int, channels: int, bits: int) -> bytes:
    return form(rate, channels, bits, 0xFFFE) + struct.pack("<HHI", 22, bits, 3) + PCM_GUID


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_any_pcm_becomes_8_khz_mono(bits: int, channels: int, rate: int, tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    samples = np.repeat(tone(rate), channels)
    path.write_bytes(riff(form(rate, channels, bits), encode(samples, bits)))
    pcm = read_phone_wav(path)
    assert pcm.dtype == np.int16
    assert abs(len(pcm) - 4000) <= 1
    middle = pcm[1000:3000].astype(np.float64)
    expected = tone(8000)[1000:3000] * 32768
    assert np.sqrt(np.mean((middle - expected) ** 2)) < 300  # 8 bits are 48 dB


def test_an_extensible_header_with_the_pcm_guid_is_pcm(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(riff(extensible(8000, 1, 24), encode(tone(8000), 24), (b"LIST", b"odd")))
    assert len(read_phone_wav(path)) == 4000


def test_a_stream_whose_header_does_not_know_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe.wav"
    data = riff(form(8000, 1, 16), b"")
    path.write_bytes(data[:-4] + b"\xff\xff\xff\xff" + encode(tone(8000), 16) + b"\x01")
    assert len(read_phone_wav(path)) == 4000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3\x04not a wav file at all",
        b"RIFF\x04\0\0\0WAVE",
        riff(b"\x01\0", b"\0\0"),
        riff(form(8000, 1, 16), b""),
        riff(form(8000, 1, 32, tag=3), b"\0" * 64),
        riff(form(8000, 1, 8, tag=7), b"\0" * 64),
        riff(form(8000, 0, 16), b"\0" * 64),
        riff(form(0, 1, 16), b"\0" * 64),
        riff(form(8000, 1, 12), b"\0" * 64),
        riff(form(8000, 1, 32, tag=0xFFFE) + bytes(24), b"\0" * 64),
        riff(form(1000, 1, 8), b"\0" * 601_000),
    ],
)
def test_anything_else_is_one_line_with_the_ffmpeg_command(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        read_phone_wav(path)
    text = str(error.value)
    assert f"ffmpeg -i {path} -ac 1 -ar 8000 -c:a pcm_s16le" in text
    assert "\n" not in text


def test_the_ffmpeg_line_can_be_pasted_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "my voice; rm.mp3"
    path.write_bytes(b"ID3")
    with pytest.raises(UserError) as error:
        read_phone_wav(path)
    words = shlex.split(str(error.value).partition("ffmpeg ")[2])
    assert words[1] == str(path)
    assert words[-1] == f"{path.with_suffix('')}-8k.wav"


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_phone_wav(tmp_path / "none.wav")


@given(data=st.binary(max_size=200).map(lambda body: b"RIFF\0\0\0\0WAVEfmt " + body))
def test_no_file_breaks_the_reader(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    path.write_bytes(data)
    try:
        assert len(read_phone_wav(path)) > 0
    except UserError as error:
        assert "ffmpeg" in str(error)


def test_what_is_written_is_stereo_with_the_caller_left(tmp_path: Path) -> None:
    left, right = np.array([1, -2, 3], np.int16), np.array([-4, 5, -6], np.int16)
    write_stereo(tmp_path / "out.wav", left, right)
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        frames = np.frombuffer(file.readframes(3), "<i2").reshape(3, 2)
    assert frames.tolist() == [[1, -4], [-2, 5], [3, -6]]
