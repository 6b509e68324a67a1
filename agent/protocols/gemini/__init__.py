"""Gemini Live's wire language (BidiGenerateContent): messages, setup and the session, without I/O."""
