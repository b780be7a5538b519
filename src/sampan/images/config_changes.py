"""`--change` of commit and import: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import Any

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile import instructions as syntax
from sampan.spec.dockerfile.parser import parse
from sampan.spec.dockerfile.words import Lexer

_ALLOWED = frozenset(
    ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
)
_PORTS = re.compile(r"(\d+)(?:-(\d+))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)


def apply_changes(config: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """A new run configuration: `config` with each of `changes` applied in order.

    Raises:
        InvalidArgument: a malformed instruction, or one that makes no sense without a build.
    """
    result = dict(config)
    text = "\n".join(changes)
    if not text.strip():
        return result
    document = parse(text.encode())
    lexer = Lexer(document.escape)
    for line in document.lines:
        if line.keyword not in _ALLOWED:
            raise InvalidArgument(f"{line.keyword} is not a valid change command")
        _apply(result, syntax.parse_instruction(line, document.escape), lexer)
    return result


def _apply(config: dict[str, Any], instruction: syntax.Instruction, lexer: Lexer) -> None:
    variables = dict(pair.partition("=")[::2] for pair in config.get("Env") or [])
    if isinstance(instruction, (syntax.Cmd, syntax.Entrypoint)):
        key = "Cmd" if isinstance(instruction, syntax.Cmd) else "Entrypoint"
        config[key] = _argv(config, instruction.command)
    elif isinstance(instruction, syntax.Pairs):
        pairs = [(lexer.text(name, variables), lexer.text(value, variables)) for name, value in instruction.pairs]
        if instruction.line.keyword == "ENV":
            config["Env"] = merge_environment(config.get("Env") or [], [f"{name}={value}" for name, value in pairs])
        else:
            config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs)}
    elif isinstance(instruction, syntax.Words):
        words = [lexer.text(word, variables) for word in instruction.words]
        if instruction.line.keyword == "VOLUME":
            config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in words}}
        else:
            config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **{port: {} for port in _ports(words)}}
    elif isinstance(instruction, syntax.Text):
        _apply_text(config, instruction.line.keyword, lexer.text(instruction.text, variables))
    elif isinstance(instruction, syntax.Healthcheck):
        config["Healthcheck"] = _healthcheck(instruction)
    elif isinstance(instruction, syntax.Onbuild):
        config["OnBuild"] = [*(config.get("OnBuild") or []), instruction.expression]


def _apply_text(config: dict[str, Any], keyword: str, value: str) -> None:
    if keyword == "WORKDIR":
        path = posixpath.normpath(posixpath.join(config.get("WorkingDir") or "/", value))
        config["WorkingDir"] = "/" + path.lstrip("/")
    else:
        config["User" if keyword == "USER" else "StopSignal"] = value


def _argv(config: dict[str, Any], command: syntax.Command) -> list[str]:
    if command.is_shell:
        return [*(config.get("Shell") or ["/bin/sh", "-c"]), *command.words]
    return list(command.words)


def _ports(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        match = _PORTS.match(word)
        if match is None:
            raise InvalidArgument(f"invalid containerPort: {word}")
        first, last, protocol = int(match[1]), int(match[2] or match[1]), (match[3] or "tcp").lower()
        if not 0 < first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word}")
        for port in range(first, last + 1):
            yield f"{port}/{protocol}"


def _healthcheck(instruction: syntax.Healthcheck) -> dict[str, Any]:
    members = {
        "Test": instruction.test,
        "Interval": instruction.interval_ns,
        "Timeout": instruction.timeout_ns,
        "StartPeriod": instruction.start_period_ns,
        "StartInterval": instruction.start_interval_ns,
        "Retries": instruction.retries,
    }
    return {name: value for name, value in members.items() if value}


def merge_environment(base: Iterable[str], changes: Iterable[str]) -> list[str]:
    """`base` with the variables of `changes` replaced where they stand, new ones at the end."""
    merged = {pair.partition("=")[0]: pair for pair in base}
    for pair in changes:
        merged[pair.partition("=")[0]] = pair
    return list(merged.values())
