"""From the bytes of a log's files to lines, for each format; and where the last N lines begin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from sampan.logs.files import paths
from sampan.logs.local import HEADER, MAX_PAYLOAD_BYTES, OVERHEAD_BYTES, previous_record
from sampan.types.times import parse_rfc3339_ns

MAX_LINE_BYTES = 16 * 1024
_BLOCK_BYTES = 1 << 18
_STREAMS = {"stdout": 1, "stderr": 2}
_OPENING = b'{"log":"'
_TAIL = b'\\n","stream":"'
_WORTH_IT = 8
_PARSED_TOGETHER = 64


class Lines(NamedTuple):
    """Lines of one stream that were written at one time. Each ends in a newline, but for a cut or unfinished one."""

    stream: int
    time_ns: int
    lines: list[bytes]
    attributes: dict[str, str] | None = None


class Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[Lines]: ...
    def chunks(self, data: bytes) -> Iterator[tuple[int, int, bytes]]: ...
    def reset(self) -> None: ...
    def finish(self) -> Iterator[Lines]: ...


class LocalDecoder:
    """Chunks become lines: an unfinished line waits for its rest (or for 16 KiB, or the end), with its first time."""

    def __init__(self) -> None:
        self._rest = b""
        self._held: dict[int, tuple[int, bytes]] = {}

    def reset(self) -> None:
        self._rest = b""

    def chunks(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """(stream, time_ns, payload) of the whole records; what is left waits for more."""
        if self._rest:
            data = self._rest + data
        offset, end = 0, len(data)
        unpack = HEADER.unpack_from
        size = HEADER.size
        while end - offset >= OVERHEAD_BYTES:
            stream, time_ns, length_bytes = unpack(data, offset)
            if stream not in (1, 2) or length_bytes > MAX_PAYLOAD_BYTES:
                offset = end  # not a record: nothing more can be known of this file
                break
            following = offset + OVERHEAD_BYTES + length_bytes
            if following > end:
                break
            yield stream, time_ns, data[offset + size : offset + size + length_bytes]
            offset = following
        self._rest = data[offset:]

    def feed(self, data: bytes) -> Iterator[Lines]:
        for stream, time_ns, payload in self.chunks(data):
            yield from self._split(stream, time_ns, payload)

    def _split(self, stream: int, time_ns: int, payload: bytes) -> Iterator[Lines]:
        if stream in self._held:
            held_ns, held = self._held.pop(stream)
            head, newline, payload = payload.partition(b"\n")
            line = held + head + newline
            if not newline:
                yield from self._hold(stream, held_ns, line)
                return
            yield Lines(stream, held_ns, cut(line))
        lines = payload.splitlines(True) if b"\r" not in payload else _split_newlines(payload)
        if lines and not lines[-1].endswith(b"\n"):
            rest = lines.pop()
        else:
            rest = b""
        if lines:
            if len(payload) > MAX_LINE_BYTES and max(map(len, lines)) > MAX_LINE_BYTES:
                lines = [piece for line in lines for piece in cut(line)]
            yield Lines(stream, time_ns, lines)
        if rest:
            yield from self._hold(stream, time_ns, rest)

    def _hold(self, stream: int, time_ns: int, rest: bytes) -> Iterator[Lines]:
        if len(rest) >= MAX_LINE_BYTES:
            whole = len(rest) - len(rest) % MAX_LINE_BYTES
            yield Lines(stream, time_ns, cut(rest[:whole]))
            rest = rest[whole:]
        if rest:
            self._held[stream] = (time_ns, rest)

    def finish(self) -> Iterator[Lines]:
        for stream, (time_ns, rest) in self._held.items():
            yield Lines(stream, time_ns, [rest])
        self._held.clear()


def _split_newlines(payload: bytes) -> list[bytes]:
    lines = payload.split(b"\n")
    rest = lines.pop()
    whole = [line + b"\n" for line in lines]
    if rest:
        whole.append(rest)
    return whole


def cut(line: bytes) -> list[bytes]:
    """A line in pieces of at most 16 KiB, as Docker stores it."""
    if len(line) <= MAX_LINE_BYTES:
        return [line]
    return [line[start : start + MAX_LINE_BYTES] for start in range(0, len(line), MAX_LINE_BYTES)]


class JsonDecoder:
    """Docker's json-file. A line that does not parse (torn by a crash) is skipped."""

    def __init__(self) -> None:
        self._rest = b""

    def reset(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Lines]:
        entries = (self._rest + data).split(b"\n")
        self._rest = entries.pop()
        start = 0
        while start < len(entries):
            alike, batch = _plain_run(entries, start)
            if batch is not None:
                yield batch
                start += alike
            else:
                stop = start + max(alike, _PARSED_TOGETHER)
                yield from self._parsed(entries[start:stop])
                start = stop

    def _parsed(self, entries: list[bytes]) -> Iterator[Lines]:
        key: tuple[str, str, dict[str, str] | None] | None = None
        lines: list[bytes] = []
        for entry in _parse_entries(entries):
            try:
                text, found = entry["log"].encode(), (entry["stream"], entry["time"], entry.get("attrs"))
            except (KeyError, TypeError, AttributeError):
                continue
            if found != key and key is not None:  # the writer stamps all lines of one read alike
                yield from self._batch(key, lines)
                lines = []
            key = found
            lines.append(text)
        if key is not None:
            yield from self._batch(key, lines)

    def _batch(self, key: tuple[str, str, dict[str, str] | None], lines: list[bytes]) -> Iterator[Lines]:
        stream, text, attributes = key
        try:
            yield Lines(_STREAMS[stream], parse_rfc3339_ns(text), lines, attributes)
        except (KeyError, ValueError, TypeError, AttributeError):
            return

    def chunks(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        for lines in self.feed(data):
            yield lines.stream, lines.time_ns, b"".join(lines.lines)

    def finish(self) -> Iterator[Lines]:
        return iter(())


def _plain_run(entries: list[bytes], start: int) -> tuple[int, Lines | None]:
    """How many entries from `start` on end alike (our writer stamps all lines of one read alike), and their lines if
    nothing in them needs unescaping: most output is such text, and JSON would be the cost of reading it."""
    first = entries[start]
    tail = first[first.rfind(_TAIL) :]
    if not tail.startswith(_TAIL) or b"attrs" in tail:
        return 1, None
    stop = start + 1
    while stop < len(entries) and entries[stop].endswith(tail):
        stop += 1
    run = entries[start:stop]
    cut_off, opening = len(tail), len(_OPENING)
    lines = [entry[opening:-cut_off] for entry in run]
    if len(run) < _WORTH_IT or b"\\" in b"".join(lines) or not all(entry.startswith(_OPENING) for entry in run):
        return len(run), None
    try:
        stamp = json.loads(b'{"log":"' + tail)
        found = Lines(_STREAMS[stamp["stream"]], parse_rfc3339_ns(stamp["time"]), [line + b"\n" for line in lines])
    except (KeyError, ValueError, TypeError, AttributeError):
        return len(run), None
    return len(run), found


def _parse_entries(entries: list[bytes]) -> list[Any]:
    """The JSON value of each entry; one parse for all of them, unless one is broken."""
    try:
        found: list[Any] = json.loads(b"[" + b",".join(filter(None, entries)) + b"]")
        return found
    except ValueError:
        pass
    found = []
    for entry in entries:
        try:
            found.append(json.loads(entry))
        except ValueError:
            continue
    return found


def local_tail_start(path: str, lines: int) -> tuple[str, int] | None:
    """A record from which on there are at least `lines` whole lines; None: the beginning."""
    wanted = lines + 2  # the first line of either stream may have begun before that record
    for name in reversed(paths(path)):
        with open(name, "rb", buffering=0) as file:
            fd = file.fileno()
            end = os.fstat(fd).st_size
            while end and (start := previous_record(fd, end)) is not None:
                wanted -= os.pread(fd, end - start, start)[HEADER.size : -4].count(b"\n")
                end = start
                if wanted <= 0:
                    return name, start
    return None


def json_tail_start(path: str, lines: int) -> tuple[str, int] | None:
    """The offset at which the last `lines` entries begin; None: the beginning."""
    wanted = lines + 1  # newlines to pass: each entry ends in one
    for name in reversed(paths(path)):
        with open(name, "rb", buffering=0) as file:
            fd = file.fileno()
            end = os.fstat(fd).st_size
            while end > 0:
                start = max(0, end - _BLOCK_BYTES)
                block = os.pread(fd, end - start, start)
                found = block.count(b"\n")
                if found >= wanted:
                    position = len(block)
                    for _ in range(wanted):
                        position = block.rfind(b"\n", 0, position)
                    return name, start + position + 1
                wanted -= found
                end = start
    return None
