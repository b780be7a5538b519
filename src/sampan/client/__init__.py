"""Typed client of the engine's API."""
