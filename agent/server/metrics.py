"""What `/metrics` shows. Every series exists from the start: a counter that was never born looks like a zero and is none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent.call.dead_air import COUNTED
from agent.errors import Fate

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.call.metrics import CallMetrics
    from agent.call.turns import Turn

END_REASONS = (
    "agent_hung_up",
    "caller_hung_up",
    "caller_busy",
    "call_failed",
    "cancelled",
    "carrier_refused",
    "declined",
    "fax",
    "opted_out",
    "budget",
    "invalid_number",
    "no_answer",
    "no_start",
    "line_lost",
    "model_lost",
    "time_limit",
    "caller_silent",
    "held_too_long",
    "transferred",
    "voicemail",
    "server_stopped",
    "internal_error",
)
REPLACED = ("hop", "recovery")
REFUSALS = (
    "budget",
    "busy",
    "caller",
    "closed",
    "draining",
    "no_agent",
    "quota",
    "rate",
    "streams",
    "token",
    "twice",
)


class Metrics:
    """The process's counters, in a registry of their own.

    Args:
        active: how many calls are live.
    """

    def __init__(self, active: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="pickup", registry=self.registry)
        self.started = counter("calls_started", "Calls that took a slot.")
        self.ended = counter("calls_ended", "Calls that ended.", ["reason"])
        self.refused = counter("refused", "Callers and streams turned away.", ["why"])
        self.forged = counter("forged", "Requests without a valid signature.", ["where"])
        self.reduced = counter("reduced_setups", "Calls whose model did not take the whole setup.")
        self.breaker = Gauge(
            "quota_breaker",
            "Whether new calls are kept out because the model's quota is used up: 1, on trial 0.5.",
            namespace="pickup",
            registry=self.registry,
        )
        self.barge_ins = counter("barge_ins", "Times a caller stopped the agent.")
        self.stopped = counter(
            "local_voice_stops",
            "Times a voice heard here stopped the agent; spoken_on: nobody confirmed it.",
            ["then"],
        )
        self.rescued = counter("short_words_sent_again", "Words the model had not understood.")
        self.listened = counter("local_voice_seconds", "Sound that the detector here listened to.")
        self.underruns = counter("underruns", "Holes inside a reply, by our clock.")
        self.dead_air = counter(
            "dead_air_seconds", "Silence in which it was the agent's turn.", ["cause"]
        )
        self.replaced = counter(
            "sessions_replaced", "Sessions with the model that another one followed.", ["how"]
        )
        self.ended_sessions = counter(
            "sessions_lost", "Sessions that ended by no wish of ours.", ["fate"]
        )
        self.forgotten = counter(
            "sessions_forgotten", "Resumed sessions that did not remember their call."
        )
        self.silence_added = counter(
            "replacement_silence_seconds", "Silence that callers heard for it.", ["how"]
        )
        self.replacing = counter(
            "replacement_seconds", "Time until the new session was ready.", ["how"]
        )
        self.lost = counter(
            "replacement_lost_seconds", "Callers' audio that no session will hear.", ["how"]
        )
        self.dropped = counter(
            "dropped_seconds", "Audio that a full buffer dropped.", ["direction"]
        )
        self.latency = Histogram(
            "turn_latency_seconds",
            "End of the caller's speech until the reply was heard.",
            namespace="pickup",
            registry=self.registry,
            buckets=(0.3, 0.5, 0.7, 0.9, 1.1, 1.5, 2.0, 3.0, 5.0, 10.0),
        )
        gauge = Gauge(
            "calls_active",
            "Calls that are live or hold a slot.",
            namespace="pickup",
            registry=self.registry,
        )
        gauge.set_function(lambda: float(active()))
        self.registered = Gauge(
            "sip_registered",
            "Whether SIP_REGISTRAR knows us: 1, else 0.",
            namespace="pickup",
            registry=self.registry,
        )
        for reason in END_REASONS:
            self.ended.labels(reason)
        for why in REFUSALS:
            self.refused.labels(why)
        for where in ("webhook", "stream"):
            self.forged.labels(where)
        for cause in COUNTED:
            self.dead_air.labels(cause)
        for direction in ("up", "down"):
            self.dropped.labels(direction)
        for how in REPLACED:
            self.replaced.labels(how)
            for series in (self.silence_added, self.replacing, self.lost):
                series.labels(how)
        for then in ("interrupted", "spoken_on"):
            self.stopped.labels(then)
        for fate in Fate:
            self.ended_sessions.labels(fate)

    def add(self, reason: str, metrics: CallMetrics, turns: list[Turn]) -> None:
        """Count a call that has ended."""
        self.ended.labels(reason).inc()
        self.barge_ins.inc(metrics.barge_ins)
        self.stopped.labels("spoken_on").inc(metrics.spoken_on)
        self.stopped.labels("interrupted").inc(metrics.stopped - metrics.spoken_on)
        self.rescued.inc(metrics.rescued)
        self.listened.inc(metrics.listened)
        self.underruns.inc(metrics.underruns)
        self.dropped.labels("up").inc(metrics.dropped_up_ms / 1000)
        self.dropped.labels("down").inc(metrics.dropped_down_ms / 1000)
        for cause, seconds in metrics.dead_air.items():
            self.dead_air.labels(cause).inc(seconds)
        for fate, count in metrics.lost_sessions.items():
            self.ended_sessions.labels(fate).inc(count)
        self.forgotten.inc(metrics.forgotten)
        for hop in metrics.hops:
            how = "hop" if hop.planned else "recovery"
            self.replaced.labels(how).inc()
            self.silence_added.labels(how).inc(hop.silence_ms / 1000)
            self.replacing.labels(how).inc(hop.ms / 1000)
            self.lost.labels(how).inc(hop.lost_ms / 1000)
        for turn in turns:
            if (latency := turn.latency().latency_ms) is not None:
                self.latency.observe(latency / 1000)

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
