"""Attaching a client to a container's init: now, or at its next start."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from typing import TYPE_CHECKING

from sampan import errors
from sampan.engine.containers.logs import log_spec
from sampan.logs.reader import read_raw
from sampan.runtime.shim.attach import STDOUT, frame

if TYPE_CHECKING:
    from sampan.engine.containers.model import Container
    from sampan.engine.tasks.spec import Attachment
    from sampan.engine.tasks.tasks import Tasks

_NAMED_KEYS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31, "DEL": 127}


def parse_detach_keys(text: str) -> bytes:
    """The bytes of a detach sequence such as `ctrl-p,ctrl-q` or `ctrl-a,d`; empty for the default.

    Raises:
        InvalidArgument: in Docker's words.
    """
    keys = bytearray()
    for name in text.split(",") if text else []:
        if len(name.encode()) == 1:
            keys += name.encode()
        elif match := re.fullmatch(r"ctrl-(.)", name, re.IGNORECASE):
            key = match[1]
            if key.isascii() and key.isalpha():
                keys.append(ord(key.lower()) - ord("a") + 1)
            elif key in _NAMED_KEYS:
                keys.append(_NAMED_KEYS[key])
            else:
                raise errors.InvalidArgument(f"Invalid detach keys ({text}) provided")
        elif name.upper() == "DEL":
            keys.append(127)
        else:
            raise errors.InvalidArgument(f"Invalid detach keys ({text}) provided")
    return bytes(keys)


def check_attachable(container: Container) -> None:
    """
    Raises:
        Conflict: the container is paused or between two runs.
    """
    if container.paused:
        raise errors.Conflict(f"container {container.id} is paused, unpause the container before attach")
    if container.state.status == "restarting":
        raise errors.Conflict(f"container {container.id} is restarting, wait until the container is running")


async def attach(tasks: Tasks, container: Container, attachment: Attachment, *, stream: bool) -> None:
    """Pass a client's connection on. With `stream`, to the running process or to the next one; without, it is closed
    after the log (if `attachment.logs`) was sent. Never raises: the connection is the client's only witness."""
    task = container.task
    if stream and task is not None and task.exit is None:
        try:
            await task.attach(attachment)
            return
        except errors.SampanError:
            return
    if attachment.logs:
        await asyncio.to_thread(_replay, container, attachment)
        attachment.logs = False
    if stream:
        tasks.add_pending(container.id, attachment)
    else:
        attachment.discard()


def _replay(container: Container, attachment: Attachment) -> None:
    """Send the whole log over a blocking duplicate of the connection. Runs in a thread."""
    with socket.socket(fileno=os.dup(attachment.fd)) as sock:
        sock.settimeout(60)
        try:
            for stream, data in read_raw(log_spec(container)):
                if attachment.stdout if stream == STDOUT else attachment.stderr:
                    sock.sendall(frame(stream, data) if attachment.framed else data)
        except OSError:
            pass  # the client left or does not read
        finally:
            os.set_blocking(attachment.fd, False)
