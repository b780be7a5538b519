"""Makes a user namespace and a network namespace that belongs to it, for a container that is about to start.

A worker of the zygote's does it, because only a single-threaded process may fork without care.
"""

from __future__ import annotations

import socket
from typing import Any

from sampan.linux import user_namespace
from sampan.linux.namespaces import CLONE_NEWNET, open_namespace


def make(arguments: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Send the two descriptors (user, network) over the socket `fds[0]`. `arguments` are OCI's `uid` and `gid` maps, and
    `pid`, if not 0, a process whose user namespace it shall be instead of a new one.
    """
    with socket.socket(fileno=fds.pop(0)) as receiver:
        wanted = {"net": CLONE_NEWNET}
        if arguments["pid"]:
            userns_fd = open_namespace(arguments["pid"], "user")
            made = user_namespace.extend(userns_fd, wanted)
        else:
            made = user_namespace.create(arguments["uid"], arguments["gid"], namespaces=wanted)
        socket.send_fds(receiver, [b"n"], made)
    return {}
