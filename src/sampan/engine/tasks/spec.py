"""What a start takes and gives: `TaskSpec`, the clients' `Attachment`s, and how it all ends, `Exit`."""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

import msgspec

from sampan.runtime.shim.attach import ClientOptions, discard


class Exit(NamedTuple):
    """How a container ended. `exit_code` is 128+n for a death by signal n."""

    exit_code: int
    exited_at_ns: int
    oom_killed: bool


class Attachment(msgspec.Struct):
    """A client's connection that is to become a process's stdio. `fd` passes on to whoever takes the attachment.

    `framed`: 8-byte multiplexed frames; never with a tty. `preload`: input that the client sent already. `logs`: replay
    the log first. `detach_notice`: what to tell a client that typed the detach keys.
    """

    fd: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = b""
    preload: bytes = b""
    logs: bool = False
    detach_notice: bytes = b""

    def to_json(self) -> dict[str, Any]:
        return ClientOptions(
            self.stdin,
            self.stdout,
            self.stderr,
            self.framed,
            self.detach_keys,
            self.preload,
            self.logs,
            self.detach_notice,
        ).to_json()

    def say(self, data: bytes) -> None:
        """Send a last word over a connection that nobody took; a client that does not read loses it."""
        with socket.socket(fileno=os.dup(self.fd)) as sock:
            try:
                sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except OSError:
                pass  # the client left, or does not read

    def discard(self) -> None:
        """Close the client's connection: nobody took it."""
        if self.fd >= 0:
            discard(self.fd)
            self.fd = -1

    def release(self) -> None:
        """Close our copy of the descriptor after it has been passed on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class TaskSpec(msgspec.Struct, kw_only=True):
    """All that a start needs. `state_dir` is durable and exists; the shim writes `exit.json` there.

    `log` is `{"driver": "local"|"json-file"|"none", "path": …, "options": {…}, "attributes": {…}}`. `console_size` is
    (height, width). `netns_fd` and `userns_fd`, namespaces to live in, stay the caller's.
    """

    id: str
    config: dict[str, Any]
    rootfs: dict[str, Any]
    state_dir: str
    log: dict[str, Any] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    netns_fd: int | None = None
    userns_fd: int | None = None
    attachments: list[Attachment] = msgspec.field(default_factory=list)
    seccomp_bpf: bytes | None = None
    cgroup_path: str = ""
    console_size: tuple[int, int] | None = None
    init_path: str | None = None
