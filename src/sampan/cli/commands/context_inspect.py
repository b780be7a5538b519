"""`sampan context inspect`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options

FLAGS = """
-f, --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.inspecting import inspect_all
    from sampan.client import wire
    from sampan.errors import NotFound

    def fetch(name: str) -> str:
        if name != "default":
            raise NotFound(f'context "{name}": context not found')
        endpoint = {"docker": {"Host": context.engine.address.text, "SkipTLSVerify": False}}
        return wire.dumps({"Name": "default", "Metadata": {}, "Endpoints": endpoint, "TLSMaterial": {}})

    return inspect_all(context, arguments or ["default"], options.text("format"), fetch)


COMMAND = Command(run, "[CONTEXT] [CONTEXT...]", 0, UNLIMITED, FLAGS)
