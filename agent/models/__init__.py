"""Drivers of speech models: the socket, and the session that any pure model protocol runs in."""
