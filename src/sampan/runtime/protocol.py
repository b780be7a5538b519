"""Messages between sampand, the zygote, shims and rootfs workers: JSON plus descriptors on a SOCK_SEQPACKET socket.

A datagram is `kind | lane << 4 u8, json_length u32 LE, json, blob`. Kind 0 carries its payload inline. Kind 1 carries no payload;
its first descriptor is a memfd that holds `json_length u32, json, blob`: the way out when a config exceeds what one
datagram may hold (unix(7): SO_SNDBUF bounds it). `blob` is raw bytes, such as a compiled seccomp filter.

Conversations are requests `{"seq": n, "op": …}` that get exactly one answer `{"seq": n, …}` or
`{"seq": n, "error": {"kind", "message", "hint"}}`, and events `{"event": …}` that nobody answers. The kind of an error
names a class of `sampan.errors`; an unknown one is `Internal`.

Descriptors arrive close-on-exec and belong to the receiver.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from sampan import errors

_HEAD = struct.Struct("<BI")
_LENGTH = struct.Struct("<I")
_INLINE, _MEMFD = 0, 1
_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build one for each call
INLINE_LIMIT_BYTES = 60_000
_RECEIVE_BYTES = 65_536
LANE_SHIM, LANE_ROOTFS = 0, 1
_MAX_FDS = 250  # SCM_MAX_FD is 253


class Message(NamedTuple):
    body: dict[str, Any]
    blob: bytes
    fds: list[int]


class Raw(NamedTuple):
    """A datagram as it came: the zygote hands it to a child that parses it, and so keeps its own heap clean."""

    data: bytes
    fds: list[int]

    @property
    def lane(self) -> int:
        """What the sender of `encode` said: enough for the zygote to choose a child's code without parsing."""
        return lane_of(self.data)


def lane_of(beginning: bytes) -> int:
    """The lane of a datagram of which only the beginning is known, as by MSG_PEEK."""
    return beginning[0] >> 4


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def encode(body: dict[str, Any], blob: bytes = b"", lane: int = 0) -> tuple[bytes, int | None]:
    """The datagram for a message, and the memfd that must travel as its first descriptor (the caller closes it)."""
    text = _encode(body).encode()
    if len(text) + len(blob) <= INLINE_LIMIT_BYTES:
        return _HEAD.pack(_INLINE | lane << 4, len(text)) + text + blob, None
    memfd = os.memfd_create("sampan-message", os.MFD_CLOEXEC)
    for part in (_LENGTH.pack(len(text)), text, blob):
        view = memoryview(part)
        while view:
            view = view[os.write(memfd, view) :]
    return _HEAD.pack(_MEMFD | lane << 4, 0), memfd


def send(
    sock: socket.socket, body: dict[str, Any], *, blob: bytes = b"", fds: Sequence[int] = (), lane: int = 0
) -> None:
    """Send one message. Raises OSError as sendmsg(2) does; BlockingIOError if the socket is non-blocking and full."""
    data, memfd = encode(body, blob, lane)
    try:
        send_encoded(sock, data, ([] if memfd is None else [memfd]) + list(fds))
    finally:
        if memfd is not None:
            os.close(memfd)


def send_encoded(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    if len(fds) > _MAX_FDS:
        raise errors.InvalidArgument(f"too many descriptors in one message: {len(fds)}")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive_raw(sock: socket.socket) -> Raw | None:
    """The next datagram, None at the end of the conversation. Raises BlockingIOError if there is none yet."""
    try:
        data, ancillary, flags, _ = sock.recvmsg(
            _RECEIVE_BYTES, socket.CMSG_SPACE(_MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return None
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
    if not data:
        close_all(fds)
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(fds)
        raise errors.Internal("a message between the engine's processes was truncated")
    return Raw(data, fds)


def parse(raw: Raw) -> Message:
    """The message of a datagram. Malformed input raises `Internal` and closes its descriptors."""
    try:
        kind, length = _HEAD.unpack_from(raw.data)
        fds = list(raw.fds)
        if kind & 0xF == _MEMFD:
            payload = _read_memfd(fds.pop(0))
            (length,) = _LENGTH.unpack_from(payload)
            start = _LENGTH.size
        else:
            payload, start = raw.data, _HEAD.size
        if start + length > len(payload):
            raise ValueError("shorter than it says")
        body = json.loads(payload[start : start + length])
        if not isinstance(body, dict):
            raise ValueError("not an object")
        return Message(body, payload[start + length :], fds)
    except (ValueError, IndexError, struct.error, OSError) as error:
        close_all(raw.fds)
        raise errors.Internal(f"malformed message between the engine's processes: {error}") from error


def _read_memfd(fd: int) -> bytes:
    try:
        size_bytes = os.fstat(fd).st_size
        chunks = []
        offset = 0
        while offset < size_bytes and (chunk := os.pread(fd, size_bytes - offset, offset)):
            chunks.append(chunk)
            offset += len(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def receive(sock: socket.socket) -> Message | None:
    raw = receive_raw(sock)
    return None if raw is None else parse(raw)


def error_body(error: BaseException) -> dict[str, Any]:
    """An error as it travels. Errors outside the tree become `Internal`, with their type named."""
    if isinstance(error, errors.SampanError):
        kind = type(error)
        while getattr(errors, kind.__name__, None) is not kind:  # a room's own subclass: its nearest public ancestor
            kind = kind.__mro__[1]
        answer: dict[str, Any] = {"kind": kind.__name__, "message": error.message, "hint": error.hint}
        if error.exit_code != kind.exit_code:
            answer["exit_code"] = error.exit_code
        return answer
    if isinstance(error, OSError):
        return {"kind": "Internal", "message": errors.from_os_error(error).message, "hint": ""}
    return {"kind": "Internal", "message": f"{type(error).__name__}: {error}", "hint": ""}


def error_from(body: dict[str, Any]) -> errors.SampanError:
    kind = getattr(errors, str(body.get("kind")), errors.Internal)
    if not (isinstance(kind, type) and issubclass(kind, errors.SampanError)):
        kind = errors.Internal
    error = kind(str(body.get("message", "")), hint=str(body.get("hint", "")))
    if "exit_code" in body:
        error.exit_code = int(body["exit_code"])
    return error


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            pass  # closed already
