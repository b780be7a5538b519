"""`sampan cp`: both ways, and to and from standard streams."""

from __future__ import annotations

import os
import sys

from sampan.cli import copying
from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sampan.client.containers import Containers

FLAGS = """
-a, --archive       Keep owners
-L, --follow-link   Copy what a link of the source leads to
-q, --quiet         Say nothing of success
"""
_MODE_DIRECTORY = 1 << 31
_MODE_SYMLINK = 1 << 27


def run(context: Context, options: Options, arguments: list[str]) -> int:
    source_container, source = copying.split_argument(arguments[0])
    target_container, target = copying.split_argument(arguments[1])
    if source_container and target_container:
        raise InvalidArgument("copying between containers is not supported", hint="copy to this machine first")
    if not source_container and not target_container:
        raise InvalidArgument("must specify at least one container source", hint="name a path in it as CONTAINER:PATH")
    if not (source if source_container else target):
        raise InvalidArgument("the path in the container is empty")
    containers = context.engine.containers
    if source_container:
        size = _copy_from(containers, source_container, source, target, options)
        where = target
    else:
        size = _copy_to(containers, source, target_container, target, options)
        where = f"{target_container}:{target}"
    if size is not None and not options.on("quiet") and os.isatty(2):
        from sampan.types.sizes import decimal_size

        context.warn(f"Successfully copied {decimal_size(size, 3)} to {where}")
    return 0


def _status(containers: Containers, name: str, path: str) -> dict[str, Any]:
    """The status of a path in the container; raises NotFound."""
    import binascii

    from sampan.client import wire

    status: dict[str, Any] = wire.loads(binascii.a2b_base64(containers.stat_path(name, path)))
    return status


def _resolved(path: str, link: str) -> str:
    """What the link at `path` leads to, as a path in the container."""
    return os.path.normpath(link if link.startswith("/") else os.path.join(os.path.dirname(path), link))


def _copy_from(containers: Containers, name: str, source: str, target: str, options: Options) -> int | None:
    rooted = source if source.startswith("/") else "/" + source
    if options.on("follow-link"):
        status = _status(containers, name, rooted)
        if status["mode"] & _MODE_SYMLINK:
            rooted = _resolved(rooted, status["linkTarget"])
    response = containers.get_archive(name, rooted)
    if target == "-":
        from sampan.cli.files import write_output

        write_output(response, "")
        return None
    import binascii

    from sampan.cli.unpacking import unpack
    from sampan.client import wire

    status = wire.loads(binascii.a2b_base64(response.headers["x-docker-container-path-stat"]))
    try:
        is_directory = bool(status["mode"] & _MODE_DIRECTORY)
        local = os.path.realpath(target) + (
            "/" if copying.asserts_directory(target) and not os.path.isdir(target) else ""
        )
        directory, rename = copying.place(
            rooted, is_directory, local, exists=os.path.exists(target), is_directory=os.path.isdir(target)
        )
        if not os.path.isdir(directory):
            raise InvalidArgument(f'invalid output path: directory "{directory}" does not exist')
        requested = os.path.basename(source.rstrip("/"))
        actual = copying.base_of(rooted)
        if options.on("follow-link") and requested and actual not in (".", "/") and requested not in (".", actual):
            inner = rename
            rename = lambda text: inner(requested + text[len(actual) :]) if directory == local else inner(text)  # noqa: E731
        return unpack(response.chunks(), directory, rename, keep_owner=options.on("archive"))
    except InvalidArgument:
        response.close()
        raise


def _copy_to(containers: Containers, source: str, name: str, target: str, options: Options) -> int | None:
    destination = target if target.startswith("/") else "/" + target
    exists = is_directory = False
    try:
        status = _status(containers, name, destination)
        if status["mode"] & _MODE_SYMLINK:
            destination = _resolved(destination, status["linkTarget"])
            status = _status(containers, name, destination)
        exists, is_directory = True, bool(status["mode"] & _MODE_DIRECTORY)
    except NotFound:
        pass  # the container may be what is missing: putting the archive will tell
    if source == "-":
        if not is_directory:
            raise InvalidArgument(f'destination "{name}:{target}" must be a directory')
        from sampan.cli.files import read_input

        containers.put_archive(name, destination, read_input(""), copy_uid_gid=options.on("archive"))
        return None
    counter = _Counter()
    local = os.path.realpath(source) if options.on("follow-link") else source.rstrip("/") or "/"
    if not os.path.lexists(local):
        raise InvalidArgument(f"lstat {os.path.abspath(source)}: no such file or directory")
    source_is_directory = os.path.isdir(local) and not os.path.islink(local)
    if asserted := copying.asserts_directory(source):
        source_is_directory = os.path.isdir(local)
        if not source_is_directory:
            raise InvalidArgument(f"{source}: not a directory")
    directory, rename = copying.place(
        source, source_is_directory, destination, exists=exists, is_directory=is_directory
    )
    member = "." if asserted and copying.base_of(source) == "." else os.path.basename(os.path.abspath(source))
    body = _packed(local, rename(member) if member != "." or directory != destination else ".", counter)
    sys.stdout.flush()
    containers.put_archive(name, directory, body, copy_uid_gid=options.on("archive"))
    return counter.size_bytes


class _Counter:
    size_bytes = 0


def _packed(path: str, member: str, counter: _Counter) -> Iterator[bytes]:
    from sampan.cli.packing import pack_tree

    for piece in pack_tree(os.path.realpath(path) if member == "." else path, member):
        counter.size_bytes += len(piece)
        yield piece


COMMAND = Command(
    run,
    "CONTAINER:SRC_PATH DEST_PATH|-\nSRC_PATH|- CONTAINER:DEST_PATH",
    2,
    2,
    FLAGS,
    details="With - as the source a tar archive is read from standard input and unpacked into a directory of the container.\n"
    "With - as the destination a tar archive is written to standard output.",
    completes="cp",
)
