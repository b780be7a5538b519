"""`sampan start`."""

from __future__ import annotations

from sampan.cli.command import UNLIMITED, Command
from sampan.cli.context import Context, for_each
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, NotModified

FLAGS = """
-a, --attach               Show its output and pass signals on
    --detach-keys string   Keys that leave the container running (ctrl-p,ctrl-q unless configured)
-i, --interactive          Connect our standard input too
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    if not (options.on("attach") or options.on("interactive")):
        return for_each(context, arguments, context.engine.containers.start)
    if len(arguments) > 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once")
    return _start_attached(context, options, arguments[0])


def _start_attached(context: Context, options: Options, name: str) -> int:
    from sampan.cli import attached

    containers = context.engine.containers
    found = containers.inspect(name)
    container_id, config = found["Id"], found["Config"]
    stdin = options.on("interactive") and config["OpenStdin"]
    attached.require_terminal(attach_stdin=stdin, tty=config["Tty"])
    keys_text, keys = attached.detach_keys(context, options.text("detach-keys"))
    link = containers.attach(container_id, stdin=stdin, stdout=True, stderr=True, detach_keys=keys_text)
    waiting = containers.wait(container_id, "removed" if found["HostConfig"]["AutoRemove"] else "next-exit")
    session = attached.Attachment(
        link,
        stdin=stdin,
        tty=config["Tty"],
        keys=keys,
        proxy_signals=True,
        resize=lambda height, width: containers.resize(container_id, height, width),
        send_signal=lambda signal: containers.kill(container_id, signal),
    )
    with session.signals:
        try:
            containers.start(container_id)
        except NotModified:
            pass
        if config["Tty"]:
            session.fit()
        if session.pump():
            return 0
    return attached.exit_status(waiting)


COMMAND = Command(run, "CONTAINER [CONTAINER...]", 1, UNLIMITED, FLAGS, completes="stopped containers")
