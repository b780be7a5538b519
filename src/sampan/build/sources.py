"""The sources of one COPY or ADD, found in their tree: patterns, `--exclude`, `--parents`, Docker's error texts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from sampan.build.globs import expand, has_wildcard
from sampan.build.tree import Found, LayeredTree
from sampan.errors import InvalidArgument, NotFound
from sampan.spec.dockerfile.ignore import Ignore


class Source(NamedTuple):
    """A file or directory to copy. `name` is what it is called at the destination if that is a directory; `place` is the
    directory below the destination that `--parents` asks for, or empty."""

    name: str
    place: str
    found: Found


class Selection(NamedTuple):
    """All sources of one instruction from one tree."""

    tree: LayeredTree
    sources: list[Source]
    exclude: Ignore | None

    def entries(self) -> Iterator[tuple[str, Found]]:
        """Every file that will be copied, named in a way that no two different copies share."""
        for source in self.sources:
            top = posixpath.join(source.place, source.name)
            if not source.found.is_directory:
                yield top, source.found
                continue
            yield ("/" if not source.place else source.place), source.found
            for path, found in self.below(source):
                yield f"{top}//{path}", found

    def below(self, source: Source) -> Iterator[tuple[str, Found]]:
        """What is in a source directory, without what `--exclude` names."""
        return self._walk(source.found, "")

    def _walk(self, top: Found, prefix: str) -> Iterator[tuple[str, Found]]:
        for name, found in self.tree.children(top):
            path = f"{prefix}{name}"
            excluded = self.exclude is not None and self.exclude.matches(path)
            if not excluded:
                yield path, found
            if found.is_directory and not (excluded and self.exclude is not None and self.exclude.prunes(path)):
                yield from self._walk(found, path + "/")


def select(
    tree: LayeredTree, patterns: list[str], *, instruction: str, from_context: bool, parents: bool, exclude: list[str]
) -> Selection:
    """Find the sources.

    Raises:
        NotFound: `COPY failed: file not found in build context or excluded by .dockerignore: stat x: file does not exist`.
        InvalidArgument: a path that leaves the context, a malformed pattern, or nothing matched at all.
    """
    sources: list[Source] = []
    for pattern in patterns:
        pivot, clean = _clean(pattern, instruction, from_context, parents)
        if has_wildcard(clean):
            matches = expand(tree, clean)
        else:
            matches = [(clean, _literal(tree, clean, instruction, from_context))]
        for path, found in matches:
            # A link that is named itself is followed; links inside a directory are copied as links.
            target = tree.find("/" + path) if found.is_link else found
            place = _place(path, pivot, target.is_directory) if parents else ""
            sources.append(Source(posixpath.basename(path), place, target))
    if not sources:
        raise InvalidArgument(f"{instruction} failed: no source files were specified")
    ignore = Ignore(exclude) if exclude else None
    if ignore is not None:
        sources = [source for source in sources if source.found.is_directory or not ignore.matches(source.name)]
    return Selection(tree, sources, ignore)


def _clean(pattern: str, instruction: str, from_context: bool, parents: bool) -> tuple[str, str]:
    """The part ahead of a `/./` pivot (with `--parents`), and the pattern relative to the root without dots."""
    pivot = ""
    if parents and "/./" in pattern:
        pivot = posixpath.normpath(pattern.split("/./", 1)[0].lstrip("/"))
    clean = posixpath.normpath(pattern.lstrip("/") or ".")
    if clean == ".." or clean.startswith("../"):
        if from_context:
            raise InvalidArgument(f"{instruction} failed: forbidden path outside the build context: {pattern} ()")
        clean = posixpath.normpath("/" + clean).lstrip("/")
    return pivot, "" if clean == "." else clean


def _literal(tree: LayeredTree, path: str, instruction: str, from_context: bool) -> Found:
    try:
        return tree.find("/" + path)
    except NotFound as error:
        where = "file not found in build context or excluded by .dockerignore: " if from_context else ""
        raise NotFound(f"{instruction} failed: {where}{error.message}") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"{instruction} failed: {error.message}") from None


def _place(path: str, pivot: str, is_directory: bool) -> str:
    if pivot and (path == pivot or path.startswith(pivot + "/")):
        path = path[len(pivot) :].lstrip("/")
    return path if is_directory else posixpath.dirname(path)
