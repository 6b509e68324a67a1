"""What `/metrics` shows: every series from the start, and each call counted once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import agent
from agent.call.dead_air import COUNTED
from agent.call.hops import Hop
from agent.call.metrics import CallMetrics
from agent.call.turns import Turn
from agent.errors import Fate
from agent.protocols.twilio.provider import OVER
from agent.server.metrics import END_REASONS, REFUSALS, REPLACED, Metrics

PACKAGE = Path(agent.__file__).parent


def page(metrics: Metrics) -> dict[str, float]:
    lines = metrics.page().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_every_series_is_born_at_zero() -> None:
    series = page(Metrics(lambda: 0))
    wanted = {f'pickup_calls_ended_total{{reason="{reason}"}}' for reason in END_REASONS}
    wanted |= {f'pickup_refused_total{{why="{why}"}}' for why in REFUSALS}
    wanted |= {f'pickup_forged_total{{where="{where}"}}' for where in ("webhook", "stream")}
    wanted |= {f'pickup_dropped_seconds_total{{direction="{way}"}}' for way in ("up", "down")}
    wanted |= {f'pickup_dead_air_seconds_total{{cause="{cause}"}}' for cause in COUNTED}
    wanted |= {f'pickup_sessions_lost_total{{fate="{fate}"}}' for fate in Fate}
    for how in REPLACED:
        wanted |= {f'pickup_sessions_replaced_total{{how="{how}"}}'}
        wanted |= {f'pickup_replacement_silence_seconds_total{{how="{how}"}}'}
        wanted |= {f'pickup_replacement_lost_seconds_total{{how="{how}"}}'}
        wanted |= {f'pickup_replacement_seconds_total{{how="{how}"}}'}
    for then in ("interrupted", "spoken_on"):
        wanted |= {f'pickup_local_voice_stops_total{{then="{then}"}}'}
    wanted |= {"pickup_short_words_sent_again_total", "pickup_local_voice_seconds_total"}
    wanted |= {"pickup_sessions_forgotten_total"}
    wanted |= {"pickup_calls_started_total", "pickup_calls_active"}
    wanted |= {"pickup_barge_ins_total", "pickup_underruns_total"}
    wanted |= {"pickup_turn_latency_seconds_count", "pickup_turn_latency_seconds_sum"}
    assert wanted <= set(series)
    assert {value for name, value in series.items() if "_created" not in name} == {0.0}


def test_every_reason_that_the_code_gives_is_among_them() -> None:
    texts = [path.read_text() for path in (PACKAGE / "call" / "conduct").glob("*.py")]
    pattern = r'\bgo\([^)]*now, "(\w+)"\)|own\.\w+, "(\w+)", now'
    said = [found for text in texts for found in re.findall(pattern, text)]
    reasons = {first or second for first, second in said} | set(OVER.values())
    live = (PACKAGE / "server" / "live_call.py").read_text()
    board = (PACKAGE / "server" / "switchboard.py").read_text()
    reasons |= set(re.findall(r'return "(\w+)"', live))
    reasons |= set(re.findall(r'abandon\("(\w+)"\)', live + board))
    assert {"agent_hung_up", "time_limit", "model_lost", "server_stopped", "no_start"} <= reasons
    assert "caller_silent" in reasons
    assert reasons <= set(END_REASONS)


def test_every_refusal_that_the_code_counts_is_among_them() -> None:
    texts = [path.read_text() for path in (PACKAGE / "server").glob("*.py")]
    said = {why for text in texts for why in re.findall(r'refused\.labels\("(\w+)"\)', text)}
    assert {"token", "streams", "no_agent"} <= said <= set(REFUSALS)


def test_a_call_that_has_ended_is_counted_with_its_figures() -> None:
    metrics = Metrics(lambda: 7)
    figures = CallMetrics(barge_ins=2, underruns=1, dropped_up_ms=1500.0, dropped_down_ms=20.0)
    figures.dead_air = {"model_silent": 4.5}
    figures.stopped, figures.spoken_on, figures.rescued, figures.listened = 5, 2, 3, 12.5
    figures.hops = [
        Hop(at=9.0, planned=True, ms=400.0, lost_ms=0.0, silence_ms=250.0),
        Hop(at=30.0, planned=False, ms=900.0, lost_ms=60.0, silence_ms=1500.0),
        Hop(at=60.0, planned=True, ms=400.0, lost_ms=0.0, silence_ms=0.0),
    ]
    figures.forgotten = 1
    figures.session_lost(Fate.RESUME)
    figures.session_lost(Fate.RESUME)
    figures.session_lost(Fate.STEP_DOWN)
    turns = [
        Turn(n=0, first_heard=1.0),  # the greeting answers nobody
        Turn(n=1, caller_end=2.0, first_heard=2.8),
        Turn(n=2, caller_end=9.0, first_heard=9.4),
    ]
    metrics.add("agent_hung_up", figures, turns)
    series = page(metrics)
    assert series['pickup_calls_ended_total{reason="agent_hung_up"}'] == 1
    assert series["pickup_calls_active"] == 7
    assert series["pickup_barge_ins_total"] == 2
    assert series['pickup_dead_air_seconds_total{cause="model_silent"}'] == 4.5
    assert series["pickup_underruns_total"] == 1
    assert series['pickup_sessions_replaced_total{how="hop"}'] == 2
    assert series['pickup_sessions_replaced_total{how="recovery"}'] == 1
    assert series['pickup_replacement_silence_seconds_total{how="hop"}'] == 0.25
    assert series['pickup_replacement_silence_seconds_total{how="recovery"}'] == 1.5
    assert series['pickup_replacement_seconds_total{how="hop"}'] == 0.8
    assert series['pickup_replacement_lost_seconds_total{how="recovery"}'] == 0.06
    assert series["pickup_sessions_forgotten_total"] == 1
    assert series['pickup_local_voice_stops_total{then="interrupted"}'] == 3
    assert series['pickup_local_voice_stops_total{then="spoken_on"}'] == 2
    assert series["pickup_short_words_sent_again_total"] == 3
    assert series["pickup_local_voice_seconds_total"] == 12.5
    lost = {fate: series[f'pickup_sessions_lost_total{{fate="{fate}"}}'] for fate in Fate}
    assert lost == {Fate.FATAL: 0, Fate.STEP_DOWN: 1, Fate.RESUME: 2, Fate.FRESH: 0}
    assert series['pickup_dropped_seconds_total{direction="up"}'] == 1.5
    assert series['pickup_dropped_seconds_total{direction="down"}'] == 0.02
    assert series["pickup_turn_latency_seconds_count"] == 2
    assert series["pickup_turn_latency_seconds_sum"] == pytest.approx(1.2)
    assert series['pickup_turn_latency_seconds_bucket{le="0.5"}'] == 1


def test_two_servers_in_one_process_do_not_share_counters() -> None:
    first, second = Metrics(lambda: 0), Metrics(lambda: 0)
    first.started.inc()
    assert page(second)["pickup_calls_started_total"] == 0
