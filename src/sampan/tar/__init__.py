"""Tar archives, in and out: a streaming reader, hostile-proof extractors and deterministic writers."""
