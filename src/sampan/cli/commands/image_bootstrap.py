"""`sampan image bootstrap`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    import sys

    from sampan.cli.progress import Display
    from sampan.errors import NotFound, NotSupported

    sys.stdout.flush()
    try:
        response = context.engine.images.bootstrap(arguments[0])
    except NotFound as error:
        if "page not found" not in error.message:
            raise
        raise NotSupported(
            "this engine cannot bootstrap images", hint="sampand can; is SAMPAN_HOST another engine?"
        ) from None
    Display().show_all(response)
    return 0


DETAILS = """NAME is busybox, made of the machine's busybox-static, or a distribution and its release, made by mmdebstrap of
signed packages: debian:bookworm, debian:12, ubuntu:noble, ubuntu:24.04, …"""
COMMAND = Command(run, "NAME", 1, 1, details=DETAILS)
