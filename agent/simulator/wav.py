"""WAV files for a telephone: any PCM recording in, 8 kHz mono; a call out, in stereo.

Source: Microsoft, "Multiple Channel Audio Data and WAVE Files" (chunks `fmt ` and `data`).
"""

from __future__ import annotations

import struct
import wave
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
import soxr

from agent.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE_HZ = 8000
PCM = 1
EXTENSIBLE = 0xFFFE
PCM_GUID = bytes.fromhex("0100000000001000800000aa00389b71")
RATES_HZ = range(1000, 768_001)
SECONDS_MAX = 600


def read_phone_wav(path: Path) -> NDArray[np.int16]:
    """Read PCM of 8, 16, 24 or 32 bit, any rate and channels, as mono of 8 kHz.

    Raises:
        UserError: no such recording; the text holds the ffmpeg line that makes one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        samples, rate = _decode(data)
    except ValueError as error:
        source, target = quote(str(path)), quote(f"{path.with_suffix('')}-8k.wav")
        raise UserError(
            f"{path} is not a PCM WAV file ({error}); convert it: "
            f"ffmpeg -i {source} -ac 1 -ar 8000 -c:a pcm_s16le {target}"
        ) from error
    if rate != RATE_HZ:
        samples = soxr.resample(samples, rate, RATE_HZ)
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def _decode(data: bytes) -> tuple[NDArray[np.float64], int]:
    """Mono samples from -1 to 1, and their rate."""
    chunks = _chunks(data)
    if "fmt " not in chunks or "data" not in chunks:
        raise ValueError("no fmt or no data chunk")
    form = chunks["fmt "]
    if len(form) < 16:
        raise ValueError("short fmt chunk")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", form)
    if tag == EXTENSIBLE and form[24:40] == PCM_GUID:
        tag = PCM
    if tag != PCM:
        raise ValueError(f"encoding {tag}")
    if bits not in {8, 16, 24, 32} or channels == 0 or rate not in RATES_HZ:
        raise ValueError(f"{bits} bit, {channels} channels, {rate} Hz")
    body = chunks["data"]
    width = bits // 8
    count = len(body) // (width * channels)
    if count == 0:
        raise ValueError("no sound in it")
    if count > SECONDS_MAX * rate:
        raise ValueError(f"longer than {SECONDS_MAX} s")
    samples = _to_float(body[: count * width * channels], width)
    return samples.reshape(count, channels).mean(axis=1), rate


def _chunks(data: bytes) -> dict[str, bytes]:
    """The first chunk of each name; one cut short by the file's end holds what is there."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("no RIFF/WAVE header")
    chunks: dict[str, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name = data[at : at + 4].decode("latin-1")
        (size,) = struct.unpack_from("<I", data, at + 4)
        chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return chunks


def _to_float(body: bytes, width: int) -> NDArray[np.float64]:
    if width == 1:  # 8-bit WAV is unsigned
        return (np.frombuffer(body, np.uint8).astype(np.float64) - 128.0) / 128.0
    if width == 3:
        wide = np.zeros((len(body) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    return np.frombuffer(body, f"<i{width}").astype(np.float64) / 2.0 ** (8 * width - 1)


def write_stereo(path: Path, left: NDArray[np.int16], right: NDArray[np.int16]) -> None:
    """Write two channels of equal length at 8 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.column_stack([left, right]).astype("<i2").tobytes())
