"""Frozen values without I/O: identifiers, digests, references, platforms. Standard library only, cheap to import."""
