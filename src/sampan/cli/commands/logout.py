"""`sampan logout`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.credentials import erase, storage_key

    registry = storage_key(arguments[0] if arguments else "")
    known = erase(context.config, registry)
    context.out(f"Removing login credentials for {registry}" if known else f"Not logged in to {registry}")
    return 0


COMMAND = Command(run, "[SERVER]", 0, 1)
