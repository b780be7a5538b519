"""Values without I/O: digests, references, platforms, ids."""
