"""One attached client of a process: its connection, its share of the output, its input.

The connection's descriptor came over SCM_RIGHTS from sampand and is ours alone; bytes never cross sampand again, so the
client lives on when sampand dies.

Guarantees:
- Output is delivered in order, framed as Docker's multiplexed stream (`stream u8, 0 0 0, length u32 BE`) if asked.
- At most `HIGH_WATER_BYTES` plus one chunk are buffered; `congested` tells the process to stop reading meanwhile.
- With `backlog`, records of the log come first and the live stream follows without loss or duplicates: live output is
  dropped while the backlog runs, since every byte of it is in the log that the backlog reads to its end.
- On `finish()` the buffer is flushed, then our side is shut down; unread input is discarded before the close, because
  closing over it would turn the client's EOF into ECONNRESET.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from sampan.runtime.shim.loop import HANGUP, READ, WRITE, Loop

STDIN, STDOUT, STDERR = 0, 1, 2
HIGH_WATER_BYTES = 256 * 1024
CHUNK_BYTES = 65_536
_LINGER_S = 2.0
_DEFAULT_DETACH_KEYS = b"\x10\x11"  # ctrl-p ctrl-q
_frame_header = struct.Struct(">BxxxI").pack


class Owner(Protocol):
    """What a client asks of the process that it is attached to."""

    tty: bool
    stdin_once: bool

    def write_stdin(self, client: Client, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def client_ready(self) -> None: ...
    def client_gone(self, client: Client) -> None: ...


class ClientOptions(NamedTuple):
    """What a client asked for; travels as JSON next to its descriptor."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = b""
    preload: bytes = b""
    logs: bool = False
    detach_notice: bytes = b""

    @staticmethod
    def from_json(body: dict[str, Any]) -> ClientOptions:
        return ClientOptions(
            stdin=bool(body.get("stdin")),
            stdout=bool(body.get("stdout")),
            stderr=bool(body.get("stderr")),
            framed=bool(body.get("framed")),
            detach_keys=bytes.fromhex(body.get("detach_keys", "")),
            preload=bytes.fromhex(body.get("preload", "")),
            logs=bool(body.get("logs")),
            detach_notice=str(body.get("detach_notice", "")).encode(),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "framed": self.framed,
            "detach_keys": self.detach_keys.hex(),
            "preload": self.preload.hex(),
            "logs": self.logs,
            "detach_notice": self.detach_notice.decode(),
        }


def frame(stream: int, data: bytes) -> bytes:
    """One frame of Docker's multiplexed stream."""
    return _frame_header(stream, len(data)) + data


