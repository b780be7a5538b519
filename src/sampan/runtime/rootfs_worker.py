"""Runs one operation confined to a container's root: cp, export, stat and COPY never resolve a path from the host."""

from __future__ import annotations

import socket

from sampan.runtime import protocol


def run(message: protocol.Message, control: socket.socket) -> None:
    protocol.send(control, {"error": {"kind": "NotSupported", "message": "not yet", "hint": ""}})
