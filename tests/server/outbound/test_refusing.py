"""Who says that they want no more calls, however they say it; and who only sounds like it."""

from __future__ import annotations

import pytest

from agent.server.outbound.refusing import Refusing


@pytest.mark.parametrize(
    "words",
    [
        "Stop calling me.",
        "Please, don't call me again!",
        "Don’t ever call here.",
        "Do not call this number.",
        "Never call me again.",
        "Look, take me off your list.",
        "Remove my number from your calling list, please",
        "I want you to remove me.",
        "Put me on your do-not-call list",
        "I'd like to opt out.",
        "quit phoning us",
        "Rufen Sie mich bitte nicht mehr an.",
        "Ich möchte keine Anrufe mehr.",
        "Löschen Sie meine Nummer!",
        "No me llamen más.",
        "Deje de llamarme",
        "Ne m'appelez plus jamais.",
        "Arrêtez de m'appeler",
    ],
)
def test_whoever_refuses_is_understood(words: str) -> None:
    assert Refusing().hears(words)


@pytest.mark.parametrize(
    "words",
    [
        "Could you call me back tomorrow?",
        "Don't worry, call me any time.",
        "Please call this number instead.",
        "I will take the list with me.",
        "My son stopped by while you were calling.",
        "Yes.",
        "",
        "Können Sie mich morgen anrufen?",
        "Llámeme mañana",
        "Rappelez-moi demain",
        "I can't hear you, who is calling?",
    ],
)
def test_whoever_only_speaks_of_calls_is_not(words: str) -> None:
    assert not Refusing().hears(words)


def test_a_sentence_that_comes_in_pieces_is_put_together() -> None:
    listener = Refusing()
    assert [listener.hears(piece) for piece in ("Could you st", "op cal", "ling me")] == [
        False,
        False,
        True,
    ]


def test_what_was_said_long_ago_is_forgotten() -> None:
    listener = Refusing()
    listener.hears("Please do not ")
    listener.hears("mind me. " * 40)
    assert not listener.hears("call me")
