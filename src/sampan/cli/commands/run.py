"""`sampan run`: create, attach, wait, start, and carry bytes until the container ends."""

from __future__ import annotations

import sys

from sampan.cli import create_options
from sampan.cli.command import UNLIMITED, Command
from sampan.cli.commands.create import create_container
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.errors import InvalidArgument, SampanError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.client.containers import Containers
    from sampan.client.transport import Hijacked

FLAGS = (
    create_options.FLAGS
    + """
-d, --detach                         Leave it running and print its id
    --detach-keys string             Keys that leave the container running (ctrl-p,ctrl-q unless configured)
    --sig-proxy                      Pass our signals on to it (default true)
"""
)


def run(context: Context, options: Options, arguments: list[str]) -> int:
    try:
        body = create_options.container_body(options, arguments[0], arguments[1:])
        if options.on("detach"):
            return _run_detached(context, options, body)
        return _run_attached(context, options, body)
    except SampanError as error:
        if error.exit_code not in (126, 127) and type(error).__name__ != "NoTerminal":
            error.exit_code = 125
        raise


def _run_detached(context: Context, options: Options, body: dict[str, Any]) -> int:
    if options.many("attach"):
        raise InvalidArgument("conflicting options: cannot specify both --attach and --detach")
    body.update(AttachStdin=False, AttachStdout=False, AttachStderr=False, StdinOnce=False)
    container_id = create_container(context, options, body)
    _start(context, container_id)
    context.out(container_id)
    return 0


def _start(context: Context, container_id: str) -> None:
    from sampan.cli.attached import start_failure_code

    try:
        context.engine.containers.start(container_id)
    except SampanError as error:
        error.exit_code = start_failure_code(error.message)
        raise


def _run_attached(context: Context, options: Options, body: dict[str, Any]) -> int:
    from sampan.cli import attached, terminal

    tty = bool(body["Tty"])
    attached.require_terminal(attach_stdin=bool(body["AttachStdin"]), tty=tty)
    keys_text, keys = attached.detach_keys(context, options.text("detach-keys"))
    size = terminal.size()
    if tty and size:
        body["HostConfig"]["ConsoleSize"] = list(size)
    container_id = create_container(context, options, body)
    containers = context.engine.containers
    link = _attach(containers, container_id, body, keys_text)
    waiting = containers.wait(container_id, "removed" if options.on("rm") else "next-exit")
    if link is None:
        _start(context, container_id)
        context.out(container_id)
        return 0
    session = attached.Attachment(
        link,
        stdin=body["AttachStdin"],
        tty=tty,
        keys=keys,
        proxy_signals=options.on("sig-proxy"),
        resize=lambda height, width: containers.resize(container_id, height, width),
        send_signal=lambda name: containers.kill(container_id, name),
    )
    with session.signals:
        try:
            _start(context, container_id)
        except SampanError:
            link.sock.close()
            if options.on("rm"):
                waiting.read()  # the container must be gone when we are
            raise
        if tty:
            session.fit()
        if session.pump():
            return 0
    sys.stdout.flush()
    return attached.exit_status(waiting)


def _attach(containers: Containers, container_id: str, body: dict[str, Any], detach_keys: str) -> Hijacked | None:
    """The connection for the streams that are wanted; None if none is."""
    streams = {name: bool(body[f"Attach{name.capitalize()}"]) for name in ("stdin", "stdout", "stderr")}
    return containers.attach(container_id, **streams, detach_keys=detach_keys) if any(streams.values()) else None


COMMAND = Command(
    run,
    "IMAGE [COMMAND] [ARG...]",
    1,
    UNLIMITED,
    FLAGS,
    interspersed=False,
    synonyms=create_options.SYNONYMS,
    completes="images",
)
