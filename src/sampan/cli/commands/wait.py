"""`sampan wait`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.client import wire
    from sampan.errors import SampanError

    code = 0
    for name in arguments:
        try:
            context.out(wire.loads(context.engine.containers.wait(name).read())["StatusCode"])
        except SampanError as error:
            context.failed(error)
            code = 1
    return code


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, completes="containers")
