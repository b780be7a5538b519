"""`sampan logs`."""

from __future__ import annotations

import os
import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.client.streams import frames

FLAGS = """
    --details        Show the extra attributes of each line
-f, --follow         Go on as more is written
    --since string   From this time on (2026-01-02T13:23:37Z), or this long back (42m)
-n, --tail string    Number of lines from the end (default "all")
-t, --timestamps     Show when each line was written
    --until string   Up to this time (2026-01-02T13:23:37Z), or this long back (42m)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    containers = context.engine.containers
    found = containers.inspect(arguments[0])
    response = containers.logs(
        found["Id"],
        stdout=True,
        stderr=True,
        follow=options.on("follow"),
        timestamps=options.on("timestamps"),
        details=options.on("details"),
        tail=options.text("tail"),
        since=_time(options.text("since")),
        until=_time(options.text("until")),
    )
    sys.stdout.flush()
    if found["Config"]["Tty"]:
        for piece in response.chunks():
            _write(1, piece)
    else:
        for stream, payload in frames(response.chunks()):
            _write(min(stream, 2), payload)
    return 0


def _time(text: str) -> str | None:
    if not text:
        return None
    from sampan.cli.human import timestamp

    return timestamp(text)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


COMMAND = Command(run, "CONTAINER", 1, 1, FLAGS, completes="all containers")
