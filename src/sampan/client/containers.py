"""The endpoints under /containers and /exec."""

from __future__ import annotations

from sampan.client.engine import Engine, quote_path
from sampan.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sampan.client.transport import Hijacked, Response

    Filters = dict[str, list[str]]
    Rows = list[dict[str, Any]]


class Containers:
    """Containers are named by id, unique prefix of an id, or name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, *, all: bool = False, limit: int = 0, size: bool = False, filters: Filters | None = None) -> Rows:
        query = {"all": all, "limit": limit if limit > 0 else None, "size": size, "filters": filters or {}}
        answer: Rows = self._engine.call("GET", "/containers/json", query)
        return answer

    def create(self, body: dict[str, Any], *, name: str = "", platform: str = "") -> dict[str, Any]:
        """{"Id", "Warnings"}."""
        query = {"name": name or None, "platform": platform or None}
        answer: dict[str, Any] = self._engine.call("POST", "/containers/create", query, body)
        return answer

    def inspect(self, name: str, *, size: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", self._path(name, "json"), {"size": size})
        return answer

    def start(self, name: str) -> None:
        self._post(name, "start")

    def stop(self, name: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        self._post(name, "stop", t=timeout_s, signal=signal or None)

    def restart(self, name: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        self._post(name, "restart", t=timeout_s, signal=signal or None)

    def kill(self, name: str, signal: str = "") -> None:
        self._post(name, "kill", signal=signal or None)

    def pause(self, name: str) -> None:
        self._post(name, "pause")

    def unpause(self, name: str) -> None:
        self._post(name, "unpause")

    def rename(self, name: str, new_name: str) -> None:
        self._post(name, "rename", name=new_name)

    def resize(self, name: str, height: int, width: int) -> None:
        self._post(name, "resize", h=height, w=width)

    def update(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", self._path(name, "update"), None, body)
        return answer

    def remove(self, name: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        self._engine.call("DELETE", f"/containers/{quote_path(name)}", {"force": force, "v": volumes, "link": link})

    def wait(self, name: str, condition: str = "") -> Response:
        """The answer's head has arrived, which means that the engine is waiting; read it for {"StatusCode", "Error"}."""
        return self._engine.open("POST", self._path(name, "wait"), {"condition": condition or None})

    def attach(
        self, name: str, *, stdin: bool, stdout: bool, stderr: bool, logs: bool = False, detach_keys: str = ""
    ) -> Hijacked:
        query = {
            "stream": True,
            "stdin": stdin,
            "stdout": stdout,
            "stderr": stderr,
            "logs": logs,
            "detachKeys": detach_keys or None,
        }
        return self._engine.hijack(self._path(name, "attach"), query)

    def logs(self, name: str, **query: Any) -> Response:
        return self._engine.open("GET", self._path(name, "logs"), query)

    def top(self, name: str, ps_args: str = "") -> dict[str, Any]:
        """{"Titles", "Processes"}."""
        answer: dict[str, Any] = self._engine.call("GET", self._path(name, "top"), {"ps_args": ps_args or None})
        return answer

    def changes(self, name: str) -> Rows:
        return self._engine.call("GET", self._path(name, "changes")) or []

    def stats(self, name: str, *, stream: bool) -> Response:
        return self._engine.open("GET", self._path(name, "stats"), {"stream": "1" if stream else "0"})

    def export(self, name: str) -> Response:
        return self._engine.open("GET", self._path(name, "export"))

    def stat_path(self, name: str, path: str) -> str:
        """The base64 JSON of the path's status. Raises NotFound."""
        try:
            response = self._engine.open("HEAD", self._path(name, "archive"), {"path": path})
        except NotFound:  # an answer to HEAD has no room for a message
            raise NotFound(f"Could not find the file {path} in container {name}") from None
        self._engine.finish(response)
        return response.headers.get("x-docker-container-path-stat", "")

    def get_archive(self, name: str, path: str) -> Response:
        return self._engine.open("GET", self._path(name, "archive"), {"path": path})

    def put_archive(self, name: str, path: str, body: Iterable[bytes], *, copy_uid_gid: bool = False) -> None:
        query: dict[str, Any] = {"path": path, "noOverwriteDirNonDir": "true", "copyUIDGID": copy_uid_gid}
        self._engine.call("PUT", self._path(name, "archive"), query, body, {"Content-Type": "application/x-tar"})

    def commit(self, body: dict[str, Any], **query: Any) -> str:
        """The new image's id."""
        return str(self._engine.call("POST", "/commit", query, body)["Id"])

    def prune(self, filters: Filters) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("POST", "/containers/prune", {"filters": filters})
        return answer

    # -- exec ----------------------------------------------------------------------------------------------------

    def exec_create(self, name: str, body: dict[str, Any]) -> str:
        return str(self._engine.call("POST", self._path(name, "exec"), None, body)["Id"])

    def exec_start_detached(self, exec_id: str, *, tty: bool) -> None:
        self._engine.call("POST", f"/exec/{exec_id}/start", None, {"Detach": True, "Tty": tty})

    def exec_start(self, exec_id: str, *, tty: bool, console_size: tuple[int, int] | None = None) -> Hijacked:
        body: dict[str, Any] = {"Detach": False, "Tty": tty}
        if console_size is not None:
            body["ConsoleSize"] = list(console_size)
        return self._engine.hijack(f"/exec/{exec_id}/start", None, body)

    def exec_inspect(self, exec_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self._engine.call("GET", f"/exec/{exec_id}/json")
        return answer

    def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        self._engine.call("POST", f"/exec/{exec_id}/resize", {"h": height, "w": width})

    def _path(self, name: str, action: str) -> str:
        return f"/containers/{quote_path(name)}/{action}"

    def _post(self, target: str, action: str, **query: Any) -> None:
        self._engine.call("POST", self._path(target, action), query)
