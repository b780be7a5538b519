"""Streams inside API answers: output frames and JSON messages.

A frame (Docker's `stdcopy`) is `[stream, 0, 0, 0, size: uint32 big endian]` and `size` bytes; stream 1 is stdout, 2 stderr
and 3 an error of the engine itself.
"""

from __future__ import annotations

from sampan.client import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
_HEADER_SIZE = 8


class FrameReader:
    """Splits a multiplexed stream, fed in pieces of any size; payloads are passed on without waiting for whole frames."""

    __slots__ = ("_header", "_left", "_stream")

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """(stream, payload) for as much as `data` completes."""
        position, end = 0, len(data)
        while position < end:
            if self._left == 0:
                take = min(_HEADER_SIZE - len(self._header), end - position)
                self._header += data[position : position + take]
                position += take
                if len(self._header) < _HEADER_SIZE:
                    return
                self._stream = self._header[0] or STDOUT
                self._left = int.from_bytes(self._header[4:8], "big")
                self._header = b""
                continue
            take = min(self._left, end - position)
            payload = data[position : position + take]
            position += take
            self._left -= take
            yield self._stream, payload


def frames(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(stream, payload) of a whole multiplexed body."""
    reader = FrameReader()
    for piece in pieces:
        yield from reader.feed(piece)


def json_messages(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a progress stream, each as soon as it is complete; separated by nothing, LF or CRLF."""
    pending = b""
    for piece in pieces:
        pending += piece
        # Engines end every message with a newline; splitting there keeps half a UTF-8 character out of the scanner.
        if b"\n" not in piece and not pending.endswith(b"}"):
            continue
        whole, mark, pending = pending.rpartition(b"\n") if not pending.endswith(b"}") else (pending, b"", b"")
        try:
            yield from _documents(whole.decode("utf-8", "replace"))
        except ValueError:
            pending = whole + mark + pending
    if pending.strip():
        yield from _documents(pending.decode("utf-8", "replace"))


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """All documents of `text`, or ValueError before the first of them is given out."""
    found: list[dict[str, Any]] = []
    position, end = 0, len(text)
    while position < end:
        if text[position] in " \t\r\n":
            position += 1
            continue
        value, position = wire.scan(text, position)
        found.append(value)
    yield from found