class EscapeFilter:
    """Finds the detach sequence in a client's input. Bytes of a sequence that is not completed pass on, in order.

    As Docker's (moby/term, escapeProxy) it does not look whether the byte that breaks a sequence begins another: the docker
    CLI looks for the same keys, and would wait for ever if the two did not agree.
    """

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What passes on, and whether the sequence is complete (then the rest of `data` is dropped)."""
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    return bytes(passed), True
                continue
            passed += self._keys[: self._held]
            passed.append(byte)
            self._held = 0
        return bytes(passed), False


class Client:
    def __init__(
        self, loop: Loop, owner: Owner, fd: int, options: ClientOptions, backlog: Iterator[tuple[int, bytes]] | None
    ) -> None:
        self._loop = loop
        self._owner = owner
        self._options = options
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self._buffer: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._backlog = backlog
        self._input_open = True
        self._input_paused = False
        self._finishing = False
        self._lingering = False
        self._closed = False
        keys = options.detach_keys or _DEFAULT_DETACH_KEYS
        self._escape = EscapeFilter(keys) if owner.tty and options.stdin else None
        loop.add(self._sock.fileno(), READ, self._on_event)

    def start(self) -> None:
        """Deliver what was read from the client already, and begin with the backlog. Call once, when listed."""
        if self._options.preload:
            self._received(self._options.preload)
        if self._backlog is not None and not self._closed:
            self._flush()

    @property
    def congested(self) -> bool:
        """The process should not be read on: this client is behind."""
        return self._buffered_bytes >= HIGH_WATER_BYTES and self._backlog is None and not self._closed

    def output(self, stream: int, data: bytes) -> None:
        if self._backlog is not None or self._finishing:
            return
        self._enqueue(stream, data)

    def finish(self) -> None:
        """No more output will come: flush, shut down, close."""
        if not self._finishing:
            self._finishing = True
            self._flush()

    def pause_input(self, paused: bool) -> None:
        self._input_paused = paused
        self._update_events()

    def close(self) -> None:
        """Drop the connection at once, without a flush."""
        if self._closed:
            return
        self._closed = True
        self._buffer.clear()
        self._buffered_bytes = 0
        self._backlog = None
        self._loop.remove(self._sock.fileno())
        self._sock.close()
        self._owner.client_gone(self)

    def _enqueue(self, stream: int, data: bytes) -> None:
        wanted = self._options.stdout if stream == STDOUT else self._options.stderr
        if self._closed or not (wanted or (self._owner.tty and self._options.stdout)):
            return
        parts = [_frame_header(stream, len(data)), data] if self._options.framed else [data]
        if self._buffer:
            self._append(parts)
            return
        try:
            sent = self._sock.sendmsg(parts, (), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < sum(map(len, parts)):
            self._append([b"".join(parts)[sent:]])
            self._update_events()

    def _append(self, parts: list[bytes]) -> None:
        self._buffer.extend(parts)
        self._buffered_bytes += sum(map(len, parts))

    def _update_events(self) -> None:
        if self._closed:
            return
        events = 0
        if self._input_open and not self._input_paused:
            events |= READ
        if self._buffer or self._backlog is not None:
            events |= WRITE
        self._loop.modify(self._sock.fileno(), events)

    def _on_event(self, events: int) -> None:
        if events & WRITE and not self._closed:
            self._flush()
        if events & READ and self._input_open and not self._input_paused and not self._closed:
            self._read()
        if events & HANGUP and not events & READ and not self._closed:
            self.close()

    def _flush(self) -> None:
        was_congested = self.congested
        self._send_buffered()
        while self._backlog is not None and not self._buffer and not self._closed:
            record = next(self._backlog, None)
            if record is None:
                self._backlog = None
            else:
                self._enqueue(*record)
        if self._closed:
            return
        self._update_events()
        if was_congested and not self.congested:
            self._owner.client_ready()
        if self._finishing and not self._buffer and self._backlog is None:
            self._linger()

    def _send_buffered(self) -> None:
        while self._buffer:
            data = self._buffer[0]
            try:
                sent = self._sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._buffered_bytes -= sent
            if sent < len(data):
                self._buffer[0] = data[sent:]
                return
            self._buffer.popleft()

    def _linger(self) -> None:
        """Shut down our side; close as soon as the client's input has ended or is empty."""
        if self._lingering:
            return
        self._lingering = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._discard_input()
        if not self._closed:
            if self._sock.family == socket.AF_UNIX:
                self.close()  # a unix peer keeps what it was sent; only TCP would lose it to a reset
            else:
                self._loop.call_later(_LINGER_S, self.close)

    def _discard_input(self) -> None:
        try:
            while self._sock.recv(CHUNK_BYTES):
                pass
            self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _read(self) -> None:
        if self._lingering:
            self._discard_input()
            return
        try:
            data = self._sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if data:
            self._received(data)
        else:
            self._input_ended()

    def _received(self, data: bytes) -> None:
        if not self._options.stdin or self._finishing:
            return
        if self._escape is None:
            self._owner.write_stdin(self, data)
            return
        passed, detached = self._escape.feed(data)
        if passed:
            self._owner.write_stdin(self, passed)
        if detached:
            if self._options.detach_notice:
                self._enqueue(STDOUT, self._options.detach_notice)
            self._backlog = None
            self.finish()

    def _input_ended(self) -> None:
        """Half-close. As in Docker: it closes a stdin that is meant for one client, and otherwise ends the attach."""
        self._input_open = False
        self._update_events()
        if not self._options.stdin:
            return
        if self._owner.stdin_once and not self._owner.tty:
            self._owner.close_stdin()
        else:
            self.finish()


def discard(fd: int) -> None:
    """Close a client's connection that was never attached: the start failed."""
    try:
        with socket.socket(fileno=fd) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass
