"""The endpoints under /volumes."""

from __future__ import annotations

from sampan.client.engine import Engine, quote_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Filters = dict[str, list[str]]
    Rows = list[dict[str, Any]]


class Volumes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, filters: Filters | None = None) -> Rows:
        return self._engine.call("GET", "/volumes", {"filters": filters or {}}).get("Volumes") or []

    def inspect(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", f"/volumes/{quote_path(name)}")
        return answer

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", "/volumes/create", None, body)
        return answer

    def remove(self, name: str, *, force: bool = False) -> None:
        self._engine.call("DELETE", f"/volumes/{quote_path(name)}", {"force": force})

    def prune(self, filters: Filters) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", "/volumes/prune", {"filters": filters})
        return answer
