"""Sampan: a container engine in Python, in Docker's architecture of client and server."""

__version__ = "0.1.0"
