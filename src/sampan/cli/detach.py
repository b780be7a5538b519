"""Detach keys: "ctrl-p,ctrl-q" as bytes, and finding them in what is typed."""

from __future__ import annotations

from sampan.errors import InvalidArgument

DEFAULT_KEYS = "ctrl-p,ctrl-q"
_SPECIAL = "@[\\]^_"


def parse_keys(text: str) -> bytes:
    """Each part is one character, or `ctrl-` and one of a–z @ [ \\ ] ^ _. Raises InvalidArgument."""
    keys = bytearray()
    for part in text.split(","):
        if len(part) == 1 and ord(part) < 128:
            keys.append(ord(part))
        elif part.startswith("ctrl-") and len(part) == 6 and (part[5] in _SPECIAL or part[5].isalpha()):
            keys.append(ord(part[5].upper()) - 64)
        else:
            raise InvalidArgument(
                f"invalid detach keys ({text}): unknown character: {part!r}",
                hint="use something like ctrl-p,ctrl-q or ctrl-@",
            )
    return bytes(keys)


class DetachScanner:
    """Finds the key sequence in a stream of key presses; keys held back are passed on once they cannot belong to it."""

    __slots__ = ("_held", "_keys", "detached")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0
        self.detached = False

    def feed(self, data: bytes) -> bytes:
        """What is to be sent. After `detached` nothing more is."""
        if not self._keys:
            return data
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    self.detached = True
                    return bytes(out)
                continue
            out += self._keys[: self._held]
            self._held = 0
            if byte == self._keys[0]:
                self._held = 1
            else:
                out.append(byte)
        return bytes(out)
