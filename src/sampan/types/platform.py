"""Operating system, architecture and variant that an image is for, named as Go names them.

Normalisation and choice follow https://github.com/containerd/platforms (database.go, compare.go).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from sampan.errors import InvalidArgument

_OS_TEXT = """
aix android darwin dragonfly freebsd illumos ios js linux nacl netbsd openbsd plan9 solaris windows
"""
_OS = frozenset(_OS_TEXT.split())
_ARCHITECTURES_TEXT = """
386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x wasm
"""
_ARCHITECTURES = frozenset(_ARCHITECTURES_TEXT.split())
_ARCHITECTURE_ALIASES = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "loongarch64": ("loong64", ""),
}
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_MAX_VARIANT = {"arm": 8, "arm64": 9, "amd64": 4}

_T = TypeVar("_T")


class Platform(NamedTuple):
    """A platform in normal form: default variants (`amd64/v1`, `arm64/v8`) are left out, `arm` always has one."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """Bring names from an index, a config or `uname` into normal form; accepts names that nobody knows."""
        os = {"macos": "darwin"}.get(os.lower(), os.lower())
        architecture = architecture.lower()
        alias = _ARCHITECTURE_ALIASES.get(architecture)
        if alias:
            architecture, variant = alias[0], variant or alias[1]
        variant = variant.lower()
        if variant and variant[0].isdigit():
            variant = "v" + variant
        if architecture == "arm":
            return cls(os, architecture, variant or "v7")
        return cls(os, architecture, "" if variant == _DEFAULT_VARIANT.get(architecture) else variant)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `os`, `architecture`, `os/architecture` or `os/architecture/variant`.

        Raises:
            InvalidArgument: unknown, or badly formed.
        """
        parts = text.strip().split("/")
        if not all(part and part.replace("_", "a").replace("-", "a").replace(".", "a").isalnum() for part in parts):
            raise InvalidArgument(f'"{text}": invalid platform: components must match [A-Za-z0-9_.-]+')
        if len(parts) == 1:
            name = parts[0].lower()
            if name in _OS:
                return cls.of(name, cls.host().architecture, cls.host().variant)
            guess = cls.of("linux", name)
            if guess.architecture in _ARCHITECTURES:
                return guess
            raise InvalidArgument(f'"{text}": unknown operating system or architecture: invalid argument')
        if len(parts) > 3:
            raise InvalidArgument(f'"{text}": cannot parse platform specifier: invalid argument')
        return cls.of(*parts)

    @classmethod
    def host(cls) -> Platform:
        """What this machine runs natively."""
        return cls.of("linux", os.uname().machine)

    def __str__(self) -> str:
        return "/".join(filter(None, self))

    def matches(self, candidate: Platform) -> bool:
        """Whether an image for `candidate` runs on this platform: the same, or an older variant of it."""
        return self._distance(candidate) is not None

    def _distance(self, candidate: Platform) -> int | None:
        """0 for the same, more the older the candidate's variant is; None if it cannot run."""
        if candidate.os != self.os:
            return None
        if candidate.architecture != self.architecture:
            # An arm64 kernel nearly always runs 32-bit arm too; it comes after every arm64 variant.
            if self.architecture == "arm64" and candidate.architecture == "arm":
                return 100 + _MAX_VARIANT["arm"] - _variant_number(candidate)
            return None
        distance = _variant_number(self) - _variant_number(candidate)
        return distance if distance >= 0 else None

    def choose(self, candidates: Iterable[tuple[Platform, _T]]) -> _T | None:
        """The candidate that fits best, the first among equals; None if none fits."""
        best: tuple[int, _T] | None = None
        for platform, value in candidates:
            distance = self._distance(platform)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, value)
        return best[1] if best else None


def _variant_number(platform: Platform) -> int:
    digits = (platform.variant or _DEFAULT_VARIANT.get(platform.architecture, "")).lstrip("v").split(".")[0]
    return int(digits) if digits.isdigit() and len(digits) < 4 else 0
