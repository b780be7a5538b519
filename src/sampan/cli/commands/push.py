"""`sampan push`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.commands.pull import canonical_name
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.cli.references import registry_of, split_tag
from sampan.errors import InvalidArgument

FLAGS = """
-a, --all-tags                Send every tag of the repository
    --disable-content-trust   Accepted for Docker's sake (default true)
-q, --quiet                   Print only the image's name
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    import sys

    from sampan.cli.credentials import credentials_for
    from sampan.cli.progress import Display
    from sampan.client.streams import json_messages

    repository, tag = split_tag(arguments[0])
    all_tags = options.on("all-tags")
    if all_tags and tag:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not tag and not all_tags:
        tag = "latest"
        if not options.on("quiet"):
            context.out("Using default tag: latest")
    sys.stdout.flush()
    response = context.engine.images.push(
        repository, tag, credentials=credentials_for(context.config, registry_of(repository))
    )
    display = Display()
    if options.on("quiet"):
        for message in json_messages(response.chunks()):
            if message.get("error") or message.get("errorDetail"):
                display.show(message)
        context.out(canonical_name(repository, tag))
    else:
        display.show_all(response)
    return 0


COMMAND = Command(run, "NAME[:TAG]", 1, 1, FLAGS, completes="images")
