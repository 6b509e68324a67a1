"""Calls that we place: whether they may be placed at all, and how they are."""
