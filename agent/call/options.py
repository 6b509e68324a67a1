"""How a call behaves: plain frozen data that the server fills in from settings and the agent's file."""

from __future__ import annotations

import zlib

import msgspec

from agent.audio.playout import PlayoutOptions
from agent.call.barge_in import BargeInOptions
from agent.call.dead_air import DeadAirOptions
from agent.call.local_voice import LocalVoiceOptions
from agent.call.model_leg import LegOptions
from agent.events import OwnLineKey, Pcm24k


class UplinkOptions(msgspec.Struct, frozen=True):
    """The caller's audio on its way to the model.

    Attributes:
        message: seconds of audio in one message in steady state (Live API best practices: 20 to 40 ms, at most 100).
        merged: seconds of audio in one message while a backlog is worked off.
        messages: messages of all kinds in any sliding second.
        speed: how many times faster than real time a backlog goes, at most.
        words: bytes of words and tool results in a second, in the long run; twice that and one message in any one. Audio has
            a bound already: `speed` * 0.9 of real time and one message of `merged`, so 3.7 s of it in any second, which are
            158 kB as base64; the 60 messages around it add 5 kB.
        before_ready: seconds of audio kept until the first session is ready.
        backlog: seconds of audio kept from then on, whether it waits or may have to be heard again.
    """

    message: float = 0.02
    merged: float = 0.1
    messages: int = 60
    speed: float = 4.0
    words: int = 32_768
    before_ready: float = 10.0
    backlog: float = 30.0


class CallOptions(msgspec.Struct, frozen=True):
    """Limits and habits of one call; all times in seconds.

    Attributes:
        greeting: what the model is asked so that it speaks first.
        go_on: what a session is asked that replaces another one in the middle of an answer.
        answer_within: ringing ends after this even where the greeting is not in hand (Twilio gives up at 15 s).
        start_within: an answered call whose stream does not start is given up.
        park_within: a call whose stream broke waits this long for the caller to be brought back.
        breaks: so many streams of a call may break ...
        breaks_within: ... within so long; one more, and what breaks them is no accident: the caller is not brought back again.
        max_seconds: longest conversation.
        goodbye_within: watchdog of the last words; renewed while they play.
        speak_within: how long a model that ended the call without a word may take to say one.
        moment_after: how long a caller whose session was lost hears nothing before we say that it takes a moment.
        keys_within: after a key, how long the caller may take to press the next of the same number.
        keys_pressed: what the model is told of keys, which are put in for `{keys}`.
        transfer_failed: what it is told of a caller who comes back, with the reason for `{why}`.
        hold_over: what it is told when a hold has ended by itself.
        held_within: how long the caller's side may hold the call before it is given up.
        voicemail: what it is asked for when an answering machine records; empty: nothing, and the call ends.
        machine_within: a machine that has not said until then that it records is left the message all the same.
        message_within: how long the model may take to begin with it.
        tells_heard: whether the model can be told what was heard of a reply that was cut off.
        linger: after the last words were heard, how long the model may take to say that its turn is over.
        refuse_late: how long audio of an interrupted generation is refused where `turnComplete` does not come.
    """

    greeting: str
    go_on: str = "The connection was interrupted for a moment. Answer what the caller said last."
    answer_within: float = 2.0
    start_within: float = 25.0
    park_within: float = 10.0
    breaks: int = 3
    breaks_within: float = 60.0
    max_seconds: float = 3600.0
    goodbye_within: float = 10.0
    speak_within: float = 3.0
    moment_after: float = 2.0
    linger: float = 1.0
    refuse_late: float = 1.0
    keys_within: float = 0.6
    keys_pressed: str = "(On the keypad the caller pressed: {keys})"
    transfer_failed: str = "(The caller could not be put through: {why}. The caller is with you again. Say so, and offer what else you can do.)"
    hold_over: str = "(The hold is over. The caller hears you again. Go on.)"
    held_within: float = 900.0
    voicemail: str = ""
    machine_within: float = 30.0
    message_within: float = 10.0
    tells_heard: bool = False
    dead_air: DeadAirOptions = DeadAirOptions()
    barge_in: BargeInOptions = BargeInOptions()
    local_voice: LocalVoiceOptions = LocalVoiceOptions()
    leg: LegOptions = LegOptions()
    uplink: UplinkOptions = UplinkOptions()
    playout: PlayoutOptions = PlayoutOptions()


class OwnLine(msgspec.Struct, frozen=True):
    """A sentence that Pickup says itself, without the model: its name, its words and its sound."""

    name: str
    text: str
    pcm: Pcm24k

    @property
    def key(self) -> OwnLineKey:
        """What a flight record says of it."""
        return OwnLineKey(self.text, self.pcm.samples, zlib.crc32(self.pcm))


class OwnLines(msgspec.Struct, frozen=True):
    """What a call can say by itself.

    Attributes:
        trouble: the model is gone and the call ends.
        moment: the session was lost and a new one is on its way, or something takes its time.
        repeat: the model does not answer; asks the caller to say it again.
        still_there: asks a silent caller whether he is there.
        unheard: takes leave of a caller who is not.
        time_limit: the call has lasted as long as it may.
        budget: the call, or the day, has cost as much as it may.
        disclosure: the first words of the call, where the agent's file does not waive them.
        consent: said after that, where the agent's file has it: sound is kept from its end on.
        filler: said in place of `moment` while a tool runs, where the agent's file has it.
    """

    trouble: OwnLine
    time_limit: OwnLine
    budget: OwnLine
    moment: OwnLine
    repeat: OwnLine
    still_there: OwnLine
    unheard: OwnLine
    disclosure: OwnLine | None = None
    consent: OwnLine | None = None
    filler: OwnLine | None = None

    def keys(self) -> dict[str, OwnLineKey]:
        """What a flight record says of them, by name."""
        lines: dict[str, OwnLine | None] = msgspec.structs.asdict(self)
        return {name: line.key for name, line in lines.items() if line is not None}
