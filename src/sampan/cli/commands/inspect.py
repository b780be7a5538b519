"""`sampan inspect`: containers, images, networks and volumes by one name."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.client.engine import quote_path
from sampan.errors import InvalidArgument, NotFound

FLAGS = """
-f, --format string   Print through a template: 'json' or 'TEMPLATE' (Go's template language)
-s, --size            Sizes of containers too
    --type string     Only objects of this kind: container, image, network or volume
"""
_KINDS = ("container", "image", "network", "volume")


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.inspecting import inspect_all

    kind = options.text("type")
    if options.changed("type") and not kind:
        raise InvalidArgument('type is empty: must be one of "config", "container", "image", "network", "volume"')
    if kind and kind not in _KINDS:
        raise InvalidArgument(f'unknown type: "{kind}": must be one of "container", "image", "network", "volume"')

    def fetch(name: str) -> str:
        for candidate in (kind,) if kind else _KINDS:
            try:
                return fetch_object(context, candidate, name, size=options.on("size"))
            except NotFound:
                if kind:
                    raise
        raise NotFound(f"No such object: {name}")

    return inspect_all(context, arguments, options.text("format"), fetch)


def fetch_object(context: Context, kind: str, name: str, *, size: bool = False) -> str:
    """The JSON of one object of one kind. Raises NotFound."""
    quoted = quote_path(name)
    if kind == "container":
        return context.engine.raw(f"/containers/{quoted}/json", {"size": size})
    if kind == "image":
        return context.engine.raw(f"/images/{quoted}/json")
    return context.engine.raw(f"/{kind}s/{quoted}")


COMMAND = Command(run, "NAME|ID [NAME|ID...]", 1, UNLIMITED, FLAGS, completes="objects")
