"""`sampan completion SHELL`: a script that asks `sampan __complete` for everything. The scripts are `cli/shells/sampan.*`."""

from __future__ import annotations

import os
import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """The completion script of one of `SHELLS`."""
    path = os.path.join(os.path.dirname(__file__), "..", "shells", f"sampan.{shell}")
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(context: Context, options: Options, arguments: list[str]) -> int:
    shell = arguments[0]
    if shell not in SHELLS:
        raise InvalidArgument(f"no completion for {shell!r}", hint=f"there are scripts for {', '.join(SHELLS)}")
    sys.stdout.write(script(shell))
    return 0


COMMAND = Command(run, "bash|zsh|fish", 1, 1, completes="shells")
