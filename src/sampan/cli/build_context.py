"""The context of a build as a stream: a directory with its .dockerignore, a tar on standard input, or a Dockerfile alone."""

from __future__ import annotations

import os
import sys

from sampan.cli import packing
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.spec.dockerfile.ignore import Ignore

_PIECE_SIZE = 256 * 1024
_MAGICS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


class BuildContext:
    """`pieces` is the archive, `dockerfile` the Dockerfile's name in it; `remote` a URL that the engine fetches instead."""

    def __init__(self, pieces: Iterator[bytes] | None, dockerfile: str, remote: str = "") -> None:
        self.pieces = pieces
        self.dockerfile = dockerfile
        self.remote = remote


def is_remote(text: str) -> bool:
    return text.startswith(("http://", "https://", "git://", "github.com/", "git@"))


def open_context(where: str, dockerfile: str) -> BuildContext:
    """The context that PATH | URL | - and --file mean. Raises InvalidArgument if it cannot be read."""
    if is_remote(where):
        if dockerfile == "-":
            raise InvalidArgument("the Dockerfile cannot come from standard input for a remote context")
        return BuildContext(None, dockerfile, remote=where)
    if where == "-":
        if dockerfile == "-":
            raise InvalidArgument("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(dockerfile)
    return _from_directory(where, dockerfile)


def _from_stdin(dockerfile: str) -> BuildContext:
    """Standard input is the archive if it looks like one, else the Dockerfile."""
    source = sys.stdin.buffer
    head = source.read(512)
    if not head:
        raise InvalidArgument("unable to prepare context: empty stdin", hint="give a Dockerfile or a tar archive")
    if head.startswith(_MAGICS) or head[257:262] == b"ustar" or _is_old_tar(head):
        return BuildContext(_rest(head), dockerfile)
    text = head + source.read()
    if dockerfile:
        sys.stderr.write("WARNING: --file is ignored: the Dockerfile is read from standard input\n")
    return BuildContext(
        iter([packing.file_header("Dockerfile", len(text)), text, packing.padding(len(text)), packing.END_OF_ARCHIVE]),
        "Dockerfile",
    )


def _is_old_tar(head: bytes) -> bool:
    """A header's checksum: its bytes' sum with the field itself as blanks (ustar, POSIX pax)."""
    field = head[148:156].strip(b" \0")
    if len(head) < 512 or not field or any(byte not in b"01234567" for byte in field):
        return False
    return sum(head[:148]) + 8 * 32 + sum(head[156:512]) == int(field, 8)


def _rest(head: bytes) -> Iterator[bytes]:
    yield head
    while piece := sys.stdin.buffer.read(_PIECE_SIZE):
        yield piece


def _from_directory(where: str, dockerfile: str) -> BuildContext:
    root = os.path.realpath(where)
    if not os.path.exists(root):
        raise InvalidArgument(f'unable to prepare context: path "{where}" not found')
    if not os.path.isdir(root):
        raise InvalidArgument(
            f"unable to prepare context: context must be a directory: {root}", hint="name the Dockerfile with -f"
        )
    extra: bytes | None = None
    if dockerfile == "-":
        extra = sys.stdin.buffer.read()
        name = _spare_name()
    else:
        name, extra = _locate(root, dockerfile, where)
    keep = {".dockerignore"} if extra is not None else {".dockerignore", name}
    return BuildContext(_packed(root, _ignore(root, name), keep, name, extra), name)


def _spare_name() -> str:
    return f".dockerfile.{os.urandom(10).hex()}"


def _locate(root: str, dockerfile: str, where: str) -> tuple[str, bytes | None]:
    """(name in the context, its text if it lies outside). A relative --file is relative to where we are."""
    path = os.path.abspath(dockerfile) if dockerfile else os.path.join(root, "Dockerfile")
    if not dockerfile and not os.path.lexists(path) and os.path.lexists(os.path.join(root, "dockerfile")):
        path = os.path.join(root, "dockerfile")
    if not os.path.exists(path):
        raise InvalidArgument(
            f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {path}: no such file or directory",
            hint="name it with -f" if not dockerfile else "",
        )
    real = os.path.realpath(path)
    if real == root or real.startswith(root.rstrip("/") + "/"):
        return os.path.relpath(real, root), None
    with open(real, "rb") as file:
        return _spare_name(), file.read()


def _ignore(root: str, dockerfile: str) -> Ignore | None:
    for name in (dockerfile + ".dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(root, name), encoding="utf-8-sig") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        from sampan.spec.dockerfile.ignore import Ignore, read

        return Ignore(read(text))
    return None


def _packed(root: str, ignore: Ignore | None, keep: set[str], name: str, extra: bytes | None) -> Iterator[bytes]:
    """The archive. Directories above something that is kept stay in the walk though they are ignored themselves."""

    def skip(member: str, is_directory: bool) -> bool:
        if ignore is None or any(kept == member or kept.startswith(member + "/") for kept in keep):
            return False
        return ignore.prunes(member) if is_directory else ignore.matches(member)

    for path, member in packing.walk(root, "", skip):
        if member == "" or (ignore is not None and member not in keep and ignore.matches(member)):
            continue
        try:
            yield from packing.pack_member(path, member, root_owned=True)
        except PermissionError:
            raise InvalidArgument(
                f"error checking context: no permission to read from '{path}'", hint="list it in .dockerignore"
            ) from None
    if extra is not None:
        yield packing.file_header(name, len(extra)) + extra + packing.padding(len(extra))
    yield packing.END_OF_ARCHIVE
