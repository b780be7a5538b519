"""A logical line to a typed instruction. Variables are not expanded here: that needs the stage's environment.

Errors are `DockerfileError`s in Docker's words:
`dockerfile parse error on line 2: unknown instruction: NOPE (did you mean COPY?)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.flags import Flags
from sampan.spec.dockerfile.parser import DockerfileError, Line, heredoc_of, parse_line
from sampan.spec.dockerfile.suggest import did_you_mean
from sampan.spec.dockerfile.syntax import (
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    From,
    Healthcheck,
    Instruction,
    Onbuild,
    Pairs,
    Run,
    Shell,
    Text,
    Words,
)
from sampan.types.durations import parse_duration_ns

__all__ = [
    "Arg",
    "Cmd",
    "Command",
    "Copy",
    "Entrypoint",
    "From",
    "Healthcheck",
    "Instruction",
    "Onbuild",
    "Pairs",
    "Run",
    "Shell",
    "Text",
    "Words",
    "parse_instruction",
]

_SPACE = re.compile(r"[\t\v\f\r ]+")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_UNNAMED = 'invalid name for build stage: "{}", name can\'t start with a number or contain symbols'


def parse_instruction(line: Line, escape: str = "\\") -> Instruction:
    """The instruction that `line` holds. Raises `DockerfileError`."""
    parse = _PARSERS.get(line.keyword)
    try:
        if parse is None:
            raise InvalidArgument(f"unknown instruction: {line.keyword}{did_you_mean(line.keyword, _PARSERS)}")
        return parse(line, escape)
    except _Malformed as error:
        raise DockerfileError(f"failed to parse Dockerfile: {error.message}", line=line.first) from None
    except DockerfileError:
        raise
    except InvalidArgument as error:
        where = f" on line {line.first}" if line.first else ""
        raise DockerfileError(f"dockerfile parse error{where}: {error.message}", line=line.first) from None


class _Malformed(InvalidArgument):
    """A fault that Docker reports without the line."""


def _words(text: str) -> list[str]:
    return [word for word in _SPACE.split(text) if word]


def _at_least_one(keyword: str) -> InvalidArgument:
    return InvalidArgument(f"{keyword} requires at least one argument")


def _json_list(text: str) -> list[str] | None:
    """The strings of a JSON array, or None if the text is none and so must be of the shell form."""
    if not text.startswith("["):
        return None
    try:
        values, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list):
        return None
    if not all(isinstance(value, str) for value in values):
        raise _Malformed("when using JSON array syntax, arrays must be comprised of strings only")
    return values


def _command(line: Line) -> Command:
    words = _json_list(line.rest)
    if words is not None:
        return Command(words, False)
    return Command([line.rest] if line.rest else [], True)


def _from(line: Line, escape: str) -> From:
    flags = Flags(line.flags, ("platform",))
    words = _words(line.rest)
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise InvalidArgument("FROM requires either one or three arguments")
    name = words[2].lower() if len(words) == 3 else ""
    if name and not _STAGE_NAME.match(name):
        raise InvalidArgument(_UNNAMED.format(words[2]))
    return From(line, words[0], name, flags.text("platform"))


def _run(line: Line, escape: str) -> Run:
    flags = Flags(line.flags, ("mount", "network", "security"), repeatable=("mount",))
    command = _command(line)
    if command.is_shell and line.heredocs:
        command = Command([_heredoc_script(line)], True)
    network = flags.text("network")
    if network not in ("", "default", "none", "host"):
        raise InvalidArgument(f'unsupported network mode: "{network}"')
    security = flags.text("security")
    if security not in ("", "sandbox", "insecure"):
        raise InvalidArgument(f'security mode "{security}" is not supported')
    return Run(line, command, flags.all("mount"), network, security)


def _heredoc_script(line: Line) -> str:
    """What the shell gets: the body alone for `RUN <<EOF`, else the line with its bodies for the shell to read."""
    first = line.heredocs[0]
    alone = heredoc_of(line.rest)
    if len(line.heredocs) == 1 and alone is not None and alone.descriptor == 0:
        return first.text()
    bodies = "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in line.heredocs)
    return f"{line.rest}\n{bodies}"


def _cmd(line: Line, escape: str) -> Cmd:
    Flags(line.flags, ())
    return Cmd(line, _command(line))


def _entrypoint(line: Line, escape: str) -> Entrypoint:
    Flags(line.flags, ())
    return Entrypoint(line, _command(line))


_COPY_FLAGS = ("from", "chown", "chmod", "link", "parents", "exclude")
_ADD_FLAGS = ("chown", "chmod", "checksum", "link", "keep-git-dir", "exclude", "unpack")


def _copy(line: Line, escape: str) -> Copy:
    is_add = line.keyword == "ADD"
    flags = Flags(line.flags, _ADD_FLAGS if is_add else _COPY_FLAGS, repeatable=("exclude",))
    words = _json_list(line.rest)
    if words is None:
        words = _words(line.rest)
    if not words:
        raise InvalidArgument(f"{line.keyword} requires at least two arguments, but none were provided.")
    if len(words) == 1:
        raise InvalidArgument(
            f"{line.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    inline = {word for word in words[:-1] if line.heredocs and heredoc_of(word)}
    return Copy(
        line=line,
        is_add=is_add,
        sources=[word for word in words[:-1] if word not in inline],
        heredocs=line.heredocs,
        destination=words[-1],
        source_stage=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        checksum=flags.text("checksum"),
        link=flags.boolean("link"),
        parents=flags.boolean("parents"),
        exclude=flags.all("exclude"),
        keep_git_dir=flags.boolean("keep-git-dir"),
        unpack=flags.boolean("unpack") if flags.given("unpack") else None,
    )


def _raw_words(text: str, escape: str) -> list[str]:
    """Words split at unquoted white space, with quotes and escapes kept."""
    out: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char.isspace():
            if word:
                out.append("".join(word))
                word = []
            continue
        word.append(char)
        if quote:
            if char == quote:
                quote = ""
            elif char == escape and quote == '"' and position < len(text):
                word.append(text[position])
                position += 1
        elif char in "'\"":
            quote = char
        elif char == escape and position < len(text):
            word.append(text[position])
            position += 1
    if word:
        out.append("".join(word))
    return out


def _pairs(line: Line, escape: str) -> Pairs:
    Flags(line.flags, ())
    words = _raw_words(line.rest, escape)
    if not words:
        raise _at_least_one(line.keyword)
    if "=" not in words[0]:
        parts = _SPACE.split(line.rest, maxsplit=1)
        if len(parts) < 2:
            raise _Malformed(f"{line.keyword} must have two arguments")
        return Pairs(line, [(parts[0], parts[1])], True)
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise _Malformed(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        if not name:
            raise InvalidArgument(f"{line.keyword} names can not be blank")
        pairs.append((name, value))
    return Pairs(line, pairs, False)


def _arg(line: Line, escape: str) -> Arg:
    Flags(line.flags, ())
    words = _raw_words(line.rest, escape)
    if not words:
        raise _at_least_one("ARG")
    pairs: list[tuple[str, str | None]] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise InvalidArgument("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(line, pairs)


def _expose(line: Line, escape: str) -> Words:
    Flags(line.flags, ())
    words = _words(line.rest)
    if not words:
        raise _at_least_one("EXPOSE")
    return Words(line, words)


def _volume(line: Line, escape: str) -> Words:
    Flags(line.flags, ())
    words = _json_list(line.rest)
    if words is None:
        words = _words(line.rest)
    if not words:
        raise _at_least_one("VOLUME")
    if not all(word.strip() for word in words):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    return Words(line, [word.strip() for word in words])


def _text(line: Line, escape: str) -> Text:
    Flags(line.flags, ())
    if not line.rest:
        raise InvalidArgument(f"{line.keyword} requires exactly one argument")
    return Text(line, line.rest)


def _shell(line: Line, escape: str) -> Shell:
    Flags(line.flags, ())
    words = _json_list(line.rest)
    if words is None:
        raise InvalidArgument("SHELL requires the arguments to be in JSON form")
    if not words:
        raise _at_least_one("SHELL")
    return Shell(line, words)


def _healthcheck(line: Line, escape: str) -> Healthcheck:
    flags = Flags(line.flags, ("interval", "timeout", "start-period", "start-interval", "retries"))
    parts = _SPACE.split(line.rest, maxsplit=1)
    kind = parts[0].upper()
    rest = parts[1] if len(parts) == 2 else ""
    if not kind:
        raise _at_least_one("HEALTHCHECK")
    if kind == "NONE":
        if rest:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(line, ["NONE"], 0, 0, 0, 0, 0)
    if kind != "CMD":
        raise InvalidArgument(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    words = _json_list(rest)
    if not (rest if words is None else words):
        raise InvalidArgument("Missing command after HEALTHCHECK CMD")
    test = ["CMD-SHELL", rest] if words is None else ["CMD", *words]
    return Healthcheck(
        line,
        test,
        _interval_ns(flags, "interval"),
        _interval_ns(flags, "timeout"),
        _interval_ns(flags, "start-period"),
        _interval_ns(flags, "start-interval"),
        _retries(flags.text("retries")),
    )


def _interval_ns(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        value = parse_duration_ns(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    if value < 0:
        raise InvalidArgument(f"Interval {json.dumps(name)} cannot be negative")
    if 0 < value < 10**6:
        raise InvalidArgument(f"Interval {json.dumps(name)} cannot be less than 1ms")
    return value


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d+", text):
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    value = int(text)
    if value < 0:
        raise InvalidArgument(f"--retries cannot be negative ({value})")
    return value


def _onbuild(line: Line, escape: str) -> Onbuild:
    Flags(line.flags, ())
    if not line.rest:
        raise _at_least_one("ONBUILD")
    keyword = _SPACE.split(line.rest, maxsplit=1)[0].upper()
    if keyword == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise InvalidArgument(f"{keyword} isn't allowed as an ONBUILD trigger")
    expression = re.sub(r"(?i)\A\s*ONBUILD\s*", "", line.original)
    if line.heredocs:
        expression += "\n" + "".join(f"{heredoc.content}{heredoc.name}\n" for heredoc in line.heredocs)
    parse_instruction(parse_line(expression, escape, line.first), escape)
    return Onbuild(line, expression)


_PARSERS: dict[str, Callable[[Line, str], Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _pairs,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _pairs,
    "MAINTAINER": _text,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _text,
    "USER": _text,
    "VOLUME": _volume,
    "WORKDIR": _text,
}
