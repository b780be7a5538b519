"""Content digests, `algorithm:hex`, as in the OCI image specification (descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re

from sampan.errors import InvalidArgument

_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX = re.compile(r"[0-9a-f]+")


class Digest(str):
    """A digest that is known to be well-formed: a supported algorithm and as many lower-case hex digits as it has.

    It is a `str`, so it can be a key, a JSON value or part of a path as it is; `hex` never contains a separator.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Check `text`.

        Raises:
            InvalidArgument: not a digest, or of an algorithm that nobody registered.
        """
        if isinstance(text, Digest):
            return text
        algorithm, colon, digits = text.partition(":")
        if not colon:
            raise InvalidArgument(f"invalid checksum digest format: {text[:200]!r}")
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            raise InvalidArgument(f"unsupported digest algorithm: {text[:200]!r}")
        if len(digits) != length:
            raise InvalidArgument(f"invalid checksum digest length: {text[:200]!r}")
        if not _HEX.fullmatch(digits):
            raise InvalidArgument(f"invalid checksum digest format: {text[:200]!r}")
        return cls(text)

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    def matches(self, content: bytes) -> bool:
        """Whether `content` has this digest."""
        return hashlib.new(self.algorithm, content).hexdigest() == self.hex


def sha256_of(content: bytes | bytearray | memoryview) -> Digest:
    """The sha256 digest of `content`."""
    return Digest("sha256:" + hashlib.sha256(content).hexdigest())


def chain_id(parent: str | None, diff_id: str) -> Digest:
    """The name of the stack of layers that ends with `diff_id` on top of `parent` (None: it is the lowest one).

    OCI image specification, config.md, "Layer ChainID".
    """
    if parent is None:
        return Digest.parse(diff_id)
    return sha256_of(f"{parent} {diff_id}".encode())


def chain_ids(diff_ids: list[str]) -> list[Digest]:
    """The chain id of every prefix of `diff_ids`, lowest first."""
    result: list[Digest] = []
    for diff_id in diff_ids:
        result.append(chain_id(result[-1] if result else None, diff_id))
    return result
