"""Cache keys: one digest of all that determines a step's result, and of nothing else.

A key is made of the step's own statement and the keys of the nodes it reads, down to the content of base layers and of
copied files. Times, names of stages, resource limits, proxies and arguments that the step does not see are not in it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from sampan.build.nodes import Base, Copy, Directory, Mount, Run

_VERSION = 1
"""Raise it when a step's result changes although its statement does not."""
_encode = msgspec.json.Encoder().encode


def digest_of(*parts: Any) -> str:
    """A digest of JSON values; different values give different digests."""
    return hashlib.sha256(_encode([_VERSION, *parts])).hexdigest()


def base_key(node: Base) -> str:
    return digest_of("base", node.layers[-1].chain_id if node.layers else "")


def directory_key(node: Directory, parent: str) -> str:
    return digest_of("directory", parent, node.path)


def run_key(node: Run, parent: str, mounts: list[str]) -> str:
    return digest_of(
        "run",
        parent,
        [_bytes_safe(text) for text in node.arguments],
        [_bytes_safe(text) for text in node.environment],
        *(node.directory, node.user, node.network, list(node.extra_hosts), node.insecure, mounts),
        *([list(node.volumes)] if node.volumes else []),
    )


def mount_key(mount: Mount, source: str) -> str:
    """`source` stands for what a bind shows: a node's key or a digest of the files; empty for other kinds."""
    return digest_of(
        "mount",
        *(mount.kind, mount.target, source, mount.path, mount.read_only, mount.identity, mount.variable),
        *(mount.mode, mount.uid, mount.gid, mount.size_bytes, mount.required),
    )


def copy_key(node: Copy, parent: str, content: str) -> str:
    """`content` stands for all that is copied: files with their names, inline files, downloads."""
    return digest_of(
        "copy",
        *(parent, content, _bytes_safe(node.destination), node.chown, node.chmod, node.parents),
        *(node.unpack is None, bool(node.unpack), node.keeps_owner),
    )


def copy_alias(node: Copy, parent: str, source: str) -> str:
    """A COPY by what it is to copy from which node, known before that node has been worked on."""
    return digest_of("copy from", copy_key(node, parent, ""), source, list(node.patterns), list(node.exclude))


def _bytes_safe(text: str) -> str:
    """JSON has no lone surrogates, which stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").hex() if not text.isascii() else text
