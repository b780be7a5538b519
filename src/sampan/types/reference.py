"""Names of images: `[domain[:port]/]path[:tag][@digest]`, in the short form that people type and in the full form.

The grammar and the rules for short names are those of https://github.com/distribution/reference (regexp.go, normalize.go):
what has no domain is on docker.io, and a single path component there is below `library/`. The first component is a domain
if it contains a dot, a colon or an upper-case letter, or is `localhost`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sampan.errors import InvalidArgument
from sampan.types.digest import Digest

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL_PREFIX = "library/"
_MAX_NAME_LENGTH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG}))?(?:@({_DIGEST}))?")
_TAG_ALONE = re.compile(_TAG)
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")


class Reference(NamedTuple):
    """A parsed name. `path` is the repository below `domain`; at most one of `tag` and `digest` is usually there."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse what a user typed.

        Raises:
            InvalidArgument: in Docker's words: `invalid reference format`, with the reason where there is one.
        """
        if _IDENTIFIER.fullmatch(text):
            raise InvalidArgument(
                f"invalid reference format: invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        domain, remainder = _split_domain(text)
        repository = remainder.partition(":")[0]
        if repository.lower() != repository:
            shown = repository.partition("@")[0]
            raise InvalidArgument(f"invalid reference format: repository name ({shown}) must be lowercase")
        match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
        if match is None:
            raise InvalidArgument("invalid reference format")
        domain, path, tag, digest = match.groups()
        if len(path) > _MAX_NAME_LENGTH:
            raise InvalidArgument(
                f"invalid reference format: repository name must not be more than {_MAX_NAME_LENGTH} characters"
            )
        return cls(domain, path, tag, Digest.parse(digest) if digest else None)

    @property
    def repository(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def repository_familiar(self) -> str:
        """The shortest name of the repository: `busybox`, `user/app`, `localhost:5000/app`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        rest = self.path.removeprefix(_OFFICIAL_PREFIX)
        shortest = rest if "/" not in rest else self.path
        # `docker.io/a.b/c` has no shorter name: `a.b` alone would be taken for a domain
        return shortest if _split_domain(shortest) == (self.domain, self.path) else self.repository

    def familiar(self) -> str:
        """The short form, `busybox:latest`; exactly the tag and digest that are there."""
        return self.repository_familiar + self._suffix()

    def canonical(self) -> str:
        """The full form, `docker.io/library/busybox:latest`; exactly the tag and digest that are there."""
        return self.repository + self._suffix()

    def __str__(self) -> str:
        return self.canonical()

    def with_default_tag(self) -> Reference:
        """`:latest` is added if there is neither tag nor digest."""
        return self if self.tag or self.digest else self._replace(tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same repository at `tag`, without a digest.

        Raises:
            InvalidArgument: `invalid tag format`.
        """
        if not _TAG_ALONE.fullmatch(tag):
            raise InvalidArgument("invalid tag format")
        return self._replace(tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The same repository at `digest`, without a tag."""
        return self._replace(tag=None, digest=Digest.parse(digest))

    def without_tag(self) -> Reference:
        """The repository alone."""
        return self._replace(tag=None, digest=None)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_domain(text: str) -> tuple[str, str]:
    """Tell the domain from the rest by the rules for short names."""
    first, slash, rest = text.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        first, rest = DEFAULT_DOMAIN, text
    if first == _LEGACY_DOMAIN:
        first = DEFAULT_DOMAIN
    if first == DEFAULT_DOMAIN and "/" not in rest:
        rest = _OFFICIAL_PREFIX + rest
    return first, rest
