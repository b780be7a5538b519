"""`sampan commit`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-a, --author string    Who made it
-c, --change list      Dockerfile instruction to apply to the image
-m, --message string   What was changed
-p, --pause            Freeze the container meanwhile (default true)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.references import split_tag

    repository, tag = split_tag(arguments[1]) if len(arguments) > 1 else ("", "")
    context.out(
        context.engine.containers.commit(
            {},
            container=arguments[0],
            repo=repository or None,
            tag=tag or None,
            comment=options.text("message") or None,
            author=options.text("author") or None,
            changes=options.many("change"),
            pause="1" if options.on("pause") else "0",
        )
    )
    return 0


COMMAND = Command(run, "CONTAINER [REPOSITORY[:TAG]]", 1, 2, FLAGS, completes="all containers")
