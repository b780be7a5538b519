"""Hostile-proof tar reading and deterministic tar writing, relative to directory descriptors."""
