"""`sampan-runtime`: an OCI runtime with runc's commands and flags, over the same `launch` as the engine's."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from typing import Any, Final

from sampan import __version__
from sampan.errors import Conflict, InvalidArgument, NotFound, SampanError
from sampan.runtime.launch.launch_error import describe
from sampan.runtime.oci_cli import lifecycle, records, spec


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code is 1 for our own errors (255 from `exec`), else the container's."""
    options = _parser().parse_args(arguments)
    try:
        return int(_COMMANDS[options.command_name](options) or 0)
    except (SampanError, OSError) as error:
        _report(options, describe(error))
        return 255 if options.command_name == "exec" else 1


def _report(options: Any, message: str) -> None:
    print(f"sampan-runtime: {message}", file=sys.stderr)
    if options.log:
        with open(options.log, "a", encoding="utf-8") as log:
            if options.log_format == "json":
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                log.write(json.dumps({"level": "error", "msg": message, "time": now}) + "\n")
            else:
                log.write(f'level=error msg="{message}"\n')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sampan-runtime", description="OCI runtime", allow_abbrev=False)
    parser.add_argument("--root", default=records.DEFAULT_ROOT)
    parser.add_argument("--log")
    parser.add_argument("--log-format", default="text", choices=["text", "json"])
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--systemd-cgroup", action="store_true", help="accepted; cgroups are made without systemd")
    parser.add_argument("--rootless", default="auto", help="accepted")
    parser.add_argument("--version", "-v", action="version",
                        version=f"sampan-runtime version {__version__}\nspec: 1.2.0")  # fmt: skip
    commands = parser.add_subparsers(dest="command_name", required=True, metavar="command")
    for name in ("create", "run"):
        _creation_flags(commands.add_parser(name))
    for name in ("start", "state", "pause", "resume"):
        commands.add_parser(name).add_argument("container")
    kill = commands.add_parser("kill")
    kill.add_argument("--all", "-a", action="store_true")
    kill.add_argument("container")
    kill.add_argument("signal", nargs="?", default="TERM")
    delete = commands.add_parser("delete")
    delete.add_argument("--force", "-f", action="store_true")
    delete.add_argument("container")
    _exec_flags(commands.add_parser("exec"))
    listing = commands.add_parser("list")
    listing.add_argument("--format", "-f", default="table", choices=["table", "json"])
    listing.add_argument("--quiet", "-q", action="store_true")
    processes = commands.add_parser("ps")
    processes.add_argument("--format", "-f", default="table", choices=["table", "json"])
    processes.add_argument("container")
    processes.add_argument("arguments", nargs=argparse.REMAINDER)
    update = commands.add_parser("update")
    update.add_argument("--resources", "-r", required=True)
    update.add_argument("container")
    specification = commands.add_parser("spec")
    specification.add_argument("--bundle", "-b", default=".")
    commands.add_parser("features")
    return parser


def _process_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--console-socket")
    parser.add_argument("--pid-file")
    parser.add_argument("--preserve-fds", type=int, default=0)
    parser.add_argument("--detach", "-d", action="store_true")


def _creation_flags(parser: argparse.ArgumentParser) -> None:
    _process_flags(parser)
    parser.add_argument("--bundle", "-b", default="")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--no-pivot", action="store_true", help="accepted")
    parser.add_argument("--no-new-keyring", action="store_true", help="accepted")
    parser.add_argument("container")


def _exec_flags(parser: argparse.ArgumentParser) -> None:
    _process_flags(parser)
    parser.add_argument("--process", "-p")
    parser.add_argument("--tty", "-t", action="store_true")
    parser.add_argument("--user", "-u")
    parser.add_argument("--cwd")
    parser.add_argument("--env", "-e", action="append", default=[])
    parser.add_argument("--ignore-paused", action="store_true")
    parser.add_argument("container")
    parser.add_argument("command", nargs=argparse.REMAINDER)


def _state(options: Any) -> records.State:
    return records.load(options.root, options.container)


def _create(options: Any) -> None:
    lifecycle.create(options)


