"""`docker rmi` and `docker image prune`: untag or delete, by Docker's rules (moby, daemon/images/image_delete.go).

A name given removes that name, and the image with its last one. An id given removes the image if all its names are of one
repository. Running containers and child images stand in the way for good, names and stopped containers unless forced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sampan.errors import Conflict, NotFound
from sampan.images.filters import select_for_prune
from sampan.images.image import Image
from sampan.types.reference import Reference

if TYPE_CHECKING:
    from sampan.images.store import ImageStore

# image id → (container id, is running) of every container made from it
InUse = Callable[[str], Iterable[tuple[str, bool]]]


class Deletion:
    def __init__(self, store: ImageStore, in_use: InUse) -> None:
        self._store = store
        self._in_use = in_use
        self._records: list[dict[str, str]] = []

    def delete(self, name_or_id: str, *, force: bool, prune: bool) -> list[dict[str, str]]:
        image = self._store.get(name_or_id)
        if self._store.is_id(image, name_or_id):
            if _single_reference(image.references):
                self._check(image, force=force, names_matter=False)
                for reference in image.references:
                    self._untag(image, reference)
            self._remove(image, force=force, prune=prune, quiet=False)
            return self._records
        if not force and _single_reference(image.references):
            self._check_named(image, name_or_id)
        self._untag_named(image, Reference.parse(name_or_id).with_default_tag())
        if not image.names:
            self._remove(image, force=force, prune=prune, quiet=True)
        return self._records

    def _check_named(self, image: Image, name: str) -> None:
        for container_id, _ in self._in_use(image.id):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f"container {container_id[:12]} is using its referenced image {image.short_id}",
                hint=f"remove the container first (docker rm -f {container_id[:12]}), or use --force",
            )

    def _untag_named(self, image: Image, named: Reference) -> None:
        """Remove the name, and with a repository's last tag its digests."""
        wanted = named.with_digest(named.digest) if named.digest else named
        if wanted.canonical() not in image.names:
            raise NotFound(f"No such image: {named.familiar()}")
        self._untag(image, wanted)
        if wanted.digest:
            return
        same = [reference for reference in image.references if reference.repository == wanted.repository]
        if all(reference.digest for reference in same):
            for reference in same:
                self._untag(image, reference)

    def _untag(self, image: Image, reference: Reference) -> None:
        self._store.untag(reference.canonical())
        self._records.append({"Untagged": reference.familiar()})
        self._store.event("untag", image)

    def _check(self, image: Image, *, force: bool, names_matter: bool = True) -> None:
        """Raises Conflict if something forbids to delete the image."""
        text = f"conflict: unable to delete {image.short_id} "
        if self._store.children(image.id):
            raise Conflict(text + "(cannot be forced) - image has dependent child images")
        users = list(self._in_use(image.id))
        for container_id, running in users:
            if running:
                raise Conflict(
                    text + f"(cannot be forced) - image is being used by running container {container_id[:12]}"
                )
        if force:
            return
        if names_matter and image.names:
            raise Conflict(text + "(must be forced) - image is referenced in multiple repositories")
        for container_id, _ in users:
            raise Conflict(text + f"(must be forced) - image is being used by stopped container {container_id[:12]}")

    def _remove(self, image: Image, *, force: bool, prune: bool, quiet: bool) -> None:
        """Delete the image and, if `prune`, those ancestors that nothing else needs."""
        current: Image | None = image
        while current is not None:
            try:
                self._check(current, force=force)
            except Conflict:
                # its name is gone already, which is what was asked for; an ancestor in use simply stays
                if quiet:
                    return
                raise
            for reference in current.references:
                self._untag(current, reference)
            parent = current.parent
            layers = self._store.forget(current)
            self._store.event("delete", current)
            self._records.append({"Deleted": current.id})
            self._records.extend({"Deleted": layer} for layer in layers)
            current = self._store.find(parent) if prune and parent else None
            force, quiet = False, True

    def prune(self, filters: Mapping[str, Sequence[str]], *, dangling_only: bool) -> tuple[list[dict[str, str]], int]:
        freed = 0
        for image in select_for_prune(self._store.list(all_images=True), filters):
            if self._store.find(image.id) is None or any(True for _ in self._in_use(image.id)):
                continue
            if any(not reference.digest for reference in image.references) and dangling_only:
                continue
            if self._store.children(image.id):
                continue
            sizes = {chain_id: self._store.layers.info(chain_id).size_bytes for chain_id in map(str, image.chain_ids)}
            before = len(self._records)
            for reference in image.references:
                self._untag(image, reference)
            self._remove(image, force=False, prune=False, quiet=True)
            gone = {record.get("Deleted", "") for record in self._records[before:]}
            freed += sum(size for chain_id, size in sizes.items() if chain_id in gone)
        return self._records, freed


def _single_reference(references: list[Reference]) -> bool:
    """At most one tag, and all digests of its repository."""
    tags = [reference for reference in references if not reference.digest]
    repositories = {reference.repository for reference in references}
    return len(references) <= 1 or (len(tags) <= 1 and len(repositories) == 1)
