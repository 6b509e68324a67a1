"""The life of a call: its phases, what moves it from one to the next, and its deadlines."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """Where a call is in its life."""

    RINGING = "ringing"
    TALKING = "talking"
    PARKED = "parked"  # the stream broke; the provider may bring the caller back
    ENDING = "ending"  # the last words are being heard
    AWAY = "away"  # the caller is being put through to a person
    ENDED = "ended"


class Signal(StrEnum):
    """What moves a call through its life."""

    LINE_STARTED = "line_started"
    LINE_STOPPED = "line_stopped"
    LINE_BROKE = "line_broke"
    GOODBYE = "goodbye"
    CALLER_BACK = "caller_back"
    HEARD_OUT = "heard_out"
    PUT_THROUGH = "put_through"
    NOT_TAKEN = "not_taken"
    GAVE_UP = "gave_up"


P, S = Phase, Signal
LIFE: dict[tuple[Phase, Signal], Phase] = {
    (P.RINGING, S.LINE_STARTED): P.TALKING,
    (P.RINGING, S.GOODBYE): P.ENDING,
    (P.RINGING, S.GAVE_UP): P.ENDED,
    (P.TALKING, S.LINE_STOPPED): P.ENDED,
    (P.TALKING, S.LINE_BROKE): P.PARKED,
    (P.TALKING, S.GOODBYE): P.ENDING,
    (P.TALKING, S.GAVE_UP): P.ENDED,
    (
        P.PARKED,
        S.LINE_STOPPED,
    ): P.ENDED,  # we gave the stream up before the provider told of its end
    (P.PARKED, S.LINE_BROKE): P.PARKED,
    (P.PARKED, S.LINE_STARTED): P.TALKING,
    (P.PARKED, S.GOODBYE): P.ENDED,
    (P.PARKED, S.GAVE_UP): P.ENDED,
    (P.ENDING, S.LINE_STARTED): P.ENDING,
    (P.ENDING, S.LINE_STOPPED): P.ENDED,
    (P.ENDING, S.LINE_BROKE): P.ENDED,
    (P.ENDING, S.GOODBYE): P.ENDING,
    (P.ENDING, S.CALLER_BACK): P.TALKING,
    (P.ENDING, S.HEARD_OUT): P.ENDED,
    (P.ENDING, S.GAVE_UP): P.ENDED,
    (P.ENDING, S.PUT_THROUGH): P.AWAY,
    (P.AWAY, S.LINE_STOPPED): P.AWAY,  # we gave the stream up; the caller is still there
    (P.AWAY, S.LINE_BROKE): P.AWAY,
    (P.AWAY, S.NOT_TAKEN): P.PARKED,
    (P.AWAY, S.GAVE_UP): P.ENDED,
}
"""What is not in here cannot happen; a signal after the end is ignored, since peers may be slow to notice."""


class Timer(StrEnum):
    """Deadlines of a call; each has one meaning and one consequence."""

    ANSWER = "answer"  # stop ringing
    START = "start"  # answered, and no stream came
    PARK = "park"  # the caller was not brought back
    LIMIT = "limit"  # the call has lasted as long as it may
    GOODBYE = "goodbye"  # watchdog of the last words
    SPEAK = "speak"  # the model ended the call and says nothing
    LINGER = "linger"  # the last words were heard; the model has not said that it is done
    REFUSE = "refuse"  # an interrupted generation never completed
    CONFIRM = "confirm"  # nobody has confirmed the voice that stopped the agent
    MOMENT = "moment"  # the session was lost, and the caller hears nothing
    AWAY = "away"  # nobody said that the transfer failed, so it did not
    KEYS = "keys"  # the caller has pressed the last key, for now
    HOLD = "hold"  # the hold has lasted as long as it may
    HELD = "held"  # the caller has heard nothing for a while of it
    LINE_HELD = "line_held"  # the caller's side has held the call as long as it may
    MACHINE = "machine"  # an answering machine has had time enough to begin to record
