"""Pickup: a voice agent that answers the telephone, from the phone network to Gemini Live and back."""

__version__ = "0.1.0"
