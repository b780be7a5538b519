from __future__ import annotations

import re

import pytest

from sampan.cli import flags
from sampan.cli.flags import UsageError

TEXT = """
-a, --all             Everything
-e, --env list        Variables
    --rm              Remove it (default true)
-n, --last int        How many (default -1)
-m, --memory bytes    Limit
    --alias strings   Names
    --name string     A name (default "x")
    --time duration   How long (default 0s)
    --cpus decimal    CPUs
-f, --filter filter   Filters
"""


def parse(*words: str, interspersed: bool = True) -> tuple[flags.Options, list[str], bool]:
    return flags.parse(flags.declare(TEXT), list(words), interspersed=interspersed, synonyms={"net": "name"})


def test_defaults_come_from_the_help_text() -> None:
    options, arguments, help_wanted = parse()
    assert options.number("last") == -1
    assert options.on("rm")
    assert not options.on("all")
    assert options.text("name") == "x"
    assert options.many("env") == []
    assert not options.changed("rm")
    assert arguments == []
    assert not help_wanted


def test_every_spelling() -> None:
    options, arguments, _ = parse(
        "-ae", "A=1", "-eB=2", "-e=C", "--env", "D", "--env=E=3", "x", "--rm=false", "-n5", "y", "--", "-a"
    )
    assert options.many("env") == ["A=1", "B=2", "C", "D", "E=3"]
    assert options.on("all")
    assert not options.on("rm")
    assert options.number("last") == 5
    assert arguments == ["x", "y", "-a"]


def test_typed_values() -> None:
    options, _, _ = parse("-m", "1.5g", "--alias", "a,b", "--alias=c", "--time", "1m30s", "--cpus", "1.5", "--net", "q")
    assert options.number("memory") == 3 << 29
    assert options.many("alias") == ["a", "b", "c"]
    assert options.number("time") == 90 * 10**9
    assert options.number("cpus") == 1_500_000_000
    assert options.text("name") == "q"
    assert parse("-m", "-1")[0].number("memory") == -1


def test_the_containers_command_is_left_alone() -> None:
    options, arguments, help_wanted = parse("-a", "img", "ls", "-e", "--help", interspersed=False)
    assert arguments == ["img", "ls", "-e", "--help"]
    assert options.many("env") == []
    assert not help_wanted


def test_help() -> None:
    assert parse("--help")[2]
    assert parse("-h")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--evn", "a=b"], "unknown flag: --evn (did you mean --env?)"),
        (["-z"], "unknown shorthand flag: 'z' in -z"),
        (["-az"], "unknown shorthand flag: 'z' in -z"),
        (["--env"], "flag needs an argument: --env"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["-n", "abc"], 'invalid argument "abc" for "-n, --last" flag: not a whole number'),
        (["-m", "12q"], "invalid size"),
        (["--rm=maybe"], "neither true nor false"),
        (["-f", "bad"], "want name=value"),
        (["--cpus", "1.x"], "not a decimal number"),
    ],
)
def test_errors(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        parse(*words)
    assert caught.value.exit_code == 125


def test_filters() -> None:
    assert flags.filters_of(["name=a", "Name = b", "label=x=y"]) == {"name": ["a", "b"], "label": ["x=y"]}


def test_every_command_declares_itself_well() -> None:
    """All modules load, all flags parse, and every help is complete."""
    from sampan.cli import table, usage

    names = [
        *table.COMMON,
        *table.OTHERS,
        *(f"{group} {name}" for group, found in table.MEMBERS.items() for name in found),
    ]
    for name in names:
        _, module, rest = table.find(name.split())
        assert module and rest == [], name
        command = __import__(f"sampan.cli.commands.{module}", fromlist=("COMMAND",)).COMMAND
        declared = command.flags()
        assert len({flag.name for flag in declared}) == len(declared), name
        shorts = [flag.short for flag in declared if flag.short]
        assert len(set(shorts)) == len(shorts), name
        for flag in declared:
            assert flag.help, (name, flag.name)
            assert flag.kind in flags.MANY | set(flags._CONVERTERS) | {"string"}, (name, flag.name)
        text = usage.command_help(name, command)
        assert text.startswith(f"Usage:  sampan {name}")
        assert max(len(line) for line in text.splitlines() if not line.startswith(("  sampan", "Usage"))) <= 120
