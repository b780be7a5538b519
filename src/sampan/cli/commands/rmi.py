"""`sampan rmi`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import NotFound, SampanError

FLAGS = """
-f, --force      Remove it though a container uses it or it has other names
    --no-prune   Keep parents that have no name
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    force = options.on("force")
    code = 0
    for name in arguments:
        try:
            removed = context.engine.images.remove(name, force=force, no_prune=options.on("no-prune"))
        except SampanError as error:
            context.failed(error)
            if not (force and isinstance(error, NotFound)):
                code = 1
            continue
        for entry in removed or []:
            context.out(f"Deleted: {entry['Deleted']}" if "Deleted" in entry else f"Untagged: {entry['Untagged']}")
    return code


COMMAND = Command(run, "IMAGE [IMAGE...]", 1, UNLIMITED, FLAGS, completes="images")
