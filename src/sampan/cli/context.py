"""What a command is given: the engine, the client's configuration, and where to write."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.cli.config import ConfigFile
    from sampan.client.engine import Engine
    from sampan.client.hosts import TlsFiles


class Context:
    """Everything is made when first asked for, so that commands which need nothing import nothing."""

    def __init__(self, name: str, host: str = "", tls: TlsFiles | None = None, config_dir: str = "") -> None:
        self.name = name
        self._host = host
        self._tls = tls
        self._config_dir = config_dir
        self._engine: Engine | None = None
        self._config: ConfigFile | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            from sampan.client.engine import Engine

            if self._tls is None and os.environ.get("DOCKER_TLS_VERIFY"):
                from sampan.cli.config import tls_files

                self._tls = tls_files(self._config_dir, verify=True)
            self._engine = Engine(self._host, tls=self._tls)
        return self._engine

    @property
    def config(self) -> ConfigFile:
        if self._config is None:
            from sampan.cli.config import ConfigFile

            self._config = ConfigFile.load(self._config_dir)
        return self._config

    def another(self) -> Context:
        """The same engine over connections of its own, for another thread."""
        return Context(self.name, self._host, self._tls, self._config_dir)

    def out(self, text: object = "") -> None:
        """One line on stdout."""
        sys.stdout.write(f"{text}\n")

    def warn(self, text: object) -> None:
        """One line on stderr, after what stdout already holds."""
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def failed(self, error: Any) -> None:
        """Report an error in one of several arguments; the command goes on."""
        self.warn(f"sampan: {error}")
        hint = getattr(error, "hint", "")
        if hint:
            self.warn(f"hint: {hint}")

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; anything but y or yes is no."""
        sys.stdout.write(question + "\nAre you sure you want to continue? [y/N] ")
        sys.stdout.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def for_each(context: Context, names: list[str], action: Any, *, echo: bool = True) -> int:
    """Run `action(name)` for every name, print the name of each that went well, report the others. The exit code.

    An action that returns False has done nothing: its name is not printed.
    """
    from sampan.errors import NotModified, SampanError

    code = 0
    for name in names:
        done = True
        try:
            done = action(name) is not False
        except NotModified:
            pass
        except SampanError as error:
            context.failed(error)
            code = 1
            continue
        if echo and done:
            context.out(name)
    return code
