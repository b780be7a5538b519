"""Where `cp` puts things: Docker's rules, which are cp(1)'s with one reading for each case.

| source | destination | result |
|---|---|---|
| file | does not exist | the file under the new name; an error if the destination ends with `/` |
| file | file | replaced |
| file | directory | inside it |
| directory | does not exist | the contents in a new directory |
| directory | file | an error |
| directory | directory | the directory inside it; with `SRC/.` its contents |
"""

from __future__ import annotations

import os

from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def split_argument(text: str) -> tuple[str, str]:
    """("container", "path"); ("", path) for a local path. A path with a colon needs a `/` or `.` before it."""
    if text == "-" or text.startswith(("/", ".")):
        return "", text
    container, mark, path = text.partition(":")
    return (container, path) if mark else ("", text)


def asserts_directory(path: str) -> bool:
    """Whether the path says itself that it is a directory."""
    return path.endswith("/") or path in (".", "..") or path.endswith(("/.", "/.."))


def base_of(path: str) -> str:
    """The name under which an archive holds `path`: "." for `dir/.`, "/" for the root."""
    if path.endswith("/.") or path == ".":
        return "."
    return os.path.basename(path.rstrip("/")) or "/"


def place(
    source: str, source_is_directory: bool, destination: str, *, exists: bool, is_directory: bool
) -> tuple[str, Callable[[str], str]]:
    """(directory to unpack into, renaming of the archive's names). Raises InvalidArgument where the table has an error.

    `destination` is what the path leads to, links resolved.
    """
    if exists and is_directory:
        return destination, lambda name: name
    if exists and source_is_directory:
        raise InvalidArgument("cannot copy directory")
    if not exists and not source_is_directory and asserts_directory(destination):
        raise InvalidArgument("no such directory", hint=f"make {destination} first, or leave its last slash out")
    plain = destination.rstrip("/")
    directory, new = os.path.split(plain)
    old = base_of(source)
    return directory or "/", lambda name: _rebased(name, old, new)


def _rebased(name: str, old: str, new: str) -> str:
    """`name` with its first part `old` replaced."""
    rest = name.removeprefix("/") if old == "/" else name
    if old == "/":
        return f"{new}/{rest}" if rest else new
    if rest == old or rest.startswith(old + "/"):
        return new + rest[len(old) :]
    return name
