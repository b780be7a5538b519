"""`--help`: laid out as Docker's."""

from __future__ import annotations

import os

from sampan.cli import flags, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.command import Command


def usage_line(name: str, command: Command) -> str:
    options = "[OPTIONS] " if command.flags_text.strip() else ""
    lines = [f"sampan {name} {options}{tail}".rstrip() for tail in command.arguments.split("\n")]
    return "Usage:  " + "\n        ".join(lines)


def command_help(name: str, command: Command) -> str:
    parts = [usage_line(name, command), table.summary(name) + ("\n\n" + command.details if command.details else "")]
    module = table.find(name.split())[1]
    others = table.same_as(module)
    if len(others) > 1:
        parts.append("Aliases:\n  " + ", ".join(f"sampan {other}" for other in others))
    if command.flags_text.strip():
        parts.append("Options:\n" + flag_lines(command.flags_text))
    return "\n\n".join(parts) + "\n"


def group_help(name: str) -> str:
    members = {member: text for member, (_, text) in sorted(table.MEMBERS[name].items()) if member not in table.HIDDEN}
    return (
        f"Usage:  sampan {name} COMMAND\n\n{table.GROUPS[name]}\n\nCommands:\n{_listed(members)}\n\n"
        f"Run 'sampan {name} COMMAND --help' for more on a command.\n"
    )


def top_help(global_flags: str) -> str:
    return (
        "Usage:  sampan [OPTIONS] COMMAND\n\nContainers, images and builds\n\n"
        f"Common Commands:\n{_listed(table.COMMON)}\n\nManagement Commands:\n{_listed(table.GROUPS)}\n\n"
        f"Commands:\n{_listed(table.OTHERS)}\n\nGlobal Options:\n{flag_lines(global_flags)}\n\n"
        "Run 'sampan COMMAND --help' for more on a command.\n"
    )


def _listed(commands: dict[str, str]) -> str:
    return "\n".join(f"  {name:<11} {text}" for name, text in commands.items())


def flag_lines(text: str) -> str:
    """The flags, aligned, and their help wrapped to the terminal (80 columns where there is none)."""
    declared = flags.declare(text)
    heads = []
    for flag in declared:
        short = f"-{flag.short}, " if flag.short else "    "
        heads.append(f"  {short}--{flag.name}{' ' + flag.kind if flag.kind else ''}")
    left = max(len(head) for head in heads) + 3
    try:
        width = os.get_terminal_size(1).columns
    except OSError:
        width = 80
    room = max(width - left - 1, 24)
    lines = []
    for head, flag in zip(heads, declared, strict=True):
        wrapped = _wrap(flag.help, room)
        lines.append(head.ljust(left) + wrapped[0])
        lines.extend(" " * left + more for more in wrapped[1:])
    return "\n".join(line.rstrip() for line in lines)


def _wrap(text: str, room: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
