"""`sampan attach`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import Conflict

FLAGS = """
    --detach-keys string   Keys that leave the container running (ctrl-p,ctrl-q unless configured)
    --no-stdin             Only show its output
    --sig-proxy            Pass our signals on to it (default true)
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli import attached

    containers = context.engine.containers
    found = containers.inspect(arguments[0])
    container_id, config, state = found["Id"], found["Config"], found["State"]
    if not state["Running"]:
        raise Conflict("cannot attach to a stopped container, start it first", hint=f"sampan start -ai {arguments[0]}")
    if state["Paused"]:
        raise Conflict("cannot attach to a paused container, unpause it first", hint=f"sampan unpause {arguments[0]}")
    if state["Restarting"]:
        raise Conflict("cannot attach to a restarting container, wait until it is running")
    stdin = not options.on("no-stdin") and config["OpenStdin"]
    attached.require_terminal(attach_stdin=stdin, tty=config["Tty"])
    keys_text, keys = attached.detach_keys(context, options.text("detach-keys"))
    waiting = containers.wait(container_id)
    link = containers.attach(container_id, stdin=stdin, stdout=True, stderr=True, detach_keys=keys_text)
    session = attached.Attachment(
        link,
        stdin=stdin,
        tty=config["Tty"],
        keys=keys,
        proxy_signals=options.on("sig-proxy") and not config["Tty"],
        resize=lambda height, width: containers.resize(container_id, height, width),
        send_signal=lambda signal: containers.kill(container_id, signal),
    )
    with session.signals:
        if config["Tty"]:
            session.fit(twice=True)
        if session.pump():
            context.warn("read escape sequence")
            return 0
    return attached.exit_status(waiting)


COMMAND = Command(run, "CONTAINER", 1, 1, FLAGS, completes="containers")
