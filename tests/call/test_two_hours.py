"""Two hours of one call by literal times: everything is said once, and what is kept does not grow but for the transcript."""

from __future__ import annotations

import sys
import time
from types import FunctionType, ModuleType

import pytest

from agent import events as e
from agent.call.options import CallOptions
from tests.call.calls import Bench, say

EXCHANGE_S = 12
SETUP_S = 0.5

NOT_KEPT_FOR_A_CALL = (type, ModuleType, FunctionType)


def weight(of: object, seen: set[int]) -> int:
    """Bytes of an object and of all that it alone leads to."""
    total, waiting = 0, [of]
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, NOT_KEPT_FOR_A_CALL):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each) + int(getattr(each, "nbytes", 0))
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, (str, bytes, bytearray, int, float)):
            continue
        elif hasattr(each, "__iter__") and hasattr(each, "__len__"):
            waiting += list(each)
        waiting += list(getattr(each, "__dict__", {}).values())
        for kind in type(each).__mro__:
            names = getattr(kind, "__slots__", ())
            waiting += [getattr(each, name, None) for name in names if isinstance(names, tuple)]
    return total


class LongCall:
    """A caller who asks every twelve seconds, and a model whose connection lasts ten minutes."""

    def __init__(self) -> None:
        self.bench = Bench(options=CallOptions(greeting="Greet.", max_seconds=3 * 3600.0))
        self.asked = 0
        self.hops = 0
        bench = self.bench
        bench.run(0.3)
        bench.tell(e.ModelReady(0.3))
        bench.answer(1.0, "Hello.")
        bench.run(0.1)
        bench.connect()
        bench.run(1.5)
        bench.tell(e.TurnComplete())
        bench.log.clear()  # the first session is no hop

    def go_on(self, seconds: float) -> tuple[float, int]:
        """Talk for so long.

        Returns:
            CPU seconds that it took, and the bytes that are kept beside the transcript and the list of hops.
        """
        before, end = time.process_time(), self.bench.now + seconds
        while self.bench.now < end:
            self._exchange()
        spent = time.process_time() - before
        machine = self.bench.machine
        return spent, weight(machine, {id(machine.turns.all), id(machine.metrics)})

    def _exchange(self) -> None:
        bench, start = self.bench, self.bench.now
        self.asked += 1
        say(bench, 1.5, f"Question {self.asked}?")
        bench.answer(2.0, f"Answer {self.asked}.")
        bench.run(2.6)
        bench.tell(e.TurnComplete())
        bench.tell(e.ModelHandle(f"h{self.asked}", resumable=True))
        while bench.now < start + EXCHANGE_S - 0.001:
            if bench.all(e.OpenModel):  # of itself, before Google closes the connection
                bench.run(SETUP_S)
                bench.tell(e.ModelReady(SETUP_S))
                self.hops += 1
            bench.log.clear()
            bench.heard.clear()
            bench.run(min(0.5, start + EXCHANGE_S - bench.now))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hours_are_whole_and_cost_as_much_at_their_end_as_at_their_beginning(
    full: bool,
) -> None:
    call = LongCall()
    tens = 12 if full else 4  # of minutes: two hours of speech take a minute of computing
    parts = [call.go_on(600.0) for _ in range(tens)]
    bench = call.bench
    assert bench.ended(None)
    said = [line.text for line in bench.machine.turns.lines(bench.now)]
    assert [text for text in said if text.startswith("Question")] == [
        f"Question {n}?" for n in range(1, call.asked + 1)
    ]
    assert [text for text in said if text.startswith("Answer")] == [
        f"Answer {n}." for n in range(1, call.asked + 1)
    ]
    assert call.asked >= 600 * tens // EXCHANGE_S
    hops = bench.machine.metrics.hops
    assert len(hops) == call.hops >= tens
    assert [hop.lost_ms for hop in hops] == [0.0] * len(hops)
    assert bench.machine.metrics.dead_air == {} or sum(bench.machine.metrics.dead_air.values()) == 0
    first, last = parts[1], parts[-1]
    assert last[1] < 1.05 * first[1] + 4096, (
        f"kept beside the transcript: {[kept for _, kept in parts]}"
    )
    assert last[0] < 1.5 * first[0], (
        f"CPU of each ten minutes: {[round(cpu, 2) for cpu, _ in parts]}"
    )
