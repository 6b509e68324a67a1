"""WAV files: our own spoken lines in, the recording of a call out.

RIFF, as in "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft,
1991), WAVE chunk, PCM format.
"""

from __future__ import annotations

import io
import struct
import wave
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from agent.errors import UserError
from agent.events import Pcm24k

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE_BYTES = 2
LINE_FORM = (1, 8 * SAMPLE_BYTES, Pcm24k.rate)
"""Channels, bits and rate of a spoken line."""
BLOCK = 32_768
"""Samples of each side that are in memory at a time while a recording is put together."""
LARGEST = 2**32 - 1
"""A RIFF chunk says its length in 32 bits: 37 hours of stereo at 8 kHz."""


def read_wav(source: Path | bytes) -> Pcm24k:
    """A spoken line of ours: 24 kHz, 16 bit, mono, the form in which the model speaks.

    Raises:
        UserError: there is no such file, or it is none in this form; the message says what it is
            instead.
    """
    name = "the WAV data" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        with wave.open(io.BytesIO(data)) as file:
            form = file.getnchannels(), 8 * file.getsampwidth(), file.getframerate()
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError, OSError) as error:
        raise UserError(f"{name} cannot be read as a WAV file: {error}") from error
    if form != LINE_FORM:
        raise UserError(
            f"{name} has {_words(*form)}, but a spoken line must have {_words(*LINE_FORM)}"
        )
    return Pcm24k(pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES])


def _words(channels: int, bits: int, rate: int) -> str:
    return f"{channels} channel(s) of {bits} bit at {rate} Hz"


def write_stereo(out: BinaryIO, left: BinaryIO, right: BinaryIO, *, rate: int) -> int:
    """Put two raw mono files (int16, little endian) side by side into a WAV file.

    The shorter side is filled up with silence; half a sample at an end (a file cut off by a crash)
    is left out. Never more than a block is in memory.

    Args:
        out: takes the file, from where it stands; need not seek.
        left: caller; must seek.
        right: agent; must seek.
        rate: of both, Hz.

    Returns:
        Samples of each side.
    """
    samples = max(_remaining(left), _remaining(right))
    out.write(_stereo_header(samples, rate))
    for first in range(0, samples, BLOCK):
        both = np.zeros((min(BLOCK, samples - first), 2), "<i2")
        for channel, side in enumerate((left, right)):
            data = side.read(len(both) * SAMPLE_BYTES)
            mono = np.frombuffer(data, "<i2", count=len(data) // SAMPLE_BYTES)
            both[: len(mono), channel] = mono
        out.write(both.tobytes())
    return samples


def _remaining(file: BinaryIO) -> int:
    """Whole samples from where `file` stands to its end."""
    here = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(here)
    return (end - here) // SAMPLE_BYTES


def _stereo_header(samples: int, rate: int) -> bytes:
    frame = 2 * SAMPLE_BYTES
    size = min(samples * frame, LARGEST - 36)
    form = struct.pack("<HHIIHH", 1, 2, rate, rate * frame, frame, 8 * SAMPLE_BYTES)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        + struct.pack("<4sI", b"fmt ", len(form))
        + form
        + struct.pack("<4sI", b"data", size)
    )
