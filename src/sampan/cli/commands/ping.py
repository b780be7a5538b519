"""`sampan ping`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    headers = context.engine.system.ping()
    context.out(f"OK (API {headers.get('api-version', 'unknown')})")
    return 0


COMMAND = Command(run, "", 0, 0, completes="")
