"""`sampan __complete WORD… PARTIAL`: what could stand for the last word, one per line, with a tab before its description.

The shells' scripts (`sampan completion`) know nothing of Sampan but this. A last line `:files` asks the shell to complete
file names itself. Errors give no completions: a shell is no place for messages.
"""

from __future__ import annotations

from sampan.cli import table
from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Flag, Options, declare
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILES = ":files"
_FLAG_VALUES = {
    "network": "networks",
    "volumes-from": "all containers",
    "link": "containers",
    "name": "",
    "file": "files",
    "env-file": "files",
    "label-file": "files",
    "cidfile": "files",
    "iidfile": "files",
    "output": "files",
    "input": "files",
    "volume": "volumes",
    "from": "images",
}
_CHOICES = {
    "pull": ["always", "missing", "never"],
    "restart": ["no", "on-failure", "always", "unless-stopped"],
    "signal": ["TERM", "KILL", "INT", "HUP", "QUIT", "USR1", "USR2", "STOP", "CONT"],
    "attach": ["STDIN", "STDOUT", "STDERR"],
    "cgroupns": ["host", "private"],
    "log-driver": ["local", "json-file", "none"],
    "type": ["container", "image", "network", "volume"],
}


def run(context: Context, options: Options, arguments: list[str]) -> int:
    words, partial = arguments[:-1], arguments[-1] if arguments else ""
    try:
        found = candidates(context, words, partial)
    except (SampanError, OSError):
        found = []
    for text in found:
        if text == FILES or text.startswith(partial):
            context.out(text)
    return 0


def candidates(context: Context, words: list[str], partial: str) -> list[str]:
    """Everything that may stand here, not yet narrowed down to what begins with `partial`."""
    from sampan.cli.main import GLOBAL_FLAGS

    words = _without_globals(words, declare(GLOBAL_FLAGS))
    name, module, rest = table.find(words) if words else ("", "", [])
    if not module:
        if rest:
            return []
        if partial.startswith("-") and not name:
            return _flags(declare(GLOBAL_FLAGS), partial)
        return _commands(name)
    command: Command = __import__(f"sampan.cli.commands.{module}", fromlist=("COMMAND",)).COMMAND
    declared = command.flags()
    waiting = _flag_waiting(declared, rest)
    if waiting is not None:
        return _values(context, waiting)
    position = _position(declared, rest)
    if partial.startswith("-") and (command.interspersed or position == 0):
        return _flags(declared, partial)
    return _arguments(context, command, position, partial)


def _without_globals(words: list[str], declared: list[Flag]) -> list[str]:
    while words and words[0].startswith("-"):
        takes = _flag_waiting(declared, words[:1]) is not None
        words = words[1 + takes :]
    return words


def _commands(group: str) -> list[str]:
    if group:
        return [f"{name}\t{text}" for name, (_, text) in table.MEMBERS[group].items() if name not in table.HIDDEN]
    return [f"{name}\t{text}" for name, text in {**table.COMMON, **table.GROUPS, **table.OTHERS}.items()]


def _flags(declared: list[Flag], partial: str) -> list[str]:
    found = [f"--{flag.name}\t{flag.help}" for flag in declared] + ["--help\tPrint usage"]
    if not partial.startswith("--"):
        found += [f"-{flag.short}\t{flag.help}" for flag in declared if flag.short]
    return found


def _flag_waiting(declared: list[Flag], words: list[str]) -> Flag | None:
    """The flag that the next word is the value of."""
    if not words or not words[-1].startswith("-") or "=" in words[-1]:
        return None
    last = words[-1]
    for flag in declared:
        if flag.kind and (
            last == f"--{flag.name}" or (not last.startswith("--") and flag.short and last.endswith(flag.short))
        ):
            return flag
    return None


def _position(declared: list[Flag], words: list[str]) -> int:
    """How many arguments stand before."""
    count = 0
    for index, word in enumerate(words):
        is_value = _flag_waiting(declared, words[:index]) is not None
        count += not (is_value or word.startswith("-"))
    return count


def _values(context: Context, flag: Flag) -> list[str]:
    if flag.name in _CHOICES:
        return _CHOICES[flag.name]
    return _objects(context, _FLAG_VALUES.get(flag.name, ""))


def _arguments(context: Context, command: Command, position: int, partial: str) -> list[str]:
    kind = command.completes
    if position and (not command.interspersed or command.most <= position):
        kind = "containers" if kind == "networks" and command.most == 2 else "files" if not command.interspersed else ""
    if kind == "networks" and command.most == 2 and position == 1:
        kind = "containers"
    if kind == "cp":
        return [f"{name}:" for name in _objects(context, "all containers")] + [FILES]
    return _objects(context, kind)


def _objects(context: Context, kind: str) -> list[str]:
    """Names of what the engine has of this kind."""
    engine = context.engine
    if kind == "files":
        return [FILES]
    if kind == "shells":
        return ["bash", "zsh", "fish"]
    if kind == "networks":
        return [network["Name"] for network in engine.networks.list()]
    if kind == "volumes":
        return [volume["Name"] for volume in engine.volumes.list()]
    if kind == "images":
        return _image_names(engine.images.list())
    if kind in ("containers", "all containers", "stopped containers"):
        found = engine.containers.list(all=kind != "containers")
        if kind == "stopped containers":
            found = [item for item in found if item["State"] != "running"]
        return [name.removeprefix("/") for item in found for name in item["Names"] if name.count("/") == 1]
    if kind == "objects":
        return [name for one in ("all containers", "images", "networks", "volumes") for name in _objects(context, one)]
    return []


def _image_names(images: list[dict[str, Any]]) -> list[str]:
    names = [name for image in images for name in image.get("RepoTags") or [] if not name.startswith("<none>")]
    return names + [name.removesuffix(":latest") for name in names if name.endswith(":latest")]


COMMAND = Command(run, "[WORD...]", 0, UNLIMITED, raw=True)
