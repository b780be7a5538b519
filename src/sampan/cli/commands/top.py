"""`sampan top`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.tabwriter import align

    found = context.engine.containers.top(arguments[0], " ".join(arguments[1:]))
    rows = [found["Titles"], *(found["Processes"] or [])]
    context.out(align("\n".join("\t".join(row) for row in rows), least_width=20))
    return 0


COMMAND = Command(run, "CONTAINER [ps OPTIONS]", 1, UNLIMITED, interspersed=False, completes="containers")
