"""Drivers of phone lines: they await sockets and decide nothing about calls."""
