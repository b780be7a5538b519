"""ARG: which build arguments a stage sees, and what a RUN gets of them.

Source: https://docs.docker.com/reference/dockerfile/#scope and #predefined-args.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.spec.dockerfile.syntax import Arg
from sampan.spec.dockerfile.words import Lexer
from sampan.types.platform import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset(name for proxy in _PROXIES for name in (proxy, proxy.lower()))
"""Arguments that a RUN gets undeclared; they are kept out of history and cache keys."""


def platform_arguments(target: Platform, build: Platform) -> dict[str, str]:
    """TARGETPLATFORM and its kin."""
    found = {}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        found[prefix + "PLATFORM"] = str(platform)
        found[prefix + "OS"] = platform.os
        found[prefix + "ARCH"] = platform.architecture
        found[prefix + "VARIANT"] = platform.variant or ""
    return found


class GlobalArguments:
    """The ARGs ahead of the first FROM, with what the client gave."""

    def __init__(
        self, declared: list[Arg], given: Mapping[str, str | None], platform: Mapping[str, str], lexer: Lexer
    ) -> None:
        self.given = given
        self.platform = dict(platform)
        self.consumed: set[str] = set()
        self.values: dict[str, str | None] = {}
        for instruction in declared:
            for name, default in instruction.pairs:
                self.values[name] = self._value(name, default, lexer)

    def _value(self, name: str, default: str | None, lexer: Lexer) -> str | None:
        self.consumed.add(name)
        if self.given.get(name) is not None:
            return self.given[name]
        return None if default is None else lexer.text(default, self.variables())

    def variables(self) -> dict[str, str]:
        """What a FROM line can refer to."""
        found = {name: self.given.get(name) or value for name, value in self.platform.items()}
        found.update({name: value for name, value in self.values.items() if value is not None})
        return found

    def unconsumed(self) -> list[str]:
        """Names that the client gave and no ARG asked for."""
        return sorted(name for name in self.given if name not in self.consumed and name not in PREDEFINED)


class StageArguments:
    """The ARGs of one stage so far."""

    def __init__(self, scope: GlobalArguments, inherited: StageArguments | None = None) -> None:
        self._scope = scope
        self.values: dict[str, str | None] = dict(inherited.values) if inherited is not None else {}

    def declare(self, name: str, default: str | None, default_text: str | None) -> None:
        """ARG name[=default]; `default` is expanded, `default_text` tells whether there was one."""
        scope = self._scope
        scope.consumed.add(name)
        if scope.given.get(name) is not None:
            self.values[name] = scope.given[name]
        elif default_text is not None:
            self.values[name] = default
        else:
            self.values[name] = scope.values.get(name, scope.platform.get(name))

    def visible(self) -> dict[str, str]:
        """Declared arguments that have a value."""
        return {name: value for name, value in self.values.items() if value is not None}

    def hidden(self) -> dict[str, str]:
        """Predefined arguments that the client gave and no ARG declared."""
        return {
            name: value
            for name, value in self._scope.given.items()
            if name in PREDEFINED and value is not None and name not in self.values
        }
