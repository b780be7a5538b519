"""Archives on files and standard streams."""

from __future__ import annotations

import os
import sys

from sampan.cli import terminal
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.client.transport import Response

_PIECE_SIZE = 256 * 1024


def check_output(path: str) -> None:
    """Refuse to write an archive to a terminal, or where no file can be. Raises InvalidArgument."""
    if not path:
        if terminal.is_terminal(1):
            raise InvalidArgument("cowardly refusing to save to a terminal", hint="use the -o flag or redirect")
        return
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise InvalidArgument(f'invalid output path: directory "{directory}" does not exist')
    if os.path.isdir(path):
        raise InvalidArgument(f'invalid output path: "{path}" is a directory')


def write_output(response: Response, path: str) -> None:
    """The body to a file or standard output. A file is complete or absent: it is written beside and renamed."""
    check_output(path)
    if not path:
        sys.stdout.flush()
        for piece in response.chunks():
            view = memoryview(piece)
            while view:
                view = view[os.write(1, view) :]
        return
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as special:
            special.writelines(response.chunks())
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            for piece in response.chunks():
                file.write(piece)
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def read_input(path: str) -> Iterator[bytes]:
    """The pieces of a file, or of standard input for "". Raises InvalidArgument before the first if it cannot be."""
    if path:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidArgument(f"open {path}: {(error.strerror or '').lower()}") from None
    elif terminal.is_terminal(0):
        raise InvalidArgument(
            "requested load from stdin, but stdin is empty", hint="use the -i flag or redirect a file"
        )
    else:
        fd = 0
    return _pieces(fd)


def _pieces(fd: int) -> Iterator[bytes]:
    try:
        while piece := os.read(fd, _PIECE_SIZE):
            yield piece
    finally:
        if fd != 0:
            os.close(fd)
