"""`sampan`: global options, dispatch to the command's module, errors and exit codes.

Exit codes: 0; 1 for a failure; 125 for a wrong command line or when `run` and `exec` fail in the engine; 126 and 127 when
their command cannot be executed or found; 130 after Ctrl-C; otherwise the container's own.
"""

from __future__ import annotations

import os
import sys

from sampan.cli import table
from sampan.cli.context import Context
from sampan.cli.flags import UsageError
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.cli.command import Command
    from sampan.cli.flags import Options
    from sampan.client.hosts import TlsFiles

GLOBAL_FLAGS = """
    --config string      Directory of the client's configuration files (default ~/.docker)
-c, --context string     Accepted for Docker's sake; only "default" exists
-D, --debug              Show the traceback of an error
-H, --host list          The engine's socket, as unix:///path or tcp://host:port
-l, --log-level string   Accepted for Docker's sake (default "info")
    --tls                Encrypt the connection to the engine
    --tlscacert string   Trust only certificates of this authority (default ~/.docker/ca.pem)
    --tlscert string     The client's certificate (default ~/.docker/cert.pem)
    --tlskey string      The client's key (default ~/.docker/key.pem)
    --tlsverify          Encrypt, and verify the engine's certificate
-v, --version            Print the client's version
"""


class ExitWith(Exception):
    """End with this exit code; what there was to say has been said."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> None:
    """The console script. Leaves without the interpreter's teardown, which costs more than most commands."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 1
    except OSError as error:
        sys.stderr.write(f"sampan: cannot write to standard output: {error.strerror}\n")
        code = code or 1
    sys.stderr.flush()
    os._exit(code)


def run(words: list[str]) -> int:
    """Run one command line and return its exit code."""
    debug = "SAMPAN_DEBUG" in os.environ
    try:
        return _dispatch(words)
    except ExitWith as leaving:
        return leaving.code
    except SampanError as error:
        if debug:
            raise
        return _report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        if debug:
            raise
        where = f" {error.filename!r}" if error.filename is not None else ""
        return _report(SampanError(f"{error.strerror or error}{where}"))


def _report(error: SampanError) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"sampan: {error}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
    return error.exit_code


def _dispatch(words: list[str]) -> int:
    context = Context("")
    if not words or words[0].startswith("-"):
        leading = _globals(words)
        if isinstance(leading, int):
            return leading
        context, words = leading
    name, module, rest = table.find(words)
    if module == "":
        return _group(name, rest)
    context.name = name
    command: Command = __import__(f"sampan.cli.commands.{module}", fromlist=("COMMAND",)).COMMAND
    return _run_command(context, command, rest)


def _run_command(context: Context, command: Command, words: list[str]) -> int:
    from sampan.cli import flags

    try:
        if command.raw:
            words = ["--", *words]
        options, arguments, help_wanted = flags.parse(
            command.flags(), words, interspersed=command.interspersed, synonyms=command.synonyms
        )
        if help_wanted:
            from sampan.cli import usage

            sys.stdout.write(usage.command_help(context.name, command))
            return 0
        command.check_count(context.name, len(arguments))
        return command.run(context, options, arguments) or 0
    except UsageError as error:
        from sampan.cli import usage

        sys.stdout.flush()
        sys.stderr.write(f"sampan: {error}\n\n{usage.usage_line(context.name, command)}\n\n")
        sys.stderr.write(f"Run 'sampan {context.name} --help' for more information\n")
        return error.exit_code


def _group(name: str, rest: list[str]) -> int:
    from sampan.cli import usage

    unknown = [word for word in rest[:1] if not word.startswith("-")]
    if unknown:
        full = f"{name} {unknown[0]}".strip()
        sys.stderr.write(f"sampan: unknown command: sampan {full}\n")
        near = table.near(name, unknown[0])
        if not name and unknown[0] in table.ELSEWHERE:
            sys.stderr.write(f"hint: {table.ELSEWHERE[unknown[0]]}\n")
        elif near:
            sys.stderr.write(f"hint: did you mean `sampan {near}`?\n")
        sys.stderr.write(f"\nRun 'sampan {name + ' ' if name else ''}--help' for more information\n")
        return 1
    if rest[:1] and rest[0] not in ("--help", "-h"):
        sys.stderr.write(f"sampan: unknown flag: {rest[0]}\n\nRun 'sampan {name} --help' for more information\n")
        return 125
    (sys.stdout if rest else sys.stderr).write(usage.group_help(name))
    return 0


def _globals(words: list[str]) -> tuple[Context, list[str]] | int:
    """Parse the options before the command."""
    from sampan.cli import flags, usage

    if words in ([], ["--help"], ["-h"]):
        sys.stdout.write(usage.top_help(GLOBAL_FLAGS))
        return 0
    try:
        options, rest, help_wanted = flags.parse(flags.declare(GLOBAL_FLAGS), words, interspersed=False)
    except UsageError as error:
        sys.stderr.write(f"sampan: {error}\n\nUsage:  sampan [OPTIONS] COMMAND [ARG...]\n\n")
        sys.stderr.write("Run 'sampan --help' for more information\n")
        return error.exit_code
    if options.on("version"):
        from sampan.cli.commands.version import client_line

        sys.stdout.write(client_line() + "\n")
        return 0
    if help_wanted or not rest:
        sys.stdout.write(usage.top_help(GLOBAL_FLAGS))
        return 0
    if options.on("debug"):
        os.environ["SAMPAN_DEBUG"] = "1"
    hosts = options.many("host")
    config_dir = options.text("config") if options.changed("config") else ""
    return Context("", hosts[-1] if hosts else "", _tls(options, config_dir), config_dir), rest


def _tls(options: Options, config_dir: str) -> TlsFiles | None:
    """The TLS files, if an option asks for encryption."""
    if not any(options.changed(name) for name in ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")):
        return None
    from sampan.cli.config import tls_files

    return tls_files(
        config_dir,
        ca=options.text("tlscacert") if options.changed("tlscacert") else "",
        certificate=options.text("tlscert") if options.changed("tlscert") else "",
        key=options.text("tlskey") if options.changed("tlskey") else "",
        verify=options.on("tlsverify"),
    )


if __name__ == "__main__":
    main()
