"""`sampan tag`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.references import split_tag

    repository, tag = split_tag(arguments[1])
    context.engine.images.tag(arguments[0], repository, tag)
    return 0


COMMAND = Command(run, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", 2, 2, completes="images")
