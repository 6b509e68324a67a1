"""Asterisk's WebSocket channel: a PBX hands its calls to us by itself."""
