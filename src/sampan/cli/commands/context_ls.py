"""`sampan context ls`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
-q, --quiet           Print only names
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import Listing, show

    listing = Listing(
        {
            "Name": ("NAME", lambda item: item["Name"]),
            "Current": ("CURRENT", lambda item: True),
            "Description": ("DESCRIPTION", lambda item: item["Description"]),
            "DockerEndpoint": ("DOCKER ENDPOINT", lambda item: item["Endpoint"]),
            "Error": ("ERROR", lambda item: ""),
            "Marked": ("NAME", lambda item: item["Name"] + " *"),
        },
        ["Marked", "Description", "DockerEndpoint", "Error"],
        not_in_json=("Marked",),
    )
    here = {
        "Name": "default",
        "Description": "Current DOCKER_HOST based configuration",
        "Endpoint": context.engine.address.text,
    }
    show(listing, [here], options.text("format"), quiet_field="Name" if options.on("quiet") else "")
    return 0


COMMAND = Command(run, "", 0, 0, FLAGS)
