"""Sampan: a container engine in Python, in Docker's architecture of client and server."""
