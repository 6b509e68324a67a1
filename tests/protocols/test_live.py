"""A model's session has the shape that the driver of models drives."""

from __future__ import annotations

from agent.protocols.gemini.session import GeminiSession
from agent.protocols.gemini.setup import GeminiOptions
from agent.protocols.live import LiveModel


def test_gemini_is_a_live_model() -> None:
    options = GeminiOptions(model="gemini-3.8-live", system_instruction="You answer the telephone.")
    model: LiveModel = GeminiSession(options)
    assert (model.ready, model.over, model.deadline()) == (False, False, None)
    for name in vars(LiveModel):
        assert name.startswith("_") or hasattr(model, name)
