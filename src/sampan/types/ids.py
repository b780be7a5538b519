"""Identifiers of containers, networks, execs and anonymous volumes: 64 lower-case hex digits, of which 12 are shown."""

from __future__ import annotations

import os
import re

SHORT_LENGTH = 12
_ID = re.compile(r"[0-9a-f]{64}")
_PREFIX = re.compile(r"[0-9a-f]{1,64}")


def new_id() -> str:
    """A fresh id from the kernel's random source.

    Its first 12 digits are never all decimal: as a host name they would be taken for a number by some resolvers.
    """
    while True:
        identifier = os.urandom(32).hex()
        if not identifier[:SHORT_LENGTH].isdecimal():
            return identifier


def short(identifier: str) -> str:
    """The 12 digits that are shown; an algorithm in front (`sha256:`) is left out."""
    return identifier.rpartition(":")[2][:SHORT_LENGTH]


def is_id(text: str) -> bool:
    """Whether `text` is a complete id."""
    return _ID.fullmatch(text) is not None


def is_id_prefix(text: str) -> bool:
    """Whether `text` can be the start of an id."""
    return _PREFIX.fullmatch(text) is not None
