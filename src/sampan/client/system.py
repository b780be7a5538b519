"""/_ping, /version, /info, /events, /system/df, /auth."""

from __future__ import annotations

from sampan.client.engine import Engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.client.transport import Response

    Filters = dict[str, list[str]]


class System:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ping(self) -> dict[str, str]:
        """The headers of the answer; raises EngineUnreachable."""
        response = self._engine.open("GET", "/_ping", versioned=False)
        response.read()
        self._engine.finish(response)
        return response.headers

    def version(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", "/version")
        return answer

    def info(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", "/info")
        return answer

    def events(self, *, since: str = "", until: str = "", filters: Filters | None = None) -> Response:
        """A stream of JSON objects."""
        query = {"since": since or None, "until": until or None, "filters": filters or {}}
        return self._engine.open("GET", "/events", query)

    def disk_usage(self) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", "/system/df")
        return answer

    def login(self, credentials: dict[str, str]) -> dict[str, Any]:
        """{"Status", "IdentityToken"}. Raises Unauthorized (or Internal, from dockerd) if they are refused."""
        answer: dict[str, Any] = self._engine.call("POST", "/auth", None, credentials)
        return answer
