"""The `json-file` driver: Docker's on-disk format, one JSON object per line, for log shippers that read it.

`{"log":"text\\n","stream":"stdout","time":"2024-01-02T03:04:05.000000006Z"}`, with `"attrs":{…}` after `stream` when
labels, env or a tag were asked for. A line longer than 16 KiB, or one that the process has not ended yet when its stream
ends, becomes an entry without `\\n`. Invalid UTF-8 becomes U+FFFD, as Docker does.
"""

from __future__ import annotations

import json
import os
import time

from sampan.logs.local import rotate
from sampan.types.times import rfc3339

MAX_LINE_BYTES = 16 * 1024
DEFAULT_MAX_SIZE_BYTES = 100 * 1000 * 1000
"""Five times that of `local`: an entry takes about five times the bytes of a short line."""
_encode = json.JSONEncoder(ensure_ascii=False).encode
_NAMES = {1: "stdout", 2: "stderr"}
# Stands for a line's end while a whole chunk is encoded in one go; the encoder passes it through.
_END = "\ue000"
_OPENING = b'{"log":"'
_ESCAPED = bytes({*range(32), ord('"'), ord("\\"), 127} - {ord("\n")})
"""ASCII that JSON escapes, line ends apart; text without any is copied as it is."""


class JsonFileWriter:
    def __init__(
        self, path: str, *, max_size_bytes: int = -1, max_files: int = 1, attributes: dict[str, str] | None = None
    ) -> None:
        self._path = path
        self._max_size_bytes = max_size_bytes
        self._max_files = max(1, max_files)
        self._attributes = f',"attrs":{_encode(attributes)}' if attributes else ""
        self._partial = {1: b"", 2: b""}
        self.dropped_bytes = 0
        self._open()

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        size_bytes = os.fstat(self._fd).st_size
        if size_bytes and os.pread(self._fd, 1, size_bytes - 1) != b"\n":
            os.write(self._fd, b"\n")  # a crash cut the last entry short: keep it apart from what follows
            size_bytes += 1
        self._size_bytes = size_bytes

    def write(self, stream: int, data: bytes) -> None:
        held = self._partial[stream]
        if held:
            data = held + data
        end = data.rfind(b"\n") + 1
        lines, rest = data[:end], data[end:]
        pieces = []
        while len(rest) >= MAX_LINE_BYTES:
            pieces.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        self._partial[stream] = rest
        if lines:
            self._append(self._encode_lines(stream, lines))
        if pieces:
            self._append(self._encode_pieces(stream, pieces))

    def _tail(self, stream: int) -> str:
        return f',"stream":"{_NAMES[stream]}"{self._attributes},"time":"{rfc3339(time.time_ns())}"}}\n'

    def _encode_lines(self, stream: int, lines: bytes) -> bytes:
        """Whole lines, as many as a read brought: one pass for all, where none needs to be cut."""
        if _has_long_line(lines):
            return self._encode_pieces(
                stream, [piece for line in lines[:-1].split(b"\n") for piece in _pieces(line + b"\n")]
            )
        between = ('\\n"' + self._tail(stream) + '{"log":"').encode()
        if lines.isascii() and len(lines.translate(None, _ESCAPED)) == len(lines):
            return b'{"log":"' + lines.replace(b"\n", between)[: -len(_OPENING)]
        text = lines.decode("utf-8", "replace")
        if _END in text:
            return self._encode_pieces(stream, [line + b"\n" for line in lines[:-1].split(b"\n")])
        encoded: bytes = _encode(text.replace("\n", _END)).encode()
        # `"a<END>b<END>"` becomes `{"log":"a\n",…}` and so on; the opening of an entry that does not come is cut off
        return b'{"log":' + encoded[:-1].replace(_END.encode(), between)[: -len(_OPENING)]

    def _encode_pieces(self, stream: int, pieces: list[bytes]) -> bytes:
        tail = self._tail(stream)
        return "".join([f'{{"log":{_encode(piece.decode("utf-8", "replace"))}{tail}' for piece in pieces]).encode()

    def _append(self, payload: bytes) -> None:
        if 0 < self._max_size_bytes < self._size_bytes + len(payload) and self._size_bytes:
            self._rotate()
        try:
            written = os.write(self._fd, payload)
        except OSError:
            written = 0
        if written == len(payload):
            self._size_bytes += written
            return
        self.dropped_bytes += len(payload)
        if written:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)

    def _rotate(self) -> None:
        try:
            rotate(self._path, self._max_files)
            os.close(self._fd)
            self._open()
        except OSError:
            self._size_bytes = 0

    def close(self) -> None:
        """Write what the process left without a newline, then close."""
        for stream, rest in self._partial.items():
            if rest:
                self._append(self._encode_pieces(stream, [rest]))
        os.close(self._fd)


def _has_long_line(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > MAX_LINE_BYTES:
        end = lines.rfind(b"\n", start, start + MAX_LINE_BYTES)
        if end < 0:
            return True
        start = end + 1
    return False


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE_BYTES:
        return [line]
    return [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line), MAX_LINE_BYTES)]
