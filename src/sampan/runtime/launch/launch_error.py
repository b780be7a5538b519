"""How a failure inside the new process reaches the one that made it: a status message of one kind letter and a text."""

from __future__ import annotations

from sampan.errors import CommandNotExecutable, CommandNotFound, Internal, InvalidArgument, SampanError


class LaunchError(Internal):
    """The container's process could not be made; what was begun has been undone."""


_KINDS: dict[bytes, type[SampanError]] = {
    b"N": CommandNotFound,
    b"X": CommandNotExecutable,
    b"A": InvalidArgument,
    b"E": LaunchError,
}


def encode(error: BaseException) -> bytes:
    """The status message for `error`: kind letter, then text."""
    letter = b"E"
    for candidate, kind in _KINDS.items():
        if type(error) is kind:
            letter = candidate
    return letter + describe(error).encode(errors="surrogateescape")[:8192]


def describe(error: BaseException) -> str:
    """One line; `OSError`s in the kernel's and runc's wording: `operation: no such file or directory`."""
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: " if error.filename else ""
        return what + error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def decode(message: bytes) -> SampanError:
    """The error of the tree that `encode` packed."""
    kind = _KINDS.get(message[:1], LaunchError)
    return kind(message[1:].decode(errors="surrogateescape"))