def _start(options: Any) -> None:
    lifecycle.start(_state(options))


def _show_state(options: Any) -> None:
    print(json.dumps(_state(options).describe(), indent=2))


def _signal_number(text: str) -> int:
    if text.isdigit():
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else "SIG" + text.upper()
    try:
        return int(getattr(signal, name))
    except AttributeError:
        raise InvalidArgument(f'unknown signal "{text}"') from None


def _kill(options: Any) -> None:
    state = _state(options)
    number = _signal_number(options.signal)
    if options.all:
        for pid in state.cgroup().pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return
    if not state.alive():
        raise Conflict("container not running")
    os.kill(state.pid, number)
    if number == signal.SIGKILL:
        state.cgroup().thaw()


def _delete(options: Any) -> None:
    try:
        state = _state(options)
    except NotFound:
        if options.force:
            return
        raise
    status = state.status()
    if status != "stopped":
        if not options.force and status != "created":
            raise Conflict(f"cannot delete container {options.container} that is not stopped: {status}")
        os.kill(state.pid, signal.SIGKILL)
        state.cgroup().thaw()
        deadline = time.monotonic() + 10
        while state.alive() and time.monotonic() < deadline:
            time.sleep(0.001)
    lifecycle.delete(state)


def _pause(options: Any) -> None:
    state = _state(options)
    if state.status() not in ("running", "created"):
        raise Conflict("container not running or created")
    state.cgroup().freeze()


def _resume(options: Any) -> None:
    state = _state(options)
    if state.status() != "paused":
        raise Conflict("container not paused")
    state.cgroup().thaw()


def _list(options: Any) -> None:
    if options.root != records.DEFAULT_ROOT and not os.path.isdir(options.root):
        raise NotFound(f"stat {options.root}: no such file or directory")
    found = [state.describe() for state in records.load_all(options.root)]
    if options.quiet:
        print("".join(one["id"] + "\n" for one in found), end="")
    elif options.format == "json":
        print(json.dumps(found, separators=(",", ":")))
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [(o["id"], str(o["pid"]), o["status"], o["bundle"], o["created"], o["owner"] or "root") for o in found]
        widths = [max(len(row[n]) for row in rows) for n in range(6)]
        for row in rows:
            print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _ps(options: Any) -> int:
    pids = _state(options).cgroup().pids()
    if options.format == "json":
        print(json.dumps(pids))
        return 0
    arguments = options.arguments or ["-ef"]
    reader, writer = os.pipe()
    child = os.posix_spawnp("ps", ["ps", *arguments], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    with open(reader, encoding="utf-8", errors="replace") as output:
        lines = output.read().splitlines()
    os.waitpid(child, 0)
    column = lines[0].split().index("PID")
    print(lines[0])
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            print(line)
    return 0


def _update(options: Any) -> None:
    if options.resources == "-":
        resources = json.load(sys.stdin)
    else:
        with open(options.resources, encoding="utf-8") as file:
            resources = json.load(file)
    _state(options).cgroup().apply(resources)


def _spec(options: Any) -> None:
    path = os.path.join(options.bundle, "config.json")
    if os.path.exists(path):
        raise Conflict("file config.json exists. Remove it first")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec.default_config(), file, indent="\t")


def _features(options: Any) -> None:
    from sampan.linux.capabilities import NAMES
    from sampan.linux.namespaces import FLAGS

    del options
    print(json.dumps({
        "ociVersionMin": "1.0.0", "ociVersionMax": "1.2.0",
        "linux": {"namespaces": sorted(FLAGS), "capabilities": list(NAMES),
                  "cgroup": {"v1": True, "v2": True, "systemd": False}, "seccomp": {"enabled": True}},
    }, indent=2))  # fmt: skip


_COMMANDS: Final[dict[str, Any]] = {
    "create": _create, "start": _start, "run": lifecycle.run, "exec": lifecycle.execute, "state": _show_state,
    "kill": _kill, "delete": _delete, "pause": _pause, "resume": _resume, "list": _list, "ps": _ps,
    "update": _update, "spec": _spec, "features": _features,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
