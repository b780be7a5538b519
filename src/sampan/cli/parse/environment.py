"""Environment variables, labels and key=value options, from flags and files."""

from __future__ import annotations

import os

from sampan.errors import InvalidArgument


def read_variables(files: list[str], flags: list[str]) -> list[str]:
    """Variables of the files, then of the flags. `NAME` alone passes our own value.

    Without one, a file's `NAME` is nothing; a flag's is passed bare, which asks the engine to drop the image's variable.
    """
    found: list[str] = []
    for path in files:
        found.extend(text for text in _from_environment(_lines(path)) if "=" in text)
    for text in flags:
        if text.partition("=")[0] == "":
            raise InvalidArgument(
                f'invalid argument "{text}" for "-e, --env" flag: invalid environment variable: {text}'
            )
    found.extend(_from_environment(flags))
    return found


def _from_environment(texts: list[str]) -> list[str]:
    found = []
    for text in texts:
        if "=" in text:
            found.append(text)
        elif text in os.environ:
            found.append(f"{text}={os.environ[text]}")
        else:
            found.append(text)
    return found


def read_labels(files: list[str], flags: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in files:
        found.update(_label(text) for text in _lines(path))
    found.update(_label(text) for text in flags)
    return found


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise InvalidArgument(f"invalid label '{text}': empty name")
    return key, value


def pairs(texts: list[str], what: str) -> dict[str, str]:
    """`key=value` options. Raises InvalidArgument naming `what` and the text."""
    found = {}
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark:
            raise InvalidArgument(f"invalid {what}: {text!r}", hint="want key=value")
        found[key] = value
    return found


def _lines(path: str) -> list[str]:
    """The lines of an env or label file: leading blanks dropped, `#` comments and empty lines skipped, nothing quoted."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InvalidArgument(f"open {path}: {(error.strerror or '').lower()}") from None
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").removesuffix("\r").lstrip()
        except UnicodeDecodeError:
            raise InvalidArgument(f"invalid env file ({path}): line {number}: not UTF-8") from None
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name:
            raise InvalidArgument(f"invalid env file ({path}): no variable name on line '{line}'")
        if any(character.isspace() for character in name):
            raise InvalidArgument(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        found.append(line)
    return found
