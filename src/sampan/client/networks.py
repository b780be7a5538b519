"""The endpoints under /networks."""

from __future__ import annotations

from sampan.client.engine import Engine, quote_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Filters = dict[str, list[str]]
    Rows = list[dict[str, Any]]


class Networks:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, filters: Filters | None = None) -> Rows:
        answer: Rows = self._engine.call("GET", "/networks", {"filters": filters or {}})
        return answer

    def inspect(self, name: str, *, verbose: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", f"/networks/{quote_path(name)}", {"verbose": verbose})
        return answer

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"Id", "Warning"}."""
        answer: dict[str, Any] = self._engine.call("POST", "/networks/create", None, body)
        return answer

    def remove(self, name: str) -> None:
        self._engine.call("DELETE", f"/networks/{quote_path(name)}")

    def connect(self, network: str, container: str, endpoint: dict[str, Any]) -> None:
        body = {"Container": container, "EndpointConfig": endpoint}
        self._engine.call("POST", f"/networks/{quote_path(network)}/connect", None, body)

    def disconnect(self, network: str, container: str, *, force: bool) -> None:
        body = {"Container": container, "Force": force}
        self._engine.call("POST", f"/networks/{quote_path(network)}/disconnect", None, body)

    def prune(self, filters: Filters) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", "/networks/prune", {"filters": filters})
        return answer
