"""`sampan import`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-c, --change list       Dockerfile instruction to apply to the image
-m, --message string    What it is
    --platform string   Platform of the image (os/arch[/variant])
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    import sys

    from sampan.cli.files import read_input
    from sampan.cli.progress import Display
    from sampan.cli.references import split_tag

    source = arguments[0]
    repository, tag = split_tag(arguments[1]) if len(arguments) > 1 else ("", "")
    remote = source.startswith(("http://", "https://"))
    body = None if remote else read_input("" if source == "-" else source)
    sys.stdout.flush()
    response = context.engine.images.import_(
        source if remote else "-",
        body,
        repo=repository or None,
        tag=tag or None,
        message=options.text("message") or None,
        platform=options.text("platform") or None,
        changes=options.many("change"),
    )
    Display().show_all(response)
    return 0


COMMAND = Command(run, "file|URL|- [REPOSITORY[:TAG]]", 1, 2, FLAGS)
