"""`sampan network inspect`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.commands.inspect import fetch_object
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-f, --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
-v, --verbose         More detail
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.inspecting import inspect_all

    return inspect_all(context, arguments, options.text("format"), lambda name: fetch_object(context, "network", name))


COMMAND = Command(run, "NETWORK [NETWORK...]", 1, UNLIMITED, FLAGS, completes="networks")
