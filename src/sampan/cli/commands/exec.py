"""`sampan exec`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
-d, --detach               Leave the command running
    --detach-keys string   Keys that leave the command running (ctrl-p,ctrl-q unless configured)
-e, --env list             Environment variable: NAME=value, or NAME to pass our own
    --env-file list        File of environment variables, one on each line
-i, --interactive          Connect our standard input
    --privileged           All capabilities for the command
-t, --tty                  Give it a terminal
-u, --user string          User and group (name|uid[:group|gid])
-w, --workdir string       Working directory
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    try:
        return _exec(context, options, arguments)
    except SampanError as error:
        if error.exit_code == 1 and error.status not in (404, 409):
            error.exit_code = 125
        raise


def _exec(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli import attached, terminal
    from sampan.cli.parse import environment

    name, command = arguments[0], arguments[1:]
    tty, detached = options.on("tty"), options.on("detach")
    stdin = options.on("interactive") and not detached
    keys_text, keys = attached.detach_keys(context, options.text("detach-keys"))
    body: dict[str, Any] = {
        "User": options.text("user"),
        "Privileged": options.on("privileged"),
        "Tty": tty,
        "AttachStdin": stdin,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        "DetachKeys": keys_text,
        "Env": environment.read_variables(options.many("env-file"), options.many("env")),
        "WorkingDir": options.text("workdir"),
        "Cmd": command,
    }
    attached.require_terminal(attach_stdin=stdin, tty=tty)
    size = terminal.size() if tty and not detached else None
    if size:
        body["ConsoleSize"] = list(size)
    containers = context.engine.containers
    exec_id = containers.exec_create(name, body)
    if detached:
        containers.exec_start_detached(exec_id, tty=tty)
        return 0
    link = containers.exec_start(exec_id, tty=tty, console_size=size)
    session = attached.Attachment(
        link,
        stdin=stdin,
        tty=tty,
        keys=keys,
        proxy_signals=False,
        resize=lambda height, width: containers.exec_resize(exec_id, height, width),
        send_signal=lambda _: None,
    )
    with session.signals:
        if tty:
            session.fit()
        if session.pump():
            return 0
    return int(containers.exec_inspect(exec_id)["ExitCode"] or 0)


COMMAND = Command(run, "CONTAINER COMMAND [ARG...]", 2, UNLIMITED, FLAGS, interspersed=False, completes="containers")
