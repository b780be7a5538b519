"""`sampan system dial-stdio`."""

from __future__ import annotations

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.session import Session
    from sampan.client.transport import Hijacked, connect

    sock = connect(context.engine.address)
    Session(Hijacked(sock, b"", ""), stdin_fd=0, framed=False).pump()
    return 0


COMMAND = Command(run, "", 0, 0)
