"""Command-line flags with pflag's grammar: `-abc`, `-eX`, `-e X`, `-e=X`, `--long`, `--long=X`, `--`.

A command's flags are declared by the very text that `--help` prints:

    -e, --env list       Set environment variables
        --rm             Remove the container when it exits
    -n, --last int       Show this many containers (default -1)

The word after a flag's name is its type (none: a switch), and `(default X)` at the end of the help is its default.
"""

from __future__ import annotations

from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MANY = frozenset(("list", "strings", "map", "filter", "ulimit", "mount", "network", "gpu-request"))
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageError(SampanError):
    """The command line is wrong. Printed with the command's usage."""

    def __init__(self, message: str, exit_code: int = 125) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Flag:
    """One flag: `name` is its long form, `kind` the type word ("" for a switch)."""

    __slots__ = ("default", "help", "kind", "name", "short")

    def __init__(self, name: str, short: str, kind: str, help: str) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = _default(kind, help)

    @property
    def label(self) -> str:
        """As in messages: `-n, --last`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def _default(kind: str, help: str) -> Any:
    if kind in MANY:
        return []
    text = ""
    if help.endswith(")") and "(default " in help:
        text = help[help.rindex("(default ") + 9 : -1].strip('"')
    if kind == "":
        return text == "true"
    if kind in ("int", "uint16"):
        return int(text or 0)
    if kind in ("bytes", "duration", "decimal"):
        return 0
    return text


def declare(text: str) -> list[Flag]:
    """The flags of a help text, one per line."""
    found = []
    for line in text.strip("\n").splitlines():
        line = line.strip()
        if not line:
            continue
        names, _, help = line.partition("  ")
        short = ""
        if not names.startswith("--"):
            short, names = names[1], names[4:]
        name, _, kind = names[2:].partition(" ")
        found.append(Flag(name, short, kind, help.strip()))
    return found


class Options:
    """Values of a parsed command line; `changed` tells a default from the same value given."""

    __slots__ = ("_given", "_values")

    def __init__(self, flags: list[Flag]) -> None:
        self._values: dict[str, Any] = {flag.name: flag.default for flag in flags}
        self._given: set[str] = set()

    def changed(self, name: str) -> bool:
        return name in self._given

    def on(self, name: str) -> bool:
        return bool(self._values[name])

    def text(self, name: str) -> str:
        return str(self._values[name])

    def number(self, name: str) -> int:
        return int(self._values[name])

    def many(self, name: str) -> list[str]:
        return list(self._values[name])

    def set(self, flag: Flag, value: Any) -> None:
        if flag.kind in MANY:
            before = self._values[flag.name] if flag.name in self._given else []
            value = before + (value.split(",") if flag.kind == "strings" else [value])
        self._values[flag.name] = value
        self._given.add(flag.name)


def parse(
    flags: list[Flag], words: list[str], *, interspersed: bool = True, synonyms: dict[str, str] | None = None
) -> tuple[Options, list[str], bool]:
    """(options, arguments, help wanted). Raises UsageError in pflag's words.

    With `interspersed` false the first argument ends the flags, so that the rest belongs to the container's command.
    """
    options = Options(flags)
    by_name = {flag.name: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    for old, new in (synonyms or {}).items():
        by_name.setdefault(old, by_name[new])
    arguments: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word == "--":
            arguments.extend(words[position:])
            break
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            if not interspersed:
                arguments.extend(words[position:])
                break
            continue
        if word == "--help" or (word == "-h" and "h" not in by_short):
            return options, arguments, True
        if word.startswith("--"):
            position = _long(options, by_name, word, words, position)
        else:
            position = _shorts(options, by_short, word, words, position)
    return options, arguments, False


def _near(name: str, by_name: dict[str, Flag]) -> str:
    import difflib

    found = difflib.get_close_matches(name, [known for known in by_name if len(known) > 1], 1)
    return f" (did you mean --{found[0]}?)" if found else ""


def _long(options: Options, by_name: dict[str, Flag], word: str, words: list[str], position: int) -> int:
    name, mark, value = word[2:].partition("=")
    flag = by_name.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}{_near(name, by_name)}")
    if not mark:
        if flag.kind == "":
            value = "true"
        elif position < len(words):
            value = words[position]
            position += 1
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    options.set(flag, convert(flag, value))
    return position


def _shorts(options: Options, by_short: dict[str, Flag], word: str, words: list[str], position: int) -> int:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = by_short.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{letter}{letters}")
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif flag.kind == "":
            value = "true"
        elif letters:
            value, letters = letters, ""
        elif position < len(words):
            value = words[position]
            position += 1
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in -{letter}")
        options.set(flag, convert(flag, value))
    return position


def convert(flag: Flag, value: str) -> Any:
    """The typed value of a flag. Raises UsageError naming the flag and what is wrong."""
    converter = _CONVERTERS.get(flag.kind)
    if converter is None:
        return value
    try:
        return converter(value)
    except ValueError as error:
        raise UsageError(f'invalid argument "{value}" for "{flag.label}" flag: {error}') from None


def _switch(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError("neither true nor false")


def _integer(value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError("not a whole number") from None


def _uint16(value: str) -> int:
    number = _integer(value)
    if not 0 <= number < 65536:
        raise ValueError("value out of range")
    return number


def _bytes(value: str) -> int:
    from sampan.types.sizes import parse_size_bytes

    return -1 if value == "-1" else parse_size_bytes(value)


def _duration(value: str) -> int:
    from sampan.types.durations import parse_duration_ns

    return parse_duration_ns(value)


def _decimal(value: str) -> int:
    """A decimal number of CPUs as billionths."""
    whole, _, fraction = value.partition(".")
    if not (whole + fraction).isdigit() or len(fraction) > 9:
        raise ValueError("not a decimal number with at most 9 places")
    return int(whole or "0") * 10**9 + int(fraction.ljust(9, "0") or "0")


def _filter(value: str) -> str:
    if "=" not in value:
        raise ValueError("invalid filter: want name=value")
    return value


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "": _switch,
    "int": _integer,
    "uint16": _uint16,
    "bytes": _bytes,
    "duration": _duration,
    "decimal": _decimal,
    "filter": _filter,
}


def filters_of(texts: list[str]) -> dict[str, list[str]]:
    """`--filter name=value` as the API's filters; names are lower case, spaces around either are dropped."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        found.setdefault(name.strip().lower(), []).append(value.strip())
    return found
