"""`sampan build`: send the context, follow the steps."""

from __future__ import annotations

import os
import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.client import wire
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FLAGS = """
    --add-host list           Extra line of /etc/hosts (name:address)
    --build-arg list          Value of an ARG (NAME=value, or NAME to pass our own variable)
    --cache-from strings      Images whose layers may be reused
    --cgroup-parent string    Cgroup of the steps
    --compress                Send the context compressed
    --cpu-period int          Length of a CFS period in microseconds
    --cpu-quota int           CPU time in each CFS period in microseconds
-c, --cpu-shares int          Relative weight of CPU time
    --cpuset-cpus string      CPUs to run on (0-3, 0,1)
    --cpuset-mems string      Memory nodes to use (0-3, 0,1)
    --disable-content-trust   Accepted for Docker's sake (default true)
-f, --file string             The Dockerfile, "-" for standard input (default: PATH/Dockerfile)
    --force-rm                Remove the steps' containers even after a failure
    --iidfile string          File to write the image's id to
    --isolation string        Kind of isolation
    --label list              Label of the image (key=value)
-m, --memory bytes            Limit of memory of the steps
    --memory-swap bytes       Limit of memory and swap together; -1 for no limit
    --network string          Network of RUN (default "default")
    --no-cache                Run every step
    --platform string         Platform of the image (os/arch[/variant])
    --progress string         Accepted for Docker's sake (default "auto")
    --pull                    Fetch newer versions of the base images
-q, --quiet                   Print only the image's id
    --rm                      Remove the steps' containers (default true)
    --security-opt strings    Security option
    --shm-size bytes          Size of /dev/shm
-t, --tag list                Name of the image, with or without a tag
    --target string           Stop after this stage
    --ulimit ulimit           Resource limit (name=soft[:hard])
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.build_context import open_context
    from sampan.cli.credentials import all_credentials
    from sampan.cli.progress import Display

    quiet = options.on("quiet")
    found = open_context(arguments[0], options.text("file"))
    query = _query(options)
    query["dockerfile"] = found.dockerfile or None
    query["remote"] = found.remote or None
    pieces = found.pieces
    if pieces is not None and options.on("compress"):
        pieces = _compressed(pieces)
    if pieces is not None and not quiet:
        pieces = _counted(pieces)
    image_ids: list[str] = []

    def on_aux(aux: dict[str, Any]) -> None:
        if "ID" in aux:
            image_ids.append(aux["ID"])

    sys.stdout.flush()
    response = context.engine.images.build(pieces, all_credentials(context.config), **query)
    if quiet:
        image_ids.append(_quiet_id(response.chunks()))
        context.out(image_ids[-1])
    else:
        Display(on_aux=on_aux).show_all(response)
    if options.text("iidfile"):
        if not image_ids:
            raise SampanError(f"server did not provide an image ID. Cannot write {options.text('iidfile')}")
        with open(options.text("iidfile"), "w", encoding="ascii") as file:
            file.write(image_ids[-1])
    return 0


def _query(options: Options) -> dict[str, Any]:
    from sampan.cli.parse.devices import parse_ulimit
    from sampan.cli.parse.environment import read_labels

    arguments: dict[str, str | None] = {}
    for text in options.many("build-arg"):
        name, mark, value = text.partition("=")
        arguments[name] = value if mark else os.environ.get(name)
    labels = read_labels([], options.many("label"))
    ulimits = [parse_ulimit(text) for text in options.many("ulimit")]
    query: dict[str, Any] = {
        "t": options.many("tag"),
        "buildargs": wire.dumps(arguments),
        "labels": wire.dumps(labels),
        "cachefrom": wire.dumps(options.many("cache-from")),
        "q": options.on("quiet"),
        "nocache": options.on("no-cache"),
        "rm": "1" if options.on("rm") else "0",
        "forcerm": options.on("force-rm"),
        "pull": options.on("pull"),
        "target": options.text("target") or None,
        "platform": options.text("platform").lower() or None,
        "networkmode": options.text("network"),
        "extrahosts": options.many("add-host"),
        "cgroupparent": options.text("cgroup-parent") or None,
        "cpusetcpus": options.text("cpuset-cpus") or None,
        "cpusetmems": options.text("cpuset-mems") or None,
        "isolation": options.text("isolation") or None,
        "securityopt": wire.dumps(options.many("security-opt")) if options.many("security-opt") else None,
        "ulimits": wire.dumps(ulimits) if ulimits else None,
        "version": "1",
    }
    for flag, key in (
        ("memory", "memory"),
        ("memory-swap", "memswap"),
        ("cpu-shares", "cpushares"),
        ("cpu-period", "cpuperiod"),
        ("cpu-quota", "cpuquota"),
        ("shm-size", "shmsize"),
    ):
        query[key] = options.number(flag) or None
    return query


def _compressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import zlib

    squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in pieces:
        yield squeeze.compress(piece)
    yield squeeze.flush()


def _counted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same, telling how much has been sent: in place on a terminal, in one line at the end elsewhere."""
    import time

    from sampan.types.sizes import decimal_size

    live = os.isatty(1)
    sent = 0
    told_s = 0.0
    for piece in pieces:
        sent += len(piece)
        if live and time.monotonic() - told_s > 0.1:
            told_s = time.monotonic()
            sys.stdout.write(f"\rSending build context to the engine  {decimal_size(sent)}\x1b[K")
            sys.stdout.flush()
        yield piece
    before, after = ("\r", "\x1b[K") if live else ("", "")
    sys.stdout.write(f"{before}Sending build context to the engine  {decimal_size(sent)}{after}\n")
    sys.stdout.flush()


def _quiet_id(pieces: Iterator[bytes]) -> str:
    """The id that a quiet build ends with. Raises the build's error, after the output that led to it."""
    from sampan.cli.progress import Display
    from sampan.client.streams import json_messages

    text = ""
    for message in json_messages(pieces):
        if message.get("error") or message.get("errorDetail"):
            sys.stderr.write(text)
            Display(2).show(message)
        text += message.get("stream", "")
    return text.strip().rpartition("\n")[2]


COMMAND = Command(run, "PATH | URL | -", 1, 1, FLAGS, completes="files")
