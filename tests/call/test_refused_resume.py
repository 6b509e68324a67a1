"""A setup that is refused although it was accepted before: what is new in it is the handle."""

from __future__ import annotations

from agent.call.model_leg import LegOptions, ModelLeg, Plan
from agent.errors import Fate


def resumed() -> ModelLeg:
    """A leg that opens a session with a handle, after a loss."""
    leg = ModelLeg(LegOptions())
    leg.open(0.0)
    leg.opened(1.0)
    leg.snapshot("h1", resumable=True)
    assert leg.lost(Fate.RESUME, 20.0, owed=False)
    assert leg.open(20.0) == Plan(resume=True)
    return leg


def test_a_resume_that_is_refused_loses_its_handle_and_nothing_else() -> None:
    leg = resumed()
    assert leg.lost(Fate.STEP_DOWN, 20.2, owed=False)
    assert leg.handle == ""
    assert leg.deadline() == 20.2 + LegOptions().backoff
    assert leg.open(20.7) == Plan(
        resume=False
    )  # fresh, told everything, with the setup that was accepted


def test_a_fresh_one_that_is_refused_too_is_made_smaller_once() -> None:
    leg = resumed()
    leg.lost(Fate.STEP_DOWN, 20.2, owed=False)
    leg.open(20.7)
    assert leg.lost(Fate.STEP_DOWN, 20.9, owed=False)
    assert leg.deadline() == 20.9
    assert leg.open(20.9) == Plan(resume=False, smaller=True)
    assert not leg.lost(Fate.STEP_DOWN, 21.1, owed=False)  # three setups
    assert leg.gone
