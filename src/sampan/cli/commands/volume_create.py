"""`sampan volume create`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-d, --driver string   Driver of the volume (default "local")
    --label list      Label (key=value)
    --name string     Name, as the argument
-o, --opt map         Option of the driver (type=, o=, device=)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.parse.environment import pairs, read_labels

    name = options.text("name") or (arguments[0] if arguments else "")
    body = {
        "Name": name,
        "Driver": options.text("driver"),
        "DriverOpts": pairs(options.many("opt"), "driver option"),
        "Labels": read_labels([], options.many("label")),
    }
    context.out(context.engine.volumes.create(body)["Name"])
    return 0


COMMAND = Command(run, "[VOLUME]", 0, 1, FLAGS)
