"""Image references as the command line needs them: splitting, and the registry that credentials are kept under."""

from __future__ import annotations

DOCKER_HUB = "docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"


def split_tag(reference: str) -> tuple[str, str]:
    """("registry:5000/name", "tag"); a digest counts as the tag; "" if there is neither."""
    name, mark, digest = reference.partition("@")
    if mark:
        return name, digest
    head, slash, last = reference.rpartition("/")
    last, _, tag = last.partition(":")
    return head + slash + last, tag


def registry_of(reference: str) -> str:
    """The registry's host, "docker.io" if the reference names none."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return DOCKER_HUB if first in ("index.docker.io", "registry-1.docker.io") else first
    return DOCKER_HUB
