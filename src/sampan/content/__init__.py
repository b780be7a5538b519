"""Blobs and layers on disk."""
