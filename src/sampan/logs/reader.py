"""Reading a container's log back: since, until, tail, and on to what is written meanwhile.

A `LogReader` never waits. It reads to the present end and says so by returning None; whoever follows waits for the
shim's word (`Task.log_written`) and asks again. Blocking file reads: use it in a thread, or for short logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sampan.errors import NotSupported
from sampan.logs.decode import Decoder, JsonDecoder, Lines, LocalDecoder, json_tail_start, local_tail_start
from sampan.logs.files import FileSequence

_TAIL_START: dict[str, Callable[[str, int], tuple[str, int] | None]] = {
    "local": local_tail_start,
    "json-file": json_tail_start,
}


def _decoder(driver: str) -> Decoder:
    return LocalDecoder() if driver == "local" else JsonDecoder()


def readable(log: dict[str, Any] | None) -> bool:
    return bool(log) and log is not None and log.get("driver") in _TAIL_START


class LogReader:
    """Lines of the log of `{"driver", "path"}` from `since_ns` (included) to `until_ns` (included; 0 is no limit).

    `tail` keeps the last so many lines of what is there when the reader is made; negative keeps all. Raises
    `NotSupported` for a driver whose log cannot be read.
    """

    def __init__(self, log: dict[str, Any] | None, *, since_ns: int = 0, until_ns: int = 0, tail: int = -1) -> None:
        if not readable(log):
            raise NotSupported("configured logging driver does not support reading")
        assert log is not None
        self._path = str(log["path"])
        self._driver = str(log["driver"])
        self._since_ns = since_ns
        self._until_ns = until_ns
        self.past_until = False
        """A line after `until_ns` was seen: nothing more can be wanted."""
        start, self._skip = self._tail(tail)
        self._files = FileSequence(self._path, start=start)
        self._lines = _decoder(self._driver)

    def _tail(self, tail: int) -> tuple[tuple[str, int] | None, int]:
        """Where to start, and how many lines to pass over from there."""
        if tail < 0:
            return None, 0
        start = _TAIL_START[self._driver](self._path, tail)
        files = FileSequence(self._path, start=start)
        lines = _decoder(self._driver)
        total = 0
        while data := files.read():
            if files.switched:
                lines.reset()
            total += sum(len(batch.lines) for batch in lines.feed(data))
        total += sum(len(batch.lines) for batch in lines.finish())
        files.close()
        return start, max(0, total - tail)

    def read(self) -> list[Lines] | None:
        """The next lines (possibly none of a long stretch), or None at the present end."""
        data = self._files.read()
        if not data:
            return None
        if self._files.switched:
            self._lines.reset()
        return self._selected(self._lines.feed(data))

    def finish(self) -> list[Lines]:
        """Lines that never got their newline. Call when the container has ended and `read` gave None."""
        return self._selected(self._lines.finish())

    def _selected(self, batches: Iterator[Lines]) -> list[Lines]:
        selected = []
        for batch in batches:
            if self._skip:
                dropped = min(self._skip, len(batch.lines))
                self._skip -= dropped
                if dropped == len(batch.lines):
                    continue
                batch = batch._replace(lines=batch.lines[dropped:])
            if batch.time_ns < self._since_ns:
                continue
            if self._until_ns and batch.time_ns > self._until_ns:
                self.past_until = True
                break
            selected.append(batch)
        return selected

    def close(self) -> None:
        self._files.close()


def read_raw(log: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    """(stream, bytes) from the beginning to the present end, as the process wrote them: the replay for an attach."""
    if not readable(log):
        return
    files = FileSequence(str(log["path"]))
    decoder = _decoder(str(log["driver"]))
    try:
        while data := files.read(1 << 18):
            if files.switched:
                decoder.reset()
            for stream, _, payload in decoder.chunks(data):
                yield stream, payload
    finally:
        files.close()
