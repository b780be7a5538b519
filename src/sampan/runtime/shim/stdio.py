"""The stdio of one process, a container's init or an exec: pipes or a pty, the log, and the attached clients."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Callable, Iterator
from typing import NamedTuple

from sampan.logs.interfaces import Writer
from sampan.runtime.shim.attach import CHUNK_BYTES, STDERR, STDOUT, Client, ClientOptions
from sampan.runtime.shim.loop import HANGUP, READ, WRITE, Loop

_STDIN_HIGH_WATER_BYTES = CHUNK_BYTES
_FINAL_READS = 64  # of CHUNK_BYTES each: more than any pipe holds


class Pipes(NamedTuple):
    """Both ends of a process's stdio without a tty. `stdin` is -1 where the process gets /dev/null."""

    child_stdin: int
    child_stdout: int
    child_stderr: int
    stdin: int
    stdout: int
    stderr: int

    def close_child(self) -> None:
        for fd in (self.child_stdin, self.child_stdout, self.child_stderr):
            os.close(fd)

    def close_ours(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


def make_pipes(open_stdin: bool) -> Pipes:
    stdin = -1
    if open_stdin:
        child_stdin, stdin = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(stdin, False)
    else:
        child_stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    stdout, child_stdout = os.pipe2(os.O_CLOEXEC)
    stderr, child_stderr = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(stdout, False)
    os.set_blocking(stderr, False)
    return Pipes(child_stdin, child_stdout, child_stderr, stdin, stdout, stderr)


class ProcessIO:
    """Moves bytes between a process, its log and its clients.

    Back-pressure: while any client is congested, nothing is read, so the process blocks on its full pipe. The log is
    never a reason to stop. `on_log` is told after each write to the log.
    """

    def __init__(self, loop: Loop, *, tty: bool, open_stdin: bool, stdin_once: bool, log: Writer | None = None) -> None:
        self.tty = tty
        self.stdin_once = stdin_once
        self._loop = loop
        self._open_stdin = open_stdin
        self._log = log
        self._stdin = -1
        self._outputs: dict[int, int] = {}  # fd → stream
        self._stdin_buffer = b""
        self._stdin_closing = False
        self._paused = False
        self.clients: list[Client] = []
        self.on_log: Callable[[], None] | None = None
        self.on_idle: Callable[[], None] | None = None  # the last client is gone

    def adopt_pipes(self, stdin: int, stdout: int, stderr: int) -> None:
        """Our ends of `make_pipes`."""
        self._stdin = stdin
        self._outputs = {stdout: STDOUT, stderr: STDERR}

    def adopt_console(self, console: int) -> None:
        os.set_blocking(console, False)
        os.set_inheritable(console, False)
        self._outputs[console] = STDOUT
        self._stdin = console

    def start(self) -> None:
        for fd in self._outputs:
            self._loop.add(fd, READ, self._reader(fd))
        if self._stdin >= 0 and not self.tty:
            self._loop.add(self._stdin, 0, self._on_stdin)
        self._update_pause()

    def attach(self, fd: int, options: ClientOptions, backlog: Iterator[tuple[int, bytes]] | None = None) -> None:
        client = Client(self._loop, self, fd, options, backlog)
        self.clients.append(client)
        client.start()

    def resize(self, height: int, width: int) -> None:
        """TIOCSWINSZ; the kernel sends SIGWINCH. Without a tty: nothing, as in Docker."""
        if self.tty and self._stdin >= 0:
            fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def drain(self) -> None:
        """The process is gone: read what it left, whatever the clients' state, and close our ends.

        All that it wrote is in the pipe by now; a descendant that outlives it (of an exec) is not waited for.
        """
        for fd in list(self._outputs):
            reads = 0
            while fd in self._outputs and reads < _FINAL_READS and self._read_output(fd):
                reads += 1
            self._close_output(fd)
        self._close_stdin_fd()

    def finish_clients(self) -> None:
        for client in list(self.clients):
            client.finish()

    # --- what clients ask

    def write_stdin(self, client: Client, data: bytes) -> None:
        if self._stdin < 0 or self._stdin_closing or not self._open_stdin:
            return
        self._stdin_buffer += data
        self._flush_stdin()
        if self._stdin_buffer:
            self._watch_stdin(True)
        if len(self._stdin_buffer) >= _STDIN_HIGH_WATER_BYTES:
            for other in self.clients:
                other.pause_input(True)

    def close_stdin(self) -> None:
        """EOF for the process, after all that was written. A tty has no EOF of its own: nothing happens."""
        if self.tty:
            return
        self._stdin_closing = True
        if not self._stdin_buffer:
            self._close_stdin_fd()

    def client_ready(self) -> None:
        self._update_pause()

    def client_gone(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
        self._update_pause()
        if not self.clients and self.on_idle is not None:
            self.on_idle()

    # --- input

    def _on_stdin(self, events: int) -> None:
        if events & HANGUP:  # the process closed its stdin
            self._stdin_buffer = b""
            self._close_stdin_fd()
            self._resume_input()
        elif events & WRITE:
            self._flush_stdin()

    def _flush_stdin(self) -> None:
        try:
            while self._stdin_buffer:
                self._stdin_buffer = self._stdin_buffer[os.write(self._stdin, self._stdin_buffer) :]
        except BlockingIOError:
            return
        except OSError:
            self._stdin_buffer = b""
            if not self.tty:
                self._close_stdin_fd()
        self._watch_stdin(False)
        self._resume_input()
        if self._stdin_closing:
            self._close_stdin_fd()

    def _watch_stdin(self, writable: bool) -> None:
        if self.tty:
            self._loop.modify(self._stdin, (0 if self._paused else READ) | (WRITE if writable else 0))
        elif self._stdin >= 0:
            self._loop.modify(self._stdin, WRITE if writable else 0)

    def _resume_input(self) -> None:
        for client in self.clients:
            client.pause_input(False)

    def _close_stdin_fd(self) -> None:
        if self._stdin >= 0 and not self.tty:
            self._loop.remove(self._stdin)
            os.close(self._stdin)
            self._stdin = -1

    # --- output

    def _reader(self, fd: int) -> Callable[[int], None]:
        def on_event(events: int) -> None:
            if events & WRITE:
                self._flush_stdin()
            if events & (READ | HANGUP) and not self._paused:
                self._read_output(fd)

        return on_event

    def _read_output(self, fd: int) -> bool:
        """One chunk from `fd` to the log and the clients; False if there is none now or never again."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last holder of the tty is gone
            data = b""
        if not data:
            self._close_output(fd)
            return False
        stream = self._outputs[fd]
        if self._log is not None:
            self._log.write(stream, data)
            if self.on_log is not None:
                self.on_log()
        if self.clients:
            for client in list(self.clients):
                client.output(stream, data)
            self._update_pause()
        return True

    def _update_pause(self) -> None:
        paused = any(client.congested for client in self.clients)
        if paused == self._paused:
            return
        self._paused = paused
        for fd in self._outputs:
            # A paused end is taken out altogether: EPOLLHUP cannot be masked and would spin.
            if paused:
                self._loop.remove(fd)
            else:
                pending_input = fd == self._stdin and self._stdin_buffer
                self._loop.add(fd, READ | WRITE if pending_input else READ, self._reader(fd))

    def _close_output(self, fd: int) -> None:
        if self._outputs.pop(fd, None) is None:
            return
        if fd == self._stdin:
            self._stdin = -1
        self._loop.remove(fd)
        os.close(fd)
