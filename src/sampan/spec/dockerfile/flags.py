"""The `--name=value` flags of an instruction."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.suggest import did_you_mean

_BOOLEANS = frozenset({"link", "parents", "keep-git-dir", "unpack"})


class Flags:
    """The flags of one line, checked against those that its instruction knows."""

    def __init__(self, given: Sequence[str], known: Sequence[str], *, repeatable: Sequence[str] = ()) -> None:
        """Raises `InvalidArgument` in Docker's words for an unknown, repeated or valueless flag."""
        self._values: dict[str, list[str]] = {}
        for flag in given:
            name, equals, value = flag[2:].partition("=")
            if name not in known:
                raise InvalidArgument(f"unknown flag: {name}{did_you_mean(name, known)}")
            if name in self._values and name not in repeatable:
                raise InvalidArgument(f"duplicate flag specified: {name}")
            if name in _BOOLEANS:
                value = value.lower() if equals else "true"
                if value not in ("true", "false"):
                    raise InvalidArgument(f"expecting boolean value for flag {name}, not: {value}")
            elif not equals:
                raise InvalidArgument(f"missing a value on flag: {name}")
            self._values.setdefault(name, []).append(value)

    def given(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str:
        """The value, or empty."""
        return self._values.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Every value of a flag that may be repeated."""
        return self._values.get(name, [])

    def boolean(self, name: str) -> bool:
        return self.text(name) == "true"
