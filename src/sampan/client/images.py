"""The endpoints under /images and /build, and registry credentials on the wire."""

from __future__ import annotations

from sampan.client import wire
from sampan.client.engine import Engine, quote_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sampan.client.transport import Response

    Filters = dict[str, list[str]]
    Names = list[str]
    Rows = list[dict[str, Any]]


def auth_header(credentials: dict[str, Any]) -> str:
    """The value of X-Registry-Auth and X-Registry-Config: URL-safe base64 of JSON."""
    import binascii

    encoded = binascii.b2a_base64(wire.dumps(credentials).encode(), newline=False)
    return encoded.translate(bytes.maketrans(b"+/", b"-_")).decode()


class Images:
    """Images are named by reference, digest, id or unique prefix of an id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, *, all: bool = False, digests: bool = False, filters: Filters | None = None) -> Rows:
        answer: Rows = self._engine.call(
            "GET", "/images/json", {"all": all, "digests": digests, "filters": filters or {}}
        )
        return answer

    def inspect(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", f"/images/{quote_path(name)}/json")
        return answer

    def history(self, name: str) -> Rows:
        answer: Rows = self._engine.call("GET", f"/images/{quote_path(name)}/history")
        return answer

    def tag(self, name: str, repository: str, tag: str) -> None:
        self._engine.call("POST", f"/images/{quote_path(name)}/tag", {"repo": repository, "tag": tag or None})

    def remove(self, name: str, *, force: bool = False, no_prune: bool = False) -> Rows:
        answer: Rows = self._engine.call("DELETE", f"/images/{quote_path(name)}", {"force": force, "noprune": no_prune})
        return answer

    def prune(self, filters: Filters) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", "/images/prune", {"filters": filters})
        return answer

    def pull(
        self, repository: str, tag: str, *, platform: str = "", credentials: dict[str, Any] | None = None
    ) -> Response:
        """A stream of JSON messages."""
        query = {"fromImage": repository, "tag": tag or None, "platform": platform or None}
        return self._engine.open(
            "POST", "/images/create", query, None, {"X-Registry-Auth": auth_header(credentials or {})}
        )

    def import_(self, source: str, body: Iterable[bytes] | None, **query: Any) -> Response:
        """A stream of JSON messages; `source` is "-" for `body`, or a URL."""
        return self._engine.open(
            "POST", "/images/create", {"fromSrc": source, **query}, body, {"Content-Type": "application/x-tar"}
        )

    def bootstrap(self, name: str) -> Response:
        """Make a base image of the distribution's own packages (Sampan's engine only): a stream of JSON messages."""
        return self._engine.open("POST", "/sampan/images/bootstrap", {"name": name}, versioned=False)

    def push(self, repository: str, tag: str, *, credentials: dict[str, Any] | None = None) -> Response:
        return self._engine.open(
            "POST",
            f"/images/{quote_path(repository)}/push",
            {"tag": tag or None},
            None,
            {"X-Registry-Auth": auth_header(credentials or {})},
        )

    def save(self, names: Names) -> Response:
        return self._engine.open("GET", "/images/get", {"names": names})

    def load(self, body: Iterable[bytes], *, quiet: bool) -> Response:
        return self._engine.open(
            "POST", "/images/load", {"quiet": "1" if quiet else "0"}, body, {"Content-Type": "application/x-tar"}
        )

    def search(self, term: str, limit: int, filters: Filters) -> Rows:
        query = {"term": term, "limit": limit if limit > 0 else None, "filters": filters}
        answer: Rows = self._engine.call("GET", "/images/search", query)
        return answer

    def build(self, context: Iterable[bytes] | None, credentials: dict[str, Any], **query: Any) -> Response:
        headers = {"Content-Type": "application/x-tar", "X-Registry-Config": auth_header(credentials)}
        return self._engine.open("POST", "/build", query, context, headers)

    def prune_cache(self, *, all: bool, filters: Filters, keep_storage_bytes: int = 0) -> dict[str, Any]:
        query: dict[str, Any] = {"all": all, "filters": filters, "keep-storage": keep_storage_bytes or None}
        answer: dict[str, Any] = self._engine.call("POST", "/build/prune", query)
        return answer
