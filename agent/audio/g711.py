"""mu-law, the sound of the telephone: 8 kHz, one byte a sample (ITU-T G.711, table 2).

The bytes of a Media Streams payload are exactly these, without a header (Twilio: Media Streams,
`audio/x-mulaw`).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from agent.errors import OwnFault
from agent.events import Pcm8k

if TYPE_CHECKING:
    from agent.events import LinePcm

with warnings.catch_warnings():
    # Python 3.11 and 3.12 announce that audioop leaves the standard library; from 3.13 on
    # audioop-lts provides it.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

SILENCE = b"\xff"
"""One sample of silence on the wire: positive zero."""


def decode(ulaw: bytes) -> Pcm8k:
    """Expand mu-law bytes to linear samples of 14 significant bits (G.711's values times four)."""
    return Pcm8k(audioop.ulaw2lin(ulaw, 2))


def encode(pcm: LinePcm) -> bytes:
    """Compress linear samples to mu-law bytes, one for each; what is too loud is clipped.

    Raises:
        OwnFault: they are not of 8 kHz.
    """
    if type(pcm) is not Pcm8k:
        raise OwnFault(f"G.711 does not carry sound of {pcm.rate} Hz")
    return audioop.lin2ulaw(pcm, 2)
