"""All that one call is made of; what it does with it is in `conduct/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent.call.barge_in import BargeIn
from agent.call.control import Control
from agent.call.dead_air import DeadAir
from agent.call.downlink import Downlink
from agent.call.heard_truth import HeardTruth
from agent.call.hops import Hops
from agent.call.life import Phase, Timer
from agent.call.local_voice import LocalVoice
from agent.call.metrics import CallMetrics
from agent.call.model_leg import ModelLeg
from agent.call.tool_calls import ToolCalls
from agent.call.turns import Agent, Turns
from agent.call.uplink import Uplink

if TYPE_CHECKING:
    from agent import events as e
    from agent.call.options import CallOptions, OwnLine, OwnLines


class CallState:
    """One call's parts, in one place, so that a rule may concern several of them.

    Args:
        options: limits and habits.
        own: what the call can say without the model.

    Attributes:
        phase: where the call is in its life.
        reason: the record's `end_reason`, once it is decided.
        timers: what is due when.
        out: the commands of this step so far.
    """

    def __init__(self, options: CallOptions, own: OwnLines) -> None:
        self.options = options
        self.own = own
        self.phase = Phase.RINGING
        self.reason = ""
        self.turns = Turns()
        self.air = DeadAir(options.dead_air)
        self.metrics = CallMetrics(dead_air=self.air.seconds)
        self.barge_in = BargeIn(options.barge_in)
        self.local = LocalVoice(options.local_voice, 0.0)
        self.truth = HeardTruth(tells=options.tells_heard)
        self.uplink = Uplink(options.uplink, 0.0)
        self.downlink = Downlink(options.playout)
        self.leg = ModelLeg(options.leg)
        self.tools = ToolCalls()
        self.hops = Hops()
        self.control = Control(options.breaks)
        self.timers: dict[Timer, float] = {}
        self.out: list[e.AnyCommand] = []

    def say(self, line: OwnLine) -> None:
        """Say a sentence of our own after what is queued."""
        start = self.downlink.position
        self.downlink.say_whole(line.pcm)
        self.turns.own_line(line.text, start, self.downlink.position)

    def quiet_since(self, now: float) -> float | None:
        """Since when nobody speaks and nothing runs; None where somebody does."""
        busy = self.turns.state is not Agent.QUIET or len(self.tools) > 0
        waited_for = self.turns.speech_since() is not None or bool(self.turns.prompt)
        if busy or waited_for or self.downlink.unheard(now):
            return None
        return self.turns.agent_last_heard()


Handler = Callable[[CallState, Any, float], None]
"""What is done about one kind of event."""

Due = Callable[[CallState, float], None]
"""What is done when a deadline has come."""
