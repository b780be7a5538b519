"""Follow the frames of a zstd stream without decoding them, to tell a stream that ended from one that was cut off.

zstandard's streaming reader takes the end of its input for the end of the data (RFC 8878, section 3, has the format).
"""

from __future__ import annotations

_DICTIONARY_ID_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE = 1


class ZstdFrames:
    """Feed it the compressed bytes as they come; `complete` says whether they end where a frame does."""

    def __init__(self) -> None:
        self._head = b""  # of the part at hand, until `_wanted` bytes are there
        self._wanted = 4
        self._part = "magic"
        self._skip = 0
        self._checksum = False

    @property
    def complete(self) -> bool:
        return self._part == "magic" and not self._head and not self._skip

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            step = min(self._wanted - len(self._head), len(data) - position)
            self._head += data[position : position + step]
            position += step
            if len(self._head) == self._wanted:
                head, self._head = self._head, b""
                self._next(head)

    def _next(self, head: bytes) -> None:
        if self._part == "magic":
            skippable = head[1:] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F
            self._expect("skippable", 4) if skippable else self._expect("descriptor", 1)
        elif self._part == "skippable":
            self._skip = int.from_bytes(head, "little")
            self._expect("magic", 4)
        elif self._part == "descriptor":
            single = head[0] >> 5 & 1
            self._checksum = bool(head[0] >> 2 & 1)
            size = _CONTENT_SIZE_BYTES[head[0] >> 6] or single
            self._skip = (1 - single) + _DICTIONARY_ID_BYTES[head[0] & 3] + size
            self._expect("block", 3)
        else:
            value = int.from_bytes(head, "little")
            self._skip = 1 if value >> 1 & 3 == _RLE else value >> 3
            if value & 1:
                self._skip += 4 if self._checksum else 0
                self._expect("magic", 4)

    def _expect(self, part: str, size: int) -> None:
        self._part, self._wanted = part, size
