"""The image configuration while a stage's instructions change it, in the shape of Docker's image config.

Values are replaced, never changed in place, so that every step can keep the configuration as it stood after it.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from sampan.build.arguments import StageArguments
from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.syntax import Command, Healthcheck
from sampan.types.durations import format_duration
from sampan.types.platform import Platform
from sampan.types.quoting import go_quote

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d+)(?:-(\d+))?\Z")
_PROTOCOLS = ("tcp", "udp", "sctp")


class StageState:
    """`config` is what `docker inspect` shows as Config."""

    def __init__(self, config: dict[str, Any], platform: Platform, arguments: StageArguments, author: str = "") -> None:
        self.config = dict(config)
        self.platform = platform
        self.arguments = arguments
        self.author = author
        self.command_given = False
        if not any(pair.startswith("PATH=") for pair in self.environment):
            self.set("Env", [*self.environment, DEFAULT_PATH])

    def set(self, name: str, value: Any) -> None:
        self.config = {**self.config, name: value}

    @property
    def environment(self) -> list[str]:
        return list(self.config.get("Env") or [])

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def directory(self) -> str:
        return str(self.config.get("WorkingDir") or "/")

    def variables(self) -> dict[str, str]:
        """What words can refer to: ARGs, overruled by ENV."""
        found = self.arguments.visible()
        for pair in self.environment:
            name, _, value = pair.partition("=")
            found[name] = value
        return found

    def run_arguments(self) -> dict[str, str]:
        """The ARGs that a RUN gets: those that no ENV overrules."""
        names = {pair.split("=", 1)[0] for pair in self.environment}
        return {name: value for name, value in sorted(self.arguments.visible().items()) if name not in names}

    def words(self, command: Command) -> list[str]:
        """A command's argv; the shell form through the stage's SHELL."""
        return [*self.shell, *command.words] if command.is_shell else list(command.words)

    # --- instructions; each gives the text of its history entry

    def env(self, pairs: list[tuple[str, str]]) -> str:
        environment = self.environment
        for name, value in pairs:
            pair = f"{name}={value}"
            for index, present in enumerate(environment):
                if present.split("=", 1)[0] == name:
                    environment[index] = pair
                    break
            else:
                environment.append(pair)
        self.set("Env", environment)
        return "ENV " + " ".join(f"{name}={value}" for name, value in pairs)

    def label(self, pairs: list[tuple[str, str]]) -> str:
        self.set("Labels", {**(self.config.get("Labels") or {}), **dict(pairs)})
        return "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)

    def cmd(self, command: Command) -> str:
        words = self.words(command) if command.words else []
        self.set("Cmd", words)
        self.command_given = bool(words)
        return f"CMD {quoted(words)}"

    def entrypoint(self, command: Command) -> str:
        words = self.words(command) if command.words else []
        self.set("Entrypoint", words)
        if not self.command_given:
            # An inherited CMD was meant for the inherited ENTRYPOINT.
            self.set("Cmd", None)
        return f"ENTRYPOINT {quoted(words)}"

    def expose(self, words: list[str]) -> str:
        ports = dict(self.config.get("ExposedPorts") or {})
        for word in words:
            ports.update((port, {}) for port in exposed_ports(word))
        self.set("ExposedPorts", ports)
        return "EXPOSE " + " ".join(sorted(words))

    def volume(self, paths: list[str]) -> str:
        if not all(paths):
            raise InvalidArgument("VOLUME specified can not be an empty string")
        self.set("Volumes", {**(self.config.get("Volumes") or {}), **{path: {} for path in paths}})
        return f"VOLUME [{' '.join(paths)}]"

    def workdir(self, path: str) -> str:
        if not path:
            raise InvalidArgument("cannot normalize nothing")
        full = posixpath.normpath(posixpath.join("/", self.directory, path))
        self.set("WorkingDir", "/" + full.lstrip("/"))
        return f"WORKDIR {self.directory}"

    def healthcheck(self, check: Healthcheck) -> str:
        values: dict[str, Any] = {"Test": check.test}
        for name, value in (
            ("Interval", check.interval_ns),
            ("Timeout", check.timeout_ns),
            ("StartPeriod", check.start_period_ns),
            ("StartInterval", check.start_interval_ns),
            ("Retries", check.retries),
        ):
            if value:
                values[name] = value
        self.set("Healthcheck", values)
        times = (check.interval_ns, check.timeout_ns, check.start_period_ns, check.start_interval_ns)
        shown = " ".join(go_quote(format_duration(value)) for value in times)
        return f"HEALTHCHECK &{{{quoted(check.test)} {shown} {_quoted_rune(check.retries)}}}"


def quoted(words: list[str]) -> str:
    """A list as Go's `%q` shows it."""
    return "[" + " ".join(go_quote(word) for word in words) + "]"


def _quoted_rune(value: int) -> str:
    # dockerd prints the number of retries with %q, which makes a character of it; histories are full of these.
    char = chr(value)
    if char in "'\\":
        return f"'\\{char}'"
    return f"'{char}'" if char.isprintable() else "'" + go_quote(char)[1:-1].replace("\\u00", "\\x") + "'"


def exposed_ports(word: str) -> list[str]:
    """`80`, `53/udp`, `8000-8010/tcp`, `127.0.0.1:80:80`: the container's ports as `port/protocol`.

    Raises:
        InvalidArgument: `Invalid containerPort: abc`, `Invalid proto: x`.
    """
    spec, _, protocol = word.partition("/")
    protocol = protocol.lower() or "tcp"
    port = spec.rpartition(":")[2]
    if not port:
        raise InvalidArgument(f"No port specified: {word}<empty>")
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f"Invalid proto: {protocol}")
    match = _PORT.match(port)
    first = int(match[1]) if match else -1
    last = int(match[2] or match[1]) if match else -1
    if not 0 <= first <= last <= 65535:
        raise InvalidArgument(f"Invalid containerPort: {port}")
    return [f"{number}/{protocol}" for number in range(first, last + 1)]
