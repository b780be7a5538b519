"""The build context: a client's tar, unpacked where only this build sees it; `.dockerignore` applied; the Dockerfile found.

Blocking; runs in worker threads.
"""

from __future__ import annotations

import os
import posixpath
import shutil

from sampan.build.tree import LayeredTree
from sampan.content.compression import open_decompressed
from sampan.errors import Internal, InvalidArgument, SampanError
from sampan.spec.dockerfile import ignore
from sampan.tar.extract import extract_tree
from sampan.tar.reader import Readable

_DOCKERFILE_BYTES = 4 << 20
_IGNORE_BYTES = 1 << 20


def unpack_context(stream: Readable, directory: str) -> None:
    """Unpack the tar `stream` (plain, gzip, bzip2, xz or zstd) into the empty `directory`. Everything belongs to root, as
    COPY makes it.

    Raises:
        TarError, DecompressionError: malformed or hostile.
    """
    dirfd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        extract_tree(open_decompressed(stream), dirfd, chown=(0, 0))
    finally:
        os.close(dirfd)


def read_dockerfile(directory: str, name: str) -> bytes:
    """The Dockerfile of a context.

    Raises:
        Internal: `Cannot locate specified Dockerfile: x`; or the name leaves the context (Docker answers 500 to both).
        InvalidArgument: it is empty.
    """
    path = name or "Dockerfile"
    clean = posixpath.normpath(path.lstrip("/"))
    if clean == ".." or clean.startswith("../"):
        raise Internal(f"forbidden path outside the build context: {path} ()")
    tree = LayeredTree([directory])
    content = _read(tree, clean, _DOCKERFILE_BYTES)
    if content is None and path == "Dockerfile":
        content = _read(tree, "dockerfile", _DOCKERFILE_BYTES)
    if content is None:
        raise Internal(f"Cannot locate specified Dockerfile: {path}")
    return require_content(content, path)


def require_content(content: bytes, name: str) -> bytes:
    """Raises `InvalidArgument` for an empty Dockerfile."""
    if not content.strip():
        raise InvalidArgument(f"the Dockerfile ({name}) cannot be empty")
    return content


def _read(tree: LayeredTree, path: str, limit_bytes: int) -> bytes | None:
    try:
        return tree.read(path, limit_bytes)
    except SampanError:
        return None


def apply_ignore(directory: str, dockerfile: str) -> None:
    """Remove from a context what its `.dockerignore` (or `<Dockerfile>.dockerignore`, which wins) leaves out.

    Clients do this before they send; for those that do not, and for contexts that come from elsewhere, we do it too.
    Raises `InvalidArgument` for a malformed pattern.
    """
    tree = LayeredTree([directory])
    text = _read(tree, f"{posixpath.normpath(dockerfile or 'Dockerfile')}.dockerignore", _IGNORE_BYTES)
    if text is None:
        text = _read(tree, ".dockerignore", _IGNORE_BYTES)
    if not text:
        return
    rules = ignore.parse(text.decode("utf-8", "surrogateescape"))
    if rules.patterns:
        _remove_ignored(rules, directory, "")


def _remove_ignored(rules: ignore.Ignore, directory: str, prefix: str) -> bool:
    """Remove what is ignored below `directory`; gives whether nothing is left in it."""
    left = 0
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        path = prefix + entry.name
        ignored = rules.matches(path)
        is_directory = entry.is_dir(follow_symlinks=False)
        if is_directory and not (ignored and not rules.has_exceptions):
            emptied = _remove_ignored(rules, entry.path, path + "/")
            if ignored and emptied:
                os.rmdir(entry.path)
                continue
        elif ignored:
            shutil.rmtree(entry.path) if is_directory else os.unlink(entry.path)
            continue
        left += 1
    return not left
