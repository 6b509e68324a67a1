"""Whether somebody says that they do not want to be called: told by their words, without asking any model. Pure.

A model that misses it, or argues, must not be the only way off a list; a sentence that only sounds like it costs a number that could
have been called, which is the cheaper mistake.
"""

from __future__ import annotations

import re
import unicodedata

KEPT = 200
"""Characters of what was said last: a sentence comes in pieces."""

_PHRASES = (
    # English
    r"(stop|quit) (calling|phoning|ringing)( me| us| here| this| my)?\b",
    r"(do not|don't|dont|never) (ever )?(call|phone|ring|contact) (me|us|here|this|my)\b",
    r"(do not|don't|dont|never) (ever )?(call|phone|ring) (again|back|any ?more)\b",
    (
        r"(take|get|remove|delete) (me|us|my number|our number|this number) (off|from) (of )?(your|the|this) "
        r"(calling |call |phone )?(list|database|system|records)"
    ),
    r"(remove|delete|unsubscribe) (me|us|my number|our number|this number)\b",
    r"(put|place|add) (me|us|my number|this number) (on|to) (your|the) do[ -]?not[ -]?call",
    r"\bopt (me )?out\b",
    # German
    r"ruf(en sie|t)? (mich|uns|hier) (bitte )?(nie|nicht) (wieder|mehr|noch mal|nochmal)",
    r"(keine|nie wieder|nicht mehr) (weiteren )?anrufe?n?\b",
    r"(streichen|nehmen|loschen) sie (mich|uns|meine nummer|diese nummer)",
    # Spanish
    r"no (me|nos) (vuelva|vuelvan|llame|llamen|llames)( a llamar| mas)?\b",
    r"(deje|dejen|deja) de (llamarme|llamarnos|llamar)",
    r"(quiteme|quitenme|borreme|borrenme|elimine mi numero)",
    # French
    r"ne (m'|nous )?(appelez|rappelez|telephonez)( me)? (plus|jamais)",
    r"(arretez|cessez) (de )?(m'|nous )?(appeler|telephoner|les appels)",
    r"(retirez|enlevez|supprimez) (moi|nous|mon numero|ce numero)",
)
_WANTS = re.compile("|".join(f"(?:{phrase})" for phrase in _PHRASES))
_MARKS = str.maketrans({"\u2019": "'", "-": " ", ",": " ", ".": " ", "!": " ", "?": " "})


class Refusing:
    """Listens to one person."""

    def __init__(self) -> None:
        self._said = ""

    def hears(self, words: str) -> bool:
        """Take what was said next, in pieces of any size; whether it says so now."""
        self._said = (self._said + words)[-KEPT:]
        return _WANTS.search(plain(self._said)) is not None


def plain(text: str) -> str:
    """Lower case, without accents and marks, one blank between words."""
    split = unicodedata.normalize("NFKD", text.translate(_MARKS).lower())
    return " ".join("".join(each for each in split if not unicodedata.combining(each)).split())
